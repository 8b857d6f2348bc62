"""What the decoder's page shows of a result: at once, and when it is looked at."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from decoder_api import Batch, Opened, Row, Wish, read_blob, save_maps, save_picture, save_sides

from latent8.apps import files, jobs, look, parts, widgets, work
from latent8.errors import BlobError, Latent8Error, PictureError
from latent8.evaluation.comparison import COLUMNS, ORIGINAL, Comparison
from latent8.file_format.blob import Encoded, is_blob
from latent8.file_format.rgba_png import is_png
from latent8.latents import Latents
from latent8.pictures.intake import open_picture, size_of

SINGLE, MANY, COMPARISON = "single", "many", "comparison"  # names of the jobs of the tabs
ANY_SIZE = 1 << 30  # pixels: what was made here was checked before
IS_A_PHOTO = "This is a photo, not a .l8 file: the encoder makes one of it."


def refuse_photos(path: str) -> None:
    """Raises BlobError for a picture that is no file of latents, with what to do instead."""
    with open(path, "rb") as file:
        start = file.read(16)
    if not is_blob(start) and not is_png(start) and size_of(path) != (0, 0):
        raise BlobError(IS_A_PHOTO)


def link_to_encoder(text: str) -> str:
    """After a sentence that speaks of the encoder, where it is known."""
    known = "encoder" in text and look.encoder_url()
    return f" {look.link('Open the encoder', look.encoder_url())}." if known else ""


@dataclass(frozen=True)
class Done:
    """A result, as the page's session keeps it. picture: lossless, at its full size; file: in the chosen format."""

    job: jobs.Job
    path: str
    wish: Wish
    folder: str
    facts: dict
    picture: str
    preview: str
    file: str

    @classmethod
    def of(cls, job: jobs.Job, path: str, wish: Wish, opened: Opened, picture_format: str) -> Done:
        folder, stem = files.request_folder(), files.stem_of(path)
        file = save_picture(opened.picture, path, picture_format)
        picture = file if picture_format == "PNG" else save_picture(opened.picture, path, "PNG")
        preview = files.save_preview(folder, f"{stem}.preview.png", opened.picture)
        return cls(job, path, wish, str(folder), opened.facts(), picture, preview, file)

    def source(self) -> Encoded | Latents:
        return read_blob(self.path, self.wish.space, self.wish.raw)

    def viewed(self) -> dict:
        size = self.facts["width"], self.facts["height"]
        side = widgets.side("picture", "Picture", self.preview, scaled=max(size) > files.PREVIEW_SIDE)
        return widgets.compared(self.job.number, size, "picture", [side])


def card(done: Done) -> str:
    """What comes next, then the facts."""
    facts = done.facts
    size = parts.size_text(Path(done.file).stat().st_size)
    quality = f", quality {facts['quality']}" if facts.get("quality") else ""
    rows = [
        ("Picture", f"{facts['width']} x {facts['height']} pixels, {size}"),
        ("From", f"{facts['bytes']:,} bytes, {facts['bpp']:.3f} bits per pixel"),
        ("Made with", f"{facts['model']}{quality}"),
        ("Decoded", f"by {facts['decoder']} in {facts['decode_seconds']:.2f} s"),
        ("Latents", f"{facts['latents']}, space {facts['space']}, {facts['coding']}"),
        ("Transparency", facts["alpha"]),
        ("Metadata", facts["metadata"]),
    ]
    if facts["name"]:
        rows.insert(1, ("Name in the file", facts["name"]))
    return f'<div class="l8-card">{parts.download(done.file)}{parts.facts_table(rows)}</div>'


def in_format(done: Done | None, picture_format: str) -> tuple:
    """The same picture as another file; nothing is decoded again."""
    if done is None:
        return gr.skip(), gr.skip()
    try:
        jobs.check(done.job)
        file = save_picture(open_picture(done.picture, ANY_SIZE, None, "all"), done.path, picture_format)
        jobs.check(done.job)
    except jobs.Cancelled:
        return gr.skip(), gr.skip()
    except PictureError as error:
        return widgets.shown(done.job.number, widgets.error_html(html.escape(str(error)))), gr.skip()
    done = replace(done, file=file)
    return widgets.shown(done.job.number, card(done)), done


