"""Pictures of a run's progress: latents and reconstructions of fixed pictures, kept during training and drawn.

    python -m training.watch RUN

A run draws these when it ends. The command draws them for a run that still goes on.

- latent-space.webp: each picture a point, in the colour of its class. The plane is that of the two latents, where there
  are two; else the widest of what the last moment has (principal components), the same for all moments.
- progress.webp: pictures above their reconstructions.
- curves.png: the columns of log.csv.
"""

from __future__ import annotations

import argparse
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor, nn

from training.log import read_rows
from training.photos import UNREADABLE, open_rgb, photo_files
from training.task import Task, TrainingError

MAX_FRAMES = 49  # then every second one is dropped; odd, so that the last one stays
N_PROGRESS = 8  # pictures in progress.webp
MAX_NUMBERS = 1024  # numbers that are kept of a picture's latents: larger latents are averaged on a coarse grid
BATCH = 16
FRAME_MS, LAST_FRAME_MS = 160, 2500
CAPTION = 14  # pixels under each frame
SNAPSHOTS = "watched.npz"


@dataclass
class Watched:
    """Pictures [N, 3, S, S] in [0, 1], the class of each, "" where there is none."""

    pictures: Tensor
    classes: list[str]


def watched_pictures(folder: Path, size: int, limit: int) -> Watched:
    """Up to `limit` pictures from all over a folder, the middle square of each at `size` pixels.

    Classes are the folders right below it. What cannot be read is left out. Raises TrainingError when nothing is left.
    """
    files = photo_files(folder)
    chosen = files[:: math.ceil(len(files) / limit)]
    pictures, classes = [], []
    for path in chosen:
        try:
            picture = ImageOps.fit(open_rgb(path), (size, size), Image.Resampling.LANCZOS)
        except UNREADABLE:
            continue  # the crops name it, if it is one of theirs
        inside = path.relative_to(folder).parts
        pictures.append(np.asarray(picture))
        classes.append(inside[0] if len(inside) > 1 else "")
    if not pictures:
        raise TrainingError(f"None of the pictures in {folder} can be read.")
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(255)
    return Watched(stack, classes)


def about_classes(classes: Sequence[str], folder: Path) -> str:
    """One sentence for a user whose points will all have one colour, else ""."""
    found = set(classes)
    if found == {""}:
        return f"latent-space has one colour: {folder} has no folders of classes (CLASS/picture.png)."
    if len(found) == 1:
        return f"latent-space has one colour: the pictures watched are all of the class {found.pop()}."
    return ""


class Watcher:
    """Keeps moments of a training: steps [F], latents float16 [F, N, D], reconstructions uint8 [F, 8, S, S, 3]."""

    def __init__(self, task: Task, watched: Watched, out: Path):
        self.task, self.watched, self.path = task, watched, out / SNAPSHOTS
        self.steps: list[int] = []
        self.latents: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []

    def load(self, last_step: int) -> None:
        """Moments that an earlier run of the folder kept, up to this step; none where they are of other pictures.

        The folder of photos may have other pictures by now, of which the first few are the same.
        """
        kept = _kept(self.path)
        if kept is None or kept["classes"].tolist() != self.watched.classes:
            return
        if not np.array_equal(kept["originals"], self._originals()):
            return
        n = int((kept["steps"] <= last_step).sum())
        self.steps = kept["steps"][:n].tolist()
        self.latents, self.outputs = list(kept["latents"][:n]), list(kept["outputs"][:n])

    @torch.no_grad()
    def look(self, model: nn.Module, step: int, last: bool = False) -> None:
        """Keep a moment, unless the one before is nearer than the first two are; the last is kept in any case."""
        near = len(self.steps) > 1 and step - self.steps[-1] < self.steps[1] - self.steps[0]
        if step in self.steps or (near and not last):
            return
        device = next(model.parameters()).device
        parts = [numbers_of(self.task.latents(model, x.to(device))) for x in self.watched.pictures.split(BATCH)]
        latents = torch.cat(parts).cpu().numpy().astype(np.float16)
        if self.latents and self.latents[-1].shape != latents.shape:  # of another model, before
            self.steps, self.latents, self.outputs = [], [], []
        output = self.task.grid(model, self.watched.pictures[:N_PROGRESS].to(device))[-1]
        self.steps.append(step)
        self.latents.append(latents)
        self.outputs.append(as_uint8(output))
        if len(self.steps) >= MAX_FRAMES:
            self.steps, self.latents, self.outputs = self.steps[::2], self.latents[::2], self.outputs[::2]

    def save(self) -> None:
        partial = self.path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(
                file,
                steps=np.array(self.steps, np.int64),
                latents=np.stack(self.latents),
                outputs=np.stack(self.outputs),
                originals=self._originals(),
                classes=np.array(self.watched.classes),
            )
        os.replace(partial, self.path)

    def _originals(self) -> np.ndarray:
        return as_uint8(self.watched.pictures[:N_PROGRESS])


def numbers_of(latents: Tensor) -> Tensor:
    """Latents [B, C, h, w] -> numbers that are kept, [B, D]: averages on a grid of at most 4 x 4 if they are larger."""
    side = next((n for n in (4, 2) if latents.shape[1] * n * n <= MAX_NUMBERS), 1)
    if min(latents.shape[-2:]) > side:
        latents = nn.functional.adaptive_avg_pool2d(latents.float(), side)
    return latents.float().flatten(1)


