"""LPIPS equals its formula, and its weights are read from arrays alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from tests.helpers.drawn_photos import photo
from training import lpips_weights
from training.lpips import LPIPS, SCALE, SHIFT


def numpy_convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """[C, H, W] with kernel [O, C, k, k] -> [O, h, w]."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("oikl,ihwkl->ohw", kernel, windows) + bias[:, None, None]


def numpy_pool(x: np.ndarray, side: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[:, ::2, ::2].max((3, 4))


def numpy_lpips(a: np.ndarray, b: np.ndarray, weights: dict[str, np.ndarray], net: str) -> float:
    """The paper's formula, written down a second time: pictures [3, H, W] in [0, 1]."""
    plan = {
        "alexnet": [(4, 2, 0), (1, 2, 3), (1, 1, 3), (1, 1, 0), (1, 1, 0)],  # stride, padding, pooling before it
        "vgg16": [(1, 1, 2 if index in (2, 4, 7, 10) else 0) for index in range(13)],
    }[net]
    compared = {"alexnet": [0, 1, 2, 3, 4], "vgg16": [1, 3, 6, 9, 12]}[net]

    def features(x: np.ndarray) -> list[np.ndarray]:
        x = (2 * x - 1 - np.array(SHIFT)[:, None, None]) / np.array(SCALE)[:, None, None]
        outputs = []
        for index, (stride, padding, pooling) in enumerate(plan):
            x = numpy_pool(x, pooling) if pooling else x
            x = numpy_convolution(x, weights[f"conv{index}.weight"], weights[f"conv{index}.bias"], stride, padding)
            x = np.maximum(x, 0)
            outputs.append(x)
        return [outputs[index] / np.linalg.norm(outputs[index], axis=0, keepdims=True).clip(1e-5) for index in compared]

    total = 0.0
    for index, (fa, fb) in enumerate(zip(features(a), features(b), strict=True)):
        total += (weights[f"head{index}"][:, None, None] * (fa - fb) ** 2).sum(0).mean()
    return total


@pytest.mark.parametrize("net", ["alexnet", "vgg16"])
def test_lpips_equals_the_formula_in_numpy(net, lpips_file):
    path = lpips_file(net)
    network = LPIPS(path)
    a, b = (photo(64, 80, seed).transpose(2, 0, 1).astype(np.float32) / 255 for seed in (1, 2))
    with np.load(path) as arrays:
        weights = {name: arrays[name].astype(np.float64) for name in arrays.files}
    ours = network(torch.from_numpy(np.stack([a, a])), torch.from_numpy(np.stack([b, a])))
    assert ours.shape == (2,)
    assert ours[0].item() == pytest.approx(numpy_lpips(a, b, weights, net), rel=1e-3)
    assert ours[0] > 0.01 and ours[1] == 0


def test_lpips_gradient_is_finite_also_where_features_are_zero(lpips_file):
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    LPIPS(lpips_file("alexnet"))(x, torch.rand(1, 3, 64, 64)).sum().backward()
    assert torch.isfinite(x.grad).all()


class Hostile:
    def __reduce__(self):
        return print, ("this must not run",)


def test_weights_converter_refuses_pickles_of_anything_but_arrays(tmp_path, capsys):
    path = tmp_path / "hostile.ckpt"
    path.write_bytes(pickle.dumps({"AlexNet_0": Hostile()}))
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        lpips_weights.convert(path)
    assert "this must not run" not in capsys.readouterr().out


def test_weights_converter_turns_flax_names_and_kernels(tmp_path):
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 5, 2, 4)).astype(np.float32)  # [kh, kw, in, out]
    heads = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.full((1, 1, 4, 1), i, np.float32)}} for i in range(5)}
    tree = {"VGG16_0": {"Conv_0": {"kernel": kernel, "bias": np.arange(4, dtype=np.float32)}}, **heads}
    path = tmp_path / "weights.ckpt"
    # With the module path of NumPy 1, as in the package's file; protocol 3 has paths as lines, without a length
    path.write_bytes(pickle.dumps(tree, protocol=3).replace(b"cnumpy._core.", b"cnumpy.core."))
    arrays = lpips_weights.convert(path, dtype="float32")
    assert set(arrays) == {"conv0.weight", "conv0.bias", *(f"head{i}" for i in range(5))}
    assert np.array_equal(arrays["conv0.weight"][3, 1], kernel[:, :, 1, 3])
    assert np.array_equal(arrays["head2"], np.full(4, 2, np.float32))
