"""Parallel work on many pictures: a call for each item, several at a time, results in order.

On a CPU, pictures of usual size are best spread over the cores one by one, each run whole on one thread: reading,
network and entropy coding of different pictures then overlap by themselves, and no thread waits for another after each
layer. Batches were no faster there. A large picture uses the whole machine on its own, and several at once could take
too much memory: large pictures are run one at a time, on all threads, when their result is asked for. So are pictures
that would not fit into memory once per core, as with the full autoencoders.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from latent8.errors import Latent8Error, ModelError

LARGE_PIXELS, LARGE_BYTES = 2_000_000, 512 << 20  # least size of a large picture, and of its activations
Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key")
Loaded = TypeVar("Loaded")


def map_in_order(
    call: Callable[[Item], Result],
    items: Iterable[Item],
    is_large: Callable[[Item], bool],
    workers: int | None = None,
) -> Iterator[Result | Latent8Error]:
    """Give call(item) for each item, in order, or the Latent8Error that the call raised.

    is_large: whether an item is run alone, told without decoding it. workers: items at a time, by default as many as
    torch has threads. At most twice as many items are read ahead of the results that were asked for. `items` is read in
    the caller's thread; an exception that it raises comes after the results of the items before. Any other exception of
    a call is raised in place of its result.
    """
    import torch

    workers = workers or torch.get_num_threads()
    source, ended = iter(items), None  # ended: what `items` raised
    waiting: deque[tuple[Item, Future]] = deque()
    with _pool(workers) as pool:
        while True:
            try:
                for item in islice(source, 2 * workers - len(waiting)):
                    waiting.append((item, pool.submit(_unless_large, call, item, is_large)))
            except Exception as error:
                source, ended = iter(()), error
            if not waiting:
                break
            item, future = waiting.popleft()
            done, result = future.result()
            yield result if done else _attempt(call, item)
    if ended:
        raise ended


def large(n_pixels: int, bytes_per_pixel: int, free_bytes: int) -> bool:
    """Whether a picture is run alone. bytes_per_pixel: of its activations. free_bytes: memory that is free."""
    share = free_bytes // (2 * (os.cpu_count() or 1))
    return n_pixels >= LARGE_PIXELS or n_pixels * bytes_per_pixel > min(LARGE_BYTES, share)


def failing_once(load: Callable[[Key], Loaded]) -> Callable[[Key], Loaded]:
    """`load`, but a key that raised a ModelError raises it again at once: for many blobs of one missing model.

    Threads that ask for one key at the same time wait for the first of them.
    """
    failed: dict[Key, ModelError] = {}
    turns: dict[Key, threading.Lock] = {}

    def loaded(key: Key) -> Loaded:
        with turns.setdefault(key, threading.Lock()):
            if key in failed:
                raise failed[key]
            try:
                return load(key)
            except ModelError as error:
                failed[key] = error
                raise

    return loaded


def _unless_large(call: Callable[[Any], Any], item: Any, is_large: Callable[[Any], bool]) -> tuple[bool, Any]:
    """Run the call unless the item is large -> whether it was run, and its result."""
    return (False, None) if is_large(item) else (True, _attempt(call, item))


def _attempt(call: Callable[[Item], Result], item: Item) -> Result | Latent8Error:
    try:
        return call(item)
    except Latent8Error as error:
        return error


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch runs each operation on one thread; the caller's thread keeps its number."""
    import torch

    n_threads = torch.get_num_threads()
    started = threading.Barrier(workers + 1)

    def start() -> None:
        torch.set_num_threads(1)  # for this thread, and as the default of threads that begin later
        started.wait()

    pool = ThreadPoolExecutor(workers, "latent8", start)
    try:
        for _ in range(workers):
            pool.submit(int)  # none is idle until all have started, so each makes a thread
        started.wait()
        torch.set_num_threads(n_threads)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
