"""Put one of the two apps on Hugging Face Spaces, or only assemble what would go there.

    python scripts/deploy_space.py encoder --repo USER/latent8-encoder --public
    python scripts/deploy_space.py decoder --repo USER/latent8-decoder --private
    python scripts/deploy_space.py decoder --dry-run assembled/decoder

Only files under version control are uploaded, as they are in the working tree; links among them are refused. The access
token, with the right to write, is taken from the variable HF_TOKEN or from `hf auth login`. A Space of that name is
updated, and stays as public or private as it is; files that are no longer part of the app are removed: Python files,
and latent8/ and examples/.

Models that are not bundled are taken from the Hugging Face Hub by the revisions (commits) recorded in
shared/latent8/zoo/revisions.json, so that the Space goes on with what was looked at, whatever their authors upload. A
model without one gets today's, which is recorded there; --latest records today's of all of them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware, SpaceInfo, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import logging, validate_repo_id

ROOT = Path(__file__).resolve().parents[1]
REVISIONS = Path("shared/latent8/zoo/revisions.json")
LOCK = "requirements.lock"
WHO = {"public": "anyone", "private": "only who has access to it"}
REQUIRED = (
    "app.py",
    "README.md",
    "requirements.txt",
    "latent8/__init__.py",
    "latent8/file_format/entropy_tables.npy",
    *(
        f"latent8/weights/{model}/{name}"
        for model in ("l8-photo", "l8-tiny")
        for name in ("config.json", "diffusion_pytorch_model.safetensors")
    ),
)


class DeployError(Exception):
    """A failure of the deployment; its message is one sentence."""


def main() -> int:
    """0, or 2 after one line on standard error."""
    args = parsed_arguments()
    logging.set_verbosity_error()  # the client would report each of its own retries
    try:
        check_gradio_versions(args.app)
        if args.dry_run:
            assemble(args.app, args.dry_run)
            print(f"Assembled in {args.dry_run}; nothing was uploaded.")
        else:
            with tempfile.TemporaryDirectory() as folder:
                assemble(args.app, Path(folder))
                links = variables(args.app, args.repo, args.other)
                print(deploy(Path(folder), args.repo, args.visibility, args.hardware, links, args.latest))
    except (DeployError, OSError) as error:
        print(f"deploy_space: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def check_gradio_versions(app: str) -> None:
    """A Space installs the README's sdk_version of gradio: it must be one that both requirements files pin."""
    readme = ROOT / "spaces" / app / "README.md"
    version = re.search(r"^sdk_version: *([\d.]+)$", readme.read_text("utf-8"), re.MULTILINE)
    if not version:
        raise DeployError(f"{readme} has no line 'sdk_version: ...' in its front matter.")
    for requirements in (ROOT / "requirements.txt", readme.with_name("requirements.txt")):
        pin = re.search(r"^gradio\[mcp\]==([\d.]+)\.\*", requirements.read_text("utf-8"), re.MULTILINE)
        if not pin:
            raise DeployError(f"{requirements} has no pin of the form 'gradio[mcp]==X.Y.*'.")
        if not version[1].startswith(f"{pin[1]}."):
            raise DeployError(
                f"{readme} asks for gradio {version[1]}, and {requirements} for {pin[1]}: make them agree."
            )


def assemble(app: str, target: Path) -> None:
    """Write the Space's files into an empty or new folder: the app, the package beside it, the licence."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DeployError(f"{target} is not an empty folder: name another one, or empty it first.")
    places = {f"spaces/{app}/": "", "shared/latent8/": "latent8/", "LICENSE": "LICENSE"}
    for name in files_under_version_control(*places):
        prefix = next(prefix for prefix in places if name.startswith(prefix))
        part = places[prefix] + name.removeprefix(prefix)
        if any(step.startswith(".") for step in part.split("/")):
            continue
        copy = target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    if (target / LOCK).is_file():  # with it, the Space installs exactly what was tested
        (target / "requirements.txt").write_text(pins((target / LOCK).read_text("utf-8")), "utf-8")
    missing = [name for name in (*REQUIRED, f"{app}_api.py", f"{app}_page.py") if not (target / name).is_file()]
    if missing:
        raise DeployError(f"The {app} is not complete without {', '.join(missing)}.")


def pins(lock: str) -> str:
    """A lock file without its hashes: a Space installs gradio and others in the same command without any, and with some
    pip would refuse all that have none."""
    return re.sub(r" *\\\n +--hash=\S+", "", lock)


def variables(app: str, repo: str, other: str | None) -> dict[str, str]:
    """By which the app's page links to the other app: as it is named, or as this one with the other's name in it."""
    counterpart = {"encoder": "decoder", "decoder": "encoder"}[app]
    if other is None:
        account, _, name = repo.rpartition("/")
        other = f"{account}/{name.replace(app, counterpart)}" if app in name else ""
    if not other:
        return {}
    check_name(other)
    return {f"LATENT8_{counterpart.upper()}_URL": f"https://huggingface.co/spaces/{other}"}


def files_under_version_control(*places: str) -> list[str]:
    """Paths below these, as git has them. Raises DeployError for a link, which would lead who knows where."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--", *places]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        top = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--show-prefix"], capture_output=True, check=True)
    except (OSError, subprocess.SubprocessError):
        raise DeployError(f"{ROOT} is no checkout of git: only files under version control are uploaded.") from None
    names = [name.decode() for name in listed.split(b"\0") if name]
    if top.stdout.strip():
        raise DeployError(f"{ROOT} lies in another project's checkout: only files under version control are uploaded.")
    for name in names:
        steps = [ROOT / name, *(ROOT / parent for parent in Path(name).parents)]
        if any(stat.S_ISLNK(step.lstat().st_mode) for step in steps if step.exists() or step.is_symlink()):
            raise DeployError(f"{name} is, or lies behind, a symbolic link: put the file itself there.")
    return [name for name in names if (ROOT / name).is_file()]


