"""Opens the thumbnails that are stored: a library may come from anybody, and what is in it may be anything."""

from __future__ import annotations

import io

from PIL import Image

from pictocli.errors import DamagedError
from pictocli.sizes import JPEG_HIGHEST, THUMBNAIL_WIDEST

__all__ = ["stored_jpeg"]


def stored_jpeg(blob: bytes) -> Image.Image:
    """A thumbnail, opened; its pixels are decoded by who needs them. Raises DamagedError for what picto never stores.

    Any other format would start its own decoder: of EPS, a program. All that picto makes are baseline JPEGs no larger
    than this; a progressive one takes six bytes of memory a pixel before the first is there.
    """
    try:
        image = Image.open(io.BytesIO(blob), formats=("JPEG",))
    except Exception as exc:  # decoders raise anything on hostile bytes
        raise DamagedError("the database is damaged: a thumbnail is no JPEG") from exc
    width, height = image.size
    if width > THUMBNAIL_WIDEST or height > JPEG_HIGHEST or image.info.get("progressive"):
        image.close()
        raise DamagedError(f"the database is damaged: a JPEG of {width} × {height} px is none of its thumbnails")
    return image
