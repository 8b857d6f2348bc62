"""How both pages look: theme, styles, scripts, icon, and what a link to a page shows elsewhere."""

from __future__ import annotations

import html
import os
from pathlib import Path

import gradio as gr

from latent8.apps.own_head import ADDRESS

WEB = Path(__file__).resolve().parent / "web"
FAVICON = WEB / "favicon.png"
CARD = WEB / "card.png"  # what a link to the page shows in a chat
CSS = (WEB / "page.css").read_text("utf-8")

# The theme's own labels, tabs and buttons have less than 4.5:1 against what they stand on.
THEME = gr.themes.Soft(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"]).set(
    body_background_fill="#ffffff",
    body_background_fill_dark="#0f172a",
    body_text_color="#0f172a",
    body_text_color_dark="#f1f5f9",
    body_text_color_subdued="#475569",
    body_text_color_subdued_dark="#cbd5e1",
    block_label_text_color="#0f172a",
    block_label_text_color_dark="#f1f5f9",
    block_title_text_color="#0f172a",
    block_title_text_color_dark="#f1f5f9",
    block_info_text_color="#475569",
    block_info_text_color_dark="#cbd5e1",
    block_title_background_fill="none",
    block_title_padding="0",
    input_border_color="#64748b",
    input_border_color_dark="#94a3b8",
    input_border_width="1px",
    button_primary_background_fill="#0f766e",
    button_primary_background_fill_hover="#115e59",
    button_primary_background_fill_dark="#5eead4",
    button_primary_background_fill_hover_dark="#99f6e4",
    button_primary_text_color="#ffffff",
    button_primary_text_color_dark="#042f2e",
    button_secondary_background_fill="#ffffff",
    button_secondary_background_fill_dark="#1e293b",
    button_secondary_text_color="#0f172a",
    button_secondary_text_color_dark="#f1f5f9",
    button_secondary_border_color="#64748b",
    button_secondary_border_color_dark="#94a3b8",
    checkbox_label_background_fill_selected="#0f766e",
    checkbox_label_background_fill_selected_dark="#5eead4",
    checkbox_label_text_color_selected="#ffffff",
    checkbox_label_text_color_selected_dark="#042f2e",
    checkbox_background_color_selected="#0f766e",
    checkbox_border_color="#64748b",
    checkbox_border_color_dark="#94a3b8",
    slider_color="#0f766e",
    slider_color_dark="#5eead4",
)


def script(name: str) -> str:
    return (WEB / f"{name}.js").read_text("utf-8")


def head(title: str, description: str) -> str:
    """HTML for the page's head: the shared script, and a description and picture for links to it."""
    texts = {
        "og:title": title,
        "og:description": description,
        "og:image": f"{ADDRESS.decode()}gradio_api/file={CARD}",
        "twitter:card": "summary_large_image",
        "description": description,
    }
    tags = "".join(
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" content="{html.escape(text)}">'
        for name, text in texts.items()
    )
    return f"{tags}<script>{script('page')}</script>"


def decoder_url() -> str:
    return os.environ.get("LATENT8_DECODER_URL", "")


def encoder_url() -> str:
    return os.environ.get("LATENT8_ENCODER_URL", "")


def source_url() -> str:
    """Where the code is: what is set, else the Space's own files; empty where neither is known."""
    space = os.environ.get("SPACE_ID", "")  # set on Spaces
    files = f"https://huggingface.co/spaces/{space}/tree/main" if space else ""
    return os.environ.get("LATENT8_SOURCE_URL", "") or files


def link(text: str, url: str) -> str:
    """HTML of a link, or of the text alone where it is not known where to. It opens in a tab of its own."""
    start = f'<a href="{html.escape(url)}" target="_blank" rel="noopener">'
    return f"{start}{html.escape(text)}</a>" if url else html.escape(text)
