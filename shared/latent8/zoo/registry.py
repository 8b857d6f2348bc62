"""The models that blobs can name.

Ids are written into blobs. They are given by hand, once, and never used again, not even for better weights of
the same network: those get a new name and id, so that an old blob always decodes with what it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from latent8.errors import BlobError, ModelError
from latent8.zoo.kinds import CONSISTENCY, HYPERPRIOR, KL, TINY, Kind

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
DEFAULT_MODEL = "l8-photo"
OWN_SPACE, OWN_ID = "own", 65535  # space and id of a user's own model whose latent space has no name


@dataclass(frozen=True)
class Model:
    """A model: pictures [3, H, W] -> latents [channels, H / stride, W / stride] in a latent space.

    low, high: range of the quantiser; where the kind is not `bounded`, it is widened as needed. size_mb: of the
    download, in megabytes; 0 where not known. needs: the machine that it runs well on.
    """

    id: int
    name: str
    kind: Kind
    source: str  # folder below weights/ when bundled, else a Hub repository or, of a user's own, an absolute path
    bundled: bool
    space: str  # one of `latent_spaces.SPACES`, OWN_SPACE, or the name of the one model that has it
    channels: int
    stride: int
    low: float
    high: float
    size_mb: float
    licence: str
    summary: str
    needs: str = "any CPU"
    own: bool = False  # whether a user brought it
    weights_hash: bytes = b""  # of a user's own, where it is known before the model is loaded for work

    @property
    def encodes(self) -> bool:
        return self.kind.encodes

    @property
    def from_elsewhere(self) -> bool:
        """Whether it is a user's own in a shared latent space, so that its blobs name that space's default model."""
        return self.own and self.space != OWN_SPACE

    @property
    def location(self) -> str:
        """Argument of `from_pretrained`: a folder, or the name of a Hub repository."""
        return str(WEIGHTS_FOLDER / self.source) if self.bundled else self.source


_TAESD = Model(
    id=2,
    name="taesd",
    kind=TINY,
    source="madebyollin/taesd",
    bundled=False,
    space="sd1",
    channels=4,
    stride=8,
    low=-3.0,
    high=3.0,
    size_mb=9.8,
    licence="MIT",
    summary="the latents of Stable Diffusion 1 and 2, fast",
)
_SD_VAE = Model(
    id=20,
    name="sd-vae-ft-mse",
    kind=KL,
    source="stabilityai/sd-vae-ft-mse",
    bundled=False,
    space="sd1",
    channels=4,
    stride=8,
    low=-3.0,
    high=3.0,
    size_mb=334.6,
    licence="MIT",
    summary="the latents of Stable Diffusion 1 and 2, better pictures than taesd's",
    needs="patience on a CPU; a GPU is better",
)

_MODELS: tuple[Model, ...] = (
    Model(
        id=1,
        name="l8-tiny",
        kind=TINY,
        source="l8-tiny",
        bundled=True,
        space="l8-tiny",
        channels=4,
        stride=8,
        low=-3.0,
        high=3.0,
        size_mb=4.9,
        licence="MIT",
        summary="bundled, works offline; trained for latent8 on about a thousand photos",
    ),
    _TAESD,
    Model(
        id=3,
        name="l8-photo",
        kind=HYPERPRIOR,
        source="l8-photo",
        bundled=True,
        space="l8-photo",
        channels=240,
        stride=16,
        low=-127.0,
        high=127.0,
        size_mb=20.0,
        licence="MIT",
        summary="bundled, works offline; quality from 1 to 100; trained for latent8 on about a thousand photos",
    ),
    replace(
        _TAESD,
        id=16,
        name="taesdxl",
        source="madebyollin/taesdxl",
        space="sdxl",
        summary="the latents of Stable Diffusion XL, fast",
    ),
    replace(
        _TAESD,
        id=17,
        name="taesd3",
        source="madebyollin/taesd3",
        space="sd3",
        channels=16,
        summary="the latents of Stable Diffusion 3 and 3.5, fast",
    ),
    replace(
        _TAESD,
        id=18,
        name="taef1",
        source="madebyollin/taef1",
        space="flux1",
        channels=16,
        summary="the latents of FLUX.1, fast",
    ),
    _SD_VAE,
    replace(
        _SD_VAE,
        id=21,
        name="sdxl-vae",
        source="madebyollin/sdxl-vae-fp16-fix",
        space="sdxl",
        summary="the latents of Stable Diffusion XL, better pictures than taesdxl's",
    ),
    replace(
        _SD_VAE,
        id=22,
        name="consistency",
        kind=CONSISTENCY,
        source="openai/consistency-decoder",
        size_mb=1310.0,
        summary="decodes only, the latents of Stable Diffusion 1 and 2; slow, sharp, from seeded noise",
        needs="a GPU, or much patience",
    ),
)

# What a blob names whose latents are in no shared space; `own_models.own_model` fills in the rest.
OWN = Model(
    id=OWN_ID,
    name="own",
    kind=KL,
    source="",
    bundled=False,
    space=OWN_SPACE,
    channels=0,
    stride=8,
    low=-3.0,
    high=3.0,
    size_mb=0.0,
    licence="its own",
    summary="an autoencoder of the user's own",
    own=True,
)
_OFFERED: tuple[Model, ...] = ()  # a user's own, all of OWN's id


def register(model: Model) -> None:
    """Add a model from outside of latent8. Raises ValueError for a name or id that is taken."""
    global _MODELS
    if any(model.name == other.name or model.id == other.id for other in (*_MODELS, OWN)):
        raise ValueError(f"a model named {model.name} or with id {model.id} is there already")
    _MODELS = (*_MODELS, model)


def offer(model: Model) -> None:
    """Add a user's own model to the registry for as long as the program runs; its weights' hash must be known.

    Its blobs are then decoded without naming the model. Raises ModelError for a name that is taken.
    """
    global _OFFERED
    if any(model.name == other.name for other in (*models(), OWN)):
        raise ModelError(f"There is a model named {model.name} already: rename the folder.")
    _OFFERED = (*_OFFERED, model)


def withdraw_all() -> None:
    """Remove all models that were offered."""
    global _OFFERED
    _OFFERED = ()


def models() -> tuple[Model, ...]:
    """All models, in order of their ids; then the user's own that were offered."""
    return (*_MODELS, *_OFFERED)


def model_named(name: str) -> Model:
    """The model of this name. Raises ModelError for a name that is not in the registry."""
    for model in models():
        if model.name == name:
            return model
    raise ModelError(f"There is no model {name!r}: choose {' or '.join(m.name for m in models())}.")


def decoders_of(space: str) -> tuple[Model, ...]:
    """The models that decode latents of this space."""
    return tuple(model for model in models() if model.space == space)


def model_with_id(model_id: int, weights: bytes = b"") -> Model:
    """The model that a blob names. weights: the hash that the blob states, which tells a user's own models apart.

    Raises BlobError for an id that is not in the registry: only a blob can bring one.
    """
    if model_id == OWN_ID and weights:
        for model in _OFFERED:
            if model.space == OWN_SPACE and model.weights_hash == weights:
                return model
    for model in (*_MODELS, OWN):
        if model.id == model_id:
            return model
    known = ", ".join(f"{m.id} ({m.name})" for m in _MODELS)
    raise BlobError(f"The blob needs model {model_id}, and this latent8 knows {known}: update latent8.")
