"""The verbs of `latent8 library`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent8.cli import console
from latent8.errors import LibraryError
from latent8.library.library import Hit, Library
from latent8.library.records import Record
from latent8.machine.disk import write_file


def _add(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    with _opened(args, must_exist=False) as library, tqdm(unit="picture", disable=None) as bar:
        counts = dict.fromkeys(("added", "known", "updated", "failed"), 0)
        options = {"quality": args.quality, "copy": args.copy, "inline": args.inline}
        for outcome in library.add_each(args.sources, **options):
            counts[outcome.result] += 1
            bar.update()
            if outcome.error:
                with tqdm.external_write_mode():
                    _say(outcome.error, outcome.name)
        total = len(library)
    print(f"{args.library}: {', '.join(f'{n:,} {result}' for result, n in counts.items())}; {total:,} in all")
    return int(counts["failed"] > 0)


def _search(args: argparse.Namespace) -> int:
    with _opened(args) as library:
        if not Path(args.query).exists():
            raise LibraryError(f"There is no file {args.query}.")
        vectors = library.vectors_of(args.query, args.any_orientation)
        started = time.perf_counter()
        hits = library.search_vectors(vectors, args.k, min_score=args.min_score, exact=args.exact)
        seconds = time.perf_counter() - started
        for hit in hits:
            print(json.dumps(_described(hit)) if args.json else _line(hit))
        if not hits and not args.json:
            print(f"Nothing in {args.library} has a score of at least {args.min_score}.")
        if args.output:
            from latent8.library.sheet import sheet_of

            image = sheet_of(Path(args.query).name, hits, seconds)
            _write_picture(args.output, image)
    return 0


def _list(args: argparse.Namespace) -> int:
    with _opened(args) as library:
        for record in library.records():
            print(json.dumps(_facts(record)) if args.json else f"{record.name}  ({_size(record)})")
    return 0


def _show(args: argparse.Namespace) -> int:
    failed = 0
    with _opened(args) as library:
        for name in args.names:
            found = library.find(name)
            if not found:
                failed = _say(LibraryError(f"There is no such picture in {args.library}."), name)
            for record in found:
                facts = _facts(record) | {"missing": library.hit(record).missing}
                if args.json:
                    print(json.dumps(facts))
                else:
                    print(record.name)
                    for key, value in facts.items():
                        print(f"  {key:<10}{_printable(str(value))}")
    return failed


def _remove(args: argparse.Namespace) -> int:
    failed = 0
    with _opened(args) as library:
        for name in args.names:
            found = library.find(name)
            if not found:
                failed = _say(LibraryError(f"There is no such picture in {args.library}."), name)
            elif len(found) > 1:
                ids = ", ".join(record.id for record in found[:5])
                failed = _say(LibraryError(f"{len(found)} pictures have this name: name one by its id ({ids})."), name)
            else:
                library.remove(found)
                print(f"{found[0].name} removed")
    return failed


def _duplicates(args: argparse.Namespace) -> int:
    from latent8.library.duplicates import duplicate_groups

    rows, count = [], 0
    with _opened(args) as library:
        for number, group in enumerate(duplicate_groups(library, args.min_score), 1):
            count = number
            for hit in group:
                rows.append({"group": number, **_described(hit)})
                if args.json:
                    print(json.dumps(rows[-1]))
            if not args.json:
                print(f"Group {number}:")
                print("\n".join(f"  {_line(hit)}" for hit in group))
    if args.output:
        from latent8.library.export import group_table

        write_file(args.output, group_table(rows).encode())
    if not args.json:
        print(f"{args.library}: {count:,} groups, {len(rows):,} pictures")
    return 0


def _check(args: argparse.Namespace) -> int:
    from latent8.library.checking import check

    looked, wrong = 0, 0
    with _opened(args) as library:
        for finding in check(library):
            looked += finding.record is not None
            if finding.problem:
                wrong += 1
                print(finding.problem)
    print(f"{args.library}: {looked:,} pictures looked at, {wrong:,} problems")
    return int(wrong > 0)


def _reindex(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from latent8.library.reindexing import reindex

    if "://" in args.library:
        raise LibraryError("A server keeps its own index: reindex is for a library in a folder.")
    with tqdm(unit="picture", disable=None) as bar:
        done = reindex(Path(args.library), args.vector, args.device, lambda count: bar.update(count - bar.n))
    for name in done.lost:
        _say(LibraryError("Its blob is missing, so that it has no vector of the new kind."), name)
    damaged = f", {done.damaged_lines:,} damaged lines of the journal passed over" if done.damaged_lines else ""
    print(f"{args.library}: {done.pictures:,} pictures indexed{damaged}")
    return int(bool(done.lost or done.damaged_lines))


def _export(args: argparse.Namespace) -> int:
    from latent8.library import export

    way, failed, count = export.chosen_way(args.output, args.what), 0, 0
    with _opened(args) as library:
        hits = _chosen(library, args)
        target, what = Path(args.output), args.what or export.BLOBS
        if way == "table":
            text = export.table_text(hits)
            write_file(target, text.encode())
            count = text.count("\n") - 1
        else:
            write = export.write_zip if way == "zip" else export.write_folder
            for one in write(target, hits, what):
                count += not one.error
                if one.error:
                    failed = _say(one.error, one.record.name)
    print(f"{args.output}: {count:,} {'rows' if way == 'table' else what}")
    return int(failed > 0)


def _chosen(library: Library, args: argparse.Namespace) -> Iterator[Hit]:
    if args.like:
        yield from library.search(args.like, args.k)
    else:
        yield from map(library.hit, library.records())


def _evaluate(args: argparse.Namespace) -> int:
    from latent8.library.evaluation.run import evaluate

    return evaluate(Path(args.folder), Path(args.output) if args.output else None, args.url, args.device)


def _opened(args: argparse.Namespace, must_exist: bool = True) -> Library:
    """Open the library that is named. Raises LibraryError where it has to be there, and is not."""
    if must_exist and "://" not in args.library:
        from latent8.library.places import is_library

        if not is_library(Path(args.library)):
            raise LibraryError(
                f"There is no library in {args.library}: make one with `latent8 library add {args.library} PHOTOS`."
            )
    options: dict[str, Any] = {name: getattr(args, name, None) for name in ("vector", "blobs", "device")}
    return Library(args.library, **options)


def _described(hit: Hit) -> dict[str, Any]:
    return {"score": round(hit.score, 4), "missing": hit.missing, **_facts(hit.record)}


def _facts(record: Record) -> dict[str, Any]:
    facts = record.payload()
    facts.pop("stamp", None)
    if "blob" in facts:
        facts["blob"] = "in the record"
    return {"id": record.id, **facts}


def _line(hit: Hit) -> str:
    path = _printable(hit.record.path)
    missing = f"  [its blob is missing: {path}]" if hit.missing else ""
    where = f"  {path}" if path else ""
    return f"{hit.score:7.4f}  {hit.record.name}  ({_size(hit.record)}){missing or where}"


def _printable(path: str) -> str:
    """A path without what a terminal would obey."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def _size(record: Record) -> str:
    quality = f", quality {record.quality}" if record.quality is not None else ""
    return f"{record.width} x {record.height}, {record.bytes:,} bytes, {record.model}{quality}"


def _write_picture(target: str, image: Any) -> None:
    from latent8.pictures.output import picture_bytes

    write_file(target, picture_bytes(image, Path(target).suffix))
    print(f"-> {target}")


def _say(error: Exception, name: str) -> int:
    return console.fail(error, Path(name))


RUNS = {
    "add": _add,
    "search": _search,
    "list": _list,
    "show": _show,
    "remove": _remove,
    "duplicates": _duplicates,
    "check": _check,
    "reindex": _reindex,
    "export": _export,
    "evaluate": _evaluate,
}
