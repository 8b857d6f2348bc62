"""Sessions that begin quickly: Gradio describes every component of the page anew for each of them.

Every call of a program is a session of its own. Describing the components takes longer than a small picture does, and
holds up whatever else the server is asked. So they are described once, and a session begins with copies.
"""

from __future__ import annotations

from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
from gradio import mcp, route_utils, state_holder
from gradio.state_holder import SessionState

_first: WeakKeyDictionary[gr.Blocks, SessionState] = WeakKeyDictionary()


class QuickSession(SessionState):
    """What Gradio's own class gives, from a copy of the first one of these blocks."""

    def __init__(self, blocks: gr.Blocks):
        if blocks not in _first:
            _first[blocks] = SessionState(blocks)
        vars(self).update(vars(_first[blocks]))
        self.blocks_config = copy(blocks.default_config)
        self.config_values = {key: _own(config) for key, config in _first[blocks].config_values.items()}
        self.state_data = {}
        self._state_ttl = {}


def _own(config: dict[str, Any]) -> dict[str, Any]:
    """A copy in which a session may change the value, as Gradio does."""
    return {**config, "props": dict(config["props"])} if "props" in config else dict(config)


def begin_quickly() -> None:
    for module in (state_holder, route_utils, mcp):
        module.SessionState = QuickSession  # type: ignore[attr-defined]
