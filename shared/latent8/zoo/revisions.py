"""Revisions (commits) of models on the Hugging Face Hub, as scripts/deploy_space.py records them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path


def revision_of(source: str) -> str | None:
    """The commit that a repository of the Hub is taken by; None where none is recorded, for its newest."""
    return _recorded().get(source)


@cache
def _recorded() -> dict[str, str]:
    return json.loads(Path(__file__).with_name("revisions.json").read_text("utf-8"))
