"""log.csv of a run: means of figures since the row before, kept through crashes and new versions."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path


class Log:
    """Rows in a CSV file, for a run that begins at `step`.

    Rows of later steps, which a run left that ended between two checkpoints, are taken away. A file with other columns,
    of another version, is kept under another name.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int):
        self.path, self.columns = path, list(columns)
        self._found: dict[str, list[float]] = {}  # since the last row, by column
        kept: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
            if reader.fieldnames != self.columns:
                path.rename(path.with_name(f"log-to-step-{step}.csv"))
            else:
                kept = [row for row in rows if row["step"].isdigit() and int(row["step"]) <= step]
                if len(kept) == len(rows):
                    return
        partial = path.with_suffix(".partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        partial.replace(path)

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
        """Write a row. Raises OSError where there is no room for it."""
        with open(self.path, "a", newline="") as file:
            figures = {name: f"{value:.6g}" for name, value in means.items()}
            csv.DictWriter(file, self.columns).writerow({**counts, **figures})


def known_mean(values: list[float]) -> float:
    """Mean of the values that are numbers, as not each batch has every figure; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
