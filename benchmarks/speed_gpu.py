"""Pictures per second on a CUDA device, from a picture in main memory to a blob and back, entropy coding counted in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from benchmarks import speed_contenders as who
from benchmarks.speed_report import table
from benchmarks.timing import Timing, measure
from latent8.zoo.registry import Model

SIDES = (512, 2048)  # pixels
ROUNDS = 15
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def pictures_per_second(
    photo: Image.Image,
    taesd: Model,
    quality: int,
    device: str = "cuda",
    dtypes: Sequence[torch.dtype] = DTYPES,
    sides: Sequence[int] = SIDES,
    rounds: int = ROUNDS,
) -> str:
    """A Markdown table, with the shares of the network, copies included, and of the entropy coding."""
    everyone = who.plain_contenders(taesd, device)
    for dtype in dtypes:
        ours = who.latent8_contenders(who.codecs(taesd, device, dtype), quality)
        everyone |= {f"{name}, {str(dtype)[6:]}": contender for name, contender in ours.items()}
    rows = []
    for side in sides:
        timings = measure(everyone, who.picture_of(side**2 / 1e6, photo), rounds)
        rows += [[name, str(side), *cells(timing)] for name, timing in timings.items()]
    header = [
        "pictures per second",
        "side",
        "encode",
        "network",
        "entropy coding",
        "decode",
        "network",
        "entropy coding",
    ]
    name = torch.cuda.get_device_name(device) if device == "cuda" else device
    return f"{table(header, rows)}\n\n{name}, one picture after another, median of {rounds} rounds, shares in per cent"


def cells(timing: Timing) -> list[str]:
    found = []
    for times in (timing.encode, timing.decode):
        shares = times.shares()
        found.append(f"{1 / times.median:.1f}")
        found += [
            f"{100 * shares[s] / times.median:.0f}" if s in shares else "–" for s in ("network", "entropy coding")
        ]
    return found
