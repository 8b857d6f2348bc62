"""What counts beside the bits when l8-photo is trained, and which weights learn from it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from latent8.evaluation.perceptual import ssimulacra2
from latent8.l8_photo import layers as hp
from tests.helpers.samples import EXAMPLES
from training.distortion import WEIGHTS, Distortion, enlarged, relative_size, shifted, weights_at
from training.photo import PhotoTask
from training.ssimulacra2 import Ssimulacra2

LEVELS = torch.tensor([0.0, 3.5, 7.0])


def at(realism: float) -> torch.Tensor:
    return torch.full((3,), realism)


def repeated(pixels: np.ndarray, size: int) -> torch.Tensor:
    """Three pictures, [3, 3, size, size] in [0, 1], of one that is repeated until it is large enough."""
    rows, columns = (np.arange(size) % side for side in pixels.shape[:2])
    return torch.tensor(pixels[np.ix_(rows, columns)]).permute(2, 0, 1).float().expand(3, -1, -1, -1) / 255


def test_coarse_errors_cost_more_than_fine_ones_in_the_middle_alone() -> None:
    photos = torch.full((3, 3, 64, 64), 0.5)
    signs = 1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)
    of_blocks = signs[:16, :16].repeat_interleave(4, 0).repeat_interleave(4, 1)  # there at 1/4 size, gone at 1/8
    distortion, errors = Distortion(None, None), (0.1 * signs, 0.1 * of_blocks, torch.full((64, 64), 0.1))
    coarse_share = WEIGHTS["coarse squared error"][1] / WEIGHTS["squared error"][1]
    for realism, coarse in ((0.0, 0.0), (0.5, coarse_share)):
        losses = []
        for error in errors:
            loss, figures = distortion(photos + error, photos, LEVELS, at(realism))
            losses.append(loss)
            assert figures["psnr_db"].item() == pytest.approx(20.0, abs=1e-3)
        torch.testing.assert_close(losses[1], losses[0] * (1 + coarse), rtol=1e-4, atol=0)
        torch.testing.assert_close(losses[2], losses[0] * (1 + 2 * coarse), rtol=1e-4, atol=0)


@pytest.mark.parametrize("part", ["ms_ssim", "ssimulacra2"])
def test_similarities_count_by_their_weights_at_every_level(part: str, sunset: np.ndarray, monkeypatch) -> None:
    photos = repeated(sunset, 192)
    output = photos + 0.05 * torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))

    def loss(of_one: float) -> tuple[torch.Tensor, float]:
        monkeypatch.setitem(WEIGHTS, part, (0.0, of_one, 0.0))
        found, figures = Distortion(None, None)(output, photos, LEVELS, at(0.5))
        return found / relative_size(LEVELS), figures[part].item()

    (without, figure), (one, _), (ten, _) = loss(0.0), loss(1.0), loss(10.0)
    distance = {"ms_ssim": 1 - figure, "ssimulacra2": 100 - figure}[part]
    assert 0.01 < distance < 100
    torch.testing.assert_close(ten - without, 10 * (one - without), rtol=1e-3, atol=1e-4)
    assert (one - without).mean().item() == pytest.approx(distance, rel=1e-3)


def test_weights_lie_between_those_of_the_learned_realisms() -> None:
    for part, found in weights_at(torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])).items():
        faithful, middle, vivid = WEIGHTS[part]
        wanted = [faithful, (faithful + middle) / 2, middle, 0.2 * middle + 0.8 * vivid, vivid]
        assert found.tolist() == pytest.approx(wanted, rel=1e-5), part


def test_each_picture_is_judged_by_its_own_realism(sunset: np.ndarray) -> None:
    photos = repeated(sunset, 192)
    output = (photos + 0.03).clamp(0, 1)
    realism = torch.tensor([0.0, 0.5, 1.0])
    distortion = Distortion(None, None)
    together, figures = distortion(output, photos, LEVELS, realism)
    for number in range(3):
        one = slice(number, number + 1)
        alone, _ = distortion(output[one], photos[one], LEVELS[one], realism[one])
        torch.testing.assert_close(together[one], alone)
    torch.testing.assert_close(together[:1], distortion.faithful(output[:1], photos[:1], LEVELS[:1])[0])
    assert {"psnr_db", "ms_ssim", "ssimulacra2"} == set(figures)


def test_alexnet_sees_pictures_of_few_sizes_from_every_place() -> None:
    torch.manual_seed(0)
    picture = torch.arange(40.0 * 40).view(1, 1, 40, 40)
    cuts = [shifted(picture, picture + 1) for _ in range(60)]
    assert {cut[0].shape[-2:] for cut in cuts} == {(37, 37)} and all(torch.equal(a + 1, b) for a, b in cuts)
    assert len({cut[0][0, 0, 0, 0].item() for cut in cuts}) == 16
    larger = [enlarged(picture, picture + 1) for _ in range(60)]
    assert {one.shape[-1] for one, _ in larger} == {40, 50, 60, 70, 80}
    for one, other in larger:
        torch.testing.assert_close(other, one + 1)
        assert one.mean().item() == pytest.approx(picture.mean().item(), rel=0.01)


@pytest.mark.parametrize("quality", [3, 20, 60, 90])
def test_the_loss_of_ssimulacra2_is_that_of_its_package(quality: int, monkeypatch) -> None:
    package, ndimage = pytest.importorskip("ssimulacra2.ssimulacra2"), pytest.importorskip("scipy.ndimage")

    def mirrored(picture: np.ndarray, sigma: float = 1.5) -> np.ndarray:  # the package sets zeros above and below
        return ndimage.gaussian_filter(picture, sigma, radius=5, mode="mirror", axes=(0, 1))

    monkeypatch.setattr(package, "blur_image", mirrored)
    photo, file = Image.open(EXAMPLES / "life.jpg").convert("RGB").crop((300, 200, 684, 456)), io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    original = np.asarray(photo)
    decoded = np.asarray(Image.open(file).convert("RGB"))
    a, b = (torch.tensor(pixels).permute(2, 0, 1)[None] / 255 for pixels in (original, decoded))
    b.requires_grad_()
    loss = Ssimulacra2()(a, b)
    loss.sum().backward()
    assert b.grad is not None and b.grad.isfinite().all() and b.grad.abs().max() > 0
    assert 100 - loss.item() == pytest.approx(ssimulacra2(original, decoded), abs=0.1)


def test_equal_pictures_have_the_best_ssimulacra2_and_a_gradient_that_is_finite() -> None:
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = Ssimulacra2()(picture.detach(), picture)
    loss.sum().backward()
    assert loss.item() < 3 and picture.grad is not None and picture.grad.isfinite().all()


def test_readings_at_the_ends_have_no_say_in_the_bits(sunset: np.ndarray, monkeypatch) -> None:
    """What the analysis learns is the same whatever realisms 0 and 1 ask of the synthesis."""
    photos = repeated(sunset, 64)
    task = PhotoTask(None, None)
    torch.manual_seed(0)
    model = task.new_model()
    assert isinstance(model, hp.Hyperprior)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)

    def gradients() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(1)  # the same levels, noise and ends
        model.zero_grad()
        task.loss(model, photos)[0].backward()
        found = model.analysis.linear.weight.grad, model.synthesis.linear.weight.grad
        assert found[0] is not None and found[1] is not None
        return found[0].clone(), found[1].clone()

    before = gradients()
    monkeypatch.setitem(WEIGHTS, "squared error", (7.0, WEIGHTS["squared error"][1], 50.0))
    after = gradients()
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 0.1 * before[1].abs().max()
