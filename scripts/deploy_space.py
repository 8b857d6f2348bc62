"""Put one of the two apps on Hugging Face Spaces, or only assemble what would go there.

    python scripts/deploy_space.py encoder --repo USER/latent8-encoder --private
    python scripts/deploy_space.py decoder --dry-run assembled/decoder

The access token, with the right to write, is taken from the variable HF_TOKEN or from `hf auth login`. A Space of that
name is updated; files that are no longer part of the app are removed: Python files, and latent8/ and examples/.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import logging, validate_repo_id

ROOT = Path(__file__).resolve().parents[1]
NOT_PART_OF_AN_APP = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "*.partial")
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
                print(
                    deploy(
                        Path(folder), args.repo, args.private, args.hardware, variables(args.app, args.repo, args.other)
                    )
                )
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
    shutil.copytree(ROOT / "spaces" / app, target, ignore=NOT_PART_OF_AN_APP, dirs_exist_ok=True)
    shutil.copytree(ROOT / "shared" / "latent8", target / "latent8", ignore=NOT_PART_OF_AN_APP)
    shutil.copy(ROOT / "LICENSE", target)
    missing = [name for name in (*REQUIRED, f"{app}_api.py", f"{app}_page.py") if not (target / name).is_file()]
    if missing:
        raise DeployError(f"The {app} is not complete without {', '.join(missing)}.")


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


def deploy(folder: Path, repo: str, private: bool, hardware: SpaceHardware | None, variables: dict[str, str]) -> str:
    """Upload an assembled folder, to a new Space or over an existing one, and set its variables; its URL."""
    check_name(repo)
    if not get_token():
        raise DeployError("You are not logged in: run `hf auth login`, or set HF_TOKEN to a token that may write.")
    api = HfApi()
    try:
        existing = find_space(api, repo)
        if existing and private and not existing.private:
            raise DeployError(f"{repo} exists and is public: make it private in its settings, or leave out --private.")
        url = api.create_repo(
            repo,
            repo_type="space",
            space_sdk="gradio",
            exist_ok=True,
            private=private or None,  # None leaves it to the account's own default
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
    return str(url)


def check_name(repo: str) -> None:
    """Raise DeployError unless the name is USER/NAME."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise DeployError(f"{repo!r} is no name for a Space: {error}") from None
    if "/" not in repo:
        raise DeployError(f"{repo!r} is no name for a Space: give the account too, as USER/{repo}.")


def find_space(api: HfApi, repo: str):
    """SpaceInfo, or None where there is no such Space. Fails in seconds where the Hub cannot be reached."""
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
    parser.add_argument("--private", action="store_true", help="make the new Space private")
    parser.add_argument(
        "--hardware",
        type=SpaceHardware,
        metavar="FLAVOUR",
        help=f"one of {', '.join(flavour.value for flavour in SpaceHardware)}; a new Space gets cpu-basic",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
