"""Published curves beside measured ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import published


def test_every_curve_rises_and_names_its_source() -> None:
    found = published.curves(published.PUBLISHED)
    assert set(found) >= {"mean-scale hyperprior", "VTM", "Shallow-NTC, two layers", "MS-ILLM", "CRDR, beta 0"}
    for rows in found.values():
        assert len(rows) >= 5
        for name, rises in (("bpp", True), ("psnr_db", True), ("ms_ssim", True), ("lpips_alexnet", False)):
            values = [row[name] for row in rows if name in row]
            assert values == sorted(values, reverse=not rises)
    sources = {line.rsplit(",", 1)[1] for line in published.PUBLISHED.read_text().splitlines()[1:]}
    assert all(source.startswith("github.com/") for source in sources) and len(sources) == 5


def test_a_curve_at_half_the_rate_is_said_to_need_half_the_bits() -> None:
    rows = published.curves(published.PUBLISHED)["CRDR, beta 0"]
    ours = [{**row, "bpp": row["bpp"] / 2} for row in rows]
    table = published.against_published({"l8-photo": ours, "AVIF": rows}, {"theirs": rows})
    half = dict.fromkeys(("psnr_db", "lpips_alexnet", "dists"), "-50.0 %")
    assert table == [{"codec": "l8-photo", "against": "theirs", **half, "ms_ssim": "none"}]


def test_the_measured_curves_are_of_the_documents(capsys) -> None:
    published.main([str(Path(__file__).parents[1] / "docs" / "rd.csv")])
    said = capsys.readouterr().out
    assert "| l8-photo | VTM | " in said and "| l8-photo | MS-ILLM | " in said and " % |" in said


def test_another_file_is_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "rd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit):
        published.main([str(tmp_path / "rd.csv")])
    assert "rd.csv is no table of benchmarks.rd." in capsys.readouterr().err
