"""Turns at the model: small requests pass large ones, and nobody is passed for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from latent8.apps import turns
from latent8.apps.turns import Turn, Turns

TILE, LEAD = 0.02, 0.05  # seconds, by a clock that tiles alone move on
PATIENCE = 30  # seconds, by the machine's clock: what takes longer has failed


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEAD", LEAD)
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.01)


class Request(Turn):
    """arrived: whether it waits, or has waited."""

    def __init__(self, client: str, session: str):
        super().__init__(client, session)
        self.arrived = threading.Event()


class Arrivals(list[Turn]):
    def append(self, turn: Turn) -> None:
        super().append(turn)
        if isinstance(turn, Request):
            turn.arrived.set()


class Office:
    """Requests of so many tiles, each in a thread, and the order in which their tiles were done.

    No tile is done before `close`. later: what happens once so many tiles are done, before the next one.
    """

    def __init__(self) -> None:
        self.now, self.opened, self.later = 0.0, threading.Event(), dict[int, Callable[[], None]]()
        self.turns, self.tiles, self._threads = Turns(clock=lambda: self.now), list[str](), list[threading.Thread]()
        self.turns._waiting = Arrivals()
        self.at_once, self.most_at_once = 0, 0

    def send(self, name: str, n_tiles: int, client: str, session: str = "", check: Callable = lambda: None) -> None:
        turn = Request(client, session)

        def work() -> None:
            self.turns.take(turn, check)
            try:
                assert self.opened.wait(PATIENCE)
                for _ in range(n_tiles):
                    self.do_tile(name)
                    self.turns.step_back(turn, check)
            finally:
                self.turns.leave(turn)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        assert turn.arrived.wait(PATIENCE)

    def do_tile(self, name: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.now += TILE
        self.tiles.append(name)
        self.later.pop(len(self.tiles), lambda: None)()
        self.at_once -= 1

    def close(self) -> list[str]:
        self.opened.set()
        while self._threads:
            self._threads.pop(0).join(PATIENCE)
        return self.tiles


def test_a_small_request_of_someone_else_passes_a_large_one() -> None:
    office = Office()
    office.send("large", 30, "one")
    office.later[5] = lambda: office.send("small", 2, "other")
    done = office.close()
    assert len(done) == 32 and office.most_at_once == 1
    assert max(index for index, name in enumerate(done) if name == "small") < 16


def test_who_sends_more_does_not_get_more() -> None:
    office = Office()
    for number in range(6):
        office.send("many", 10, "one", f"session {number}")
    office.send("few", 10, "other")
    done = office.close()
    assert len(done) == 70
    last = max(index for index, name in enumerate(done) if name == "few")
    assert last < 35, "".join(name[0] for name in done)


def test_requests_of_one_session_go_in_order() -> None:
    office = Office()
    for name in "abc":
        office.send(name, 4, "one", "session")
    assert "".join(office.close()) == "aaaabbbbcccc"


def test_sessions_of_one_client_share_its_time() -> None:
    office = Office()
    office.send("a", 30, "one", "first")
    office.later[5] = lambda: office.send("b", 2, "one", "second")
    assert max(index for index, name in enumerate(office.close()) if name == "b") < 20


def test_who_waits_may_go() -> None:
    office, gone = Office(), []

    def check() -> None:
        gone.append(True)
        raise RuntimeError

    office.send("a", 10, "one")
    turn = Turn("other", "")
    with pytest.raises(RuntimeError):
        office.turns.take(turn, check)
    office.send("b", 1, "third")
    assert office.close().count("b") == 1 and gone == [True]


def test_time_at_the_model_is_without_that_of_others() -> None:
    now = [0.0]
    counted = Turns(clock=lambda: now[0])
    first, second = Turn("one", ""), Turn("other", "")
    counted.take(first, lambda: None)
    now[0] = 3
    assert counted.spent(first) == 3
    counted.leave(first)
    counted.take(second, lambda: None)
    now[0] = 10
    assert (counted.spent(first), counted.spent(second)) == (3, 7)


def test_newcomers_do_not_make_those_wait_who_had_turns_before_them() -> None:
    """Who asks for little every so often has had more than clients that are new, however many of them there are."""
    office = Office()
    for number in range(10):
        office.send("regular before", 2, "regular", f"{number}")
    office.close()
    office.opened.clear()
    for number in range(4):
        office.send("newcomer", 100, f"new {number}")
    office.send("regular", 2, "regular")
    done = office.close()[20:]
    assert len(done) == 402
    assert max(index for index, name in enumerate(done) if name == "regular") < 4 * (LEAD / TILE + 1) + 2
