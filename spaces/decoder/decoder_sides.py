"""What the decoder compares: the original, decoders, and readings of a decoder, by names."""

from __future__ import annotations

from collections.abc import Sequence

from latent8.apps import files, parts, work
from latent8.errors import Latent8Error
from latent8.evaluation.comparison import ORIGINAL, parsed_reading, reading_name
from latent8.file_format.blob import Encoded
from latent8.file_format.reader import decoders_for
from latent8.latents import Latents
from latent8.zoo.registry import model_named

FAITHFUL, VIVID = 0.0, 1.0
READINGS = {"faithful": FAITHFUL, "vivid": VIVID}  # short names, of the blob's own model


def own_realism(decoder: str) -> float | None:
    """The reading that a model chooses by itself; None where it has one alone, or is still to be downloaded."""
    return work.codec(decoder).network.default_realism if model_named(decoder).bundled else None


def offered(source: Encoded | Latents) -> list[str]:
    """Names of what can be compared of a file: its decoders, in their readings."""
    found = []
    for decoder in decoders_for(source):
        found += [reading_name(decoder, realism) for realism in readings_of(decoder)] or [decoder]
    return found


def readings_of(decoder: str) -> list[float]:
    """Realisms that are offered: both ends, and what the model chooses by itself; none where it has one reading."""
    own = own_realism(decoder)
    return [] if own is None else sorted({FAITHFUL, own, VIVID})


def sides_of(source: Encoded | Latents, left: str, right: str, has_original: bool) -> tuple[str, str]:
    """Names of what is compared, where it was not said: the original with what the blob's own model gives; else two
    readings of that model; else two models of its latent space; else that one model alone, which both sides then name.

    Raises Latent8Error.
    """
    own = files.model_name(source)
    left, right = _full_name(own, left), _full_name(own, right)
    names = [own, *offered(source)]
    if not left and not right and not has_original and own_realism(own) is not None:
        return reading_name(own, FAITHFUL), reading_name(own, VIVID)
    if not right:
        is_reading = left not in ("", ORIGINAL) and parsed_reading(left)[1] is not None
        right = _another(names, left) if is_reading else own
    if not left:
        left = ORIGINAL if has_original else _another(names, right) or right
    elif _exactly(left) == _exactly(right):
        raise Latent8Error(f"Both sides are {left}: choose two that differ.")
    return left, right


def as_offered(sides: tuple[str, str]) -> tuple[str, str]:
    """The same sides by the names that the page's lists have: a model's own choice by the reading that it is."""
    left, right = (name if name == ORIGINAL else reading_name(*_exactly(name)) for name in sides)
    return left, right


def with_all_readings(sides: tuple[str, str]) -> list[str]:
    """What is measured where these sides are shown: beside the original all readings that are offered of a model, for
    two more decodings than are shown."""
    decoded = [name for name in sides if name != ORIGINAL]
    if ORIGINAL in sides and len(decoded) == 1:
        decoder, realism = _exactly(decoded[0])
        if realism in readings_of(decoder):
            return [ORIGINAL, *(reading_name(decoder, each) for each in readings_of(decoder))]
    return list(sides)


def label_of(name: str, own: str) -> str:
    """What the page calls a side of a blob of the model `own`."""
    if name == ORIGINAL:
        return "Original"
    decoder, realism = parsed_reading(name)
    if realism is None:
        return decoder
    said = parts.reading_name(realism)
    return said.capitalize() if decoder == own else f"{decoder}, {said}"


def _full_name(own: str, name: str) -> str:
    if name in READINGS:
        return reading_name(own, READINGS[name])
    return name if name in ("", ORIGINAL) else reading_name(*parsed_reading(name))


def _another(names: Sequence[str], than: str) -> str:
    """The first that gives another picture; empty where there is none."""
    return next((name for name in names if _exactly(name) != _exactly(than)), "")


def _exactly(name: str) -> tuple[str, float | None]:
    """Decoder and reading, where none is named that which it chooses."""
    if name == ORIGINAL:
        return name, None
    decoder, realism = parsed_reading(name)
    return decoder, own_realism(decoder) if realism is None else realism
