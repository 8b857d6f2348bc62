"""What the encoder's page shows of a result: at once, and when it is looked at."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import encoder_rivals as rivals
import gradio as gr
from encoder_api import Batch, Made, Row, Wish, facts_of

from latent8.apps import chart, files, jobs, look, parts, widgets, work
from latent8.errors import Latent8Error, PictureError
from latent8.evaluation.metrics import ssim
from latent8.file_format.blob import is_blob
from latent8.file_format.reader import read
from latent8.pictures.intake import Picture, open_picture

SINGLE, MANY = "single", "many"  # names of the jobs of both tabs
LOOKED_AT = ("details", "curves", "latents")  # of parts that are made when they are looked at
MEASURES = rivals.MEASURES
ORIGINAL, DECODED = "original", "decoded"
ANY_SIZE = 1 << 30  # pixels: what was made here was checked before


def refuse_blobs(path: str) -> None:
    """Raises PictureError for a .l8 file, with what to do instead."""
    with open(path, "rb") as file:
        if is_blob(file.read(16)):
            raise PictureError("This is a .l8 file, not a photo: the decoder opens it.")


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

    @classmethod
    def of(cls, job: jobs.Job, photo: str, wish: Wish, made: Made) -> Done:
        folder = files.request_folder()
        blob = files.save_bytes(folder, f"{made.stem}.l8", made.blob)
        return cls(job, photo, wish, str(folder), blob, facts_of(made))

    def with_pictures(self, made: Made, back: Picture, seconds: float) -> Done:
        folder, stem = Path(self.folder), made.stem
        return replace(
            self,
            facts=facts_of(made, back, seconds),
            original=files.save_preview(folder, f"{stem}.original.png", made.picture),
            decoded=files.save_preview(folder, f"{stem}.decoded.png", back),
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
        return self.facts["model"] + (f", quality {self.facts['quality']}" if self.facts["quality"] else "")

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
        return work.codec(self.facts["model"]).synthesise(read(self.blob, ANY_SIZE), progress=bar)

    def compared(self) -> dict:
        sides = [
            widgets.side(ORIGINAL, "Original", self.original, self.facts["upload_bytes"], scaled=self.scaled),
            widgets.side(DECODED, self.label, self.decoded, self.facts["blob_bytes"], scaled=self.scaled),
        ]
        more: list[dict] = [{"key": name, "label": f"{name}, same size"} for name in rivals.NAMES]
        if self.facts["quality"]:
            more.append({"key": rivals.OURS, "label": "latent8, another quality", "quality": True})
        return widgets.compared(self.job.number, self.size, DECODED, sides, more)


def card(done: Done) -> str:
    """The first and largest fact, and what comes next."""
    facts = done.facts
    before, after = parts.sizes(facts["upload_bytes"], facts["blob_bytes"])
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


def details(done: Done | None) -> dict | None:
    """The facts for those who want them, with SSIM, which takes longer than the encoding."""

    def content(bar: work.Bar) -> str:
        assert done is not None
        facts, picture = done.facts, done.photo_again()
        bar(0.1)
        similar = ssim(picture.rgb, done.back_again(bar).rgb)
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

    return _looked_at("details", done, content)


def latents(done: Done | None) -> dict | None:
    def content(bar: work.Bar) -> str:
        assert done is not None
        return parts.latents_html(Path(done.folder), read(done.blob, ANY_SIZE), bar)

    return _looked_at("latents", done, content)


def curves(done: Done | None, measure: str) -> dict | None:
    def content(bar: work.Bar) -> str:
        assert done is not None
        picture = open_picture(done.photo, ANY_SIZE, rivals.CURVE_SIDE)
        points = rivals.curves(Picture(picture.rgb), done.facts["model"], measure, bar)
        side = f", longest side {rivals.CURVE_SIDE} pixels" if max(done.size) > rivals.CURVE_SIDE else ""
        return chart.chart(points, "KB", measure, f"{measure} against size of this photo{side}; higher is better.")

    return _looked_at("curves", done, content)


def begin(page: str) -> jobs.Job:
    """What runs for the page's last photo or settings, also for what was looked at, is stopped."""
    for name in LOOKED_AT:
        jobs.begin(page, name)
    return jobs.begin(page, SINGLE)


def closed(name: str) -> Callable[[gr.Request], None]:
    """For when the part of that name is closed: nobody waits for it."""

    def stop(request: gr.Request) -> None:
        jobs.begin(request.session_hash or "", name)

    return stop


