"""Where results go: beside their input, into the file or folder that -o names, or to standard output.

No input is ever overwritten, and nothing else without --force, but for what a command says that it replaces.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from latent8.cli import console
from latent8.cli.inputs import STANDARD, Input, stem_of
from latent8.errors import Latent8Error
from latent8.exchange import SUFFIXES
from latent8.machine.disk import identity, is_special, write_file
from latent8.pictures.output import require_format

_SEPARATORS = tuple({os.sep, os.altsep or os.sep, "/"})


class Targets:
    """Names and writes the results of one command, and refuses what would lose a file.

    args: files, output and force. ending: of a result's name beside its input, or in a folder. any_picture: with -o,
    a picture's format is that of the name. replaces: which existing files are overwritten without --force, and what
    to call them in "is no ...".
    """

    def __init__(
        self,
        args: argparse.Namespace,
        ending: str,
        *,
        any_picture: bool = False,
        replaces: tuple[Callable[[Path], bool], str] | None = None,
    ):
        self._output, self._force, self._ending = args.output, args.force, ending
        self._any_picture, self._replaces = any_picture, replaces
        self._sources = {identity(path): path for path in args.files if path != STANDARD}
        self._written: set[Path] = set()
        self._folder = _folder(self._output, len(args.files))

    def of(self, source: Path) -> Path:
        """Where the result of this input goes. Raises Latent8Error where nothing may be written."""
        target = self._named(source)
        if target == STANDARD:
            if sys.stdout.isatty():
                raise Latent8Error("Standard output is a terminal: name a file with -o, or use > or a pipe.")
            return target
        self._require_no_input(target, source)
        if self._any_picture:
            require_format(self.format_of(target))
        else:
            self._require_own_ending(target)
        if target in self._written:
            raise Latent8Error(f"{target} was just written from another input: rename one of the two.")
        self._require_free(target)
        return target

    def format_of(self, target: Path) -> str:
        """Ending of the format to write, ".png" say."""
        default = Path(self._ending).suffix or self._ending
        unnamed = target == STANDARD or (is_special(target) and not target.suffix)
        return default if unnamed or not self._any_picture else target.suffix

    def write(self, target: Path, data: bytes) -> None:
        if target == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if self._output is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, data)
        self._written.add(target)

    def _named(self, source: Path) -> Path:
        name = f"{stem_of(source)}{self._ending}"
        if self._folder:
            return self._folder / name
        if self._output is not None:
            return Path(self._output)
        return STANDARD if source == STANDARD else source.with_name(name)

    def _require_own_ending(self, target: Path) -> None:
        own, found = Path(self._ending).suffix or self._ending, target.suffix.lower()
        others = {*Image.registered_extensions(), *(Path(f"x{ending}").suffix for ending in SUFFIXES.values())}
        if found != own and found in others:
            hint = " (decode makes pictures)" if own == ".l8" else ""
            raise Latent8Error(f"This writes {own} files, and {target} is named as another kind: name it {own}{hint}.")

    def _require_no_input(self, target: Path, source: Path) -> None:
        same = self._sources.get(identity(target)) if identity(target) else None
        if same is not None:
            what = "the input itself" if same == source else f"the input {same}" if same != target else "an input too"
            raise Latent8Error(f"{target} is {what}: name another file with -o.")

    def _require_free(self, target: Path) -> None:
        if is_special(target):
            return
        if target.is_dir():
            raise Latent8Error(f"{target} is a folder: name another file with -o.")
        if self._force or not target.exists() or (self._replaces and self._replaces[0](target)):
            return
        what = f"exists, and is no {self._replaces[1]}" if self._replaces else "exists"
        raise Latent8Error(f"{target} {what}: name another file with -o, or overwrite it with --force.")


def convert_each(
    args: argparse.Namespace, targets: Targets, convert: Callable[[Input, str], bytes], compared: bool = False
) -> int:
    """Convert every input and write it; go on after a bad one. Gives 2 where one failed.

    convert: input and ending of the format to write -> bytes of the file. compared: tell how much smaller it is.
    """
    failed, done = 0, []
    for path in args.files:
        source = Input(path)
        try:
            target = targets.of(path)
            data = convert(source, targets.format_of(target))
            targets.write(target, data)
            done.append((source.n_bytes, len(data)))
        except BrokenPipeError:
            raise
        except (Latent8Error, OSError) as error:
            failed = console.fail(error, path)
            continue
        sizes = console.size_change(*done[-1]) if compared else f"{len(data):,} bytes"
        shown = "standard output" if target == STANDARD else target
        console.say(f"{source.name if path == STANDARD else path} -> {shown} ({sizes})", args.quiet, target == STANDARD)
    if compared and len(done) > 1:
        before, after = map(sum, zip(*done, strict=True))
        console.say(f"{len(done)} files: {console.size_change(before, after)}", args.quiet)
    return failed


def _folder(output: str | None, n_files: int) -> Path | None:
    """The folder that -o means: one that is there, a name that ends in a slash, or any for several inputs."""
    if output == "-" and n_files > 1:
        raise Latent8Error("Standard output takes one result: give one file, or a folder with -o.")
    if output in (None, "-"):
        return None
    if not output:
        raise Latent8Error("-o names nothing: give it a file or a folder.")
    folder, slash = Path(output), output.endswith(_SEPARATORS)
    if not (slash or n_files > 1 or folder.is_dir()):
        return None
    if folder.exists() and not folder.is_dir():
        raise Latent8Error(f"{folder} is a file, where -o has to name a folder.")
    return folder
