"""Drawn crops in place of photos: pages of text, line drawings and screenshots, new each time, with free fonts.

Photos teach little about sharp edges on even ground, where errors show most.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# DejaVu, as Linux distributions and Matplotlib keep it; without it, Pillow's own font.
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/TTF"), Path("/usr/share/fonts/dejavu"))
WORDS = """
the of and to in is was it for with on as by at from this that are were be have which quality picture light latents
bits per pixel 2026 1,024 37.5% (see below) Table 4: Figure 12. however, results; codec decoder encoder Monday 18:30
https://example.org/index.html e-mail: @ # & * + = <html> {} [] if not x == y: return None ÄÖÜ ß é ñ
""".split()  # noqa: SIM905
Rgb = tuple[int, int, int]


def drawn_crop(random_: random.Random, size: int) -> Image.Image:
    """Draw a square RGB picture, `size` pixels a side."""
    kinds: list[Callable[[random.Random, Image.Image], None]] = [text_page, text_page, line_drawing, screenshot]
    paper, ink = colours(random_)
    zoom = random_.choice([1, 1, 1, 2])  # a page is often scaled down, which makes its edges softer
    crop = Image.new("RGB", (size * zoom, size * zoom), paper)
    random_.choice(kinds)(random_, crop) if ink == (0, 0, 0) else text_page(random_, crop, ink)
    return crop if zoom == 1 else crop.resize((size, size), Image.Resampling.LANCZOS)


def colours(random_: random.Random) -> tuple[Rgb, Rgb]:
    """Colours of paper and ink: most often black on white or nearly so, else dark mode or distant colours."""
    draw = random_.random()
    if draw < 0.6:
        return random_.choice([(255, 255, 255), (255, 255, 255), (250, 249, 245), (240, 240, 240)]), (0, 0, 0)
    if draw < 0.8:
        return random_.choice([(0, 0, 0), (30, 30, 34), (13, 17, 23)]), (230, 230, 230)
    dark, light = (tuple(random_.randint(*ends) for _ in range(3)) for ends in ((0, 110), (145, 255)))
    return (light, dark) if random_.random() < 0.5 else (dark, light)  # type: ignore[return-value]


def text_page(random_: random.Random, crop: Image.Image, ink: Rgb = (0, 0, 0)) -> None:
    """Lines of words that begin left of the crop, now and then a heading."""
    draw = ImageDraw.Draw(crop)
    height = random_.choice([9, 10, 11, 12, 12, 13, 14, 16, 18, 22, 28, 40])
    name, heading = random_.choice(font_names()), random_.choice(font_names())
    top = random_.randint(-height, height)
    left = random_.randint(-60, 30)
    while top < crop.height:
        big = random_.random() < 0.08
        size = round(height * 1.7) if big else height
        line = " ".join(random_.choices(WORDS, k=max(2, 2 * crop.width // size)))
        if random_.random() < 0.15:
            line = line[: random_.randint(0, max(1, crop.width // size))]  # a paragraph's end, or none: even ground
        draw.text((left, top), line, ink, font=font(heading if big else name, size))
        top += round(size * random_.uniform(1.2, 1.5))


def line_drawing(random_: random.Random, crop: Image.Image) -> None:
    """Lines, circles, boxes and a curve of a few colours, with labels, as diagrams and plots have them."""
    draw = ImageDraw.Draw(crop)
    width, height = crop.size
    if random_.random() < 0.5:
        step = random_.randint(12, 60)
        for x in range(random_.randrange(step), max(crop.size), step):
            draw.line([(x, 0), (x, height)], (215, 215, 215))
            draw.line([(0, x), (width, x)], (215, 215, 215))
    for _ in range(random_.randint(3, 12)):
        colour = (0, 0, 0) if random_.random() < 0.5 else tuple(random_.randint(0, 220) for _ in range(3))
        places = [(random_.randint(-20, width + 20), random_.randint(-20, height + 20)) for _ in range(6)]
        (a, b), (c, d) = places[:2]
        box = (min(a, c), min(b, d), max(a, c) + 4, max(b, d) + 4)
        thickness = random_.choice([1, 1, 2, 3, 5])
        shape = random_.randrange(4)
        if shape == 0:
            draw.line(places[:2], colour, thickness)
        elif shape == 1:
            draw.ellipse(box, outline=colour, width=thickness)
        elif shape == 2:
            fill = tuple(random_.randint(180, 255) for _ in range(3)) if random_.random() < 0.4 else None
            draw.rectangle(box, fill=fill, outline=colour, width=thickness)
        else:
            curve = sorted(places)
            draw.line(curve, colour, thickness, joint="curve")
        draw.text(places[2], random_.choice(WORDS), colour, font=font(random_.choice(font_names()), 13))


def screenshot(random_: random.Random, crop: Image.Image) -> None:
    """A window: bars, buttons, a list with a chosen line, and an even or shaded patch where a picture would be."""
    draw = ImageDraw.Draw(crop)
    width, height = crop.size
    accent = tuple(random_.randint(20, 220) for _ in range(3))
    face = font(random_.choice(font_names()), random_.choice([11, 12, 13, 14]))
    bar = random_.randint(18, 40)
    draw.rectangle((0, 0, width, bar), fill=accent if random_.random() < 0.5 else (230, 230, 233))
    draw.text((random_.randint(-20, 12), bar // 2 - 8), " ".join(random_.choices(WORDS, k=3)), (20, 20, 20), font=face)
    row = random_.randint(18, 34)
    chosen = random_.randrange(8)
    for number, top in enumerate(range(bar + 6, height, row)):
        box = (8, top, random_.randint(width // 2, width - 8), top + row - 4)
        if number == chosen:
            draw.rounded_rectangle(box, 4, fill=accent)
        elif random_.random() < 0.25:
            draw.rounded_rectangle(box, 4, outline=(170, 170, 175))
        draw.text((14, top + row // 2 - 9), " ".join(random_.choices(WORDS, k=4)), (25, 25, 25), font=face)
    if random_.random() < 0.5:
        left, top = random_.randint(0, width // 2), random_.randint(bar, height // 2 + bar)
        patch = Image.linear_gradient("L").resize((width // 2, height // 3))
        crop.paste(Image.merge("RGB", [patch.point(lambda v, c=c: v * c // 255) for c in accent]), (left, top))


@functools.cache
def font_names() -> tuple[str, ...]:
    """Font files of the DejaVu family; where there are none, one empty name, for Pillow's own font."""
    found = [str(path) for folder in FONT_FOLDERS for path in sorted(folder.glob("DejaVu*.ttf"))]
    return tuple(found) or ("",)


@functools.lru_cache(maxsize=256)
def font(name: str, height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(name, height) if name else ImageFont.load_default(height)
