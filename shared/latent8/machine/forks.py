"""Children that are forked after a codec has run here, as multiprocessing and `datasets.map(num_proc=)` make them."""

from __future__ import annotations

import os
from functools import cache


@cache
def survive_forks() -> None:
    """From here on, forked children run torch on one thread each.

    OpenMP's other threads are not forked with their parent: the first operation that is given out to them would wait
    for ever. One thread is also the right number for a child beside others; with more it would hang again.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
