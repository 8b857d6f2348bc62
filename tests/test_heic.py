"""Photos as iPhones keep them: read where the package pi-heif is, named where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import latent8
from latent8.pictures import formats
from latent8.pictures.intake import open_picture, size_of

FILE = Path(__file__).parent / "files" / "upright.heic"  # 96 x 64: blue, red, a white line at the top


def test_heic_is_read_upright() -> None:
    pytest.importorskip("pi_heif")
    picture = open_picture(FILE, 10_000)
    assert (picture.width, picture.height) == size_of(FILE) == (96, 64)
    colours = {"top": picture.rgb[2:5].mean((0, 1)), "left": picture.rgb[20:, 5:40].mean((0, 1))}
    assert np.abs(colours["top"] - [240, 240, 240]).max() < 8 and np.abs(colours["left"] - [30, 30, 200]).max() < 8
    assert latent8.inspect(latent8.encode(FILE)).stem == "upright"
    with pytest.raises(latent8.PictureError, match="6,144 pixels|megapixels|limit"):
        open_picture(FILE, 6_000)


def test_damaged_heic_is_one_sentence() -> None:
    pytest.importorskip("pi_heif")
    for size in (40, 300, 700):
        with pytest.raises(latent8.PictureError, match="damaged|cannot be read"):
            open_picture(FILE.read_bytes()[:size], 10_000)


def test_without_the_package_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "HEIC_IS_READ", False)
    monkeypatch.setattr(formats, "readable", lambda: ["JPEG", "PNG"])
    with pytest.raises(latent8.PictureError, match="HEIC picture, which the package pi-heif reads: install it, or"):
        open_picture(FILE, 10_000)
