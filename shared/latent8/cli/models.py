"""latent8 models: the models that blobs can name."""

from __future__ import annotations

import argparse

from latent8.cli.arguments import Commands, add_command
from latent8.zoo.registry import DEFAULT_MODEL, models

DESCRIPTION = "The models that blobs can name: latent space, channels, size in MB, licence, and what each needs."
EXAMPLES = (
    "latent8 models",
    "latent8 encode photo.jpg --model l8-tiny   uses one of them",
)


def add_to(commands: Commands) -> None:
    add_command(commands, "models", run, "the models that blobs can name", DESCRIPTION, EXAMPLES)


def run(args: argparse.Namespace) -> int:
    for model in models():
        default = " (default)" if model.name == DEFAULT_MODEL else ""
        print(f"{model.name}{default}: {model.summary}")
        latents = f"latent space {model.space}, {model.channels} channels at 1/{model.stride}"
        size = f"{model.size_mb} MB {'bundled' if model.bundled else f'downloaded from {model.source} on first use'}"
        print(f"  id {model.id}; {latents}; {size}; licence {model.licence}; needs {model.needs}")
    return 0
