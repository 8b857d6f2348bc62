"""Loads the codec that a command works with."""

from __future__ import annotations

import argparse

from latent8.codec import Codec
from latent8.zoo.registry import Model


def codec_for(model: Model, args: argparse.Namespace) -> Codec:
    """args: device and max_pixels. Raises ModelError."""
    return Codec(model, args.device, max_pixels=args.max_pixels)
