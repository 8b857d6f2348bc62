"""latent8 library evaluate: tables of the ancestor, recall, and DINOv2 from a Hub on the loopback address."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from latent8.library.edits import EDITS
from latent8.library.evaluation.dinov2 import REPOSITORY, DinoV2
from latent8.library.evaluation.tables import Table
from tests.helpers.hub_server import HubServer, client_environment

pytest_plugins = ["tests.helpers.library_photos"]
CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 4,
    "image_size": 56,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}


@pytest.fixture(scope="module")
def small_dinov2(tmp_path_factory) -> Path:
    """A checkpoint in the layout of the Hub's, with random weights."""
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    network = DinoV2(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {
        name.replace("projection.", "embeddings.patch_embeddings.projection."): tensor.contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def evaluated(photos: Path, output: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "latent8", "library", "evaluate", str(photos), "-o", str(output)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {next(iter(row.values())): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def tables(small_photos, small_dinov2, tmp_path_factory) -> tuple[Path, str]:
    """The folder of an evaluation of the six photos, and what was printed."""
    output = tmp_path_factory.mktemp("evaluation") / "tables"
    with HubServer({REPOSITORY: small_dinov2}) as hub:
        home = tmp_path_factory.mktemp("home")
        environment = client_environment(hub.url, home, HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0")
        done = evaluated(small_photos, output, environment)
        assert any(REPOSITORY in request for request in hub.requests)
    assert done.returncode == 0, done.stderr
    return output, done.stdout


@pytest.mark.slow
def test_sizes_are_those_of_the_files(tables, small_photos):
    found = rows(tables[0] / "sizes.csv")
    sizes = [path.stat().st_size / 1e6 for path in small_photos.iterdir()]
    assert float(found["originals"]["sum"]) == pytest.approx(sum(sizes))
    assert float(found["originals"]["Q2"]) == pytest.approx(np.median(sizes))
    assert float(found["latents (.l8)"]["sum"]) < sum(sizes) / 5
    assert "0.0127, 0.0131, 0.0134, 1.294" in tables[1]


@pytest.mark.slow
def test_times_are_of_every_row_of_the_ancestor_and_say_what_it_published(tables):
    found = rows(tables[0] / "times.csv")
    published = next(name for name in found["file store, one latent"] if name.startswith("published"))
    assert "2023, machine not stated" in published and "counted twice" in tables[1]
    assert float(found["top-5 search, latents in the records"][published]) == 235.427
    for name, row in found.items():
        if "all" not in name:
            assert 0 < float(row["min"]) <= float(row["median"]) <= float(row["max"]), name
        assert row["n"] == "6"
    assert len(found) == 12


@pytest.mark.slow
def test_similarity_by_our_vector_and_by_dinov2_from_the_hub(tables):
    found = rows(tables[0] / "similarity.csv")
    assert set(found) == {"picture", "DINOv2 (small)"}
    assert 0.5 < float(found["picture"]["min"]) <= float(found["picture"]["mean"]) < 1


@pytest.mark.slow
def test_recall_of_each_vector_under_each_edit(tables):
    for k in (1, 5):
        found = rows(tables[0] / f"recall_at_{k}.csv")
        assert list(found) == [*EDITS, "all"]
        assert float(found["all"]["picture"]) >= 0.95
        assert float(found["all"]["picture"]) >= float(found["all"]["the ancestor's (l8-tiny)"])


@pytest.mark.slow
def test_a_plot_of_each_table_and_all_of_them_as_markdown(tables):
    text = (tables[0] / "evaluation.md").read_text()
    assert text.count("## ") == 5 and text.strip() in tables[1]
    for name in ("sizes", "times", "similarity", "recall_at_1", "recall_at_5"):
        with Image.open(tables[0] / f"{name}.png") as image:
            assert image.width > 500


def test_a_hub_that_holds_no_dinov2_is_said_in_a_note(small_dinov2, tmp_path, small_photos):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    (tmp_path / "bad" / "model.safetensors").write_bytes((small_dinov2 / "model.safetensors").read_bytes())
    code = (
        "from latent8.errors import ModelError\n"
        "from latent8.library.evaluation.dinov2 import load_dinov2\n"
        "try:\n    load_dinov2()\nexcept ModelError as error:\n    print(error)\n"
    )
    with HubServer({REPOSITORY: tmp_path / "bad"}) as hub:
        environment = client_environment(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
        )
    assert done.stdout == "facebook/dinov2-small holds no DINOv2 of a kind that is known here.\n", done.stderr


def test_tables_are_as_text_and_as_csv():
    table = Table("x", "A table", ("", "n", "value"), [["one", 1234, 0.12345], ["two", 5, None]], ["A note."])
    assert table.markdown() == (
        "## A table\n\n|     | n     | value |\n|-----|-------|-------|\n"
        "| one | 1,234 | 0.123 |\n| two | 5     | –     |\n"
        "\nA note.\n"
    )
    assert table.csv() == ",n,value\r\none,1234,0.12345\r\ntwo,5,\r\n"
