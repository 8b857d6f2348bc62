"""Train l8-tiny or l8-photo on a folder of photos, within a budget of minutes or steps. See training/README.md.

    python -m training.train PHOTOS --out runs/tiny --minutes 120 --lpips alexnet.npz
    python -m training.train PHOTOS --model l8-photo --out runs/photo --minutes 120 --lr 3e-4

Run the same command again to resume; a larger --minutes goes on from where the last budget ended.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import sys
import time
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from training.lpips import LPIPS
from training.ms_ssim import MIN_SIDE
from training.photo import PhotoTask
from training.photos import CropSource, photo_files
from training.readings import ReadingsTask
from training.tiny import TinyTask
from training.weights import photo_weights

TASKS: dict[str, type[TinyTask] | type[PhotoTask]] = {"l8-tiny": TinyTask, "l8-photo": PhotoTask}
Task = TinyTask | PhotoTask | ReadingsTask
LOG_EVERY, SAVE_EVERY = 50, 500  # steps
M = TypeVar("M", bound=nn.Module)


class SpikeGuard:
    """Decides whether a step is sane: skips bad batches, asks to go back after several in a row."""

    def __init__(self, factor: float = 4.0, patience: int = 5):
        self.factor, self.patience = factor, patience
        self.typical: float | None = None  # running mean of the loss
        self.in_a_row = self.skipped = 0

    def accepts(self, loss: float, gradient_norm: float) -> bool:
        bad = not math.isfinite(loss + gradient_norm) or (
            self.typical is not None and loss > self.factor * self.typical
        )
        if bad:
            self.in_a_row += 1
            self.skipped += 1
            return False
        self.in_a_row = 0
        self.typical = loss if self.typical is None else 0.98 * self.typical + 0.02 * loss
        return True

    def must_go_back(self) -> bool:
        return self.in_a_row >= self.patience

    def start_again(self) -> None:
        """After going back: judge anew, but go on counting what was skipped."""
        self.typical, self.in_a_row = None, 0


class Trainer:
    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device(args.device)
        torch.manual_seed(args.seed)
        self.task = task_of(args, self.device)
        self.model = channels_last(self.task.new_model().to(self.device))
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimisers = self.task.optimisers(self.model, args.lr)
        self.guard = SpikeGuard()
        self.step, self.seconds = 0, 0.0
        args.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = args.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self.load_state(torch.load(self.checkpoint, map_location=self.device, weights_only=True))
            print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)
        elif args.start_from or args.start_from_weights:
            for model in (self.model, self.ema):
                model.load_state_dict(start_weights(args, self.device))
        self.good_state = copy.deepcopy(self.state())

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(self.state(), partial)
        os.replace(partial, self.checkpoint)  # a killed run leaves the old checkpoint whole

    def half_precision(self) -> torch.autocast:
        """bf16 where it is fast: on a GPU, and on a CPU with AMX (AVX-512's bf16 is slower than float32)."""
        fast = self.device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16", False)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)

    def progress(self) -> float:
        """Share of the budget that is used: of the steps where they are given, else of the minutes."""
        if self.args.schedule_steps:
            return min(1.0, self.step / self.args.schedule_steps)
        return min(1.0, self.seconds / (60 * self.args.minutes))

    def learning_rate(self) -> float:
        """Warm-up over 200 steps, then a cosine from --lr to 1 % of it over the budget."""
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress()))
        return self.args.lr * cosine * min(1.0, (self.step + 1) / 200)

    def train_step(self, photos: Tensor) -> dict[str, float]:
        """One step on [B, 3, S, S] in [0, 1]; returns the row of the log."""
        rate = self.learning_rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
        self.task.perceptual = self.progress() >= self.args.lpips_from
        with self.half_precision():
            loss, figures = self.task.loss(self.model, photos)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        if self.guard.accepts(loss.item(), norm.item()):
            for optimiser in self.optimisers:
                optimiser.step()
            decay = min(0.999, (1 + self.step) / (10 + self.step))
            for average, parameter in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                average.lerp_(parameter.detach(), 1 - decay)
        elif self.guard.must_go_back():
            print(f"\nloss spike at step {self.step}: back to step {self.good_state['step']}", flush=True)
            seconds = self.seconds
            self.load_state(copy.deepcopy(self.good_state))
            self.seconds = seconds
            self.guard.start_again()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": loss.item(), **figures, "learning_rate": rate}

    @torch.no_grad()
    def write_grid(self, photos: Tensor) -> None:
        """Originals and what the averaged weights make of them, one row each."""
        with self.half_precision():
            rows = self.task.grid(self.ema, photos)
        strips = [torch.cat(list(row.float().clamp(0, 1)), dim=2) for row in rows]
        pixels = torch.cat(strips, dim=1).mul(255).round().byte().permute(1, 2, 0)
        Image.fromarray(pixels.cpu().numpy()).save(self.args.out / "grid.png")

    def run(self) -> None:
        args = self.args
        crops = CropSource(
            photo_files(args.photos), args.crop, args.batch, seed=args.seed + self.step, drawn=args.drawn
        )
        grid_photos = crops.next()[:8].to(self.device)
        columns = ["step", "minutes", "loss", *self.task.columns, "learning_rate", "skipped"]
        log_path = args.out / "log.csv"
        new_log = not log_path.exists()
        if not new_log and log_path.read_text().splitlines()[:1] != [",".join(columns)]:
            log_path.rename(args.out / f"log-to-step-{self.step}.csv")  # of a version with other columns
            new_log = True
        found: dict[str, list[float]] = {}  # since the last row of the log, by column
        with open(log_path, "a", newline="") as log_file:
            log = csv.DictWriter(log_file, columns)
            if new_log:
                log.writeheader()
            while self.progress() < 1 and (args.steps is None or self.step < args.steps):
                started = time.monotonic()
                photos = crops.next().to(self.device, memory_format=torch.channels_last, non_blocking=True)
                row = self.train_step(photos)
                self.seconds += time.monotonic() - started
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
                if self.step % LOG_EVERY == 0:
                    mean = {name: known_mean(values) for name, values in found.items()}
                    minutes = self.seconds / 60
                    figures = {name: f"{value:.6g}" for name, value in mean.items()}
                    counts = {"step": self.step, "minutes": f"{minutes:.2f}", "skipped": self.guard.skipped}
                    log.writerow({**counts, **figures})
                    log_file.flush()
                    self.show_progress(mean, minutes)
                    found = {}
                if self.step % args.save_every == 0:
                    self.save()
                    self.write_grid(grid_photos)
                    self.good_state = copy.deepcopy(self.state())
        self.save()
        self.write_grid(grid_photos)
        print(f"\ndone: {self.step} steps, {self.seconds / 60:.1f} minutes, {self.checkpoint}", flush=True)

    def show_progress(self, mean: dict[str, float], minutes: float) -> None:
        done = int(30 * self.progress())
        bar = "#" * done + "-" * (30 - done)
        line = f"[{bar}] {minutes:6.1f} min  step {self.step}  loss {mean['loss']:.3f}"
        line += f"  {mean['psnr_db']:.2f} dB  LPIPS {mean['lpips']:.3f}"
        line += f"  {mean['bpp']:.3f} bpp" if "bpp" in mean else ""
        end = "\r" if sys.stdout.isatty() else "\n"
        print(line, end=end, flush=True)


