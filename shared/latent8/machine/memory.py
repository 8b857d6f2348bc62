"""How much memory there is for a network's activations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")  # of a container, whose limit the machine's own figures do not show


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a CUDA device, else in the machine or container that this process runs in."""
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch has it from before
        return torch.cuda.mem_get_info(device)[0] + unused
    return min(psutil.virtual_memory().available, _left_in_container())


def _left_in_container() -> float:
    """What the container's limit leaves, with what the system only keeps of files and gives back when asked."""
    try:
        limit, used, kinds = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current", "memory.stat"))
    except OSError:  # not in a container, or in one of an older kind
        return float("inf")
    if limit.strip() == "max":
        return float("inf")
    kept = dict(line.split() for line in kinds.splitlines()).get("inactive_file", 0)
    return max(0, int(limit) - int(used) + int(kept))
