"""Tables of measured figures: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

Cell = str | float | int | None


@dataclass
class Table:
    """name: of its files. columns: the first is that of the rows' names. notes: sentences below it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        texts = [list(self.columns), *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(self.columns))]
        lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in texts]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        notes = "".join(f"\n{note}\n" for note in self.notes)
        return f"## {self.title}\n\n" + "\n".join(lines) + f"\n{notes}"

    def csv(self) -> str:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(self.columns)
        rows.writerows([["" if cell is None else cell for cell in row] for row in self.rows])
        return text.getvalue()


def _text(cell: Cell) -> str:
    """Three digits or so of a number; what there is none of, as a dash."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return (
            f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}" if abs(cell) >= 0.001 or not cell else f"{cell:.1g}"
        )
    return f"{cell:,}" if isinstance(cell, int) else cell
