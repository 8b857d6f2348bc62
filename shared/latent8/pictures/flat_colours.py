"""Plain areas: colours that a picture holds exactly and a network only nearly gives back, found, chosen and restored.

Paper, walls of a user interface and drawn fills are one colour; what a network decodes there is speckled near text and
edges. blob.py says what the decoder does about it. The encoder decodes its own blob, and gives a block a colour only
where that brings the block nearer to the original, by squared error.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from latent8.file_format import extension
from latent8.file_format.flat import BLOCK, MAX_ENTRIES, FlatColour, FlatColours, blocks_of
from latent8.machine.pauses import pause
from latent8.pictures.alpha import is_colour
from latent8.pictures.intake import Picture

Colour = tuple[int, int, int]

SAMPLE = 1 << 14  # pixels that are looked at for colours
LEAST_SHARE, LEAST_OTHERS = 0.05, 0.01  # of the picture: of its most frequent colour, and of others beside that
MAX_COLOURS = 16
SIMILAR, LEAST_OF_SIMILAR = 2, 0.5  # a colour that has more pixels beside it than of it is part of a gradient or noise
BLOCK_SHARE = 1 / 8  # of a block that must have the colour exactly
REACHES = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96])
LEAST_GAIN, LEAST_MORE = 0.01, 0.005  # share of the squared error that all entries must take away, and each more one
# Squared error that an entry must typically take away of a block. In skies that end in white it is less: they would get
# edges for nothing that anybody sees.
LEAST_SEEN = 2 * 3 * BLOCK**2
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples are spread evenly, on no grid of the picture's


def filling_colours(picture: Picture) -> list[Colour]:
    """The colours that fill a good share of what is visible of a picture, by falling share; mostly none of a photo."""
    n_pixels = picture.width * picture.height
    steps = (np.arange(min(SAMPLE, n_pixels), dtype=np.uint64) * np.uint64(_GOLDEN)) >> np.uint64(32)
    places = (steps * np.uint64(n_pixels)) >> np.uint64(32)
    pixels = picture.rgb.reshape(-1, 3)[places]
    if picture.alpha is not None:
        pixels = pixels[picture.alpha.reshape(-1)[places] > 0]
    if not len(pixels):
        return []
    packed, counts = np.unique(pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    if counts.max() < LEAST_SHARE * len(pixels):
        return []
    found = []
    for i in np.argsort(-counts, kind="stable")[:MAX_COLOURS]:
        value = int(packed[i])
        colour = value >> 16, value >> 8 & 255, value & 255
        similar = np.count_nonzero(_greatest(_differences(pixels, colour)) <= SIMILAR)
        if counts[i] >= max(LEAST_OTHERS * len(pixels), LEAST_OF_SIMILAR * similar):
            found.append(colour)
    return found


def restore(rgb: np.ndarray, flat: FlatColours) -> None:
    """Move decoded pixels, uint8 [H, W, 3], to the flat colours of their blocks, in place.

    In integers alone, so that it is the same everywhere. A pixel that another machine decodes by one step differently
    ends at most two steps away.
    """
    for row, strip in enumerate(_strips(rgb)):
        for number in np.unique(flat.blocks[row]):
            if number:
                columns = _columns(flat.blocks[row] == number, rgb.shape[1])
                strip[:, columns] = _moved(strip[:, columns], flat.colours[number - 1])
        pause()


def _moved(pixels: np.ndarray, colour: FlatColour) -> np.ndarray:
    """uint8 [h, w, 3], changed in place: what is within the reach becomes the colour, what is beyond twice the reach
    stays, and what is between moves between."""
    off, reach = _differences(pixels, colour.rgb), colour.reach
    most = _greatest(off)
    near, between = most <= reach, (most > reach) & (most < 2 * reach)
    some = most[between].astype(np.int32)
    for channel, goal in enumerate(colour.rgb):
        plane = pixels[..., channel]
        kept = (4 * off[..., channel][between].astype(np.int32) * (some - reach) + some) // (2 * some)
        plane[between] = np.where(plane[between] < goal, goal - kept, goal + kept)
        np.copyto(plane, np.uint8(goal), where=near)
    return pixels


def chosen(original: Picture, decoded: np.ndarray, colours: list[Colour], blob_bytes: int) -> FlatColours | None:
    """The flat colours that bring a decoded picture, uint8 [H, W, 3], nearest to its original; None for no worth.

    colours: to choose from. blob_bytes: of the blob without them, to which they must add a smaller share than they take
    away of the squared error. Entries are added one by one, always the one that takes away most. What it typically
    takes away of a block is a mean weighted by itself, so that empty parts of a page do not count.
    """
    error, gains = _gains(original, decoded, colours)
    entries: list[FlatColour] = []
    best, blocks = np.zeros(gains.shape[1:], np.float32), np.zeros(gains.shape[1:], np.uint8)
    while len(entries) < MAX_ENTRIES:
        which = int(np.argmax([np.maximum(gain - best, 0).sum() for gain in gains]))
        more = np.maximum(gains[which] - best, 0)
        if more.sum() <= LEAST_MORE * error or np.square(more).sum() < LEAST_SEEN * more.sum():
            break
        number, reach = divmod(which, len(REACHES))
        entries.append(FlatColour(colours[number], int(REACHES[reach])))
        blocks[gains[which] > best] = len(entries)
        best = np.maximum(best, gains[which])
    flat = FlatColours(tuple(entries), blocks.reshape(blocks_of(original.width, original.height)))
    added = len(extension.packed([flat.chunk()])) + 4
    return flat if entries and best.sum() >= max(LEAST_GAIN, added / blob_bytes) * error else None


def _gains(original: Picture, decoded: np.ndarray, colours: list[Colour]) -> tuple[float, np.ndarray]:
    """Squared error of a decoded picture, and what each colour at each of REACHES takes away of it in each block,
    [colours x reaches, blocks]."""
    rows, columns = blocks_of(original.width, original.height)
    gains = np.zeros((len(colours), len(REACHES), rows, columns), np.float32)
    block, error = np.arange(original.width) // BLOCK, 0
    for row, (wanted, found) in enumerate(zip(_strips(original.rgb), _strips(decoded), strict=True)):
        off = np.subtract(found, wanted, dtype=np.int16)
        hidden = np.zeros(off.shape[:2], bool)
        if original.alpha is not None:
            hidden = original.alpha[row * BLOCK : (row + 1) * BLOCK] == 0
            off[hidden] = 0
        error += int(np.square(off, dtype=np.int32).sum())
        for number, colour in enumerate(colours):
            exact = np.count_nonzero(is_colour(wanted, colour) & ~hidden, axis=0)
            here = np.bincount(block, exact) >= BLOCK_SHARE * np.bincount(block) * len(wanted)
            if here.any():
                inside = _columns(here, original.width)
                away = found[:, inside].astype(np.int16) - np.array(colour, np.int16)
                away[hidden[:, inside]] = 0
                gain = _gains_of_strip(off[:, inside], away, block[inside], columns)
                gains[number, :, row, here] = gain[here]
        pause()
    return float(error), gains.reshape(-1, rows * columns)


def _gains_of_strip(off: np.ndarray, away: np.ndarray, block: np.ndarray, n_blocks: int) -> np.ndarray:
    """What a colour at each of REACHES takes away of the squared error in each block of a strip: [blocks, reaches].

    off, away: int16 [h, w, 3], decoded less original, and less the colour. block: number of each column's block.

    A decoded pixel that is e away from the colour and r off the original has the squared error r^2, and then
    (r - k e)^2, where k, the share of e that is taken away, depends on the greatest channel of e alone. So sums of e^2
    and of e r, over the pixels with each such greatest value, give the errors at all reaches.
    """
    squares, products = np.zeros((2, *off.shape[:2]), np.int32)
    for channel in range(3):
        e = away[..., channel].astype(np.int32)
        squares += e * e
        products += e * off[..., channel]
    most = _greatest(np.abs(away))
    bins = (most + 256 * block).ravel()
    squares, products = (
        np.bincount(bins, sums.ravel(), 256 * n_blocks).reshape(n_blocks, 256) for sums in (squares, products)
    )
    values = np.arange(256)[:, None]
    taken = 1 - np.clip(2 * (values - REACHES) / np.maximum(values, 1), 0, 1)
    return 2 * products @ taken - squares @ taken**2


def _strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of blocks, one after another: for a large picture, whole copies of numbers would take much memory."""
    return (pixels[top : top + BLOCK] for top in range(0, len(pixels), BLOCK))


def _differences(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """uint8 [..., 3] -> how far each channel is from the colour's, uint8."""
    goal = np.array(colour, np.uint8)
    return np.maximum(pixels, goal) - np.minimum(pixels, goal)


def _greatest(values: np.ndarray) -> np.ndarray:
    """[..., 3] -> [...], as NumPy's `max` gives it, several times as fast."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])


def _columns(blocks: np.ndarray, width: int) -> np.ndarray:
    """bool for each block of a row -> bool for each column of pixels."""
    return np.repeat(blocks, BLOCK)[:width]
