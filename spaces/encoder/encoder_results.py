"""What the encoder's page shows of a result: at once, and when it is looked at."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import encoder_rivals as rivals
import gradio as gr
from encoder_api import Batch, Made, Row, Wish, facts_of

from latent8.apps import budget, chart, files, jobs, look, parts, widgets, work
from latent8.errors import PictureError
from latent8.evaluation.metrics import ssim
from latent8.exchange import formats_of
from latent8.file_format.blob import Encoded, is_blob
from latent8.file_format.reader import read
from latent8.pictures.intake import Picture, open_picture

SINGLE = "single"  # name of the jobs of the tab
DETAILS, CURVES, LATENTS = LOOKED_AT = ("details", "curves", "latents")  # and of what is made when it is looked at
SIDE, FULL_SIZE = "side", "full size"
MEASURES = rivals.MEASURES
ORIGINAL, DECODED = "original", "decoded"
ANY_SIZE = 1 << 30  # pixels: what was made here was checked before


def refuse_blobs(path: str) -> None:
    """Raises PictureError for a .l8 file, with what to do instead."""
    with open(path, "rb") as file:
        if is_blob(file.read(16)):
            raise PictureError("This is a .l8 file, not a photo: use the decoder.")


def link_to_decoder(text: str) -> str:
    """After a sentence that speaks of the decoder, where it is known."""
    known = "decoder" in text and look.decoder_url()
    return f" {look.link('Open the decoder', look.decoder_url())}." if known else ""


@dataclass(frozen=True)
class Done:
    """A result, as the page's session keeps it: files, and what they came from."""

    job: jobs.Job
    photo: str
    wish: Wish
    folder: str
    blob: str
    facts: dict
    original: str = ""  # pictures for the page
    decoded: str = ""
    realism: float | None = None  # of the reading that is shown; None for a model that has one alone

    @classmethod
    def of(cls, job: jobs.Job, photo: str, wish: Wish, made: Made, realism: float | None) -> Done:
        folder = files.request_folder()
        blob = files.save_bytes(folder, f"{made.stem}.l8", made.blob)
        return cls(job, photo, wish, str(folder), blob, facts_of(made), realism=realism)

    @property
    def paths(self) -> list[str]:
        return [path for path in (self.photo, self.folder, self.blob, self.original, self.decoded) if path]

    @property
    def anew(self) -> str:
        return "encode the photo again"

    def is_of(self, photo: str, wish: Wish) -> bool:
        """Whether the blob is what this wish makes of the photo."""
        return (self.photo, self.wish) == (photo, wish) and Path(self.blob).is_file()

    def under(self, job: jobs.Job, realism: float | None) -> Done:
        return replace(self, job=job, realism=realism)

    def made_again(self) -> Made:
        """What the blob was made as, from the files."""
        blob, facts = Path(self.blob).read_bytes(), self.facts
        picture, encoded = self.photo_again(), read(blob, ANY_SIZE)
        return Made(picture, encoded, blob, Path(self.blob).stem, facts["upload_bytes"], facts["encode_seconds"])

    def with_pictures(self, made: Made, back: Picture, seconds: float) -> Done:
        folder, stem = Path(self.folder), made.stem
        reading = "" if self.realism is None else f".{self.realism:g}"  # in the name, as browsers keep pictures
        return replace(
            self,
            facts=facts_of(made, back, seconds),
            original=self.original or files.save_preview(folder, f"{stem}.original.png", made.picture),
            decoded=files.save_preview(folder, f"{stem}.decoded{reading}.png", back),
        )

    @property
    def size(self) -> tuple[int, int]:
        return self.facts["width"], self.facts["height"]

    @property
    def scaled(self) -> bool:
        """Whether the page's pictures are smaller than the photo."""
        return max(self.size) > files.PREVIEW_SIDE

    @property
    def label(self) -> str:
        said = self.facts["model"] + (f", quality {self.facts['quality']}" if self.facts["quality"] else "")
        return f"{said}, {parts.reading_name(self.realism)}" if self.realism else said

    @property
    def colour_bytes(self) -> int:
        """The blob without its alpha plane, which rivals are not given."""
        return self.facts["blob_bytes"] - self.facts["alpha_bytes"]

    def photo_again(self) -> Picture:
        return open_picture(self.photo, ANY_SIZE, int(self.wish.longest_side or 0) or None)

    def back_again(self, bar: work.Bar) -> Picture:
        """At its full size: from the page's picture, where that is it."""
        if not self.scaled:
            return open_picture(self.decoded, ANY_SIZE)
        encoded = read(self.blob, ANY_SIZE)
        return work.codec(self.facts["model"]).synthesise(encoded, realism=self.realism, progress=bar)

    def compared(self) -> dict:
        sides = [
            widgets.side(ORIGINAL, "Original", self.original, self.facts["upload_bytes"], scaled=self.scaled),
            widgets.side(DECODED, self.label, self.decoded, self.facts["blob_bytes"], scaled=self.scaled),
        ]
        more: list[dict] = [{"key": name, "label": f"{name}, same size"} for name in rivals.NAMES]
        if self.facts["quality"]:
            more.append({"key": rivals.OURS, "label": "latent8, another quality", "quality": True})
        return widgets.compared(self.job.number, self.size, DECODED, sides, more)


