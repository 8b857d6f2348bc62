"""The decoder's tab "Library": pictures found by what they look like, and given back from their latents."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from latent8.apps import budget, files, jobs, parts, visitors, widgets, wiring, work
from latent8.errors import BlobError, Latent8Error, LibraryError
from latent8.file_format.blob import is_blob
from latent8.file_format.reader import inspect
from latent8.library.adding import FAILED
from latent8.library.export import BLOBS, free_name, write_zip
from latent8.library.intake import uploaded
from latent8.library.item import Item
from latent8.library.library import Hit, Library
from latent8.library.records import Record
from latent8.library.vectors.base import opaque
from latent8.pictures.intake import SUFFIXES, pixel_count

MOST_HITS = 50
SIDE = 480  # longest side of a picture in the grid, in pixels
HINT = (
    "Photos, .l8 files, or ZIPs of them, as the encoder app gives. They are deleted an hour after they were last used."
)
ACCEPT = ",".join(["image/*", *sorted(SUFFIXES), ".l8", ".zip"])
SEARCH, ADDING = "search", "adding"  # names of the jobs


@dataclass(frozen=True)
class Found:
    """What a search gave: hits, and milliseconds of the search and of the reconstruction."""

    hits: Sequence[Hit]
    search_ms: float
    decode_ms: float
    pictures: list[tuple[str, str]]  # file, caption
    archive: str


def build_library() -> None:
    """The tab, with its endpoints /search and /library_add."""
    with gr.Row(elem_classes=["l8-work", "l8-columns"]):
        with gr.Column(scale=2, min_width=280):
            added = None if visitors.has_app_library() else build_own()
            query = widgets.drop_box("file", "Drop a photo or .l8 file to look for", "", ACCEPT, "library-query")
            with gr.Group(elem_classes=["l8-settings"]):
                k = gr.Slider(1, MOST_HITS, 8, step=1, label="How many", elem_id="library-k")
                turned = gr.Checkbox(label="Also mirrored or turned", elem_id="library-turned")
            signal = widgets.signals()
            button = gr.Button("Search", variant="primary", elem_id="library-search")
            status, stop = parts.status_and_stop("library-query")
        with gr.Column(scale=3, min_width=300):
            times = widgets.result("library-times", announced=True, early=False)
            grid = gr.Gallery(
                label="Found, decoded from the latents",
                show_label=False,
                height="auto",
                format="png",
                columns=4,
                object_fit="contain",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="library-hits",
                elem_classes=["l8-result", "l8-grid"],
                visible="hidden",
            )
            with gr.Row(elem_classes=["l8-result"]):  # each is there when there is something for it
                more = gr.Button("More like it", visible="hidden", elem_id="library-more")
                one = gr.DownloadButton("Download it (.l8)", visible="hidden", elem_id="library-one")
                archive = gr.DownloadButton("Download all (ZIP)", visible="hidden", elem_id="library-zip")
    records, chosen = gr.State([]), gr.State(None)  # kept on the server
    outputs = [times, grid, archive, records, chosen, more, one]

    settings = [query, k, turned]
    wiring.runs([button.click], search_in_page, settings, outputs, "library-query", status)
    wiring.runs([query.upload, signal.submit], search_again, settings, outputs, "library-query", status)
    wiring.runs([more.click], more_in_page, [chosen, k], outputs, "library-query", status)
    wiring.stops(stop, stop_search, outputs, "library-query")
    if added:
        # An error of before may hold no longer.
        gone = "(value) => value && value.html?.includes('l8-error') ? null : { __type__: 'update' }"
        added.upload(None, [times], [times], js=gone, **wiring.QUIET)
    grid.select(choose, [records], [chosen, more, one], **wiring.QUIET)
    endpoints()


def build_own() -> gr.HTML:
    """Where visitors add to a library of their own: the box."""
    title = "Drop photos and .l8 files for your library"
    with gr.Column(elem_classes=["l8-work", "l8-first"]):
        added = widgets.drop_box("files", title, HINT, ACCEPT, "library-files", multiple=True)
        status, stop = parts.status_and_stop("library-files")
        said = widgets.result("library-said", announced=True)
    wiring.runs([added.upload], add_in_page, [added], [said, added], "library-files", status)
    wiring.stops(stop, stop_adding, [said, added], "library-files")
    return added


def endpoints() -> None:
    """The endpoints for programs, on components that the page does not show."""
    uploads = gr.File(label="files", type="filepath", file_count="multiple", visible=False)
    query = gr.File(label="query", type="filepath", visible=False)
    k = gr.Number(5, label="k", precision=0, visible=False)
    turned = gr.Checkbox(False, label="any_orientation", visible=False)
    report, hits = gr.JSON(label="report", visible=False), gr.JSON(label="hits", visible=False)
    archive = gr.File(label="zip", visible=False)
    button = gr.Button(visible=False)
    button.click(library_add, [uploads], [report], api_name="library_add", **work.TAKE_TURNS)
    button.click(search, [query, k, turned], [hits, archive], api_name="search", **work.TAKE_TURNS)


def library_add(files: list[str] | None, request: gr.Request) -> dict:
    """Add photos, .l8 files or ZIPs of them to the library of this session, which is deleted when it is no longer used.

    Args:
        files: Photos in any common format, .l8 files, ZIPs of them.

    Returns:
        How many were added, known already, and failed, with the reasons, and how many there are in all.
    """
    paths = work.required(files, "Choose some files first.")
    counts: dict[str, int] = {"added": 0, "known": 0, "updated": 0, "failed": 0}
    reasons: list[str] = []
    with work.errors_in_the_page(), visitors.own(request.session_hash) as library:
        bar = work.Bar("Adding", 0, 1)
        for number, outcome in enumerate(library.add_each(_within_limits(uploaded(paths)))):
            counts[outcome.result] += 1
            if outcome.result == FAILED:
                reasons.append(f"{outcome.name}: {outcome.error}")
            bar(min(0.99, (number + 1) / max(len(paths), number + 2)))
            if len(library) > visitors.MOST_PICTURES:
                raise LibraryError(f"A library here holds at most {visitors.MOST_PICTURES:,} pictures: use your own.")
        return {**counts, "in_all": len(library), "reasons": reasons}


def _within_limits(items: Iterable[Item]) -> Iterator[Item]:
    """Items with their data, as many as one request may have: in place of the first that is too much, its sentence."""
    pixels = 0
    for number, item in enumerate(items):
        try:
            data, problem = item.read(), ""
            pixels += _pixels(data)
        except (Latent8Error, OSError):  # which is said when the item's turn comes
            yield item
            continue
        problem = work.too_much(number, pixels)
        if problem:
            yield replace(item, read=partial(_refused, problem))
            return
        yield replace(item, read=partial(bytes, data))


def _pixels(data: bytes) -> int:
    if not is_blob(data):
        return pixel_count(data)
    encoded = inspect(data)
    return encoded.width * encoded.height


def _refused(problem: str) -> bytes:
    raise LibraryError(problem)


def search(
    query: str | None, k: float | None, any_orientation: bool | None, request: gr.Request
) -> tuple[list[dict], str]:
    """Find the pictures of the library that look most like a photo or .l8 file.

    Args:
        query: A photo in any common format, or a .l8 file.
        k: How many to find at most, 1 to 50.
        any_orientation: Whether the query may be mirrored or turned.

    Returns:
        For each hit its score (cosine, -1 to 1), name, size in pixels and bytes of its blob, best first; the blobs
        as a ZIP.
    """
    path = work.required(query, "Choose a photo or .l8 file first.")
    with work.errors_in_the_page(), visitors.searched(request.session_hash) as library:
        hits, _ = _searched(library, Path(path), _count(k), bool(any_orientation))
        folder = files.request_folder()
        return [_described(hit) for hit in hits], _archive(folder, hits)


@jobs.does(ADDING)
def add_in_page(
    number: float, dropped: list[dict] | None, request: gr.Request, progress=gr.Progress()
) -> Iterator[tuple]:
    """The box is empty again when all is added; files that come meanwhile are added with those that are in it."""
    job = jobs.begin(request.session_hash, ADDING, number)

    def steps() -> Iterator[tuple]:
        if not dropped:
            yield widgets.shown(job.number, ""), gr.skip()
            return
        with work.errors_in_the_page():
            report = library_add(widgets.paths_of(dropped), request)
        known = report["known"] + report["updated"]
        text = f"{report['added']:,} added, {known:,} known; {report['in_all']:,} in your library."
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in report["reasons"])
        yield widgets.shown(job.number, f'<p>{text}</p><ul class="l8-notice">{reasons}</ul>'), None

    yield from widgets.until_cancelled(
        steps(), lambda text: (widgets.shown(job.number, widgets.error_html(text)), gr.skip())
    )


def stop_adding(number: float, request: gr.Request) -> tuple:
    job = jobs.begin(request.session_hash, ADDING, number)
    return widgets.shown(job.number, "<p>Stopped. What was added stays.</p>"), None


@jobs.does(SEARCH)
def search_in_page(
    number: float, dropped: list[dict] | None, k: float, turned: bool, request: gr.Request, progress=gr.Progress()
) -> Iterator[tuple]:
    def query() -> Path:
        found = next(iter(widgets.paths_of(dropped)), None)
        return Path(work.required(found, "Choose a photo or .l8 file first."))

    yield from _search(jobs.begin(request.session_hash, SEARCH, number), query, k, turned)


@jobs.does(SEARCH)
def search_again(
    number: float, dropped: list[dict] | None, k: float, turned: bool, request: gr.Request, progress=gr.Progress()
) -> Iterator[tuple]:
    """For another query or setting; without a query there is nothing to find yet."""
    if dropped:
        yield from search_in_page(number, dropped, k, turned, request)
    else:
        yield _nothing(jobs.begin(request.session_hash, SEARCH, number), "")


@jobs.does(SEARCH)
def more_in_page(
    number: float, chosen: Record | None, k: float, request: gr.Request, progress=gr.Progress()
) -> Iterator[tuple]:
    job = jobs.begin(request.session_hash, SEARCH, number)
    yield from _search(job, lambda: work.required(chosen, "Click a picture first."), k, False)


def _search(job: jobs.Job, query: Callable[[], Path | Record], k: float, turned: bool) -> Iterator[tuple]:
    def steps() -> Iterator[tuple]:
        budget.check(job)
        with work.errors_in_the_page():
            wanted = query()
            with visitors.searched(job.page) as library:
                found = _found(library, wanted, _count(k), turned)
        budget.check(job)
        yield _shown(job, found)  # the library is free again by now

    yield from widgets.until_cancelled(steps(), lambda text: _nothing(job, widgets.error_html(text)))


def stop_search(number: float, request: gr.Request) -> tuple:
    return _nothing(jobs.begin(request.session_hash, SEARCH, number), "<p>Stopped.</p>")


def choose(records: list[Record], request: gr.Request, event: gr.SelectData) -> tuple:
    """The picture that was clicked: the one to look on from, and to download."""
    index = int(event.index)  # type: ignore[arg-type]
    if index >= len(records):  # there are other ones by now
        return gr.skip(), gr.skip(), gr.skip()
    record = records[index]
    with work.errors_in_the_page(), visitors.searched(request.session_hash) as library:
        more = gr.Button(f"More like {record.name[-40:]}", visible=True)
        try:
            blob = library.hit(record).blob
        except BlobError:
            return record, more, gr.DownloadButton(value=None, visible="hidden")
        path = files.save_bytes(files.request_folder(), free_name(record, ".l8", set()), blob)
        return record, more, gr.DownloadButton(value=path, visible=True)


def _count(k: float | None) -> int:
    return max(1, min(MOST_HITS, int(k or 5)))


def _searched(library: Library, query: Path | Record, k: int, turned: bool) -> tuple[list[Hit], float]:
    """Hits, and the milliseconds of the search itself."""
    vectors = library.vectors_of(query, turned)
    started = time.perf_counter()
    hits = library.search_vectors(vectors, k)
    return hits, 1000 * (time.perf_counter() - started)


def _found(library: Library, query: Path | Record, k: int, turned: bool) -> Found:
    hits, search_ms = _searched(library, query, k, turned)
    folder, pictures = files.request_folder(), []
    started = time.perf_counter()
    for number, hit in enumerate(hits):
        work.Bar("Decoding", 0, 1)(number / len(hits))
        path = files.save_png(folder, f"hit-{number}.png", _picture(hit))
        pictures.append((path, f"{hit.score:.3f}  {hit.record.name}"))
    decode_ms = 1000 * (time.perf_counter() - started)
    budget.check()
    return Found(hits, search_ms, decode_ms, pictures, _archive(folder, hits))


def _picture(hit: Hit) -> Image.Image:
    try:
        image = opaque(hit.decode())
    except BlobError:
        return Image.new("RGB", (SIDE, SIDE * 2 // 3), "#d8d8dc")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def _archive(folder: Path, hits: Sequence[Hit]) -> str:
    path = folder / "found.zip"
    for _ in write_zip(path, hits, BLOBS):
        budget.check()
    return str(path)


def _shown(job: jobs.Job, found: Found) -> tuple:
    lost = sum(hit.missing for hit in found.hits)
    text = f"{len(found.hits)} found in {found.search_ms:.1f} ms, decoded in {found.decode_ms:,.0f} ms."
    text += f" The files of {lost} of them have moved or were deleted." if lost else ""
    text += " Click one to look on from it." if found.hits else ""
    grid = gr.Gallery(value=found.pictures, selected_index=None, visible=True)  # as a grid, none of them large
    archive = gr.DownloadButton(value=found.archive, visible=True)
    records = [hit.record for hit in found.hits]
    return widgets.shown(job.number, f"<p>{text}</p>"), grid, archive, records, *_none_chosen()


def _nothing(job: jobs.Job, content: str) -> tuple:
    """No hits, and a sentence."""
    archive = gr.DownloadButton(value=None, visible="hidden")
    return widgets.shown(job.number, content), gr.Gallery(None, visible="hidden"), archive, [], *_none_chosen()


def _none_chosen() -> tuple:
    return None, gr.Button(visible="hidden"), gr.DownloadButton(value=None, visible="hidden")


def _described(hit: Hit) -> dict[str, Any]:
    """What programs are told of a hit: no paths of the server."""
    record = hit.record
    return {
        "score": round(hit.score, 4),
        "name": record.name,
        "id": record.id,
        "width": record.width,
        "height": record.height,
        "bytes": record.bytes,
        "model": record.model,
        "missing": hit.missing,
    }