def plane(latents: np.ndarray) -> tuple[np.ndarray, str, str]:
    """Moments [F, N, D] -> points [F, N, 2], names of the axes."""
    moments = latents.astype(np.float64)
    if moments.shape[2] == 2:
        return moments, "first latent", "second latent"
    last = moments[-1]
    centre = last.mean(0)
    _, deviations, directions = np.linalg.svd(last - centre, full_matrices=False)
    axes = np.zeros((2, moments.shape[2]))
    axes[: len(directions[:2])] = directions[:2]
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)] + 1e-12)[:, None]  # a sign that does not jump about
    share = deviations**2 / max((deviations**2).sum(), 1e-12)
    names = [f"component {i + 1} ({100 * (share[i] if i < len(share) else 0):.0f} %)" for i in range(2)]
    return (moments - centre) @ axes.T, names[0], names[1]


def draw_latent_space(path: Path, steps: Sequence[int], latents: np.ndarray, classes: Sequence[str]) -> None:
    """Points [F, N, D] as an animation, with axes that stay."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, x_name, y_name = plane(latents)
    low, high = np.quantile(points[-1], [0.005, 0.995], axis=0)
    margin = 0.15 * np.maximum(high - low, 1e-6)
    names = sorted(set(classes))
    places = np.array([names.index(name) for name in classes])
    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=x_name, ylabel=y_name, xlim=(low[0] - margin[0], high[0] + margin[0]))
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    colours = "tab10" if len(names) <= 10 else "tab20"
    x, y = points[0].T
    dots = axes.scatter(x, y, c=places, cmap=colours, vmin=-0.5, vmax=max(9.5, len(names) - 0.5), s=14, lw=0)
    if 1 < len(names) <= 20:
        handles = [
            axes.scatter([], [], color=dots.to_rgba(np.array(i)), s=24, label=name) for i, name in enumerate(names)
        ]
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
    frames = []
    for step, moment in zip(steps, points, strict=True):
        dots.set_offsets(moment)
        axes.set_title(f"step {step:,}", loc="left", fontsize=9)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    save_animation(path, frames)


def draw_progress(path: Path, steps: Sequence[int], originals: np.ndarray, outputs: np.ndarray) -> None:
    """Originals [K, S, S, 3] above reconstructions [F, K, S, S, 3], as an animation with the step below."""
    above = np.concatenate(list(originals), axis=1)
    frames = []
    for step, output in zip(steps, outputs, strict=True):
        rows = Image.fromarray(np.concatenate([above, np.concatenate(list(output), axis=1)]))
        frame = Image.new("RGB", (rows.width, rows.height + CAPTION), "white")
        frame.paste(rows)
        ImageDraw.Draw(frame).text((3, rows.height + 1), f"step {step:,}", fill="black")
        frames.append(frame)
    save_animation(path, frames)


def save_animation(path: Path, frames: list[Image.Image]) -> None:
    """Write an animation, WebP or GIF by the ending; the last frame stays a while."""
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    options: dict[str, Any] = {"quality": 85, "method": 3} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, **options)


def draw_curves(log: Path, path: Path) -> bool:
    """A panel for each column of numbers in log.csv, against the steps -> whether there were any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _, rows = read_rows(log)
    if not rows:
        return False
    steps = [float(row["step"]) for row in rows]
    columns = {name: [float(row[name]) for row in rows] for name in rows[0] if name not in ("step", "minutes")}
    columns = {name: values for name, values in columns.items() if any(map(math.isfinite, values))}
    n_rows = math.ceil(len(columns) / 3)
    figure = Figure(figsize=(10, 2.3 * n_rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, values) in enumerate(columns.items()):
        axes = figure.add_subplot(n_rows, 3, number + 1)
        axes.plot(steps, values, lw=1.2, marker="." if len(steps) < 3 else "")
        axes.set_title(name, loc="left", fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        positive = min(values) > 0 and max(values) > 20 * min(values)
        if positive and name != "learning_rate":
            axes.set_yscale("log")
    figure.savefig(path)
    return True


def draw(run: Path, gif: bool = False) -> list[Path]:
    """Draw all that a run's folder has kept -> the files written. Raises TrainingError where there is nothing."""
    kept = _kept(run / SNAPSHOTS)
    if kept is None or not len(kept["steps"]):
        raise TrainingError(f"{run} holds no {SNAPSHOTS}: give the folder of a run that has begun.")
    written = []
    for ending in (".webp", ".gif") if gif else (".webp",):
        written += [run / f"latent-space{ending}", run / f"progress{ending}"]
        draw_latent_space(written[-2], kept["steps"].tolist(), kept["latents"], kept["classes"].tolist())
        draw_progress(written[-1], kept["steps"].tolist(), kept["originals"], kept["outputs"])
    if (run / "log.csv").exists() and draw_curves(run / "log.csv", run / "curves.png"):
        written.append(run / "curves.png")
    return written


def as_uint8(pictures: Tensor) -> np.ndarray:
    """Pictures [B, 3, S, S] in about [0, 1] -> uint8 [B, S, S, 3]."""
    return pictures.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    """Arrays of a file of moments; None where there is no file that can be read."""
    names = ("steps", "latents", "outputs", "originals", "classes")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the --out folder of a training")
    parser.add_argument("--gif", action="store_true", help="GIF animations beside the WebP ones")
    args = parser.parse_args(argv)
    try:
        for path in draw(args.run, args.gif):
            print(path)
    except TrainingError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