def reading(before: Done | None, model: str, slider: float) -> float | None:
    """Realism of the preview: what the slider says, where it was shown for this model, else the model's own choice;
    None for one without readings."""
    own = work.codec(model).network.default_realism
    shown = before is not None and before.realism is not None and before.wish.model == model
    return slider if shown and own is not None else own


def raw_values(encoded: Encoded) -> gr.Checkbox:
    """The choice of raw values; there where latents have them."""
    return gr.Checkbox(False, visible="comfy" in formats_of(encoded))


def card(done: Done) -> str:
    """The first and largest fact, and what comes next."""
    facts = done.facts
    before, after = parts.size_text(facts["upload_bytes"]), parts.size_text(facts["blob_bytes"])
    if facts["blob_bytes"] <= facts["upload_bytes"]:
        said, warning = f"{facts['ratio_to_upload']:.1f} times smaller", ""
    else:
        said = f"{facts['blob_bytes'] / facts['upload_bytes']:.1f} times larger"
        warning = '<p class="l8-warning">For this picture the photo itself is the better file.</p>'
    quality = f", quality {facts['quality']}" if facts["quality"] else ""
    decoder = look.link("latent8 decoder", look.decoder_url())
    return (
        f'<div class="l8-card"><p class="l8-big">{said}</p><p>{before} became {after}{quality}.</p>{warning}'
        f"{parts.download(done.blob)}"
        f'<p class="l8-hint">Open it with the {decoder}. A .l8 file (a "blob") holds the photo as latents: numbers '
        "that a neural network turns back into a picture.</p></div>"
    )


@jobs.does(DETAILS)
def details(number: float, done: Done | None, progress=gr.Progress()) -> dict | None:
    """The facts for those who want them, with SSIM, which takes longer than the encoding."""

    def content(done: Done, bar: work.Bar) -> str:
        facts, picture = done.facts, done.photo_again()
        bar(0.1)
        back = done.back_again(bar.part("", 0.1, 0.5))
        similar = ssim(picture.rgb, back.rgb, bar.part("", 0.5, 1))
        rows = [
            ("Pixels", f"{facts['width']} x {facts['height']}"),
            ("Photo", f"{facts['upload_bytes']:,} bytes"),
            ("Blob", f"{facts['blob_bytes']:,} bytes, by {done.label}"),
            ("Bits per pixel", f"{facts['bpp']:.3f}"),
            ("Smaller than raw RGB", f"{facts['ratio_to_raw_rgb']:g} times"),
            ("PSNR", f"{facts['psnr_db']:.2f} dB"),
            ("SSIM", f"{similar:.4f}"),
            ("Encoding, decoding", f"{facts['encode_seconds']:.2f} s, {facts['decode_seconds']:.2f} s"),
        ]
        return parts.facts_table(rows)

    return widgets.made_for(done, DETAILS, number, content)


@jobs.does(LATENTS)
def latents(number: float, done: Done | None, progress=gr.Progress()) -> dict | None:
    def content(done: Done, bar: work.Bar) -> str:
        return parts.latents_html(Path(done.folder), read(done.blob, ANY_SIZE), bar)

    return widgets.made_for(done, LATENTS, number, content)


