"""Encoder app: photos in, .l8 blobs out."""

from __future__ import annotations

from encoder_page import EXAMPLES_FOLDER, PURPOSE, TITLE, build

from latent8.apps import look, server

server.offer_own_models()  # before the lists are made
demo = build()

if __name__ == "__main__":
    server.launch(demo, look.head(TITLE, PURPOSE), EXAMPLES_FOLDER)
