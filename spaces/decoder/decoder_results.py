"""What the decoder's page shows of a result: at once, and when it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from decoder_api import Batch, Opened, Row, Wish, read_blob, save_maps, save_picture, save_sides
from decoder_sides import label_of

from latent8.apps import files, jobs, look, parts, widgets, work
from latent8.errors import BlobError, Latent8Error
from latent8.evaluation.comparison import COLUMNS, ORIGINAL, Comparison, Decoded
from latent8.file_format.blob import Encoded, is_blob
from latent8.file_format.rgba_png import is_png
from latent8.latents import Latents
from latent8.pictures.intake import open_picture, size_of

SINGLE, COMPARISON = "single", "comparison"  # names of the jobs of the tabs
LATENTS, DIFFERENCES, FULL_SIZE = "latents", "differences", "full size"  # and of what is made when it is looked at
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
    """A result, as the page's session keeps it. wish: with the reading that was chosen by itself. picture: lossless, at
    its full size; file: in the chosen format."""

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
        wish = replace(wish, realism=opened.realism)
        return cls(job, path, wish, str(folder), opened.facts(), picture, preview, file)

    @property
    def paths(self) -> list[str]:
        return [self.path, self.folder, self.picture]

    @property
    def anew(self) -> str:
        return "decode the file again"

    def is_of(self, path: str, wish: Wish) -> bool:
        """Whether the picture is what this wish makes of the file."""
        return (self.path, self.wish) == (path, wish) and Path(self.picture).is_file()

    def in_format(self, job: jobs.Job, picture_format: str) -> Done:
        """The same picture as another file; nothing is decoded again. Raises PictureError."""
        picture = open_picture(self.picture, ANY_SIZE, None, "all")
        return replace(self, job=job, file=save_picture(picture, self.path, picture_format))

    def source(self) -> Encoded | Latents:
        return read_blob(self.path, self.wish.space, self.wish.raw)

    def viewed(self) -> dict:
        size = self.facts["width"], self.facts["height"]
        side = widgets.side("picture", "Picture", self.preview, scaled=max(size) > files.PREVIEW_SIDE)
        return widgets.compared(self.job.number, size, "picture", [side])


def card(done: Done) -> str:
    """What comes next, then the facts."""
    facts = done.facts
    n_bytes = Path(done.file).stat().st_size
    size = f"{parts.size_text(n_bytes)}."
    if Path(done.file).suffix == ".png" and n_bytes > 2 * facts["bytes"]:
        size += " JPEG and WebP are smaller."
    quality = f", quality {facts['quality']}" if facts.get("quality") else ""
    rows = [
        ("Picture", f"{facts['width']} x {facts['height']} pixels"),
        ("From", f"{facts['bytes']:,} bytes, {facts['bpp']:.3f} bits per pixel"),
        ("Made with", f"{facts['model']}{quality}"),
        ("Decoded", f"by {facts['decoder']} in {facts['decode_seconds']:.2f} s"),
        *([] if facts["realism"] is None else [("Reading", parts.reading_name(facts["realism"]))]),
        ("Latents", f"{facts['latents']}, space {facts['space']}, {facts['coding']}"),
        *([("Flat colours", facts["flat_colours"])] if facts["flat_colours"] != "none" else []),
        ("Transparency", facts["alpha"]),
        ("Metadata", facts["metadata"]),
    ]
    if facts["name"]:
        rows.insert(1, ("Name in the file", facts["name"]))
    hint = f'<p class="l8-hint">{size}</p>'
    return f'<div class="l8-card">{parts.download(done.file)}{hint}{parts.facts_table(rows)}</div>'


def reading(before: Done | None, path: str, decoder: str, slider: float) -> float | None:
    """Realism that is asked for: what the slider says, where it was shown for this file; None for the model's own."""
    shown = before is not None and before.wish.realism is not None
    return slider if shown and before and (before.path, before.wish.decoder) == (path, decoder) else None


@jobs.does(LATENTS)
def latents(number: float, done: Done | None, progress=gr.Progress()) -> dict | None:
    def content(done: Done, bar: work.Bar) -> str:
        return parts.latents_html(Path(done.folder), done.source(), bar)

    return widgets.made_for(done, LATENTS, number, content)