@jobs.does(CURVES)
def curves(number: float, done: Done | None, measure: str, progress=gr.Progress()) -> dict | None:
    def content(done: Done, bar: work.Bar) -> str:
        picture = open_picture(done.photo, ANY_SIZE, rivals.CURVE_SIDE)
        points = rivals.curves(Picture(picture.rgb), done.facts["model"], measure, bar)
        side = f", longest side {rivals.CURVE_SIDE} pixels" if max(done.size) > rivals.CURVE_SIDE else ""
        return chart.chart(points, "KB", measure, f"{measure} against size of this photo{side}; higher is better.")

    return widgets.made_for(done, CURVES, number, content)


@jobs.does(SIDE)
def other_side(number: float, done: Done | None, event: gr.EventData) -> Iterator[gr.HTML]:
    """The left side that was chosen, as it is made."""
    if done is None:
        return
    key, job = str(event.key), done.job.number
    asked = jobs.begin(done.job.page, SIDE, number, part_of=done.job)

    def check(share: float) -> None:
        budget.check(asked)

    def steps() -> Iterator[gr.HTML]:
        with widgets.still_there(done):
            label = rivals.label_of(key)
            yield gr.HTML(side={"job": job, "key": key, "label": label, "share": 0})
            if key == rivals.OURS:
                quality = int(event.quality or 1)
                made = rivals.ours(done.photo_again(), done.facts["model"], quality, done.realism, check)
            else:
                search = rivals.search(key, done.photo_again().rgb, done.colour_bytes)
                for share in search.steps():
                    check(share)
                    yield gr.HTML(side={"job": job, "key": key, "label": label, "share": share})
                made = rivals.rival(search)
            check(1)
            file = files.save_preview(Path(done.folder), f"{made.name}.png", made.picture)
            side = widgets.side(key, made.label, file, made.n_bytes, note=made.note, job=job, scaled=done.scaled)
            yield gr.HTML(side=side)

    yield from widgets.until_cancelled(
        steps(), lambda text: gr.HTML(side={"job": job, "key": key, "problem": html.unescape(text)})
    )


@jobs.does(FULL_SIZE)
def full_size(number: float, done: Done | None) -> Iterator[gr.HTML]:
    """Both pictures in their full size."""
    if done is None:
        return
    job, folder, facts = done.job.number, Path(done.folder), done.facts
    asked = jobs.begin(done.job.page, FULL_SIZE, number, part_of=done.job)

    def steps() -> Iterator[gr.HTML]:
        with widgets.still_there(done):
            budget.check(asked)
            file = files.save_view(folder, "original.full.png", done.photo_again())
            yield gr.HTML(side=widgets.side(ORIGINAL, "Original", file, facts["upload_bytes"], job=job))
            yield gr.HTML(side={"job": job, "key": "full", "label": "The full size", "share": 0.3})
            file = files.save_view(
                folder, f"decoded.{done.realism}.full.png", done.back_again(work.Bar("", 0, 1, asked))
            )
            budget.check(asked)
            yield gr.HTML(side=widgets.side(DECODED, done.label, file, facts["blob_bytes"], job=job, full=True))

    yield from widgets.until_cancelled(
        steps(), lambda text: gr.HTML(side={"job": job, "key": "full", "problem": html.unescape(text)})
    )


def table(batch: Batch, n_photos: int) -> str:
    """The rows so far, a line that sums them up, and the ZIP once all are done."""
    rows = [
        [row.file, row.problem, parts.size_text(row.upload_bytes), "", ""] if row.problem else _cells(row)
        for row in batch.rows
    ]
    good = [row for row in batch.rows if not row.problem]
    n_failed = len(batch.rows) - len(good)
    before, after = sum(row.upload_bytes for row in good), sum(row.blob_bytes for row in good)
    said = f"{len(batch.rows)} of {n_photos}: " if len(batch.rows) < n_photos else ""
    said += f"{len(good)} done" + (f", {n_failed} failed" if n_failed else "")
    if good:
        said += f", {parts.size_text(before)} to {parts.size_text(after)}"
        said += f", {before / after:.1f} times smaller" if after < before else ""
    zipped = parts.download(batch.archive, "Download all as ZIP") if batch.archive else ""
    titles = ["Photo", "Result", "Before", "After", "Smaller"]
    return f'<div class="l8-card"><p><b>{said}</b></p>{zipped}{parts.rows_table(titles, rows)}</div>'


def _cells(row: Row) -> list[str | parts.Html]:
    before, after = parts.size_text(row.upload_bytes), parts.size_text(row.blob_bytes)
    return [row.file, parts.Html(parts.small_download(row.path)), before, after, f"{row.ratio:.1f} times"]
