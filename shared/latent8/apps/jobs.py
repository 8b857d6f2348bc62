"""Whether work is still wanted: what was replaced or stopped ends at its next tile.

Gradio lets a function that runs go on to its end, and events of one page may arrive in another order than they were
sent in. So a page's script numbers what its user does, the number goes with the event, and of the jobs of one name that
with the highest number is wanted, whenever it arrives. What runs for a job asks `budget.check` between its steps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import gradio as gr

REMEMBERED = 10_000  # pages, beside those with jobs that are held; what comes late of an older one counts as wanted
GREATEST = 1 << 53  # number of a job, as JavaScript counts
LONGEST_NAME = 100  # of a page, in characters

Function = TypeVar("Function", bound=Callable[..., Any])


class Cancelled(gr.Error):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__("This was stopped.", print_exception=False, visible=False)


class _Numbers(dict[str, int]):
    """The highest number of each name, of one page. A class of its own, as weak references need one."""


@dataclass(frozen=True)
class Job:
    """page: the session of the page that asks. name: what it asks for; of one name the highest number is wanted.

    part_of: the job whose result this one is about, and with which it ends. remembered: the page's numbers, which are
    not forgotten while a job of it is held, however many pages there are.
    """

    page: str
    name: str
    number: int
    part_of: Job | None = None
    remembered: _Numbers | None = field(default=None, compare=False, repr=False)

    def wanted(self) -> bool:
        if self.part_of is not None and not self.part_of.wanted():
            return False
        return 0 < self.number >= _pages.get(self.page, _Numbers()).get(self.name, 0)


_pages: WeakValueDictionary[str, _Numbers] = WeakValueDictionary()
_latest: OrderedDict[str, _Numbers] = OrderedDict()  # of these, what is kept though no job is
_lock = threading.Lock()


def begin(page: str | None, name: str, number: Any, part_of: Job | None = None) -> Job:
    """The job of that number; those of the same page and name with lower ones are no longer wanted.

    What is no number that a page's script gives makes a job that is not wanted, and changes nothing.
    """
    page = page or ""
    good = isinstance(number, (int, float)) and 1 <= number <= GREATEST and len(page) <= LONGEST_NAME
    if not good:
        return Job(page, name, 0, part_of)
    with _lock:
        numbers = _pages.setdefault(page, _Numbers())
        numbers[name] = max(int(number), numbers.get(name, 0))
        _latest[page] = numbers
        _latest.move_to_end(page)
        while len(_latest) > REMEMBERED:
            _latest.popitem(last=False)
    return Job(page, name, int(number), part_of, numbers)


def does(name: str) -> Callable[[Function], Function]:
    """Decorator for the function of an event that does the jobs of a name. Its first input is the number."""

    def marked(function: Function) -> Function:
        function.does_job = name  # type: ignore[attr-defined]
        return function

    return marked


def begin_event(function: Callable[..., Any] | None, page: str | None, inputs: list[Any]) -> Job | None:
    """The job of an event, by its function and inputs; None where it does none."""
    name = getattr(function, "does_job", None)
    return begin(page, name, inputs[0]) if name and inputs else None


def ended(name: str) -> Callable[[float, gr.Request], None]:
    """For an event upon which nothing of that name is wanted any more."""

    def end(number: float, request: gr.Request) -> None:
        begin(request.session_hash, name, number)

    return end
