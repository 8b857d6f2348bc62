"""What counts beside the bits when l8-photo is trained: of each realism something else, see `WEIGHTS`.

At realism 0 it is the squared error alone. At 1 it is a quarter of it, LPIPS (AlexNet), the Wasserstein distortion, and
the absolute error at small sizes, which holds colours and brightness. At 0.5 it is the squared error, those of the
pictures at 1/4 and 1/8 size beside it, since eyes see coarse errors better than fine ones, 1 - MS-SSIM of the luma,
SSIMULACRA2, LPIPS, and some Wasserstein distortion. After Agustsson et al., "Multi-realism image compression with a
conditional generator" (2023), without its discriminator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from latent8.l8_photo.layers import N_LEVELS
from training import ms_ssim
from training.lpips import LPIPS
from training.ssimulacra2 import SMALLEST_SIDE, Ssimulacra2
from training.wasserstein import wasserstein_distortion

LOWEST_LAMBDA, HIGHEST_LAMBDA = 0.00012, 0.063  # lambda at the first and at the last rate level
MIDDLE_LAMBDA = math.sqrt(LOWEST_LAMBDA * HIGHEST_LAMBDA)
WEIGHTS = {  # at the realisms that tables are learned at, 0, 0.5 and 1; between them they are interpolated
    "squared error": (1.0, 0.7, 0.25),
    "coarse squared error": (0.0, 1.0, 0.0),
    "coarse absolute error": (0.0, 0.0, 5.0),
    "ms_ssim": (0.0, 1.0, 0.0),
    "ssimulacra2": (0.0, 0.006, 0.0),
    "lpips": (0.0, 0.5, 3.5),
    "wasserstein": (0.0, 0.2, 1.0),
}
WASSERSTEIN_SHARE, WASSERSTEIN_SIDE = 0.5, 128  # of batches, pixels: on a CPU VGG16 takes most of the time


Figures = dict[str, Tensor]


class Distortion(nn.Module):
    """Distortions of readings, in bits per pixel. Nothing in it waits for a GPU.

    Without the networks of LPIPS their parts are left out, as are MS-SSIM and SSIMULACRA2 of pictures that are too
    small for them.
    """

    def __init__(self, alexnet: LPIPS | None, vgg16: LPIPS | None):
        super().__init__()
        self.alexnet, self.vgg16 = alexnet, vgg16
        self.ssimulacra2 = Ssimulacra2()

    def faithful(self, output: Tensor, photos: Tensor, level: Tensor) -> tuple[Tensor, Figures]:
        """As `forward`, at realism 0, where networks need not be asked."""
        mse = (output.float() - photos).square().mean((1, 2, 3))
        return trade(level) * 255**2 * mse, {"psnr_db": decibels(mse.detach())}

    def forward(
        self, output: Tensor, photos: Tensor, level: Tensor, realism: Tensor, perceptual: bool = True
    ) -> tuple[Tensor, Figures]:
        """Readings and photos, [B, 3, S, S] in [0, 1], levels [B], realisms [B] -> [B], figures.

        Divided by `relative_size(level)` losses of all levels are of one size. perceptual: whether the networks count.
        """
        output = output.float()
        weights, relative = weights_at(realism), relative_size(level)
        loss, figures = self.faithful(output, photos, level)
        loss = loss * weights["squared error"]
        quarter, eighth, sixteenth = (nn.functional.avg_pool2d(output - photos, size) for size in (4, 8, 16))
        squared = sum(e.square().mean((1, 2, 3)) for e in (quarter, eighth))
        absolute = sum(e.abs().mean((1, 2, 3)) for e in (quarter, eighth, sixteenth))
        # a squared error counts in units of 255^2 lambda, see `trade`; lambda is relative^2 MIDDLE_LAMBDA
        loss = loss + weights["coarse squared error"] * MIDDLE_LAMBDA * (255 * relative) ** 2 * squared
        loss = loss + weights["coarse absolute error"] * relative * absolute
        side = min(photos.shape[-2:])
        if side >= ms_ssim.MIN_SIDE:
            ours, theirs = (255 * ms_ssim.luma(x) for x in (output, photos))
            similarity = ms_ssim.similarity(ours, theirs, floor=0.01)
            loss = loss + weights["ms_ssim"] * relative * (1 - similarity)
            figures["ms_ssim"] = similarity.mean()
        if side >= SMALLEST_SIDE:
            distance = self.ssimulacra2(photos, output)
            loss = loss + weights["ssimulacra2"] * relative * distance
            figures["ssimulacra2"] = 100 - distance.mean()
        if self.alexnet and perceptual:
            distance = self.alexnet(*enlarged(*shifted(output, photos)))
            loss = loss + weights["lpips"] * relative.sqrt() * distance
            figures["lpips"] = distance.mean()
        share = 1.0 if output.is_cuda else WASSERSTEIN_SHARE
        if self.vgg16 and perceptual and torch.rand(()) < share:
            distance = wasserstein_distortion(self.vgg16, *patch(WASSERSTEIN_SIDE, output, photos))
            loss = loss + weights["wasserstein"] / share * relative.sqrt() * distance
            figures["wasserstein"] = distance.mean()
        return loss, {name: figure.detach() for name, figure in figures.items()}


def trade(level: Tensor) -> Tensor:
    """lambda(level): weight of a unit of 255^2 MSE, in bits per pixel, [B]."""
    return LOWEST_LAMBDA * (HIGHEST_LAMBDA / LOWEST_LAMBDA) ** (level / (N_LEVELS - 1))


def relative_size(level: Tensor) -> Tensor:
    """Size of a loss at a level, 1 in the middle, [B]."""
    return (trade(level) / MIDDLE_LAMBDA).sqrt()


def weights_at(realism: Tensor) -> dict[str, Tensor]:
    """WEIGHTS at each realism, [B]."""
    lower, upper = (2 * realism).clamp(0, 1), (2 * realism - 1).clamp(0, 1)
    return {
        part: faithful + (middle - faithful) * lower + (vivid - middle) * upper
        for part, (faithful, middle, vivid) in WEIGHTS.items()
    }


def patch(side: int, *pictures: Tensor) -> list[Tensor]:
    """The same square of all, drawn anew each time."""
    limits = pictures[0].shape[-2] - side + 1, pictures[0].shape[-1] - side + 1
    top, left = (int(torch.randint(0, limit, ())) for limit in limits)
    return [picture[..., top : top + side, left : left + side] for picture in pictures]


def decibels(mse: Tensor) -> Tensor:
    """Mean PSNR of pictures with these squared errors."""
    return -10 * mse.clamp_min(1e-10).log10().mean()


def shifted(*pictures: Tensor) -> list[Tensor]:
    """Cut three rows and columns off all pictures, on sides that are drawn anew each time.

    AlexNet samples every fourth pixel. Were these always the same, the synthesis, which also works on a grid of four,
    would learn to please those alone, and draw a dotted pattern.
    """
    top, left = torch.randint(0, 4, (2,)).tolist()
    height, width = (side - 3 for side in pictures[0].shape[-2:])
    return [picture[..., top : top + height, left : left + width] for picture in pictures]


def enlarged(*pictures: Tensor) -> list[Tensor]:
    """Enlarge all pictures by the same factor of 1 to 2, drawn anew each time.

    A picture is looked at from near and far; and what pleases AlexNet at one size alone, as dots and ringing may, does
    not at the others. The factors are few, as a GPU prepares itself for each new size.
    """
    factor = 1 + int(torch.randint(5, ())) / 4
    return [nn.functional.interpolate(picture, scale_factor=factor, mode="bilinear") for picture in pictures]
