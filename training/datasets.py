"""Fashion-MNIST and CIFAR-10, from the files they are published as, to folders of pictures that everything here reads.

    python -m training.datasets fashion-mnist FILES --out DATA
    python -m training.datasets cifar10 FILES --out DATA

FILES is the folder with the published files, or for cifar10 its .tar.gz: nothing is downloaded. The pictures come to
DATA/train/CLASS/00000.png and DATA/test/CLASS/00000.png. Those of Fashion-MNIST, 28 x 28, get a black frame, so that
their 32 pixels halve five times; --no-frame leaves it out.

IDX (of MNIST and Fashion-MNIST, each file also as .gz): two zero bytes, the type of the values (8: unsigned bytes), the
number of dimensions, the length of each dimension in four bytes, most significant first, then the values. CIFAR-10,
"binary version": records of 3,073 bytes, the class and then 1,024 bytes each of red, green and blue, row by row.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from training.task import TrainingError

FASHION_CLASSES = (
    ("t-shirt", "trouser", "pullover", "dress", "coat")
    + ("sandal", "shirt", "sneaker", "bag", "ankle-boot")
)  # fmt: skip
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_FILES = {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR_SIDE = 32
RECORD = 1 + 3 * CIFAR_SIDE**2
IDX_FILES = {"train": "train", "test": "t10k"}
UNSIGNED_BYTES = 8
MAX_VALUES = 1 << 29  # of one file: ten times what Fashion-MNIST has
FRAME = 2

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 [N, H, W] or [N, H, W, 3], and the class of each, uint8 [N]


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, also as .gz -> array of its shape. Raises TrainingError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0":
                raise TrainingError(f"{path} is no IDX file.")
            kind, n_dimensions = start[2], start[3]
            if kind != UNSIGNED_BYTES or not 1 <= n_dimensions <= 4:
                raise TrainingError(f"{path} holds no unsigned bytes in 1 to 4 dimensions.")
            lengths = file.read(4 * n_dimensions)
            if len(lengths) < 4 * n_dimensions:
                raise TrainingError(f"{path} ends too early: copy it again.")
            shape = struct.unpack(f">{n_dimensions}I", lengths)
            n_values = 1
            for length in shape:
                n_values *= length
            if n_values > MAX_VALUES:
                raise TrainingError(f"{path} states {n_values:,} values, more than any data set this reads.")
            values = file.read(n_values + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read ({error}).") from None
    if len(values) != n_values:
        which = "ends too early" if len(values) < n_values else "goes on after its last value"
        raise TrainingError(f"{path} {which}: copy it again.")
    return np.frombuffer(values, np.uint8).reshape(shape)


def fashion_mnist(folder: Path, part: str) -> Labelled:
    """`train` or `test` of a folder with the four published files, gzipped or not. Raises TrainingError."""
    start = IDX_FILES[part]
    pictures, classes = (
        read_idx(_found(folder, [f"{start}-{what}-ubyte{ending}" for ending in ("", ".gz")]))
        for what in ("images-idx3", "labels-idx1")
    )
    if pictures.ndim != 3 or classes.ndim != 1:
        raise TrainingError(f"The files {start}-… in {folder} hold no grey pictures and their classes.")
    _check(pictures, classes, len(FASHION_CLASSES), folder)
    return pictures, classes


def read_cifar(data: bytes, name: str) -> Labelled:
    """A file of CIFAR-10's binary version. Raises TrainingError."""
    if not data or len(data) % RECORD:
        raise TrainingError(
            f"{name} is no whole number of records of {RECORD:,} bytes: give the binary version of CIFAR-10, "
            "not that for Python or Matlab."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    pictures = records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
    _check(pictures, records[:, 0], len(CIFAR_CLASSES), name)
    return pictures, records[:, 0]


def cifar10(place: Path, part: str) -> Labelled:
    """`train` or `test` of a folder with the .bin files, or of the archive of them. Raises TrainingError."""
    found = [read_cifar(_bytes_of(place, name), name) for name in CIFAR_FILES[part]]
    pictures, classes = zip(*found, strict=True)
    return np.concatenate(pictures), np.concatenate(classes)


def write_pictures(pictures: np.ndarray, classes: np.ndarray, names: Sequence[str], out: Path, frame: int) -> int:
    """Write out/CLASS/00000.png and so on, numbered as they come -> how many."""
    for name in {names[index] for index in np.unique(classes)}:
        (out / name).mkdir(parents=True, exist_ok=True)
    border = [(0, 0), (frame, frame), (frame, frame)] + [(0, 0)] * (pictures.ndim - 3)
    for number, (picture, index) in enumerate(zip(np.pad(pictures, border), classes, strict=True)):
        Image.fromarray(picture).save(out / names[index] / f"{number:05}.png")
    return len(pictures)


def _bytes_of(place: Path, name: str) -> bytes:
    """A member of the archive, or a file of the folder; at most as large as one of CIFAR-10 is."""
    limit = MAX_VALUES
    try:
        if place.is_dir():
            path = _found(place, [name, f"cifar-10-batches-bin/{name}"])
            if path.stat().st_size > limit:
                raise TrainingError(f"{path} is larger than any file of CIFAR-10.")
            return path.read_bytes()
        with tarfile.open(place) as archive:
            member = next((m for m in _members(archive) if m.isfile() and Path(m.name).name == name), None)
            if member is None:
                raise TrainingError(f"{place} holds no {name}: give the binary version of CIFAR-10.")
            if member.size > limit:
                raise TrainingError(f"{name} in {place} is larger than any file of CIFAR-10.")
            file = archive.extractfile(member)
            assert file  # of a regular file
            return file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise TrainingError(f"{place} cannot be read ({error}).") from None


def _members(archive: tarfile.TarFile, most: int = 100) -> Iterator[tarfile.TarInfo]:
    for _ in range(most):
        member = archive.next()
        if member is None:
            return
        yield member


def _found(folder: Path, names: Sequence[str]) -> Path:
    if not folder.is_dir():
        raise TrainingError(f"There is no folder {folder}.")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise TrainingError(f"{folder} holds no {names[0]}: give the folder with the published files.")


def _check(pictures: np.ndarray, classes: np.ndarray, n_classes: int, place: Path | str) -> None:
    if len(pictures) != len(classes) or not len(pictures):
        raise TrainingError(f"{place} holds {len(pictures):,} pictures and {len(classes):,} classes.")
    if classes.max() >= n_classes:
        raise TrainingError(f"{place} states the class {classes.max()}, and there are {n_classes}.")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["fashion-mnist", "cifar10"])
    parser.add_argument("files", type=Path, help="the folder with the published files, or CIFAR-10's archive")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-frame", action="store_true", help="of fashion-mnist: leave pictures at 28 x 28")
    args = parser.parse_args(argv)
    grey = args.dataset == "fashion-mnist"
    names = FASHION_CLASSES if grey else CIFAR_CLASSES
    frame = FRAME if grey and not args.no_frame else 0
    try:
        for part in ("train", "test"):
            pictures, classes = (fashion_mnist if grey else cifar10)(args.files, part)
            n = write_pictures(pictures, classes, names, args.out / part, frame)
            print(f"{n:,} pictures in {len(np.unique(classes))} classes: {args.out / part}")
    except (TrainingError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
