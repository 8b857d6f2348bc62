"""A folder of files -> a mirrored folder of what they convert to: resumable, and a bad file does not stop the rest."""

from __future__ import annotations

import csv
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TextIO, TypeVar

from latent8.bulk.names import escaped
from latent8.errors import Latent8Error
from latent8.file_format.blob import Encoded
from latent8.machine.disk import delete_partial_files, identity, write_file
from latent8.machine.parallel import map_in_order

WRITTEN, SKIPPED, FAILED = "written", "skipped", "failed"
REPORT_COLUMNS = ["source", "target", "result", "source_bytes", "bytes", "width", "height", "bpp", "message"]
AnyPath = TypeVar("AnyPath", bound=PurePath)
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Job:
    """plain: the target that it has while no other file shares its stem; None where that is the target."""

    source: Path
    target: Path
    plain: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one file: data is what was written, error says why nothing was."""

    job: Job
    result: str
    data: bytes = b""
    error: Exception | None = None


def files_below(folder: Path, output: Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder in name order, and folders that cannot be read.

    Hidden folders and an output folder inside it are left out; links are not followed.
    """
    unreadable: list[Path] = []
    found, left_out = [], output.resolve() if output.resolve() != folder.resolve() else None
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        shown = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in shown if (Path(parent) / name).resolve() != left_out)
        found += [Path(parent) / name for name in sorted(names)]
    return found, unreadable


def plan(
    folder: Path, output: Path, wanted: Callable[[Path], bool], stem_of: Callable[[Path], str], suffix: str
) -> tuple[list[Job], int]:
    """-> a Job for each file that is wanted, at the same place below the output; how many other files there are.

    A target's name is the stem with the suffix; files that would share one (photo.jpg and photo.png) keep their own
    endings in it (photo.jpg.l8, photo.png.l8), so a name does not depend on which is converted first. Hidden files
    are others. Folders that cannot be read are jobs too, which will fail.
    """
    found, unreadable = files_below(folder, output)
    sources = [path for path in found if wanted(path) and not path.name.startswith(".")]
    stems = {path: path.with_name(stem_of(path)) for path in sources}

    def target(name: Path) -> Path:
        return output / f"{name.relative_to(folder)}{suffix}"

    jobs = [
        Job(path, target(name), None if name == stems[path] else target(stems[path]))
        for path, name in distinct_names(stems).items()
    ]
    return jobs + [Job(path, target(path)) for path in unreadable], len(found) - len(jobs)


def settle_names(jobs: list[Job], is_ours: Callable[[Path], bool]) -> tuple[list[Job], list[Outcome]]:
    """Give results of an earlier run, when fewer files shared a stem, the names that they have now.

    photo.l8 is of photo.jpg or of photo.jpeg, which has come since, and it has to become photo.jpg.l8. It is of the
    one that has not changed since it was written (by ctime, which changes also when a file is copied or moved), if that
    is one alone; else those files fail with a sentence that says what to do. Gives the jobs that are left, and the
    failed ones. is_ours: whether a file is a result.
    """
    by_target = {job.target: job for job in jobs}
    earlier: dict[Path, list[Job]] = {}
    for job in jobs:
        if job.plain and job.plain.exists() and is_ours(job.plain):
            earlier.setdefault(job.plain, []).append(job)
    unclear: dict[Job, str] = {}
    for plain, sharing in earlier.items():
        waiting = [job for job in sharing if not job.target.exists()]
        waiting += [by_target[plain]] if plain in by_target else []
        before = [job for job in waiting if not _changed_since(job.source, plain)]
        if len(before) == 1:
            os.rename(plain, before[0].target)
        else:
            names = " or ".join(str(job.target.name) for job in sharing)
            text = f"{plain} is of one of several files with that stem: rename it to {names}, or delete it."
            unclear |= dict.fromkeys(waiting or sharing, text)
    left = [job for job in jobs if job not in unclear]
    return left, [Outcome(job, FAILED, error=Latent8Error(text)) for job, text in unclear.items()]


def _changed_since(source: Path, result: Path) -> bool:
    found, written = source.stat(), result.stat().st_mtime_ns
    return max(found.st_ctime_ns, found.st_mtime_ns) > written


def distinct_names(names: dict[AnyPath, AnyPath]) -> dict[AnyPath, AnyPath]:
    """Path -> its name without ending; where several share one, even but for case, it becomes the whole path."""
    names = dict(names)
    while True:
        taken = Counter(str(name).lower() for name in names.values())
        shared = [path for path, name in names.items() if taken[str(name).lower()] > 1 and name != path]
        if not shared:
            return names
        names |= {path: path for path in shared}


def convert_all(
    jobs: Iterable[Job],
    convert: Callable[[Path], bytes],
    is_large: Callable[[Path], bool],
    skip_existing: bool = False,
    replaceable: Callable[[Path], bool] = lambda _: True,
) -> Iterator[Outcome]:
    """Convert and write each job's file, several at a time; first those that are skipped, then the others in order.

    skip_existing: leave out what has a target already. replaceable: which targets that exist are overwritten; any
    other is an error, and so is one that is a source itself. Every file is written under a temporary name and renamed,
    so a run that is killed leaves whole files only; what it left of one more goes with the next run. Raises OSError
    when the disk is full.
    """
    jobs, todo = list(jobs), []
    sources = {identity(job.source) for job in jobs} - {None}
    for job in jobs:
        exists = job.target.exists()
        if exists and identity(job.target) in sources:
            yield Outcome(job, FAILED, error=Latent8Error(f"{job.target} is an input itself: name another folder."))
        elif exists and skip_existing:
            yield Outcome(job, SKIPPED)
        elif exists and not replaceable(job.target) and not job.target.is_dir():
            text = f"{job.target} exists: leave it out with --skip-existing, or overwrite it with --force."
            yield Outcome(job, FAILED, error=Latent8Error(text))
        else:
            todo.append(job)
    for folder in {job.target.parent for job in todo}:
        delete_partial_files(folder)
    results = map_in_order(lambda job: convert(job.source), todo, lambda job: is_large(job.source))
    for job, data in zip(todo, results, strict=True):
        yield Outcome(job, FAILED, error=data) if isinstance(data, Exception) else _written(job, data)


def _written(job: Job, data: bytes) -> Outcome:
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_file(job.target, data)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return Outcome(job, FAILED, error=error)
    return Outcome(job, WRITTEN, data)


def n_bytes(path: Path) -> int:
    """Size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def is_report(path: Path) -> bool:
    """Whether a file starts as a Report does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(1000).rstrip() == ",".join(REPORT_COLUMNS)
    except OSError:
        return False


class Report:
    """A CSV file with a row for each outcome, written as they come; paths as `escaped` gives them."""

    def __init__(self, file: TextIO):
        self._file, self._rows = file, csv.DictWriter(file, REPORT_COLUMNS)
        self._rows.writeheader()

    def add(self, outcome: Outcome, encoded: Encoded | None, message: str) -> None:
        """encoded: what the blob says, where there is one. Sizes in bytes and pixels, bpp in bits per pixel."""
        job = outcome.job
        row: dict[str, str | int | float] = {"result": outcome.result, "message": escaped(message)}
        row |= {"source": escaped(job.source.as_posix()), "target": escaped(job.target.as_posix())}
        row |= {"source_bytes": n_bytes(job.source) or "", "bytes": len(outcome.data) or ""}
        if encoded:
            row |= {"width": encoded.width, "height": encoded.height, "bpp": round(encoded.bpp, 4)}
        self._rows.writerow(row)
        self._file.flush()
