"""Work of a request: loaded models, the GPU, progress, errors in the page."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

# isort: off
try:
    import spaces  # on ZeroGPU it must come before torch
except ImportError:  # the apps run without it wherever ZeroGPU is not meant
    spaces = None  # type: ignore[assignment]

import gradio as gr

from latent8.apps import bounds, budget, housekeeping, jobs, sizes
from latent8.codec import Codec
from latent8.errors import Latent8Error
from latent8.pool import CodecPool
from latent8.zoo.registry import model_named

# isort: on


T = TypeVar("T")
# for events that run a model: several may begin, one at a time has it
TAKE_TURNS: dict[str, Any] = {"concurrency_id": bounds.MODEL, "concurrency_limit": bounds.MODEL_SLOTS}
TILE_BYTES = 256 << 20  # of activations: others wait for a turn until a tile is done
MAX_PIXELS = 1_000_000 * bounds.PICTURE_MEGAPIXELS
POOL = CodecPool(  # shared by all requests; the largest model takes gigabytes
    max_pixels=lambda model: min(model.kind.app_pixels or MAX_PIXELS, MAX_PIXELS), most=3
)


def gpu(duration: Callable[..., int]) -> Callable:
    """Decorator for the one function that needs a GPU; `duration` gets the same arguments, gives seconds."""
    if spaces is None:
        return lambda function: function
    return spaces.GPU(duration=duration)  # type: ignore[attr-defined]


def gpu_seconds(model: str, n_pixels: int) -> int:
    return 10 + n_pixels // model_named(model).kind.pixels_per_gpu_second


@dataclass(frozen=True)
class Bar:
    """A stretch of the page's progress bar, called with the share of it that is done, 0 ... 1.

    It can be given to a GPU function, which ZeroGPU runs in another process. Outside of an event it shows nothing.
    Where the work is no longer wanted, it raises `jobs.Cancelled`, and where its time is over, `budget.OutOfTime`: the
    codec calls it after each tile.
    """

    text: str
    begin: float
    end: float
    job: jobs.Job | None = None

    def __call__(self, share: float) -> None:
        budget.check(self.job)
        gr.Progress()(self._at(share), desc=self.text)  # made here: it looks up the event that it runs in

    def part(self, text: str, begin: float, end: float) -> Bar:
        """From one share of this stretch to another; its text goes after this one's."""
        title = f"{self.text}: {text.lower()}" if self.text and text else self.text or text
        return Bar(title, self._at(begin), self._at(end), self.job)

    def _at(self, share: float) -> float:
        return self.begin + share * (self.end - self.begin)


def one_by_one(paths: list[str], noun: str, folder: Path, job: jobs.Job | None = None) -> Iterator[tuple[str, Bar]]:
    """Each file of a batch, with its stretch of the progress bar, whose text counts them.

    `folder`, of the request, and the files to come are kept for as long as it lasts. When the time of the request is
    over, or it has too many files or pixels, the files go on to come: what is tried with each then raises, through the
    bar or `budget.check`, the sentence of the file's row.
    """
    paths = list(dict.fromkeys(paths))  # a file that is named twice is done once
    pixels = 0
    for index, path in enumerate(paths):
        housekeeping.keep(folder, *paths[index : index + bounds.REQUEST_FILES])
        pixels += sizes.pixels_of(path)
        budget.leave_out(too_much(index, pixels))
        bar = Bar(f"{noun} {index + 1} of {len(paths)}", index / len(paths), (index + 1) / len(paths), job)
        with suppress(budget.OutOfTime, budget.LeftOut):
            bar(0)
        yield path, bar
    budget.leave_out("")


def too_much(n_before: int, n_pixels: int) -> str:
    """Why a file of a batch is left out, in a sentence: it is over what one request may have."""
    if n_before >= bounds.REQUEST_FILES:
        return f"Left out: one request may have {bounds.REQUEST_FILES} files. Send the others after these."
    if n_pixels > 1_000_000 * bounds.REQUEST_MEGAPIXELS:
        return (
            f"Left out: with it the request has {n_pixels / 1e6:,.0f} megapixels, over the limit of "
            f"{bounds.REQUEST_MEGAPIXELS:,}. Send the others after these."
        )
    return ""


def codec(model: str) -> Codec:
    """The codec of a model, loaded once. Raises ModelError."""
    found = POOL.codec(model)
    found.network.max_bytes = min(found.network.max_bytes, TILE_BYTES)
    return found


@contextmanager
def errors_in_the_page():
    """Turn the library's errors into a message in the page (and for API clients)."""
    try:
        yield
    except Latent8Error as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from None
    except OSError as error:
        reason = error.strerror or "the file cannot be read or written"
        raise gr.Error(f"The server could not do this: {html.escape(reason)}.", print_exception=False) from None


def required(value: T | None, message: str) -> T:
    """What the user has to choose first; an empty choice is an error in the page."""
    if not value:
        raise gr.Error(message, print_exception=False)
    return value


def message(error: Exception) -> str:
    """The sentence in an error, for a table."""
    return error.message if isinstance(error, gr.Error) else str(error)
