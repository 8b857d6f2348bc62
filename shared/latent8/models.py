"""The models that blobs can name.

Ids are written into blobs. They are given by hand, once, and never used again, not even for better weights of
the same network: those get a new name and id, so that an old blob always decodes with what it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latent8.errors import BlobError, ModelError

WEIGHTS_FOLDER = Path(__file__).with_name("weights")
DEFAULT_MODEL = "l8-photo"
TINY, HYPERPRIOR = "AutoencoderTiny", "hyperprior"  # kinds of model


@dataclass(frozen=True)
class Model:
    """Pictures [3, H, W] -> latents [channels, H / stride, W / stride].

    [low, high] is about the range of a TINY model's latents; a HYPERPRIOR's are whole numbers in it.
    """

    id: int
    name: str
    kind: str
    source: str  # folder below weights/ when bundled, else a Hub repository
    bundled: bool
    channels: int
    stride: int
    low: float
    high: float
    size_mb: float
    licence: str
    summary: str

    @property
    def location(self) -> str:
        """What `from_pretrained` takes: a folder or the name of a Hub repository."""
        return str(WEIGHTS_FOLDER / self.source) if self.bundled else self.source


_MODELS = (
    Model(
        id=1,
        name="l8-tiny",
        kind=TINY,
        source="l8-tiny",
        bundled=True,
        channels=4,
        stride=8,
        low=-3.0,
        high=3.0,
        size_mb=4.9,
        licence="MIT",
        summary="bundled, works offline; trained for latent8 on about a thousand photos",
    ),
    Model(
        id=2,
        name="taesd",
        kind=TINY,
        source="madebyollin/taesd",
        bundled=False,
        channels=4,
        stride=8,
        low=-3.0,
        high=3.0,
        size_mb=9.8,
        licence="MIT",
        summary="the latents of Stable Diffusion 1 and 2; downloaded from the Hugging Face Hub on first use",
    ),
    Model(
        id=3,
        name="l8-photo",
        kind=HYPERPRIOR,
        source="l8-photo",
        bundled=True,
        channels=160,
        stride=16,
        low=-127.0,
        high=127.0,
        size_mb=18.4,
        licence="MIT",
        summary="bundled, works offline; quality from 1 to 100; trained for latent8 on about a thousand photos",
    ),
)


def models() -> tuple[Model, ...]:
    """All models, in order of their ids."""
    return _MODELS


def model_named(name: str) -> Model:
    """Raises ModelError for a name that is not in the registry."""
    for model in _MODELS:
        if model.name == name:
            return model
    raise ModelError(f"There is no model {name!r}: choose {' or '.join(m.name for m in _MODELS)}.")


def model_with_id(model_id: int) -> Model:
    """Raises BlobError for an id that is not in the registry: only a blob can bring one."""
    for model in _MODELS:
        if model.id == model_id:
            return model
    known = ", ".join(f"{m.id} ({m.name})" for m in _MODELS)
    raise BlobError(f"The blob needs model {model_id}, and this latent8 knows {known}: update latent8.")
