"""Train an autoencoder on a folder of photos, within a budget of minutes or steps. See training/README.md.

    python -m training.train PHOTOS --out runs/tiny --minutes 120 --lpips alexnet.npz
    python -m training.train PHOTOS --model l8-photo --out runs/photo --minutes 120 --lr 3e-4
    python -m training.train PHOTOS --model vae --out runs/vae --minutes 60 --width 32 --stages 4
    python -m training.train --config vq.yaml

Run the same command again to resume; a larger --minutes goes on from where the last budget ended.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from training import config, watch
from training.export import load_checkpoint
from training.log import Log
from training.options import parse_args
from training.photos import CropSource, photo_files
from training.task import TrainingError
from training.tasks import channels_last, differences, start_weights, task_of

LOG_EVERY = 50  # steps
MOST_RETURNS = 2  # to the same step, before a training gives up


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
        """Forget the losses so far, after going back or where the loss is another; go on counting skipped batches."""
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
        self.board = new_board(args)
        self.step, self.seconds, self.stopped = 0, 0.0, False
        self.returned_to, self.returns = -1, 0  # a step that it went back to, and how often in a row
        args.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = args.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self.resume()
            print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)
        elif args.start_from or args.start_from_weights:
            start = start_weights(args, self.device)
            try:
                for model in (self.model, self.ema):
                    model.load_state_dict(start)
            except RuntimeError:
                raise TrainingError(
                    f"{args.start_from or args.start_from_weights} is of another architecture: take its options."
                ) from None
        self.good_state = copy.deepcopy(self.state())

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "architecture": self.task.architecture,
        }

    def resume(self) -> None:
        """Go on from the checkpoint. Raises TrainingError where it is of another model than the options ask for."""
        state = load_checkpoint(self.checkpoint, self.device)
        different = differences(state.get("architecture", {}), self.task.architecture)
        wrong = f"{self.checkpoint} is of another architecture"
        if different:
            raise TrainingError(f"{wrong}, with {different}: take its options, or another --out.")
        try:
            self.load_state(state)
        except (RuntimeError, ValueError, KeyError):  # other weights, or other optimisers
            raise TrainingError(
                f"{wrong} than --model {self.args.model}: take its options, or another --out."
            ) from None

    def load_state(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint, all or nothing. Raises OSError where there is no room; the old one is then whole."""
        partial = self.checkpoint.with_suffix(".partial")
        try:
            torch.save(self.state(), partial)
            os.replace(partial, self.checkpoint)
        except (OSError, RuntimeError) as error:  # torch raises both where it cannot write
            partial.unlink(missing_ok=True)
            reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
            raise OSError(f"checkpoint.pt could not be written ({reason})") from None

    def unless_full(self, write: Callable[[], object]) -> bool:
        """Write unless the disk is full -> whether it was written. A full disk is reported; the training goes on."""
        try:
            write()
        except OSError as error:
            print(f"\n{error}: free some space in {self.args.out}. The training goes on.", flush=True)
            return False
        return True

    def half_precision(self) -> torch.autocast:
        """Autocast to bfloat16 where it is fast: on a GPU, and on a CPU with AMX (AVX-512's is slower than float32)."""
        fast = self.device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16", False)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)

    def progress(self) -> float:
        """Share of the budget that is used: of the steps if they are given, else of the minutes."""
        if self.args.schedule_steps:
            return min(1.0, self.step / self.args.schedule_steps)
        return min(1.0, self.seconds / (60 * self.args.minutes))

    def learning_rate(self) -> float:
        """Learning rate: warm-up over 200 steps, or a tenth of --schedule-steps; then a cosine from --lr to 1 %."""
        warm_up = max(1, min(200, (self.args.schedule_steps or 2000) // 10))
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress()))
        return self.args.lr * cosine * min(1.0, (self.step + 1) / warm_up)

    def train_step(self, photos: Tensor) -> dict[str, float]:
        """Train one step on pictures [B, 3, S, S] in [0, 1] -> the row of the log."""
        rate = self.learning_rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
        perceptual = self.progress() >= self.args.lpips_from
        if perceptual != self.task.perceptual:
            self.guard.start_again()  # another loss, whose size is another too
        self.task.perceptual = perceptual
        with self.half_precision():
            loss, figures = self.task.loss(self.model, photos)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        if self.guard.accepts(loss.item(), norm.item()):
            with self.half_precision():  # of Muon's products of matrices, as its authors do it
                for optimiser in self.optimisers:
                    optimiser.step()
            decay = min(0.999, (1 + self.step) / (10 + self.step))
            for average, parameter in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                average.lerp_(parameter.detach(), 1 - decay)
            self.task.after_step(self.model, self.ema)
        elif self.guard.must_go_back():
            self.go_back()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return {"loss": loss.item(), **{name: float(figure) for name, figure in figures.items()}, "learning_rate": rate}

    def go_back(self) -> None:
        """Load the last good state. Raises TrainingError where that has not helped `MOST_RETURNS` times before."""
        good = self.good_state["step"]
        self.returns = self.returns + 1 if good == self.returned_to else 1
        self.returned_to = good
        if self.returns > MOST_RETURNS:
            raise TrainingError(
                f"The loss is no number, or far too large, again and again after step {good}: take a smaller --lr."
            )
        print(f"\nloss spike at step {self.step}: back to step {good}", flush=True)
        seconds = self.seconds
        self.load_state(copy.deepcopy(self.good_state))
        self.seconds = seconds
        self.guard.start_again()

    @torch.no_grad()
    def write_grid(self, photos: Tensor) -> None:
        """Write originals and reconstructions of the averaged weights, one row each, and the task's own pictures."""
        with self.half_precision():
            named = {"grid": self.task.grid(self.ema, photos), **self.task.pictures(self.ema, photos)}
        for name, rows in named.items():
            self.write_rows(name, rows)

    def write_rows(self, name: str, rows: list[Tensor]) -> None:
        strips = [torch.cat(list(row.float().clamp(0, 1)), dim=2) for row in rows]
        pixels = torch.cat(strips, dim=1).mul(255).round().byte().permute(1, 2, 0)
        Image.fromarray(pixels.cpu().numpy()).save(self.args.out / f"{name}.png")

    def new_watcher(self) -> watch.Watcher | None:
        """A watcher of fixed pictures, if the options ask for it."""
        args = self.args
        if not args.watch:
            return None
        folder = args.validation or args.photos
        watched = watch.watched_pictures(folder, args.crop, args.watch)
        told = watch.about_classes(watched.classes, folder)
        if told:
            print(told, flush=True)
        watcher = watch.Watcher(self.task, watched, args.out)
        watcher.load(self.step)
        return watcher

    def look(self, watcher: watch.Watcher | None, last: bool = False) -> None:
        if watcher:
            with self.half_precision():
                watcher.look(self.ema, self.step, last)

    def run(self) -> None:
        args = self.args
        crops = CropSource(
            photo_files(args.photos),
            args.crop,
            args.batch,
            seed=args.seed + self.step,
            zoom_out=args.zoom_out,
            drawn=args.drawn,
            cover=args.cover,
            shrink=args.shrink,
            workers=args.workers,
        )
        grid_photos = crops.next()[:8].to(self.device)
        self.unless_full(lambda: config.keep(args.out / "config.yaml", args))
        watcher = self.new_watcher()
        self.look(watcher)
        columns = ["step", "minutes", "loss", *self.task.columns, "learning_rate", "skipped"]
        log = Log(args.out / "log.csv", columns, self.step)
        while self.progress() < 1 and not self.stopped and (args.steps is None or self.step < args.steps):
            started = time.monotonic()
            log.add(self.train_step(crops.next(self.device)))
            self.seconds += time.monotonic() - started
            if self.step % LOG_EVERY == 0:
                self.note(log)
            if watcher and self.step % args.watch_every == 0:
                self.look(watcher)
            if self.step % args.save_every == 0:
                self.unless_full(self.save)
                self.unless_full(lambda: self.write_pictures(grid_photos, watcher))
                self.good_state = copy.deepcopy(self.state())
        self.note(log)
        self.look(watcher, last=True)
        saved = self.unless_full(self.save)
        self.unless_full(lambda: self.write_pictures(grid_photos, watcher, last=True))
        if not saved:
            raise TrainingError(f"The end of this run is not saved, for want of room in {args.out}: run it again.")
        done = "stopped, the same command goes on" if self.stopped else "done"
        print(f"\n{done}: {self.step} steps, {self.seconds / 60:.1f} minutes, {self.checkpoint}", flush=True)

    def note(self, log: Log) -> None:
        """Write a row of the log and show it, unless no step was made since the last."""
        means = log.means()
        if not means:
            return
        counts = {"step": self.step, "minutes": f"{self.seconds / 60:.2f}", "skipped": self.guard.skipped}
        self.unless_full(lambda: log.write(counts, means))
        self.unless_full(lambda: self.show_on_board(means))
        self.show_progress(means, self.seconds / 60)

    def show_on_board(self, means: dict[str, float]) -> None:
        if self.board:
            for name, value in means.items():
                self.board.add_scalar(name, value, self.step)

    def stop(self, *_: object) -> None:
        """End after this step, with all saved. A second Ctrl-C ends at once."""
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def write_pictures(self, photos: Tensor, watcher: watch.Watcher | None, last: bool = False) -> None:
        """Write all pictures of the run; the animations, which take seconds, at the end alone."""
        self.write_grid(photos)
        if watcher:
            watcher.save()
        if not find_spec("matplotlib"):
            print("latent-space.webp and curves.png need matplotlib: pip install matplotlib", flush=True)
            return
        try:
            if last and watcher:
                watch.draw(self.args.out, self.args.gif)
            else:
                watch.draw_curves(self.args.out / "log.csv", self.args.out / "curves.png")
        except (ValueError, TypeError) as error:
            print(f"\nPictures of the run could not be drawn ({error}). The training goes on.", flush=True)

    def show_progress(self, mean: dict[str, float], minutes: float) -> None:
        done = int(30 * self.progress())
        bar = "#" * done + "-" * (30 - done)
        line = f"[{bar}] {minutes:6.1f} min  step {self.step}  loss {mean['loss']:.3f}"
        line += f"  {mean['psnr_db']:.2f} dB  LPIPS {mean['lpips']:.3f}"
        line += f"  {mean['bpp']:.3f} bpp" if "bpp" in mean else ""
        line += f"  KL {mean['kl']:.2f}" if "kl" in mean else ""
        line += f"  {mean['perplexity']:.0f} codes" if "perplexity" in mean else ""
        end = "\r" if sys.stdout.isatty() else "\n"
        print(line, end=end, flush=True)


def new_board(args: argparse.Namespace) -> Any:
    """A writer of TensorBoard if the options ask for it. Raises TrainingError where it is not installed."""
    if not args.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("--tensorboard needs TensorBoard: pip install tensorboard.") from None
    return SummaryWriter(args.out / "tensorboard")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, __doc__)
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer = Trainer(args)
        signal.signal(signal.SIGINT, trainer.stop)
        trainer.run()
    except (TrainingError, OSError, ValueError) as error:
        sys.exit(f"training.train: {error}")
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    # The momentum of weights that no longer get a gradient sinks into denormal numbers, which CPUs multiply slowly.
    torch.set_flush_denormal(True)  # before the first parallel work: threads inherit it
    main()