def deploy(
    folder: Path,
    repo: str,
    visibility: str | None,
    hardware: SpaceHardware | None,
    variables: dict[str, str],
    latest: bool,
) -> str:
    """Upload an assembled folder, to a new Space or over an existing one, and set its variables.

    What to tell: who can see it, and its URL.
    """
    check_name(repo)
    if not get_token():
        raise DeployError("You are not logged in: run `hf auth login`, or set HF_TOKEN to a token that may write.")
    api = HfApi()
    try:
        existing = find_space(api, repo)
        visibility = checked_visibility(repo, existing, visibility)
        pin_revisions(api, folder, latest)
        url = api.create_repo(
            repo,
            repo_type="space",
            space_sdk="gradio",
            exist_ok=True,
            private=visibility == "private",
            space_hardware=hardware,
        )
        for name, value in variables.items():
            api.add_space_variable(repo, name, value)
        api.upload_folder(
            repo_id=repo,
            repo_type="space",
            folder_path=folder,
            delete_patterns=["*.py", "latent8/*", "examples/*"],
            commit_message="Deploy latent8",
        )
        if existing and hardware:  # for an existing Space, create_repo ignores it
            api.request_space_hardware(repo, hardware)
    except HfHubHTTPError as error:
        raise DeployError(sentence(error, repo)) from error
    except OfflineModeIsEnabled:
        raise DeployError("HF_HUB_OFFLINE is set: unset it to reach the Hugging Face Hub.") from None
    except HTTPError as error:
        raise DeployError(f"{api.endpoint} cannot be reached ({error}): check the network.") from error
    except (ValueError, RuntimeError) as error:  # front matter that the Hub does not take; its storage client's errors
        raise DeployError(f"The upload failed: {error}") from error
    return f"{repo} is {visibility}: {WHO[visibility]} can use it.\n{url}"


def checked_visibility(repo: str, existing: SpaceInfo | None, wanted: str | None) -> str:
    """Who will see the Space. Raises DeployError where that was not said, or is not so."""
    if existing is None:
        if wanted is None:
            raise DeployError(f"{repo} is new: say whether it is --public or --private.")
        return wanted
    found = "private" if existing.private else "public"
    if wanted not in (None, found):
        raise DeployError(f"{repo} exists and is {found}: make it {wanted} in its settings, or leave out --{wanted}.")
    return found


def pin_revisions(api: HfApi, folder: Path, latest: bool) -> None:
    """Write the commit of each model of the Hub into the assembled app, and new ones into the working tree too."""
    recorded = json.loads((ROOT / REVISIONS).read_text("utf-8"))
    sys.path.insert(0, str(ROOT / "shared"))
    from latent8.zoo.registry import models

    found = dict(recorded)
    for source in sorted({model.source for model in models() if not model.bundled}):
        if latest or source not in recorded:
            try:
                found[source] = api.model_info(source, timeout=10).sha
            except RepositoryNotFoundError:
                raise DeployError(
                    f"There is no model {source} on the Hub: no revision of it can be recorded."
                ) from None
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    (folder / "latent8/zoo/revisions.json").write_text(text, "utf-8")
    if found != recorded:
        (ROOT / REVISIONS).write_text(text, "utf-8")
        print(f"Recorded revisions in {REVISIONS}: look at the models, and commit it.", file=sys.stderr)


def check_name(repo: str) -> None:
    """Raise DeployError unless the name is USER/NAME."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise DeployError(f"{repo!r} is no name for a Space: {error}") from None
    if "/" not in repo:
        raise DeployError(f"{repo!r} is no name for a Space: give the account too, as USER/{repo}.")


def find_space(api: HfApi, repo: str) -> SpaceInfo | None:
    """None where there is no such Space. Fails in seconds where the Hub cannot be reached."""
    try:
        return api.space_info(repo, timeout=10)
    except RepositoryNotFoundError:
        return None


def sentence(error: HfHubHTTPError, repo: str) -> str:
    """Sentence that says what an answer of the Hub means for the user."""
    status = error.response.status_code
    account = repo.split("/")[0]
    reasons = {
        401: "The Hub does not accept the access token (401): run `hf auth login` again, or set HF_TOKEN anew.",
        402: "The Hub asks for payment (402): a Gradio Space on free hardware needs a PRO or Team plan, "
        "and --hardware with a paid flavour needs a payment method.",
        403: f"The access token may not write to {account} (403): use a token with write permission for it.",
    }
    return reasons.get(status, f"The Hub answered with an error ({status}): {error.server_message or error}")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", choices=["encoder", "decoder"])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", metavar="USER/NAME", help="the Space to make or update")
    where.add_argument("--dry-run", type=Path, metavar="DIR", help="only assemble the files, in this empty folder")
    parser.add_argument(
        "--other", metavar="USER/NAME", help="the other app's Space, to link to; by default this one's name, exchanged"
    )
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument(
        "--public", dest="visibility", action="store_const", const="public", help="anyone can use it"
    )
    visibility.add_argument(
        "--private", dest="visibility", action="store_const", const="private", help="only its owners can use it"
    )
    parser.add_argument("--latest", action="store_true", help="record today's revisions of all models of the Hub")
    parser.add_argument(
        "--hardware",
        type=SpaceHardware,
        metavar="FLAVOUR",
        help=f"one of {', '.join(flavour.value for flavour in SpaceHardware)}; a new Space gets cpu-basic",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
