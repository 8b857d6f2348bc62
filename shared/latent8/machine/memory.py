"""Free memory, for a network's activations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")  # has a container's limit, which the machine's own figures do not show


def free_bytes(device: torch.device) -> int:
    """Free memory in bytes: of a CUDA device, else of the machine or container that this process runs in."""
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # held by torch
        return torch.cuda.mem_get_info(device)[0] + unused
    return min(psutil.virtual_memory().available, _left_in_container())


def _left_in_container() -> float:
    """Bytes that the container's limit leaves, cached files included, which the system gives back; else infinity."""
    try:
        limit, used, kinds = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current", "memory.stat"))
    except OSError:  # no container, or one with the older version of cgroups
        return float("inf")
    if limit.strip() == "max":
        return float("inf")
    kept = dict(line.split() for line in kinds.splitlines()).get("inactive_file", 0)
    return max(0, int(limit) - int(used) + int(kept))
