"""Turns at the model: one request at a time has it, and between two tiles gives way to whoever has had less of it.

A large picture takes a minute; without this, everyone else would wait for it. Time at the model is counted for each
client and fades with the minutes; a request of a client that has had more steps back for one of a client that has had
less, so that small requests pass large ones. Time without requests earns nothing: who comes counts as having had what
the last one to get the model had then, if that is more (start-time fair queueing; Goyal, Vin and Cheng, 1996). Else
those who were here before would have to wait until all newcomers have had as much as they.

Among requests of one client, its sessions are weighed in the same way, and the requests of one session go in the order
in which they came.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HALF_LIFE = 30.0  # seconds in which what a client has had counts for half
LEAD = 0.5  # seconds that a client has to be ahead, before it steps back: each change costs a little
LOOK_SECONDS = 0.5  # how often a request that waits looks whether it is still wanted


@dataclass(eq=False)
class Turn:
    """One request that wants the model. spent: seconds that it has had."""

    client: str
    session: str
    spent: float = 0.0
    since: float = field(default=0.0, repr=False)


class Turns:
    """For threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._changed = clock, threading.Condition()
        self._holder: Turn | None = None
        self._waiting: list[Turn] = []  # in the order in which they came
        self._had: dict[tuple[str, ...], tuple[float, float]] = {}  # client or session: when, seconds until then
        self._level = 0.0, 0.0  # the same of whoever got the model last, when it got it

    def take(self, turn: Turn, check: Callable[[], object]) -> None:
        """Wait for the model. `check` is called now and then, and may raise."""
        with self._changed:
            self._come(turn)
            self._waiting.append(turn)
            try:
                while self._holder is not None or self._first() is not turn:
                    self._changed.wait(LOOK_SECONDS)
                    check()
            except BaseException:
                self._waiting.remove(turn)
                self._changed.notify_all()
                raise
            self._waiting.remove(turn)
            self._holder, turn.since = turn, self._clock()
            self._level = turn.since, self._of((turn.client,))

    def leave(self, turn: Turn) -> None:
        with self._changed:
            self._count(turn)
            if self._holder is turn:
                self._holder = None
            self._changed.notify_all()

    def step_back(self, turn: Turn, check: Callable[[], object]) -> None:
        """Give the model away, and wait for it again, where someone else should have it."""
        with self._changed:
            self._count(turn)
            first = self._first()
            if first is None or not self._is_behind(first, turn):
                return
            self._holder = None
            self._changed.notify_all()
        self.take(turn, check)

    def spent(self, turn: Turn) -> float:
        """Seconds, with those of now."""
        with self._changed:
            return turn.spent + (self._clock() - turn.since if self._holder is turn else 0)

    def _count(self, turn: Turn) -> None:
        if self._holder is not turn:
            return
        now = self._clock()
        seconds, turn.since = now - turn.since, now
        turn.spent += seconds
        for whose in ((turn.client,), (turn.client, turn.session)):
            self._had[whose] = now, self._of(whose) + seconds
        if len(self._had) > 10_000:
            self._had = {whose: had for whose, had in self._had.items() if now - had[0] < 10 * HALF_LIFE}

    def _come(self, turn: Turn) -> None:
        """Where it is the only one of its client, for which time without requests earns nothing."""
        present = [*self._waiting, *([self._holder] if self._holder else [])]
        if not any(one.client == turn.client for one in present):
            level = self._faded(*self._level)
            if self._of((turn.client,)) < level:
                self._had[turn.client,] = self._clock(), level

    def _of(self, whose: tuple[str, ...]) -> float:
        """Seconds that it has had, faded."""
        return self._faded(*self._had.get(whose, (0.0, 0.0)))

    def _faded(self, then: float, seconds: float) -> float:
        return seconds * 0.5 ** ((self._clock() - then) / HALF_LIFE) if seconds else 0.0

    def _first(self) -> Turn | None:
        def had(turn: Turn) -> tuple[float, float]:
            # in steps, so that the order of arrival decides among those that have had about the same
            of_client, of_session = self._of((turn.client,)), self._of((turn.client, turn.session))
            return of_client // LEAD, of_session // LEAD

        return min(self._waiting, key=had, default=None)

    def _is_behind(self, other: Turn, turn: Turn) -> bool:
        """Whether the other one has had less, by so much that it is worth a change."""
        if other.client != turn.client:
            return self._of((other.client,)) + LEAD < self._of((turn.client,))
        mine, others = (self._of((one.client, one.session)) for one in (turn, other))
        return other.session != turn.session and others + LEAD < mine
