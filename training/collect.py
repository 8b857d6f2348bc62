"""Collects clean photos from Debian's wallpaper packages, to train on.

    python -m training.collect photos/wallpapers

Downloads the packages of `PACKAGES` with apt-get, unpacks them beside what is installed, without root, and copies the
photos. Drawings and patterns stay behind, and so do the apps' examples, by which runs are judged. SOURCES.csv in the
folder says of each photo which package and licence it came with. Photos that are there already are left alone. Needs
Debian, or a system with its packages.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latent8.machine.disk import write_file
from training.task import TrainingError

SOURCES = "SOURCES.csv"
PLASMA = (
    "BytheWater", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow", "FallenLeaf", "Grey", "Kite",
    "OneStandsOut", "Path", "summer_1am",
)  # fmt: skip
EXAMPLES = ("aitzgorri_", "life_", "picosdeeuropa_", "seeding_", "sunset_", "Wine_")  # of spaces/encoder/examples


@dataclass(frozen=True)
class Package:
    """photos: patterns below the package's root. licence: of these photos, by the package's copyright file."""

    name: str
    licence: str
    photos: tuple[str, ...]


PACKAGES = (
    Package("lomiri-wallpapers-16.04", "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0", ("usr/share/backgrounds/*.jpg",)),
    Package("lomiri-wallpapers-20.04", "CC-BY-SA-3.0", ("usr/share/backgrounds/*.jpg",)),
    Package("mate-backgrounds", "GPL-2+", ("usr/share/backgrounds/mate/nature/*.jpg",)),
    Package(
        "plasma-workspace-wallpapers",
        "GPL-2+ (each photo's own metadata: LGPL-3)",
        tuple(f"usr/share/wallpapers/{name}/contents/images/*.jpg" for name in PLASMA),
    ),
)


def collect(folder: Path, packages: tuple[Package, ...] = PACKAGES) -> Iterator[Path]:
    """Copy the photos of the packages into the folder; each that is new. Raises TrainingError where apt-get fails.

    A photo is copied whole or not at all. Raises OSError where there is no room.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise TrainingError(f"{tool} is missing: this needs Debian, or a system with its packages.")
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        with tempfile.TemporaryDirectory() as name:
            root = unpacked(package.name, Path(name))
            for source in photos_of(root, package):
                target = folder / f"wall_{title_of(source).lower()}{source.suffix}"
                if not target.exists():
                    write_file(target, source.read_bytes())
                    note(folder / SOURCES, target.name, package)
                    yield target


def unpacked(package: str, folder: Path) -> Path:
    """Download a package and unpack it below the folder. Raises TrainingError."""
    try:
        run("apt-get", "download", "-qq", package, cwd=folder)
        (archive,) = folder.glob("*.deb")
        run("dpkg-deb", "-x", str(archive), str(folder / "root"))
    except (subprocess.CalledProcessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or "no package came").strip().splitlines()[-1]
        raise TrainingError(f"{package} could not be had ({said}): run `apt-get update` as root first.") from None
    return folder / "root"


def run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


def photos_of(root: Path, package: Package) -> list[Path]:
    """Each photo once, in the largest file that there is of it."""
    largest: dict[str, Path] = {}
    found = (path for pattern in package.photos for path in sorted(root.glob(pattern)) if not path.is_symlink())
    for path in found:
        title = title_of(path)
        if title.startswith(EXAMPLES):
            continue
        if title not in largest or path.stat().st_size > largest[title].stat().st_size:
            largest[title] = path
    return list(largest.values())


def title_of(path: Path) -> str:
    """Wallpapers of Plasma are files of several sizes in a folder that has the name."""
    return path.parents[2].name if path.parent.name == "images" else path.stem


def note(sources: Path, name: str, package: Package) -> None:
    new = not sources.exists()
    with open(sources, "a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        if new:
            rows.writerow(["file", "Debian package", "licence"])
        rows.writerow([name, package.name, package.licence])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    try:
        for path in collect(args.folder):
            print(path, flush=True)
    except TrainingError as error:
        parser.exit(1, f"{error}\n")
    except OSError as error:
        parser.exit(1, f"{error.filename or args.folder} could not be written ({error.strerror}).\n")


if __name__ == "__main__":
    main()
