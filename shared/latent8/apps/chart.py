"""Curves over sizes, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 44
# By codec, in order: stroke and mark; the colours have 3:1 against the page in both schemes.
COLOURS = ("#0d9488", "#d97706", "#8b5cf6", "#e11d48", "#64748b")
N_TICKS = 5

Points = dict[str, list[tuple[float, float, str]]]  # by codec: x, y, and the setting in words


def chart(points: Points, x_title: str, y_title: str, caption: str) -> str:
    """HTML of a figure with a line for each codec, a legend in the picture, and a tooltip at each point."""
    if not any(points.values()):
        return "<p>There is nothing to draw for this model and photo.</p>"
    xs = [x for line in points.values() for x, _, _ in line]
    ys = [y for line in points.values() for _, y, _ in line]
    x_ticks, y_ticks = ticks(0, max(xs)), ticks(min(ys), max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_axes(x_ticks, y_ticks, at), _titles(x_title, y_title)]
    for index, (name, line) in enumerate(points.items()):
        parts.append(_line(name, sorted(line), COLOURS[index % len(COLOURS)], at, y_title))
    parts.append(_legend(list(points)))
    said = html.escape(caption)
    return (
        f'<figure class="l8-chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">'
        f"{''.join(parts)}</svg><figcaption>{said}</figcaption></figure>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers, evenly apart, around a range."""
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / N_TICKS))
    step = power * next(factor for factor in (1, 2, 5, 10) if span / (factor * power) <= N_TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], at) -> str:
    drawn = ""
    for x in x_ticks:
        (place, bottom), (_, top) = at(x, y_ticks[0]), at(x, y_ticks[-1])
        drawn += f'<line class="l8-axis" x1="{place:.1f}" y1="{bottom:.1f}" x2="{place:.1f}" y2="{top:.1f}"/>'
        drawn += f'<text x="{place:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{x:g}</text>'
    for y in y_ticks:
        (left, place), (right, _) = at(x_ticks[0], y), at(x_ticks[-1], y)
        drawn += f'<line class="l8-axis" x1="{left:.1f}" y1="{place:.1f}" x2="{right:.1f}" y2="{place:.1f}"/>'
        drawn += f'<text x="{left - 6:.1f}" y="{place + 4:.1f}" text-anchor="end">{y:g}</text>'
    return drawn


def _titles(x_title: str, y_title: str) -> str:
    middle = (HEIGHT - BOTTOM + TOP) / 2
    return (
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{html.escape(x_title)}</text>'
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{html.escape(y_title)}</text>'
    )


def _line(name: str, line: Sequence[tuple[float, float, str]], colour: str, at, y_title: str) -> str:
    places = [at(x, y) for x, y, _ in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    for (x, y), (size, value, setting) in zip(places, line, strict=True):
        text = html.escape(f"{name}, {setting}: {size:.1f} KB, {y_title} {value:.1f}")
        drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"><title>{text}</title></circle>'
    return drawn


def _legend(names: Sequence[str]) -> str:
    """At the lower right, where curves that rise and flatten leave room."""
    drawn = ""
    for index, name in enumerate(names):
        y = HEIGHT - BOTTOM - 14 - 22 * (len(names) - 1 - index)
        drawn += f'<circle cx="{WIDTH - 130}" cy="{y - 4}" r="6" fill="{COLOURS[index % len(COLOURS)]}"/>'
        drawn += f'<text x="{WIDTH - 116}" y="{y}">{html.escape(name)}</text>'
    return drawn
