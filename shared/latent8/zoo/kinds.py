"""Kinds of model: all that differs between them, in one table. Needs no torch.

A new kind is one row here, or a call of `register` from outside, and the class that it names as its network. That
class is called with a `Model`, a device and a dtype or None, and has the methods of `latent8.networks.base.Network`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from latent8.errors import ModelError
from latent8.file_format import codings
from latent8.file_format.codings import load


@dataclass(frozen=True)
class Kind:
    """A kind of model: all that its models have in common.

    name: `_class_name` in config.json. network, autoencoder: classes as "module:Class"; the second has
    `from_pretrained`. stages: entries of config.json that hold a value for each stage; each stage but one halves the
    picture. codings: ids of the payload codings that its blobs may have; the first is used for encoding.
    """

    name: str
    network: str
    autoencoder: str
    stages: tuple[str, ...] = ()
    codings: tuple[int, ...] = (codings.NEIGHBOURS, codings.RAW)
    option: str = "levels"  # the option that decides on size: "levels", "quality", or "" for none
    levels: int = 256  # quantiser levels, unless the option says otherwise
    bounded: bool = True  # whether latents keep to the model's range; if not, the quantiser's range is widened to them
    encodes: bool = True  # False for a kind that only decodes
    exchanged: bool = True  # whether its latents may be written into and read from files of other tools
    codebook: str | None = None  # entry of config.json with the number of codes, where latents are numbers of codes
    colours: tuple[int, ...] = (3,)  # numbers of colour channels that a user's own model may have
    default_stages: int | None = None  # stages where config.json has none; None for a kind that users cannot bring
    app_pixels: int | None = None  # limit in the apps, where a large picture would keep everyone waiting
    pixels_per_gpu_second: int = 4_000_000  # a cautious estimate
    channel_names: tuple[tuple[str, int], ...] = ()  # channels that mean something; the first three are colours

    def load_network(self) -> Any:
        return load(self.network)

    def load_autoencoder(self) -> Any:
        return load(self.autoencoder)


TINY = Kind(
    name="AutoencoderTiny",
    network="latent8.networks.tiny:TinyNetwork",
    autoencoder="diffusers:AutoencoderTiny",
    stages=("num_encoder_blocks", "num_decoder_blocks"),
    default_stages=4,
)
KL = Kind(
    name="AutoencoderKL",
    network="latent8.networks.vae:KLNetwork",
    autoencoder="diffusers:AutoencoderKL",
    stages=("block_out_channels",),
    bounded=False,
    exchanged=False,
    colours=(3, 1),
    default_stages=1,
    app_pixels=4_000_000,
    pixels_per_gpu_second=500_000,
)
VQ = Kind(
    name="VQModel",
    network="latent8.networks.vq:VQNetwork",
    autoencoder="diffusers:VQModel",
    stages=("block_out_channels",),
    codings=(codings.CONTEXTS, codings.NEIGHBOURS, codings.RAW),
    option="",
    exchanged=False,
    codebook="num_vq_embeddings",
    colours=(3, 1),
    default_stages=1,
    app_pixels=4_000_000,
    pixels_per_gpu_second=500_000,
)
CONSISTENCY = Kind(
    name="ConsistencyDecoderVAE",
    network="latent8.networks.vae:ConsistencyNetwork",
    autoencoder="diffusers:ConsistencyDecoderVAE",
    stages=("block_out_channels",),
    bounded=False,
    encodes=False,
    exchanged=False,
    app_pixels=1_000_000,
    pixels_per_gpu_second=50_000,
)
HYPERPRIOR = Kind(
    name="hyperprior",
    network="latent8.l8_photo.network:HyperpriorNetwork",
    autoencoder="latent8.l8_photo.model:L8Photo",
    codings=(codings.HYPERPRIOR,),
    option="quality",
    levels=255,  # -127 ... 127
    exchanged=False,
    channel_names=(("luma", 0), ("red - blue", 192), ("red + blue - green", 216), ("across", 1), ("down", 2)),
)
_KINDS = {kind.name: kind for kind in (TINY, KL, CONSISTENCY, HYPERPRIOR, VQ)}


def kinds() -> tuple[Kind, ...]:
    return tuple(_KINDS.values())


def kind_named(name: str) -> Kind:
    """The kind of this name. Raises ModelError for a name that is not in the table."""
    if name not in _KINDS:
        raise ModelError(f"There is no kind of model {name!r}: known are {', '.join(_KINDS)}.")
    return _KINDS[name]


def register(kind: Kind) -> None:
    """Add a kind from outside of latent8. Raises ValueError for a name that is taken."""
    if kind.name in _KINDS:
        raise ValueError(f"the kind {kind.name} is taken")
    _KINDS[kind.name] = kind
