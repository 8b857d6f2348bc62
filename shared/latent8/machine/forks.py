"""Processes forked after a codec has run, as multiprocessing and `datasets.map(num_proc=)` make them."""

from __future__ import annotations

import os
from functools import cache


@cache
def survive_forks() -> None:
    """Let processes that are forked from now on run torch on one thread each.

    OpenMP's other threads are not forked with their parent: an operation that is shared out to them would wait for
    ever. One thread is also the right number for a process beside others.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
