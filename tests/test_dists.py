"""DISTS, a judge: against another implementation's formula, and its weights from the published file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from training.dists import CHANNELS, DISTS, convert


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> DISTS:
    """VGG16 of its real widths, with random weights."""
    folder, random = tmp_path_factory.mktemp("dists"), np.random.default_rng(0)
    arrays, inputs = {}, 3
    for index, n in enumerate([64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]):
        arrays[f"conv{index}.weight"] = random.normal(0, (2 / (9 * inputs)) ** 0.5, (n, inputs, 3, 3)).astype("f4")
        arrays[f"conv{index}.bias"] = random.normal(0, 0.05, n).astype("f4")
        inputs = n
    np.savez(folder / "vgg16.npz", **arrays)
    np.savez(folder / "dists.npz", **{name: random.uniform(0, 1, sum(CHANNELS)) for name in ("alpha", "beta")})
    return DISTS(folder / "vgg16.npz", folder / "dists.npz")


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    one = F.interpolate(torch.rand(1, 3, 6, 8, generator=random), size=(72, 80), mode="bicubic").clamp(0, 1)
    return one, (one + 0.05 * torch.randn(one.shape, generator=random)).clamp(0, 1)


def similarity(x: torch.Tensor, y: torch.Tensor, small: float = 1e-6) -> torch.Tensor:
    """One channel's: of means, of structure; from numpy's own covariance."""
    covariance = np.cov(x.numpy(), y.numpy(), bias=True)
    texture = (2 * x.mean() * y.mean() + small) / (x.mean() ** 2 + y.mean() ** 2 + small)
    structure = (2 * covariance[0, 1] + small) / (covariance[0, 0] + covariance[1, 1] + small)
    return torch.stack([texture, torch.tensor(structure)])


@torch.inference_mode()
def test_distance_is_the_papers_formula(network: DISTS) -> None:
    a, b = pictures()
    total = torch.zeros(2, dtype=torch.float64)
    weights = torch.stack([network.alpha, network.beta]).double()
    channel = 0
    for x, y in zip(network.features(a), network.features(b), strict=True):
        for one, other in zip(x[0].double().flatten(1), y[0].double().flatten(1), strict=True):
            total += weights[:, channel] * similarity(one, other)
            channel += 1
    assert channel == sum(CHANNELS)
    wanted = 1 - total.sum() / weights.sum()
    assert 0.001 < wanted < 0.9
    assert network(a, b).item() == pytest.approx(wanted.item(), abs=1e-5)


@torch.inference_mode()
def test_equal_pictures_are_at_no_distance_and_a_batch_is_that_of_each(network: DISTS) -> None:
    a, b = pictures()
    assert network(a, a).item() == pytest.approx(0, abs=1e-6)
    both = network(torch.cat([a, b]), a.expand(2, -1, -1, -1))
    torch.testing.assert_close(both, torch.cat([network(a, a), network(b, a)]), atol=1e-5, rtol=1e-4)


def test_pooling_halves_and_keeps_even_ground(network: DISTS) -> None:
    pooled = network.pooled(torch.full((1, 64, 9, 10), 3.0))
    assert pooled.shape == (1, 64, 5, 5)
    torch.testing.assert_close(pooled[..., 1:-1, 1:-1], torch.full((1, 64, 3, 3), 3.0))


def test_published_weights_are_read_as_tensors_alone(tmp_path: Path) -> None:
    published = {name: torch.nn.Parameter(torch.rand(1, sum(CHANNELS), 1, 1)) for name in ("alpha", "beta")}
    torch.save(published, tmp_path / "weights.pt")
    found = convert(tmp_path / "weights.pt")
    for name, array in found.items():
        np.testing.assert_array_equal(array, published[name].detach().flatten().numpy())
    torch.save({"alpha": Path("/")}, tmp_path / "code.pt")
    with pytest.raises(Exception, match="[Ww]eights only"):
        convert(tmp_path / "code.pt")
