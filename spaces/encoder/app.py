"""Encoder app: photos in, .l8 blobs out, with a look at what comes back."""

from __future__ import annotations

from encoder_page import EXAMPLES_FOLDER, build

from latent8.apps import server

server.offer_own_models()  # before the lists are made
demo = build()

if __name__ == "__main__":
    server.launch(demo, served=EXAMPLES_FOLDER)
