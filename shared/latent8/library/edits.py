"""Edits that people make to a picture before they look for it; the recall of a vector is measured under them."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Edit = Callable[[Image.Image], Image.Image]


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return Image.open(buffer).convert("RGB")


def _half_size(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 200))


def _brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.3)).enhance(1.2)


def crop(share: float, left: float = 0.5, top: float = 0.5) -> Edit:
    """Keep this share of each side; left and top: where, 0 ... 1."""

    def cropped(image: Image.Image) -> Image.Image:
        width, height = (max(1, round(side * share)) for side in image.size)
        x, y = round((image.width - width) * left), round((image.height - height) * top)
        return image.crop((x, y, x + width, y + height))

    return cropped


def _tilt(image: Image.Image) -> Image.Image:
    return image.rotate(5, Image.Resampling.BICUBIC, fillcolor="white")


def _grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _border_and_text(image: Image.Image) -> Image.Image:
    size = max(12, max(image.size) // 12)
    framed = ImageOps.expand(image, border=max(4, max(image.size) // 16), fill="white")
    draw = ImageDraw.Draw(framed)
    place = framed.width / 2, framed.height * 0.8
    font = ImageFont.load_default(size)
    draw.text(place, "NOT MY PHOTO", fill="white", font=font, anchor="mm", stroke_width=size // 8, stroke_fill="black")
    return framed


# PIL image of mode RGB -> PIL image of mode RGB.
EDITS: dict[str, Edit] = {
    "JPEG, quality 20": _jpeg,
    "half size": _half_size,
    "blur": _blur,
    "brighter": _brighter,
    "crop 80 %": crop(0.8),
    "crop 50 %": crop(0.5),
    "tilt 5 degrees": _tilt,
    "mirror": ImageOps.mirror,
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "grey": _grey,
    "border and text": _border_and_text,
}
