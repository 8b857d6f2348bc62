"""Turns at the model: small requests pass large ones, and nobody is passed for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from latent8.apps import turns
from latent8.apps.turns import Turn, Turns

TILE = 0.02  # seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEAD", 0.05)
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.01)


class Office:
    """Requests of so many tiles, each in a thread, and the order in which their tiles were done."""

    def __init__(self) -> None:
        self.turns, self.tiles, self._threads = Turns(), list[str](), list[threading.Thread]()
        self.at_once, self.most_at_once = 0, 0

    def send(self, name: str, n_tiles: int, client: str, session: str = "", check: Callable = lambda: None) -> None:
        def work() -> None:
            turn = Turn(client, session)
            self.turns.take(turn, check)
            try:
                for _ in range(n_tiles):
                    self.at_once += 1
                    self.most_at_once = max(self.most_at_once, self.at_once)
                    time.sleep(TILE)
                    self.tiles.append(name)
                    self.at_once -= 1
                    self.turns.step_back(turn, check)
            finally:
                self.turns.leave(turn)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        time.sleep(TILE / 4)  # so that they come in this order

    def close(self) -> list[str]:
        for thread in self._threads:
            thread.join(10)
        return self.tiles


def test_a_small_request_of_someone_else_passes_a_large_one() -> None:
    office = Office()
    office.send("large", 30, "one")
    time.sleep(5 * TILE)
    office.send("small", 2, "other")
    done = office.close()
    assert len(done) == 32 and office.most_at_once == 1
    assert max(index for index, name in enumerate(done) if name == "small") < 16


def test_who_sends_more_does_not_get_more() -> None:
    office = Office()
    for number in range(6):
        office.send("many", 10, "one", f"session {number}")
    office.send("few", 10, "other")
    done = office.close()
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
    time.sleep(5 * TILE)
    office.send("b", 2, "one", "second")
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
