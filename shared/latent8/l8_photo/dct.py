"""The DCT that the transforms of l8-photo start from: 16 x 16 pixels, luma and two chromas, low frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRIDE = 16  # pixels per latent, both ways
N_LUMA, N_CHROMA = 192, 24  # coefficients that are kept of luma, and of each chroma


def frequencies_of_latents() -> list[tuple[int, int, int]]:
    """DCT frequency of each channel of y: (colour, u, v), with colour 0 for luma, 1 and 2 for the chromas.

    u and v count half waves in 16 pixels, downwards and across.
    """
    low_first = sorted((u * u + v * v, u, v) for u in range(STRIDE) for v in range(STRIDE))
    counts = enumerate((N_LUMA, N_CHROMA, N_CHROMA))
    return [(colour, u, v) for colour, count in counts for _, u, v in low_first[:count]]


def dct_basis() -> Tensor:
    """Orthonormal DCT rows on PixelUnshuffle(16) of RGB: [240, 768]; luma, then both chromas, low frequencies first."""
    n = torch.arange(STRIDE, dtype=torch.float64)
    dct = torch.cos(math.pi * (n + 0.5) * n[:, None] / STRIDE) * math.sqrt(2 / STRIDE)
    dct[0] /= math.sqrt(2)
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    rows = [torch.einsum("c,y,x->cyx", colours[c], dct[u], dct[v]) for c, u, v in frequencies_of_latents()]
    return torch.stack(rows).flatten(1).float()
