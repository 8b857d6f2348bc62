"""scripts/deploy_space.py: what it assembles, what it uploads, and what it says when it cannot."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from scripts import deploy_space
from tests.helpers.hub_server import COMMIT, HubServer, client_environment, unreachable_url

ROOT = Path(__file__).resolve().parents[1]
APPS = ("encoder", "decoder")
ENDPOINTS = {"encoder": "encode", "decoder": "decode"}
HUB_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
UNWANTED = (
    "spaces/{}/.gradio/cache.txt",
    "spaces/{}/__pycache__/app.pyc",
    "shared/latent8/__pycache__/blob.pyc",
    "spaces/{}/token.txt",
    "shared/latent8/credentials.json",
)
REVISIONS = "shared/latent8/zoo/revisions.json"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what a deployment takes from the project, with litter that must not be taken."""
    copy = tmp_path_factory.mktemp("project")
    litter = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("spaces", "shared/latent8"):
        shutil.copytree(ROOT / name, copy / name, ignore=litter)
    for name in ("LICENSE", "requirements.txt", "scripts/deploy_space.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for app in APPS:
        for name in UNWANTED:
            path = copy / name.format(app)
            path.parent.mkdir(exist_ok=True)
            path.write_text("litter")
    under_version_control(copy)
    return copy


def under_version_control(folder: Path) -> None:
    """All but the litter."""
    ignored = ["__pycache__/", ".gradio/", "token.txt", "credentials.json", ".gitignore"]
    (folder / ".gitignore").write_text("\n".join(ignored))
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)


def copied(project: Path, target: Path) -> Path:
    return shutil.copytree(project, target, symlinks=True)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wanted_files(project: Path, app: str) -> dict[str, str]:
    """What a Space of the app must hold: path -> digest of the bytes."""
    files = {"LICENSE": project / "LICENSE"}
    for folder, place in ((project / "spaces" / app, ""), (project / "shared" / "latent8", "latent8/")):
        files |= {place + path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    litter = r"(^|/)(\.|__pycache__|token.txt|credentials.json|revisions.json)"
    wanted = {name: path for name, path in files.items() if not re.search(litter, name)}
    found = {name: digest(path.read_bytes()) for name, path in wanted.items()}
    if lock := wanted.get("requirements.lock"):
        found["requirements.txt"] = digest(deploy_space.pins(lock.read_text("utf-8")).encode())
    return found


def files_below(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "revisions.json"]
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in files}


def files_of(hub: HubServer) -> dict[str, str]:
    return {name: digest(data) for name, data in (hub.space or {}).items() if not name.endswith("revisions.json")}