@jobs.does(FULL_SIZE)
def full_size(number: float, done: Done | None) -> dict | gr.HTML:
    if done is None:
        return gr.skip()
    try:
        with widgets.still_there(done):
            return gr.HTML(side=widgets.side("picture", "Picture", done.picture, job=done.job.number, full=True))
    except Latent8Error as error:
        return gr.HTML(side={"job": done.job.number, "key": "full", "problem": str(error)})


def table(batch: Batch, n_files: int) -> str:
    """The rows so far, a line that sums them up, and the ZIP once all are done."""
    n_good = sum(not row.problem for row in batch.rows)
    n_failed = len(batch.rows) - n_good
    said = f"{len(batch.rows)} of {n_files}: " if len(batch.rows) < n_files else ""
    said += f"{n_good} done" + (f", {n_failed} failed" if n_failed else "")
    zipped = parts.download(batch.archive, "Download all as ZIP") if batch.archive else ""
    titles = ["File", "Result", "File size", "Result size", "Picture", "Decoded by"]
    rows = [_cells(row) for row in batch.rows]
    return f'<div class="l8-card"><p><b>{said}</b></p>{zipped}{parts.rows_table(titles, rows)}</div>'


def _cells(row: Row) -> list[str]:
    if row.problem:
        return [row.file, row.problem, *[""] * 4]
    sizes = [parts.size_text(n_bytes) for n_bytes in (row.n_bytes, row.picture_bytes)]
    link = parts.Html(parts.small_download(row.path))
    return [row.file, link, *sizes, f"{row.width} x {row.height}", row.decoder]


@dataclass(frozen=True)
class Compared:
    """A comparison, as the page's session keeps it. own: the blob's model. views: lossless pictures, by side; sizes: in
    bytes, of the files that they are of."""

    job: jobs.Job
    path: str
    own: str
    rows: list[dict]
    sides: tuple[str, str]
    views: dict[str, str]
    size: tuple[int, int]
    sizes: dict[str, int]

    @classmethod
    def of(
        cls, job: jobs.Job, path: str, original: str | None, own: str, found: Comparison, sides: tuple[str, str]
    ) -> Compared:
        picture, views = found.decoded[0].picture, save_sides(found, files.request_folder(), path)
        sizes = dict.fromkeys(views, Path(path).stat().st_size)
        if original:
            sizes[ORIGINAL] = Path(original).stat().st_size
        return cls(job, path, own, found.rows(), sides, views, (picture.width, picture.height), sizes)

    @property
    def paths(self) -> list[str]:
        return list(self.views.values())

    @property
    def anew(self) -> str:
        return "compare the files again"

    def viewed(self) -> dict:
        left, right = self.sides
        names = list(dict.fromkeys([left, right, *self.views]))
        names = [name for name in names if name in self.views and (name in self.sides or ORIGINAL not in self.sides)]
        sides = [widgets.side(name, label_of(name, self.own), self.views[name], self.sizes[name]) for name in names]
        return widgets.compared(self.job.number, self.size, right, sides)

    def again(self) -> Comparison:
        """From the pictures, without figures."""
        pictures = {name: open_picture(view, ANY_SIZE) for name, view in self.views.items()}
        original = pictures.pop(ORIGINAL, None)
        labels = {name: label_of(name, self.own).lower() for name in pictures}
        return Comparison([Decoded(labels[name], picture, 0) for name, picture in pictures.items()], original)


def figures(done: Compared) -> str:
    """The rows of a comparison, one column for each side; and what else could be compared."""
    lines = [
        [title, *(format(row[name], form) for row in done.rows)]
        for name, (title, form) in COLUMNS.items()
        if done.rows[0][name] is not None
    ]
    said = parts.figures_table(["", *(label_of(row["decoder"], done.own) for row in done.rows)], lines)
    if ORIGINAL not in done.views:
        said += "<p>Add the photo that the file was made from to measure how near it is.</p>"
    return f'<div class="l8-card">{said}</div>'


@jobs.does(DIFFERENCES)
def differences(number: float, done: Compared | None, progress=gr.Progress()) -> dict | None:
    def content(done: Compared, bar: work.Bar) -> str:
        bar(0)
        maps = save_maps(done.again(), Path(next(iter(done.views.values()))).parent, done.path)
        return (
            parts.pictures_html(maps, wide=True)
            if maps
            else "<p>There is one picture alone: nothing it could differ from.</p>"
        )

    return widgets.made_for(done, DIFFERENCES, number, content)
