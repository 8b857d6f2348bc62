"""Sessions that begin quickly: as Gradio's own, and each with values of its own."""

from __future__ import annotations

import time

import gradio as gr
import pytest
from gradio import mcp, route_utils, state_holder
from gradio.state_holder import SessionState, StateHolder

from latent8.apps import sessions
from latent8.apps.sessions import QuickSession


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as blocks:
        for number in range(40):
            gr.Textbox(f"text {number}", label="a text")
        gr.State([number])
    return blocks


def test_they_are_as_gradios_own(demo: gr.Blocks) -> None:
    own, quick = SessionState(demo), QuickSession(demo)
    assert vars(own).keys() == vars(quick).keys()  # nothing that a newer Gradio adds is left out
    assert own.config_values == quick.config_values and isinstance(quick, SessionState)
    assert own.blocks_config.blocks.keys() == quick.blocks_config.blocks.keys()


def test_none_sees_what_another_changes(demo: gr.Blocks) -> None:
    first, second = QuickSession(demo), QuickSession(demo)
    text = next(key for key, block in demo.blocks.items() if isinstance(block, gr.Textbox))
    state = next(key for key, block in demo.blocks.items() if isinstance(block, gr.State))
    first._update_value_in_config(text, "changed")
    first[text] = gr.Textbox("another", render=False)
    first[state].append("mine")
    for other in (second, QuickSession(demo)):
        assert other.config_values[text]["props"]["value"] == "text 0"
        assert other[text].value == "text 0" and "mine" not in other[state]


def test_they_are_quick(demo: gr.Blocks) -> None:
    QuickSession(demo)

    def seconds(session: type[SessionState]) -> float:
        started = time.process_time()
        for _ in range(20):
            session(demo)
        return time.process_time() - started

    assert 5 * seconds(QuickSession) < seconds(SessionState)


def test_the_app_begins_them(demo: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (state_holder, route_utils, mcp):
        monkeypatch.setattr(module, "SessionState", SessionState)
    sessions.begin_quickly()
    holder = StateHolder()
    holder.set_blocks(demo)
    assert isinstance(holder["a session"], QuickSession)
    assert route_utils.SessionState is mcp.SessionState is QuickSession
