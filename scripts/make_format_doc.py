"""Write docs/FORMAT.md from the specifications on top of the modules that implement them."""

from __future__ import annotations

from pathlib import Path

from latent8 import exchange
from latent8.file_format import blob, context_coding, hyperprior_coding, neighbour_coding, rgba_png

OUTPUT = Path(__file__).parents[1] / "docs" / "FORMAT.md"


def text() -> str:
    parts = ["# The .l8 format", "", "Written by `python scripts/make_format_doc.py` from the modules named here."]
    for title, module in (
        ("The blob (`latent8/file_format/blob.py`)", blob),
        ("Entropy coding (`latent8/file_format/neighbour_coding.py`)", neighbour_coding),
        ("Coding under a hyperprior (`latent8/file_format/hyperprior_coding.py`)", hyperprior_coding),
        ("Coding of numbers of codes (`latent8/file_format/context_coding.py`)", context_coding),
        ("Latents as RGBA PNG (`latent8/file_format/rgba_png.py`)", rgba_png),
        ("Latents of other tools (`latent8/exchange.py`)", exchange),
    ):
        parts += ["", f"## {title}", "", "```text", (module.__doc__ or "").strip(), "```"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(text(), encoding="utf-8")
