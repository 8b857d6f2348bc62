"""A run over a folder: its progress, what became of each file, a report and a summary."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from latent8.bulk import folders
from latent8.cli import console
from latent8.errors import Latent8Error
from latent8.file_format.blob import Encoded
from latent8.machine.disk import identity, is_special


def output_folder(args: argparse.Namespace) -> Path:
    """Folder that -o names. Raises Latent8Error where it is a file."""
    output = Path(args.output)
    if output.exists() and not output.is_dir():
        raise Latent8Error(f"{output} is a file: name a folder with -o, since {args.files[0]} is one.")
    return output


def tell(
    args: argparse.Namespace,
    outcomes: Iterable[folders.Outcome],
    total: int,
    others: int,
    encoded_of: Callable[[folders.Outcome], Encoded],
    compared: bool = False,
) -> int:
    """Show the progress, tell and report what became of each file, and sum up; 1 where one failed.

    others: files left alone. encoded_of: of what was written. compared: tell how much smaller the results are.
    """
    from tqdm import tqdm

    if not total:
        raise Latent8Error(f"There is nothing to convert in {args.files[0]}.")
    counts = dict.fromkeys((folders.WRITTEN, folders.SKIPPED, folders.FAILED), 0)
    before = after = 0
    with ExitStack() as stack:
        report = folders.Report(stack.enter_context(_report_file(args))) if args.report else None
        bar = tqdm(outcomes, total=total, unit="file", disable=args.quiet or None)
        for outcome in stack.enter_context(bar):
            counts[outcome.result] += 1
            message = ""
            if outcome.error:
                with tqdm.external_write_mode():
                    console.fail(outcome.error, outcome.job.source)
                message = console.error_text(outcome.error, outcome.job.source)
            if outcome.result == folders.WRITTEN:
                before, after = before + folders.n_bytes(outcome.job.source), after + len(outcome.data)
            if report:
                report.add(outcome, encoded_of(outcome) if outcome.result == folders.WRITTEN else None, message)
    left = f", {others} other files left alone" if others else ""
    sizes = f"; {console.size_change(before, after)}" if compared and after else ""
    summary = ", ".join(f"{n:,} {result}" for result, n in counts.items())
    console.say(f"{args.output}: {summary}{left}{sizes}", args.quiet)
    return int(counts[folders.FAILED] > 0)


def _report_file(args: argparse.Namespace) -> TextIO:
    """The report, open for writing. Raises Latent8Error for a file that is no report, unless it is forced."""
    path = Path(args.report)
    if args.report == "-":
        raise Latent8Error("The report has to be a file: name one with --report.")
    if identity(path) and not (args.force or is_special(path) or folders.is_report(path)):
        raise Latent8Error(f"{path} exists, and is no such report: name another file, or overwrite it with --force.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", newline="", encoding="utf-8")