def task_of(args: argparse.Namespace, device: torch.device) -> Task:
    def network(weights: Path | None) -> LPIPS | None:
        return channels_last(LPIPS(weights).to(device)) if weights else None

    if args.only_synthesis:
        return ReadingsTask(args.start_from_weights, network(args.lpips), network(args.vgg16))
    return TASKS[args.model](network(args.lpips), args.lpips_weight, args.ms_ssim_weight)


def start_weights(args: argparse.Namespace, device: torch.device) -> dict[str, Tensor]:
    """Of the checkpoint, or the exported weights, that a new run begins with."""
    if args.start_from:
        return torch.load(args.start_from, map_location=device, weights_only=True)["ema"]
    return photo_weights(args.start_from_weights).state_dict()


def known_mean(values: list[float]) -> float:
    """Of the values that are numbers: not each batch has every figure. NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def channels_last(module: M) -> M:
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos, searched with its subfolders")
    parser.add_argument("--model", choices=list(TASKS), default="l8-tiny")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt, log.csv and grid.png")
    parser.add_argument("--minutes", type=float, default=120, help="training time in all, earlier runs included")
    parser.add_argument("--schedule-steps", type=int, help="steps in all, in place of --minutes")
    parser.add_argument("--steps", type=int, help="stop earlier, at this step")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--save-every", type=int, default=SAVE_EVERY, help="steps between checkpoints")
    parser.add_argument("--drawn", type=float, default=0.0, help="share of crops that are text, lines, screenshots")
    parser.add_argument("--crop", type=int, default=128, help="side of a crop in pixels")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--lpips", type=Path, help="weights from training.lpips_weights; without: MSE alone")
    parser.add_argument("--lpips-weight", type=float, default=2.0)
    parser.add_argument("--lpips-from", type=float, default=0.0, help="share of the budget that goes by without LPIPS")
    parser.add_argument("--ms-ssim-weight", type=float, default=0.0, help="of l8-photo: what 1 - MS-SSIM counts")
    parser.add_argument(
        "--start-from", type=Path, help="checkpoint.pt of another run, whose averaged weights to start from"
    )
    text = "folder of exported weights of l8-photo to start from, such as shared/latent8/weights/l8-photo"
    parser.add_argument("--start-from-weights", type=Path, help=text)
    text = "of l8-photo: train how bitstreams of --start-from-weights are read, and leave the bits as they are"
    parser.add_argument("--only-synthesis", action="store_true", help=text)
    parser.add_argument("--vgg16", type=Path, help="weights from training.lpips_weights, for --only-synthesis")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    multiple = TASKS[args.model].multiple
    if args.crop % multiple or args.crop < 32:
        parser.error(f"--crop must be a multiple of {multiple}, at least 32")
    if args.ms_ssim_weight and (args.model != "l8-photo" or args.crop < MIN_SIDE):
        parser.error(f"--ms-ssim-weight is for l8-photo, with a --crop of at least {MIN_SIDE}")
    if args.start_from_weights and args.model != "l8-photo":
        parser.error("--start-from-weights is for l8-photo")
    if args.start_from_weights and args.start_from:
        parser.error("give either --start-from or --start-from-weights")
    if args.only_synthesis and not args.start_from_weights:
        parser.error("--only-synthesis needs --start-from-weights: the weights whose bitstreams are to be read")
    if args.only_synthesis and args.crop < MIN_SIDE:
        parser.error(f"--only-synthesis needs a --crop of at least {MIN_SIDE}")
    if args.vgg16 and not args.only_synthesis:
        parser.error("--vgg16 is for --only-synthesis")
    if not 0 <= args.drawn <= 1:
        parser.error(f"--drawn must be from 0 to 1, not {args.drawn:g}")
    return args


if __name__ == "__main__":
    # The momentum of weights that no longer get a gradient sinks into denormal numbers, which CPUs multiply slowly.
    torch.set_flush_denormal(True)  # before the first parallel work: threads inherit it
    Trainer(parse_args()).run()
