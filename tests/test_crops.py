"""Crops beside rivals: sizes that are alike, labels that are true, and a sheet of several rates."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_metrics import busy

from benchmarks import crops
from latent8 import Codec


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return busy(192, 256)


def test_rival_is_the_nearest_in_size(picture: np.ndarray) -> None:
    rival = crops.Rival("WebP", picture)
    sizes = [len(rival.file(quality)) for quality in crops.QUALITIES]
    for n_bytes in (sizes[20], sizes[20] + 1, (sizes[30] + sizes[40]) // 2):
        assert abs(len(rival.nearest(n_bytes)) - n_bytes) == min(abs(size - n_bytes) for size in sizes)
    assert rival.nearest(1) == rival.file(0) and rival.nearest(1 << 30) == rival.file(80)


def test_panels_are_labelled_by_what_they_take(picture: np.ndarray) -> None:
    rivals = [crops.Rival("WebP", picture), crops.Rival("JPEG", picture)]
    codec = Codec("l8-photo", "cpu")
    faithful, vivid, webp, jpeg = crops.panels(codec, picture, rivals, 1.5, [0, 1])
    assert [faithful.name, vivid.name, webp.name] == ["l8-photo, realism 0", "l8-photo, realism 1", "WebP"]
    assert faithful.note == vivid.note and (faithful.pixels != vivid.pixels).any()
    n_bytes, bpp = re.fullmatch(r"([\d,]+) bytes, ([\d.]+) bpp", faithful.note).groups()
    assert 1 < float(bpp) <= 1.5
    assert int(n_bytes.replace(",", "")) == pytest.approx(float(bpp) * 192 * 256 / 8, abs=4)
    assert webp.pixels.shape == jpeg.pixels.shape == picture.shape
    lowest, *_, least = crops.panels(codec, picture, rivals, 0.001, [0])
    assert lowest.note.endswith("bpp, its least") and least.note.endswith("bpp, its least")


def test_a_sheet_for_each_rate(picture: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    options = ["--bpp", "2", "1", "--rivals", "WebP", "--side", "96", "--realism", "0.5"]
    outputs = ["--output", str(tmp_path / "out" / "crops.png"), "--others", str(tmp_path / "others")]
    crops.main([f"{tmp_path}/a.png:32,64", *options, *outputs])
    found = [tmp_path / "out" / "crops.png", tmp_path / "others" / "crops-1.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in found]
    for path in found:
        with Image.open(path) as sheet:
            assert sheet.size == (3 * 96 + 2 * crops.GAP, 2 * crops.LINE + 96)
            original = np.asarray(sheet)[2 * crops.LINE :, :96]
        np.testing.assert_array_equal(original, picture[64:160, 32:128])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.png:200,0"], "160 pixels from 200,0 go beyond a.png, which has 256 x 192."),
        (["a.png:0,0", "--bpp", "1", "2"], "several rates need --others"),
        (["a.png"], "neither a folder nor PICTURE:LEFT,TOP"),
        (["absent.png:0,0"], "absent.png"),
        (["a.png:0,0", "--rivals", "JPEG XL"], "JPEG XL needs a package: pip install pillow-jxl-plugin"),
    ],
)
def test_refused_by_a_sentence(
    picture: np.ndarray,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crops, "has_jpeg_xl", lambda: False)
    Image.fromarray(picture).save("a.png")
    with pytest.raises(SystemExit):
        crops.main(["--rivals", "WebP", "--output", "crops.png", *arguments])
    assert message in capsys.readouterr().err and not Path("crops.png").exists()
