"""Any picture as upright decoders leave it → 8-bit RGB over white."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["as_rgb"]

_BAND = 2**20  # px


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; transparency lies over white, deep images are scaled to 8 bits."""
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    if not deep and image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size)
    white = _white(image) if image.mode in ("I", "F") else 0.0
    for top, band in _bands(image):
        flat.paste(_shallow(band, white) if deep else _over_white(band), (0, top))
    return flat


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A picture from the top down, a megapixel at a time: what is made of it on the way to RGB is never whole."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _over_white(band: Image.Image) -> Image.Image:
    over = band.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


def _white(image: Image.Image) -> float:
    """The value that is white in a picture of mode I or F: 255 or its largest, and of integers at least 65535."""
    most = max(float(np.nan_to_num(np.asarray(band, np.float64)).max()) for _, band in _bands(image))
    return 255.0 if 1.0 < most <= 255 else max(most, 1.0 if image.mode == "F" else 65535.0)


def _shallow(band: Image.Image, white: float) -> Image.Image:
    if band.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
    values = np.nan_to_num(np.asarray(band, np.float64))
    return Image.fromarray(np.clip(values / white * 255, 0, 255).astype(np.uint8))
