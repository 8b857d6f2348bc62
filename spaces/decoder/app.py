"""Decoder app: .l8 blobs, or other tools' latents, in; pictures out."""

from __future__ import annotations

from decoder_page import PURPOSE, TITLE, build

from latent8.apps import look, server

server.offer_own_models()  # before the lists are made
demo = build()

if __name__ == "__main__":
    server.launch(demo, look.head(TITLE, PURPOSE))
