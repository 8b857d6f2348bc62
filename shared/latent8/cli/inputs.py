"""Inputs of a command: files, one folder, or standard input."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from latent8 import exchange
from latent8.errors import Latent8Error
from latent8.file_format.blob import Encoded
from latent8.latents import Latents

STANDARD = Path("-")  # standard input, or output
MOST_BYTES = 1 << 30  # of standard input, whose size is not known before
LATENTS_PNG = exchange.SUFFIXES["png"]


@dataclass(frozen=True)
class Input:
    """A file that is named as input, or standard input."""

    path: Path

    @property
    def name(self) -> str:
        return "standard input" if self.path == STANDARD else self.path.name

    @cached_property
    def content(self) -> Path | bytes:
        """The path, for who opens files; the bytes of standard input, read once. Raises Latent8Error for the latter."""
        return _standard_input() if self.path == STANDARD else self.path

    def read(self) -> bytes:
        """Read the input whole. Raises OSError for a file, Latent8Error for standard input, that cannot be read."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def latents(self, args: argparse.Namespace) -> Encoded | Latents:
        """Open it as latents in any format. args: space, raw and max_pixels. Raises as `read`, and BlobError."""
        return exchange.open_latents(self.read(), args.space, raw=args.raw, max_pixels=args.max_pixels)

    @property
    def n_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def stem_of(source: Path) -> str:
    """File name without its ending, the two of NAME.encoded.png included."""
    return "stdin" if source == STANDARD else exchange.stem_of(source.name)


def folder_of(args: argparse.Namespace) -> Path | None:
    """The folder that is the one input, or None where files are given. Raises Latent8Error for anything between."""
    found = [path for path in args.files if path != STANDARD and path.is_dir()]
    if not found and (args.skip_existing or args.report):
        raise Latent8Error("--skip-existing and --report are for a folder: name one, with --output.")
    if found and (len(args.files) > 1 or args.output in (None, "-")):
        raise Latent8Error(f"{found[0]} is a directory: give it alone, and with -o the folder to write to.")
    return found[0] if found else None


def _standard_input() -> bytes:
    stream = sys.stdin.buffer
    if stream.isatty():
        raise Latent8Error("Standard input is a terminal: name a file, or send one in with < or a pipe.")
    parts, n_bytes = [], 0
    while part := stream.read(1 << 20):
        n_bytes += len(part)
        if n_bytes > MOST_BYTES:
            raise Latent8Error(f"Standard input gives more than {MOST_BYTES:,} bytes: name a file.")
        parts.append(part)
    return b"".join(parts)
