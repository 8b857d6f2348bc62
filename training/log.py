"""log.csv of a run: means of figures since the row before, kept through crashes and new versions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

from latent8.machine.disk import append, write_file

Row = dict[str, str]


class Log:
    """Rows in a CSV file, for a run that begins at `step`.

    Rows of later steps, which a run left that ended between two checkpoints, are taken away, and so are rows that a
    full disk or a power cut has torn. A file with other columns, of another version, is kept under another name.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int):
        self.path, self.columns = path, list(columns)
        self._found: dict[str, list[float]] = {}  # since the last row, by column
        kept: list[Row] = []
        if path.exists():
            found, rows = read_rows(path)
            if found != self.columns:
                path.rename(path.with_name(f"log-to-step-{step}.csv"))
            else:
                kept = [row for row in rows if float(row["step"]) <= step]
        write_file(path, b"".join(map(self._line, [{name: name for name in self.columns}, *kept])))

    def add(self, figures: dict[str, float]) -> None:
        """Take the figures of a step."""
        for name, value in figures.items():
            self._found.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """Means since the last call, for which they are forgotten; {} where there was no step."""
        found = {name: known_mean(values) for name, values in self._found.items()}
        self._found = {}
        return found

    def write(self, counts: dict[str, object], means: dict[str, float]) -> None:
        """Write a row, all or nothing. Raises OSError where there is no room for it."""
        line = self._line({**counts, **{name: f"{value:.6g}" for name, value in means.items()}})
        with FileIO(self.path, "a") as file:
            append(file, line)

    def _line(self, row: Mapping[str, object]) -> bytes:
        return (",".join(str(row[name]) for name in self.columns) + "\n").encode()


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Columns of a log, and those of its rows that are whole: a number in each column."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    columns, *rows = [line.split(",") for line in lines[:-1]] or [[]]  # what no line break ends is torn
    return columns, [dict(zip(columns, row, strict=True)) for row in rows if _is_whole(row, columns)]


def _is_whole(row: list[str], columns: list[str]) -> bool:
    try:
        return len([float(value) for value in row]) == len(columns)
    except ValueError:
        return False


def known_mean(values: list[float]) -> float:
    """Mean of the values that are numbers, as not each batch has every figure; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