def deploy(
    project: Path, *arguments: str | Path, endpoint: str, home: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "scripts" / "deploy_space.py"), *map(str, arguments)]
    env = client_environment(endpoint, home, **{"HF_TOKEN": "hf_test", **more})
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def assert_one_line(result: subprocess.CompletedProcess[str], words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


@pytest.mark.parametrize("app", APPS)
def test_dry_run_assembles_an_app_that_uses_its_own_package(project: Path, tmp_path: Path, app: str) -> None:
    target = tmp_path / "new" / "space"
    result = deploy(project, app, "--dry-run", target, endpoint=unreachable_url(), home=tmp_path / "home")
    assert (result.returncode, result.stderr) == (0, "")
    assert str(target) in result.stdout

    files = files_below(target)
    assert files == wanted_files(project, app)
    weights = "latent8/weights/l8-tiny/diffusion_pytorch_model.safetensors"
    assert {
        "app.py",
        "README.md",
        "LICENSE",
        "latent8/file_format/blob.py",
        "latent8/file_format/entropy_tables.npy",
        weights,
    } < files.keys()
    assert {f"{app}_api.py", f"{app}_page.py"} < files.keys()
    assert any(name.startswith("examples/") for name in files) == (app == "encoder")

    command = [sys.executable, "-c", "import latent8; print(latent8.__file__)"]
    env = client_environment(unreachable_url(), tmp_path / "home")
    imported = subprocess.run(command, cwd=target, env=env, capture_output=True, text=True, check=True)
    assert Path(imported.stdout.strip()).resolve().is_relative_to(target.resolve())


@pytest.mark.parametrize("taken", ["folder", "file"])
def test_dry_run_leaves_what_is_there_alone(project: Path, tmp_path: Path, taken: str) -> None:
    target = tmp_path / "target"
    kept = target
    if taken == "folder":
        target.mkdir()
        kept = target / "mine.txt"
    kept.write_text("mine")
    result = deploy(project, "encoder", "--dry-run", target, endpoint=unreachable_url(), home=tmp_path / "home")
    assert_one_line(result, f"{target} is not an empty folder")
    assert kept.read_text() == "mine"
    assert files_below(tmp_path) == {kept.relative_to(tmp_path).as_posix(): digest(b"mine")}


def test_new_space_gets_exactly_the_assembled_files(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    with HubServer(models_exist=True) as hub:
        arguments = ("encoder", "--repo", "me/enc", "--private", "--hardware", "t4-small")
        result = deploy(copy, *arguments, endpoint=hub.url, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "me/enc is private: only who has access to it can use it.", f"{hub.url}/spaces/me/enc"
    ]  # fmt: skip
    assert hub.created == {
        "name": "enc",
        "organization": "me",
        "type": "space",
        "sdk": "gradio",
        "visibility": "private",
        "hardware": "t4-small",
    }
    assert files_of(hub) == wanted_files(project, "encoder")
    assert hub.tokens == {"Bearer hf_test"}


def test_existing_space_is_updated_and_loses_only_stale_files(project: Path, tmp_path: Path) -> None:
    before = {"app.py": b"old", "latent8/old.py": b"old", "examples/old.jpg": b"old", "notes.txt": b"mine"}
    copy = copied(project, tmp_path / "copy")
    with HubServer(space=before, models_exist=True) as hub:
        arguments = ("decoder", "--repo", "me/dec", "--hardware", "zero-a10g", "--other", "me/enc")
        result = deploy(copy, *arguments, endpoint=hub.url, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["me/dec is public: anyone can use it.", f"{hub.url}/spaces/me/dec"]
    assert hub.created == {}
    assert files_of(hub) == {**wanted_files(project, "decoder"), "notes.txt": digest(b"mine")}
    assert hub.hardware == "zero-a10g"
    assert hub.variables == {"LATENT8_ENCODER_URL": "https://huggingface.co/spaces/me/enc"}


def test_public_space_is_not_taken_for_a_private_one(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    with HubServer(space={"app.py": b"old"}, models_exist=True) as hub:
        result = deploy(copy, "encoder", "--repo", "me/enc", "--private", endpoint=hub.url, home=tmp_path)
        assert_one_line(result, "me/enc exists and is public")
        assert hub.space == {"app.py": b"old"}
        hub.private = True
        result = deploy(copy, "encoder", "--repo", "me/enc", "--public", endpoint=hub.url, home=tmp_path)
        assert_one_line(result, "me/enc exists and is private")
        result = deploy(copy, "encoder", "--repo", "me/enc", "--private", endpoint=hub.url, home=tmp_path)
        assert result.returncode == 0, result.stderr


def test_who_sees_a_new_space_has_to_be_said(project: Path, tmp_path: Path) -> None:
    with HubServer() as hub:
        result = deploy(project, "encoder", "--repo", "me/enc", endpoint=hub.url, home=tmp_path)
    assert_one_line(result, "me/enc is new: say whether it is --public or --private.")
    assert hub.space is None


def test_models_of_the_hub_are_taken_by_recorded_revisions(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    with HubServer(models_exist=True) as hub:
        arguments = ("encoder", "--repo", "me/enc", "--public")
        first = deploy(copy, *arguments, endpoint=hub.url, home=tmp_path)
        assert first.returncode == 0 and "Recorded revisions" in first.stderr
        recorded = json.loads((copy / REVISIONS).read_text())
        assert recorded["madebyollin/taesd"] == COMMIT and "l8-photo" not in recorded
        assert json.loads((hub.space or {})["latent8/zoo/revisions.json"]) == recorded

        recorded["madebyollin/taesd"] = "f" * 40  # as it was looked at
        (copy / REVISIONS).write_text(json.dumps(recorded))
        hub.requests.clear()
        second = deploy(copy, *arguments, endpoint=hub.url, home=tmp_path)
        assert (second.returncode, second.stderr) == (0, "")
        assert not [request for request in hub.requests if "/api/models/" in request]
        assert json.loads((hub.space or {})["latent8/zoo/revisions.json"]) == recorded

        assert deploy(copy, *arguments, "--latest", endpoint=hub.url, home=tmp_path).returncode == 0
        assert json.loads((copy / REVISIONS).read_text())["madebyollin/taesd"] == COMMIT


def test_only_files_under_version_control_are_deployed(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    (copy / "spaces/encoder/notes.txt").write_text("not added")
    (copy / "shared/latent8/planted.py").write_text("not added")
    target = tmp_path / "space"
    result = deploy(copy, "encoder", "--dry-run", target, endpoint=unreachable_url(), home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert not {"notes.txt", "token.txt", "latent8/planted.py", "latent8/credentials.json"} & files_below(target).keys()

    shutil.rmtree(copy / ".git")
    arguments = (copy, "encoder", "--dry-run", tmp_path / "other")
    result = deploy(*arguments, endpoint=unreachable_url(), home=tmp_path / "home")
    assert_one_line(result, "only files under version control are uploaded")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_are_not_followed(project: Path, tmp_path: Path, kind: str) -> None:
    copy, secret = copied(project, tmp_path / "copy"), tmp_path / "secret"
    secret.mkdir()
    (secret / "picos.jpg").write_text("secret")
    link = copy / ("spaces/encoder/examples/picos.jpg" if kind == "file" else "spaces/encoder/examples")
    if kind == "file":
        link.unlink()
        link.symlink_to(secret / "picos.jpg")
        subprocess.run(["git", "-C", str(copy), "add", str(link)], check=True)
    else:  # git has the files that were there
        shutil.rmtree(link)
        link.symlink_to(secret)
    target = tmp_path / "space"
    result = deploy(copy, "encoder", "--dry-run", target, endpoint=unreachable_url(), home=tmp_path / "home")
    assert_one_line(result, "symbolic link")
    assert b"secret" not in b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())


def test_a_lock_file_is_what_the_space_installs(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    (copy / "spaces/encoder/requirements.lock").write_text(
        "# of a script\nlocked==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nother==2\n"
    )
    under_version_control(copy)
    target = tmp_path / "space"
    result = deploy(copy, "encoder", "--dry-run", target, endpoint=unreachable_url(), home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert (target / "requirements.txt").read_text() == "# of a script\nlocked==1\nother==2\n"


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "hf auth login"), (402, "PRO or Team plan"), (403, "may not write to me"), (500, "(500)")],
)
def test_refusals_of_the_hub_are_explained(project: Path, tmp_path: Path, status: int, words: str) -> None:
    with HubServer(refuse=status, models_exist=True) as hub:
        copy = copied(project, tmp_path / "copy")
        result = deploy(copy, "encoder", "--repo", "me/enc", "--public", endpoint=hub.url, home=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1] and str(status) in result.stderr
    assert hub.space is None


def test_space_of_somebody_else_is_left_alone(project: Path, tmp_path: Path) -> None:
    with HubServer(space={"app.py": b"theirs"}, refuse=403, models_exist=True) as hub:
        copy = copied(project, tmp_path / "copy")
        result = deploy(copy, "encoder", "--repo", "you/enc", endpoint=hub.url, home=tmp_path)
    assert "may not write to you" in result.stderr
    assert hub.space == {"app.py": b"theirs"}


@pytest.mark.parametrize("name", ["enc", "me/enc/more", "me/en c", "-me/enc"])
def test_bad_names_are_refused_before_anything_is_sent(project: Path, tmp_path: Path, name: str) -> None:
    with HubServer() as hub:
        result = deploy(project, "encoder", f"--repo={name}", endpoint=hub.url, home=tmp_path)
    assert_one_line(result, f"'{name}' is no name for a Space")
    assert hub.requests == []


def test_missing_login_and_network_are_explained(project: Path, tmp_path: Path) -> None:
    nowhere = unreachable_url()
    arguments = ("encoder", "--repo", "me/enc", "--public")
    assert_one_line(deploy(project, *arguments, endpoint=nowhere, home=tmp_path, HF_TOKEN=""), "not logged in")
    assert_one_line(deploy(project, *arguments, endpoint=nowhere, home=tmp_path), f"{nowhere} cannot be reached")
    offline = deploy(project, *arguments, endpoint=nowhere, home=tmp_path, HF_HUB_OFFLINE="1")
    assert_one_line(offline, "HF_HUB_OFFLINE is set")


def test_incomplete_app_is_not_deployed(project: Path, tmp_path: Path) -> None:
    copy = copied(project, tmp_path / "copy")
    (copy / "shared/latent8/file_format/entropy_tables.npy").unlink()
    with HubServer() as hub:
        result = deploy(copy, "encoder", "--repo", "me/enc", endpoint=hub.url, home=tmp_path)
    assert_one_line(result, "not complete without latent8/file_format/entropy_tables.npy")
    assert hub.requests == []


@pytest.mark.parametrize("file", ["spaces/encoder/README.md", "spaces/encoder/requirements.txt", "requirements.txt"])
def test_gradio_versions_out_of_step_are_refused(project: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("latent8"))
    text = (copy / file).read_text("utf-8")
    (copy / file).write_text(re.sub(r"(sdk_version: |gradio\[mcp\]==)\d+", r"\g<1>5", text), "utf-8")
    result = deploy(copy, "encoder", "--dry-run", tmp_path / "space", endpoint=unreachable_url(), home=tmp_path)
    assert_one_line(result, "make them agree")


@pytest.mark.parametrize("app", APPS)
def test_front_matter_is_what_the_hub_takes(app: str) -> None:
    _, front_matter, _ = (ROOT / "spaces" / app / "README.md").read_text("utf-8").split("---\n", 2)
    values = yaml.safe_load(front_matter)
    assert values["sdk"] == "gradio"
    assert re.fullmatch(r"\d+\.\d+\.\d+", values["sdk_version"])
    assert values["python_version"] == "3.11"  # a string: unquoted, 3.10 would be 3.1
    assert values["license"] == "mit"
    assert (ROOT / "spaces" / app / values["app_file"]).is_file()
    assert {values["colorFrom"], values["colorTo"]} <= HUB_COLOURS
    assert len(values["short_description"]) <= 60  # the Hub's limit


@pytest.mark.parametrize("app", APPS)
def test_requirements_are_those_of_the_project(app: str) -> None:
    package = re.findall(r'^ +"([^"]+)",', (ROOT / "shared/pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert requirements(ROOT / "spaces" / app / "requirements.txt") == requirements(ROOT / "requirements.txt") | {
        str(Requirement(line)) for line in package
    }


def requirements(file: Path) -> set[str]:
    lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
    return {str(Requirement(line)) for line in lines if line and not line.startswith("-")}


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@pytest.mark.parametrize("app", APPS)
def test_program_in_the_readme_fits_the_app(app: str) -> None:
    program = re.search(r"```python\n(.*?)```", (ROOT / "spaces" / app / "README.md").read_text("utf-8"), re.DOTALL)
    assert program
    call, results = next(
        (node.value, node.targets[0])
        for node in ast.walk(ast.parse(program[1]))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    )
    assert isinstance(call, ast.Call) and isinstance(results, ast.Tuple)
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert arguments.pop("api_name") == f"'/{ENDPOINTS[app]}'"

    source = ast.parse((ROOT / "spaces" / app / f"{app}_api.py").read_text("utf-8"))
    handler = next(n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == ENDPOINTS[app])
    options = [call.args[0] for call in ast.walk(source) if isinstance(call, ast.Call) and is_name(call.func, "Option")]
    names = [option.value for option in options if isinstance(option, ast.Constant)]
    assert list(arguments) == [*(argument.arg for argument in handler.args.args), *names]
    assert isinstance(handler.returns, ast.Subscript) and isinstance(handler.returns.slice, ast.Tuple)
    assert len(results.elts) == len(handler.returns.slice.elts)


@pytest.mark.parametrize(
    ("app", "repo", "other", "expected"),
    [
        ("encoder", "me/latent8-encoder", None, {"LATENT8_DECODER_URL": "https://huggingface.co/spaces/me/latent8-decoder"}),
        ("decoder", "me/decoder", "you/enc", {"LATENT8_ENCODER_URL": "https://huggingface.co/spaces/you/enc"}),
        ("decoder", "me/dec", None, {}),
    ],
)  # fmt: skip
def test_the_pages_link_to_each_other(app: str, repo: str, other: str | None, expected: dict[str, str]) -> None:
    assert deploy_space.variables(app, repo, other) == expected
