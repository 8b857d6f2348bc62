"""Lock what the Spaces install: every package of theirs, pinned with its hashes, in spaces/*/requirements.lock.

    pip install uv==0.13.8
    python scripts/lock_spaces.py            # after a change of requirements.txt; pins that still fit stay
    python scripts/lock_spaces.py --upgrade  # the newest of all that fits
    python scripts/lock_spaces.py --check    # exit code 1 where a lock does not fit its requirements.txt; needs no uv

The locks are for the Python that the Spaces' README files ask for, on Linux and x86-64. deploy_space.py uploads them
in place of requirements.txt, so that a Space that is built again is the one that was tested.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
APPS = ("encoder", "decoder")
PLATFORM = "x86_64-manylinux_2_28"
HEADER = "# Made by scripts/lock_spaces.py from requirements.txt: run it again, and change nothing here.\n"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def main() -> int:
    """0; 1 for a lock that does not fit, 2 after one line on standard error."""
    args = parsed_arguments()
    if args.check:
        wrong = [line for app in APPS for line in unfitting(ROOT / "spaces" / app)]
        print("\n".join(wrong) or "Both locks fit.")
        return 1 if wrong else 0
    uv = shutil.which("uv")
    if uv is None:
        print("lock_spaces: uv is not installed: pip install uv==0.13.8", file=sys.stderr)
        return 2
    for app in APPS:
        error = lock(ROOT / "spaces" / app, uv, args.upgrade)
        if error:
            print(f"lock_spaces: {app}: {error}", file=sys.stderr)
            return 2
    return 0


def lock(folder: Path, uv: str, upgrade: bool) -> str | None:
    """Write the lock of an app's folder; what uv says where it cannot."""
    target = folder / "requirements.lock"
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "lock.txt"
        if target.exists() and not upgrade:
            shutil.copy(target, output)  # uv keeps its pins
        command = [uv, "pip", "compile", str(folder / "requirements.txt"), "-o", str(output), "--generate-hashes"]
        command += ["--python-version", python_version(folder), "--python-platform", PLATFORM, "--quiet"]
        command += ["--no-annotate", "--no-header", "--no-config"]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        if done.returncode:
            return " ".join(done.stderr.split())
        text = HEADER + output.read_text("utf-8").removeprefix(HEADER)
    target.write_text(text, "utf-8")
    print(f"{target.relative_to(ROOT)}: {len(pins(text))} packages")
    return None


def python_version(folder: Path) -> str:
    """Python version in the front matter of the Space's README."""
    found = re.search(r'^python_version: *"?([\d.]+)', (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "3.11"


def pins(lock_text: str) -> dict[str, str]:
    """Package, by its canonical name -> version."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(lock_text)}


def unfitting(folder: Path) -> list[str]:
    """A line for each requirement that the lock does not meet, and for each pin without a hash."""
    path = folder / "requirements.lock"
    if not path.exists():
        return [f"{path.relative_to(ROOT)} is missing."]
    text = path.read_text("utf-8")
    found = pins(text)
    wrong = []
    for line in (folder / "requirements.txt").read_text("utf-8").splitlines():
        if line.partition("#")[0].strip():
            wanted = Requirement(line.partition("#")[0])
            version = found.get(canonicalize_name(wanted.name))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                wrong.append(f"{path.relative_to(ROOT)} has {wanted.name} {version}, not {wanted.specifier}.")
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    wrong += [
        f"{path.relative_to(ROOT)}: {block.split()[0]} has no hash." for block in blocks[1:] if "--hash=" not in block
    ]
    return wrong


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--upgrade", action="store_true", help="take the newest versions")
    how.add_argument("--check", action="store_true", help="only say whether the locks fit")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
