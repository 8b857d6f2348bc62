"""Numbers that are not finite: done again in float32, or an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latent8 import Codec, ModelError
from tests.helpers.blob_calls import decoded, symbols_in
from tests.helpers.samples import gradient


class Broken(nn.Module):
    """Gives one NaN among zeros of the right shape."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape, self.calls = shape, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        result = torch.zeros(self.shape, dtype=x.dtype)
        result.view(-1)[-1] = torch.nan
        return result


def test_non_finite_latents_are_done_again_in_float32(codec: Codec, half_codec: Codec, monkeypatch) -> None:
    broken = Broken(1, 4, 4, 5)
    monkeypatch.setattr(half_codec.network.analysis, "layers", broken)
    found = symbols_in(half_codec.encode(gradient(40, 32)))
    assert broken.calls == 1
    np.testing.assert_array_equal(found, symbols_in(codec.encode(gradient(40, 32))))


def test_non_finite_pictures_are_done_again_in_float32(codec: Codec, half_codec: Codec, monkeypatch) -> None:
    blob = codec.encode(gradient(40, 32))
    broken = Broken(1, 3, 32, 40)
    monkeypatch.setattr(half_codec.network.synthesis, "layers", broken)
    found = decoded(half_codec, blob)
    assert broken.calls == 1
    np.testing.assert_array_equal(found, decoded(codec, blob))


def test_non_finite_in_float32_too_is_an_error(codec: Codec, half_codec: Codec, monkeypatch) -> None:
    latents, picture = Broken(1, 4, 4, 5), Broken(1, 3, 32, 40)
    blob = codec.encode(gradient(40, 32))
    for one in (codec, half_codec):
        for half, broken in ((one.network.analysis, latents), (one.network.synthesis, picture)):
            monkeypatch.setattr(half, "layers", broken)
            monkeypatch.setattr(half, "exact", broken)
        with pytest.raises(ModelError, match="^l8-tiny gave numbers that are not finite: its weights do not fit this"):
            one.encode(gradient(40, 32))
        with pytest.raises(ModelError, match="^l8-tiny gave numbers that are not finite"):
            one.decode(blob)