def latents(done: Done | None) -> dict:
    if done is None:
        return gr.skip()
    try:
        found = parts.latents_html(Path(done.folder), done.source(), work.Bar("", 0, 1, done.job))
        jobs.check(done.job)
    except jobs.Cancelled:
        return gr.skip()
    except (Latent8Error, OSError, gr.Error) as error:
        found = widgets.error_html(html.escape(parts.sentence(error)))
    return widgets.due(done.job.number, found)


def full_size(done: Done | None) -> dict | gr.HTML:
    if done is None:
        return gr.skip()
    return gr.HTML(side=widgets.side("picture", "Picture", done.picture, job=done.job.number, full=True))


def table(batch: Batch, n_files: int) -> str:
    """The rows so far, a line that sums them up, and the ZIP once all are done."""
    n_good = sum(row.opened is not None for row in batch.rows)
    n_failed = len(batch.rows) - n_good
    said = f"{len(batch.rows)} of {n_files}: " if len(batch.rows) < n_files else ""
    said += f"{n_good} done" + (f", {n_failed} failed" if n_failed else "")
    zipped = parts.download(batch.archive, "Download all as ZIP") if batch.archive else ""
    rows = [_cells(row) for row in batch.rows]
    return (
        f'<div class="l8-card"><p><b>{said}</b></p>{zipped}'
        f"{parts.rows_table(['File', 'Result', 'File size', 'Picture', 'Decoded by'], rows)}</div>"
    )


def _cells(row: Row) -> list[str]:
    if row.opened is None:
        return [row.file, row.problem, "", "", ""]
    picture = row.opened.picture
    size = parts.size_text(row.opened.n_bytes)
    link = parts.Html(parts.small_download(row.path))
    return [row.file, link, size, f"{picture.width} x {picture.height}", row.opened.decoder]


@dataclass(frozen=True)
class Compared:
    """A comparison, as the page's session keeps it. maps: of where its pictures differ, (file, caption)."""

    job: jobs.Job
    rows: list[dict]
    sides: tuple[str, str]
    views: dict[str, str]
    size: tuple[int, int]
    maps: list[tuple[str, str]]
    sizes: dict[str, int]

    @classmethod
    def of(cls, job: jobs.Job, path: str, original: str | None, found: Comparison, sides: tuple[str, str]) -> Compared:
        folder, picture = files.request_folder(), found.decoded[0].picture
        views = save_sides(found, folder, path)
        maps, sizes = save_maps(found, folder, path), dict.fromkeys(views, Path(path).stat().st_size)
        if original:
            sizes[ORIGINAL] = Path(original).stat().st_size
        return cls(job, found.rows(), sides, views, (picture.width, picture.height), maps, sizes)

    def viewed(self) -> dict:
        left, right = self.sides
        names = list(dict.fromkeys([left, right, *self.views]))
        sides = [
            widgets.side(name, "Original" if name == ORIGINAL else name, self.views[name], self.sizes[name])
            for name in names
            if name in self.views
        ]
        return widgets.compared(self.job.number, self.size, right, sides)


def figures(done: Compared) -> str:
    """The rows of a comparison, one column for each decoder; and what else could be compared."""
    lines = [
        [title, *(format(row[name], form) for row in done.rows)]
        for name, (title, form) in COLUMNS.items()
        if done.rows[0][name] is not None
    ]
    said = parts.figures_table(["", *(row["decoder"] for row in done.rows)], lines)
    if len(done.views) == 1:
        said += "<p>Add the photo that the file was made from to compare the two.</p>"
    return f'<div class="l8-card">{said}</div>'


def differences(done: Compared | None) -> dict:
    if done is None:
        return gr.skip()
    found = parts.pictures_html(done.maps) or "<p>There is one picture alone: nothing it could differ from.</p>"
    return widgets.due(done.job.number, found)
