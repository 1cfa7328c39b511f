"""A decoded picture → the square of bytes that SigLIP looks at. PIL and numpy only.

Bytes, not floats, travel to the model: a quarter of the memory between processes and to the GPU. There x / 127.5 - 1
is the whole rest of SigLIP's preprocessing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pictocli.errors import ValidationError

__all__ = ["VERSION", "digest", "resize"]

VERSION = 1  # of what is done to a picture before the model sees it; calibrations hold for one

_FILTERS = {"bilinear": PIL.Image.Resampling.BILINEAR, "bicubic": PIL.Image.Resampling.BICUBIC}


def resize(image: PIL.Image.Image, size: int, resample: str) -> NDArray[np.uint8]:
    """Squash an upright RGB picture to a square, antialiased, nothing cropped.

    image: mode "RGB". size: side in px. resample: "bilinear" or "bicubic", as ModelSpec has it. Returns a writable
    uint8 [size, size, 3], bit for bit what transformers' SiglipImageProcessorPil resizes to.
    Raises ValidationError for another mode (SigLIP's processor would fail on it, or see four channels), an unknown
    filter, or a size below 1.
    """
    if image.mode != "RGB":
        raise ValidationError(f"a picture of mode {image.mode} cannot be embedded", 'convert it to "RGB" first')
    if resample not in _FILTERS or size < 1:
        raise ValidationError(f"cannot resize to {size} px with the filter {resample}", "take both from the ModelSpec")
    return np.array(image.resize((size, size), _FILTERS[resample]), dtype=np.uint8)


def digest(pixels: NDArray[np.uint8], measures: Mapping[str, float]) -> bytes:
    """16 bytes that are the same only for the same model input and measures: of these, embedding and tags are made.

    BLAKE2b, 0.2 ms for 224 px.
    """
    found = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    found.update(pixels.tobytes())
    found.update(json.dumps(measures, sort_keys=True).encode())
    return found.digest()
