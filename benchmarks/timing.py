"""Contenders on the clock: they take turns, round by round, so that what slows a machine down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from PIL import Image

Stage = tuple[Any, str]  # an object or module, and the name of its function that a stage spends its time in


@dataclass(frozen=True)
class Contender:
    """encode: picture -> anything; decode: back to a picture. Stages: by name, what to time within the two."""

    encode: Callable[[Image.Image], Any]
    decode: Callable[[Any], Image.Image]
    encode_stages: Mapping[str, Stage] = field(default_factory=dict)
    decode_stages: Mapping[str, Stage] = field(default_factory=dict)


@dataclass
class Times:
    """Seconds, one for each round; stages are parts of the whole."""

    whole: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.whole)

    def shares(self) -> dict[str, float]:
        """Median seconds of each stage, and of the rest."""
        rest = [whole - sum(parts) for whole, *parts in zip(self.whole, *self.stages.values(), strict=True)]
        return {name: statistics.median(values) for name, values in {**self.stages, "rest": rest}.items()}


@dataclass
class Timing:
    """Times of one contender for one picture; n_bytes is 0 where it makes no file."""

    encode: Times = field(default_factory=Times)
    decode: Times = field(default_factory=Times)
    n_bytes: int = 0


def measure(
    contenders: Mapping[str, Contender], image: Image.Image, rounds: int, warm_up: bool = True
) -> dict[str, Timing]:
    """Times of each contender, by name; with warm_up there is a first round that is not counted."""
    timings = {name: Timing() for name in contenders}
    for number in range(rounds + warm_up):
        for name, contender in contenders.items():
            timing = timings[name] if number >= warm_up else Timing()
            encoded = timed(timing.encode, contender.encode_stages, contender.encode, image)
            timed(timing.decode, contender.decode_stages, contender.decode, encoded)
            timing.n_bytes = len(encoded) if isinstance(encoded, bytes) else 0
    return timings


def timed(times: Times, stages: Mapping[str, Stage], function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the function, note what it and its stages took, give its result."""
    with ExitStack() as stack:
        spent = {name: stack.enter_context(on_the_clock(*stage)) for name, stage in stages.items()}
        started = time.perf_counter()
        result = function(argument)
        times.whole.append(time.perf_counter() - started)
    for name, seconds in spent.items():
        times.stages.setdefault(name, []).append(sum(seconds))
    return result


@contextmanager
def on_the_clock(owner: Any, attribute: str) -> Iterator[list[float]]:
    """Within it, the seconds of each call of owner.attribute are collected."""
    original, seconds = getattr(owner, attribute), list[float]()

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - started)

    with mock.patch.object(owner, attribute, wrapper):
        yield seconds


def speed_up(reference: Sequence[float], values: Sequence[float]) -> float:
    """How many times as fast as the reference: the median of each round's own ratio."""
    return statistics.median(r / v for r, v in zip(reference, values, strict=True))


def rounds_for(megapixels: float, most: int) -> int:
    """Fewer for large pictures, which take longer and vary less; at least two."""
    return max(2, min(most, round(most / (0.75 + megapixels / 3))))
