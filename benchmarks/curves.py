"""Rate-distortion curves: values between their points, and the Bjontegaard delta of two of them.

A curve is a sequence of bits per pixel, rising, and one of the quality at each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class BDRate:
    """percent: bits that a codec needs more (less, where negative) for the qualities from low to high."""

    percent: float
    low: float
    high: float


def bd_rate(reference: Curve, other: Curve) -> BDRate:
    """The mean difference in rate over the qualities that both curves reach; a larger quality must be a better one.

    Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001: the mean is that of
    log rate. As in the spreadsheets of HEVC and VVC, log rate is interpolated by piecewise cubics in place of one
    polynomial (Herglotz et al., "The Bjontegaard Bible", 2023). Raises ValueError for curves that have no quality in
    common, or whose quality does not rise with the rate.
    """
    logs = []
    for rates, qualities in (reference, other):
        _check_rising(rates, "bits per pixel")
        _check_rising(qualities, "quality")
        logs.append(pchip(qualities, np.log(rates)))
    all_knots = np.sort(np.concatenate([reference[1], other[1]]))
    low, high = (max(reference[1][0], other[1][0]), min(reference[1][-1], other[1][-1]))
    if low >= high:
        raise ValueError("the curves have no quality in common")
    knots = np.array([low, *all_knots[(all_knots > low) & (all_knots < high)], high])

    def difference(quality: np.ndarray) -> np.ndarray:
        return logs[1](quality) - logs[0](quality)

    # Simpson's rule, which is exact for the cubic between two knots
    start, end = knots[:-1], knots[1:]
    sixths = difference(start) + 4 * difference((start + end) / 2) + difference(end)
    mean = float((sixths * (end - start)).sum() / 6 / (high - low))
    return BDRate(100 * float(np.expm1(mean)), float(low), float(high))


def value_at(curve: Curve, rate: float) -> float:
    """Quality at so many bits per pixel, interpolated over their logarithm. Raises ValueError beyond the curve."""
    rates, qualities = curve
    _check_rising(rates, "bits per pixel")
    if not rates[0] <= rate <= rates[-1]:
        raise ValueError(f"{rate} bits per pixel are not between {rates[0]} and {rates[-1]}")
    return float(pchip(np.log(rates), qualities)(np.log([rate]))[0])


def pchip(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A piecewise cubic through the points, x rising, that rises and falls only where they do: values within x.

    Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984, with the
    slopes at the ends of MATLAB's and SciPy's pchip.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    steps = np.diff(x)
    secants = np.diff(y) / steps
    slopes = np.zeros_like(x)
    if len(x) == 2:
        slopes[:] = secants
    else:
        slopes[0] = _end_slope(steps[0], steps[1], secants[0], secants[1])
        slopes[-1] = _end_slope(steps[-1], steps[-2], secants[-1], secants[-2])
        same = np.flatnonzero(secants[:-1] * secants[1:] > 0)  # elsewhere there is a peak, of slope 0
        before, after = 2 * steps[same + 1] + steps[same], steps[same + 1] + 2 * steps[same]
        slopes[same + 1] = (before + after) / (before / secants[same] + after / secants[same + 1])

    def interpolate(at: np.ndarray) -> np.ndarray:
        i = np.clip(np.searchsorted(x, at, "right") - 1, 0, len(x) - 2)
        t = (at - x[i]) / steps[i]
        # Hermite's form
        values = (1 + 2 * t) * (1 - t) ** 2 * y[i] + t**2 * (3 - 2 * t) * y[i + 1]
        return values + steps[i] * (t * (1 - t) ** 2 * slopes[i] + t**2 * (t - 1) * slopes[i + 1])

    return interpolate


def _end_slope(step: float, next_step: float, secant: float, next_secant: float) -> float:
    """Slope at the end, that of the parabola through three points, kept from turning round."""
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


def _check_rising(values: Sequence[float], name: str) -> None:
    if len(values) < 2:
        raise ValueError("a curve needs at least two points")
    if not (np.diff(values) > 0).all():
        raise ValueError(f"the {name} of the curve does not rise all along")
