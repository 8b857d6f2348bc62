"""A plot of each table of the evaluation, drawn by matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from latent8.library.evaluation.tables import Table

OURS, THEIRS = "#20788a", "#c9b27c"


def plot(table: Table, target: Path) -> None:
    """Write the plot of a table as PNG."""
    figure = Figure(figsize=(9, max(2.5, 0.42 * len(table.rows) + 1.6)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(table.title, loc="left")
    draw = {"sizes": _sizes, "times": _times, "similarity": _similarity}.get(table.name, _recall)
    draw(axes, table)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=110)


def _sizes(axes, table: Table) -> None:
    names = [str(row[0]) for row in table.rows]
    for number, row in enumerate(table.rows):
        q1, q2, q3 = (float(value) for value in row[2:5])  # type: ignore[arg-type]
        axes.barh(number, q3 - q1, left=q1, height=0.5, color=OURS)
        axes.plot([q2, q2], [number - 0.25, number + 0.25], color="white", linewidth=2)
    axes.set(yticks=range(len(names)), yticklabels=names, xscale="log", xlabel="MB, first to third quartile")
    axes.invert_yaxis()


def _times(axes, table: Table) -> None:
    names = [str(row[0]) for row in table.rows]
    places = range(len(names))
    axes.barh([place - 0.2 for place in places], [row[2] for row in table.rows], 0.38, color=OURS, label="here, mean")
    theirs = [row[7] or 0 for row in table.rows]
    axes.barh([place + 0.2 for place in places], theirs, 0.38, color=THEIRS, label=table.columns[7])
    axes.set(yticks=places, yticklabels=names, xscale="log", xlabel="ms")
    axes.invert_yaxis()
    axes.legend(frameon=False)


def _similarity(axes, table: Table) -> None:
    for number, row in enumerate(table.rows):
        low, q1, q2, q3 = (float(value) for value in row[2:6])  # type: ignore[arg-type]
        axes.plot([low, q3], [number, number], color=OURS, linewidth=1)
        axes.barh(number, q3 - q1, left=q1, height=0.4, color=OURS)
        axes.plot([q2, q2], [number - 0.2, number + 0.2], color="white", linewidth=2)
    names = [str(row[0]) for row in table.rows]
    axes.set(
        yticks=range(len(names)), yticklabels=names, xlabel="cosine: least, and first to third quartile", xlim=(0, 1)
    )


def _recall(axes, table: Table) -> None:
    values = [[float(value) for value in row[1:]] for row in table.rows]  # type: ignore[arg-type]
    axes.imshow(values, vmin=0, vmax=1, cmap="YlGnBu", aspect="auto")
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    names = [str(row[0]) for row in table.rows]
    axes.set(xticks=range(len(values[0])), xticklabels=table.columns[1:], yticks=range(len(names)), yticklabels=names)