def _looked_at(name: str, done: Done | None, content: Callable[[work.Bar], str]) -> dict | None:
    """Value of a part that is made when it is looked at; nothing where the result was replaced, or the part closed."""
    if done is None:
        return gr.skip()
    asked = jobs.begin(done.job.page, name)
    try:
        jobs.check(done.job)
        found = content(work.Bar("", 0, 1, asked))
        jobs.check(asked)
        jobs.check(done.job)
    except jobs.Cancelled:
        return gr.skip()
    except (Latent8Error, OSError, gr.Error) as error:
        found = widgets.error_html(html.escape(parts.sentence(error)))
    return widgets.due(done.job.number, found)


def other_side(done: Done | None, event: gr.EventData) -> Iterator[gr.HTML]:
    """The left side that was chosen, as it is made."""
    if done is None:
        return
    key, number = str(event.key), done.job.number
    asked = jobs.begin(done.job.page, "side")  # the choice before it is no longer wanted

    def check(share: float) -> None:
        jobs.check(done.job)
        jobs.check(asked)

    def steps() -> Iterator[gr.HTML]:
        label = rivals.label_of(key)
        yield gr.HTML(side={"job": number, "key": key, "label": label, "share": 0})
        if key == rivals.OURS:
            made = rivals.ours(done.photo_again(), done.facts["model"], int(event.quality or 1), check)
        else:
            search = rivals.search(key, done.photo_again().rgb, done.colour_bytes)
            for share in search.steps():
                check(share)
                yield gr.HTML(side={"job": number, "key": key, "label": label, "share": share})
            made = rivals.rival(search)
        check(1)
        file = files.save_preview(Path(done.folder), f"{made.name}.png", made.picture)
        side = widgets.side(key, made.label, file, made.n_bytes, job=number, scaled=done.scaled)
        yield gr.HTML(side=side)

    yield from widgets.until_cancelled(
        steps(), lambda text: gr.HTML(side={"job": number, "key": key, "problem": html.unescape(text)})
    )


def full_size(done: Done | None) -> Iterator[gr.HTML]:
    """Both pictures in their full size."""
    if done is None:
        return
    number, folder = done.job.number, Path(done.folder)

    def steps() -> Iterator[gr.HTML]:
        facts = done.facts
        file = files.save_view(folder, "original.full.png", done.photo_again())
        yield gr.HTML(side=widgets.side(ORIGINAL, "Original", file, facts["upload_bytes"], job=number))
        yield gr.HTML(side={"job": number, "key": "full", "label": "The full size", "share": 0.3})
        file = files.save_view(folder, "decoded.full.png", done.back_again(work.Bar("", 0, 1, done.job)))
        jobs.check(done.job)
        yield gr.HTML(side=widgets.side(DECODED, done.label, file, facts["blob_bytes"], job=number, full=True))

    yield from widgets.until_cancelled(
        steps(), lambda text: gr.HTML(side={"job": number, "key": "full", "problem": html.unescape(text)})
    )


def table(batch: Batch, n_photos: int) -> str:
    """The rows so far, a line that sums them up, and the ZIP once all are done."""
    rows = [
        [row.file, row.problem, parts.size_text(row.upload_bytes), "", ""] if row.made is None else _cells(row)
        for row in batch.rows
    ]
    good = [row for row in batch.rows if row.made is not None]
    n_failed = len(batch.rows) - len(good)
    before, after = sum(row.upload_bytes for row in good), sum(len(row.made.blob) for row in good if row.made)
    said = f"{len(batch.rows)} of {n_photos}: " if len(batch.rows) < n_photos else ""
    said += f"{len(good)} done" + (f", {n_failed} failed" if n_failed else "")
    if good:
        first, second = parts.sizes(before, after)
        said += f", {first} to {second}"
    archive = getattr(batch, "archive", None)
    zipped = parts.download(archive, "Download all as ZIP") if archive else ""
    titles = ["Photo", "Result", "Before", "After", "Smaller"]
    return f'<div class="l8-card"><p><b>{said}</b></p>{zipped}{parts.rows_table(titles, rows)}</div>'


def _cells(row: Row) -> list[str | parts.Html]:
    assert row.made is not None
    before, after = parts.sizes(row.upload_bytes, len(row.made.blob))
    return [row.file, parts.Html(parts.small_download(row.path)), before, after, f"{row.made.ratio:.1f} times"]
