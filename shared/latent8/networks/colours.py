"""Pictures as networks take and give them: in [-1, 1], in colour or grey."""

from __future__ import annotations

from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def as_seen(rgb: Tensor, n_colours: int) -> Tensor:
    """RGB [B, 3, H, W] in [0, 1] -> [B, 3, H, W] in [-1, 1], or the luma [B, 1, H, W] where there is one channel."""
    if n_colours == 1:
        rgb = (rgb * rgb.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return rgb * 2 - 1


def as_rgb(pictures: Tensor) -> Tensor:
    """Colour [B, 3, H, W] or grey [B, 1, H, W], in about [-1, 1] -> RGB [B, 3, H, W] in about [0, 1]."""
    pictures = pictures / 2 + 0.5
    return pictures.repeat(1, 3, 1, 1) if pictures.shape[1] == 1 else pictures
