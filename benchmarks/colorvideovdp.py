"""ColorVideoVDP, a judge that was not trained on: how far people would say that two pictures are apart, in JOD.

Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display distortions", SIGGRAPH 2024;
the authors' package, which brings its parameters:

    pip install --no-deps cvvdp==0.5.7

The packages that it asks for read videos, or belong to a variant that is not used here; of torchvision, whose wheel on
PyPI does not load beside a CPU build of torch, it needs one blur. So it is installed without them, and imported with
stand-ins for them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

INSTALL = "pip install --no-deps cvvdp==0.5.7"
DISPLAY = "standard_fhd"  # 24 inches, 1920 x 1080, 200 cd/m^2, in an office, from twice its height: 38 pixels a degree


class GaussianBlur:
    """torchvision.transforms.GaussianBlur of tensors [N, C, H, W] and a fixed sigma: a window of `kernel_size` pixels a
    side, edges mirrored."""

    def __init__(self, kernel_size: int, sigma: float):
        self.half = kernel_size // 2
        bell = torch.exp(-0.5 * (torch.arange(-self.half, self.half + 1) / sigma) ** 2)
        self.window = torch.outer(bell, bell) / bell.sum() ** 2

    def forward(self, x: Tensor) -> Tensor:
        window = self.window.to(x).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(F.pad(x, [self.half] * 4, mode="reflect"), window, groups=x.shape[1])


# Modules that pycvvdp imports, and the names that it takes from them
STAND_INS: dict[str, dict[str, object]] = {
    "torchvision": {},
    "torchvision.transforms": {"GaussianBlur": GaussianBlur},
    "torchvision.ops": {"MLP": None},
    "einops": {"rearrange": None, "repeat": None},
    "einops.layers": {},
    "einops.layers.torch": {"Rearrange": None},
    "ffmpeg": {},
    "imageio": {},
    "imageio.v2": {},
}


@contextmanager
def stand_ins() -> Iterator[None]:
    """What STAND_INS names takes the place of what is installed for as long as this lasts; sys.path stays as it is."""
    path, installed = sys.path.copy(), {name: sys.modules[name] for name in STAND_INS if name in sys.modules}
    for name, attributes in STAND_INS.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(attributes)
    try:
        yield
    finally:
        for name in STAND_INS:
            del sys.modules[name]
        sys.modules.update(installed)
        sys.path[:] = path


def has_cvvdp() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("pycvvdp") is not None


class ColorVideoVDP:
    """The metric of still pictures, as seen on DISPLAY. Raises ImportError without the package."""

    def __init__(self, device: torch.device | str = "cpu"):
        if not has_cvvdp():
            raise ImportError(f"ColorVideoVDP needs its package: {INSTALL}")
        with stand_ins():
            from pycvvdp.cvvdp_metric import cvvdp
        self.metric = cvvdp(display_name=DISPLAY, device=torch.device(device), quiet=True)

    @torch.inference_mode()
    def __call__(self, original: np.ndarray, decoded: np.ndarray) -> float:
        """JOD of two pictures, uint8 [H, W, 3]: 10 where no difference is seen; at 9, three of four people would choose
        the original. Takes 0.6 s for 768 x 512 on one core."""
        return float(self.metric.predict(decoded, original, dim_order="HWC")[0])
