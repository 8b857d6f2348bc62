"""latent8 beside plain diffusers calls on one picture: milliseconds from picture to latents, and back to a picture.

    python benchmarks/speed.py PICTURE

Both sides begin and end with a PIL image in memory. diffusers goes no further than the latents, in float32 and in
torch's default layout; `Codec.encode` and `Codec.decode` also quantise, entropy-code and write or check the blob.
The weights of taesd's shape are random: they take as long as taesd's own. Contenders take turns, round by round;
times are medians, and a ratio is the median of each round's own ratio to diffusers with taesd's shape.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.utils import logging as diffusers_logging
from PIL import Image, ImageOps

from latent8 import Codec
from latent8.models import Model, model_named

Encode = Callable[[Image.Image], Any]
Decode = Callable[[Any], Image.Image]
Contenders = dict[str, tuple[Encode, Decode]]  # by name; the first is what the others are compared with
Times = dict[str, list[float]]  # seconds, one for each round


class PlainDiffusers:
    """The calls that diffusers documents, with the least that turns PIL images into tensors and back."""

    def __init__(self, location: str):
        self.autoencoder = AutoencoderTiny.from_pretrained(location, torch_dtype=torch.float32, low_cpu_mem_usage=False)
        self.autoencoder.eval().requires_grad_(False)

    @torch.inference_mode()
    def encode(self, image: Image.Image) -> torch.Tensor:
        """-> latents [1, 4, H/8, W/8]."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        return self.autoencoder.encode(pixels / 127.5 - 1).latents

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> Image.Image:
        sample = self.autoencoder.decode(latents).sample[0]
        pixels = ((sample + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
        return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def random_taesd(folder: Path) -> Model:
    """A model of taesd's shape (diffusers' default AutoencoderTiny) with random weights, written to the folder."""
    torch.manual_seed(0)
    autoencoder: Any = AutoencoderTiny()
    autoencoder.save_pretrained(folder, safe_serialization=True)
    return replace(model_named("taesd"), source=str(folder.resolve()), bundled=True)


def contenders(taesd: Model, device: str) -> tuple[Contenders, Codec]:
    """All that is timed, and one of the codecs, to ask for its precision."""
    plain = {
        "diffusers, taesd's shape": PlainDiffusers(taesd.location),
        "diffusers, l8-tiny": PlainDiffusers(model_named("l8-tiny").location),
    }
    codecs = {"latent8, taesd's shape": Codec(taesd, device)}
    codecs |= {f"latent8, {name}": Codec(name, device) for name in ("l8-tiny", "l8-photo")}
    both: dict[str, Any] = {**plain, **codecs}
    return {name: (c.encode, c.decode) for name, c in both.items()}, codecs["latent8, l8-photo"]


def measure(all_contenders: Contenders, image: Image.Image, rounds: int) -> tuple[Times, Times]:
    """Encode and decode times of each contender; a first round is not counted."""
    encode_times: Times = {name: [] for name in all_contenders}
    decode_times: Times = {name: [] for name in all_contenders}
    for _ in range(1 + rounds):
        for name, (encode, decode) in all_contenders.items():
            started = time.perf_counter()
            encoded = encode(image)
            between = time.perf_counter()
            decode(encoded)
            encode_times[name].append(between - started)
            decode_times[name].append(time.perf_counter() - between)
    for times in (*encode_times.values(), *decode_times.values()):
        del times[0]
    return encode_times, decode_times


def milliseconds(values: Sequence[float]) -> str:
    return f"{1000 * statistics.median(values):.0f}"


def speed_up(reference: Sequence[float], values: Sequence[float]) -> str:
    """Median over the rounds: how many times as fast as the reference."""
    return f"{statistics.median(r / v for r, v in zip(reference, values, strict=True)):.2f}"


def markdown(encode_times: Times, decode_times: Times) -> str:
    reference = next(iter(encode_times))
    lines = ["|  | encode, ms | times as fast | decode, ms | times as fast |", "| --- | ---: | ---: | ---: | ---: |"]
    for name in encode_times:
        cells = [name]
        for times in (encode_times, decode_times):
            cells += [milliseconds(times[name]), speed_up(times[reference], times[name])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions(codec: Codec, image: Image.Image, rounds: int) -> str:
    """One line on what the figures hold for."""
    capabilities = torch.cpu.get_capabilities()
    amx = "with" if capabilities.get("amx_bf16") else "without"
    precision = str(codec.network.dtype).removeprefix("torch.")
    name = capabilities.get("cpu_name", platform.processor())
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    size = f"{image.width} x {image.height}, median of {rounds} rounds"
    return f"{size}, {name} {amx} AMX, {threads}; latent8 in {precision}, diffusers in float32"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="cropped and scaled to the size")
    parser.add_argument("--size", type=int, nargs=2, default=(768, 512), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args(argv)
    if any(side % 8 for side in args.size):
        parser.error("--size must be multiples of 8: plain diffusers takes no other")
    diffusers_logging.set_verbosity_error()  # it warns of an entry in the config that it wrote itself
    with Image.open(args.picture) as picture:
        image = ImageOps.fit(picture.convert("RGB"), tuple(args.size))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        timed, codec = contenders(random_taesd(Path(folder)), "cpu")
        print(f"measuring {len(timed)} contenders", file=sys.stderr)
        encode_times, decode_times = measure(timed, image, args.rounds)
    print(f"{markdown(encode_times, decode_times)}\n\n{conditions(codec, image, args.rounds)}")


if __name__ == "__main__":
    main()
