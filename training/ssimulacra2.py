"""SSIMULACRA2 as a loss: that of the reference code, differentiable, for batches of crops.

Jon Sneyers' metric (https://github.com/cloudinary/ssimulacra2) compares two pictures in XYB, the opponent colours of
JPEG XL, at up to six scales: by the loss of structural similarity, and by edges that were added or lost, each as a mean
and as a 4-norm. Constants and weights are those of the reference. Near the border the blur mirrors the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ABSORBANCE = (  # of long, middle and short cones, for linear RGB
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
BIAS = 0.0037930732552754493
C2 = 0.0009
SIGMA, RADIUS = 1.5, 5  # pixels, of the blur
N_SCALES = 5  # the sixth of the reference counts nothing
SMALLEST_SIDE = 8 << N_SCALES - 1  # pixels; a scale has sides of at least 8
# Of X (0), Y (1) and B - Y (2) at each scale: weights of the means of similarity lost, edges added and edges lost, then
# those of their 4-norms. Those below 0.003 are left out.
WEIGHTS: dict[tuple[int, int], tuple[float, ...]] = {
    (0, 1): (0, 0, 0, 1.1041726426657346, 0, 0),
    (0, 2): (0, 0, 0, 1.8422455520539298, 11.441172603757666, 0),
    (0, 3): (0, 0, 0, 1.8787594979546387, 10.94906990605142, 0),
    (0, 4): (0, 0.9677937080626833, 0, 0, 0.9981766977854967, 0),
    (1, 0): (0, 0, 0, 7.466890328078848, 0, 17.445833984131262),
    (1, 1): (0, 0, 0, 6.683678146179332, 0, 1.027889937768264),
    (1, 2): (225.20515300849274, 0, 0, 19.213238186143016, 0, 0),
    (1, 3): (176.39317598450694, 0, 0, 24.43300999870476, 0.28520802612117757, 0),
    (1, 4): (0, 0, 0, 34.77906344483772, 44.835625328877896, 0),
    (2, 3): (0, 0, 0, 8.826982764996862, 23.19243343998926, 0),
    (2, 4): (95.1080498811086, 0.9863978034400682, 0.9834382792465353, 0, 171.2667255897307, 0.9807858872435379),
}


class Ssimulacra2(nn.Module):
    """100 - SSIMULACRA2, a distance: pictures [B, 3, H, W] in [0, 1], sRGB, sides of at least 128 pixels -> [B].

    It is about 0 for equal pictures, 10 where no loss is seen, 50 for medium quality, over 100 for very low.
    """

    absorbance: Tensor
    blur: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.exp(-(torch.arange(-RADIUS, RADIUS + 1).double() ** 2) / (2 * SIGMA**2))
        weights = torch.zeros(3, N_SCALES, 6)
        for (channel, scale), values in WEIGHTS.items():
            weights[channel, scale] = torch.tensor(values)
        self.register_buffer("absorbance", torch.tensor(ABSORBANCE)[..., None, None])
        self.register_buffer("blur", (window / window.sum()).float().view(1, 1, 1, -1))
        self.register_buffer("weights", weights)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x: the originals."""
        with torch.autocast(x.device.type, enabled=False):  # variances are small differences
            a, b = (linear(picture.float().clamp(0, 1)) for picture in (x, y))
            errors = []
            for scale in range(N_SCALES):
                if scale:
                    a, b = (F.avg_pool2d(picture, 2) for picture in (a, b))
                errors.append(self._errors(self._xyb(a), self._xyb(b)))
            return distance((self.weights * torch.stack(errors, 2)).sum((1, 2, 3)))

    def _xyb(self, rgb: Tensor) -> Tensor:
        """Linear RGB -> X, Y, B - Y, shifted to be positive, each [B, 3, h, w]."""
        cones = F.conv2d(rgb, self.absorbance, rgb.new_full((3,), BIAS)) ** (1 / 3) - BIAS ** (1 / 3)
        long, middle, short = cones.unbind(1)
        luma = (long + middle) / 2
        return torch.stack([7 * (long - middle) + 0.42, luma + 0.01, short - luma + 0.55], 1)

    def _errors(self, a: Tensor, b: Tensor) -> Tensor:
        """Errors of b in XYB: [B, 3, 6], as `WEIGHTS` has them."""
        blurred = self._blurred(torch.cat([a, b, a * a, b * b, a * b], 1))
        mean_a, mean_b, aa, bb, ab = blurred.split(3, 1)
        covariance, variances = ab - mean_a * mean_b, aa - mean_a.square() + bb - mean_b.square()
        similarity = (1 - (mean_a - mean_b).square()) * (2 * covariance + C2) / (variances + C2)
        edges = (1 + (b - mean_b).abs()) / (1 + (a - mean_a).abs()) - 1
        maps = torch.stack([(1 - similarity).clamp_min(0), edges.clamp_min(0), (-edges).clamp_min(0)], 2)
        fourth = maps.square().square().mean((3, 4))
        return torch.cat([maps.mean((3, 4)), (fourth + 1e-16) ** 0.25], 2)  # the root's gradient stays finite

    def _blurred(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> the same, blurred by a Gaussian."""
        planes = F.pad(x.flatten(0, 1)[:, None], (RADIUS,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(planes, self.blur), self.blur.mT).view_as(x)


def linear(srgb: Tensor) -> Tensor:
    """sRGB in [0, 1] -> linear light (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def distance(error: Tensor) -> Tensor:
    """Weighted sum of errors -> 100 - SSIMULACRA2, by the reference's fit to people's opinions."""
    error = 0.9562382616834844 * error
    fitted = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 10 * (fitted + 1e-6) ** 0.6276336467831387
