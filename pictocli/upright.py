"""Opens a file or page, of any kind that is read, as an upright picture; makes small JPEGs of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

import pillow_heif
from PIL import Image

from pictocli import documents, jxl, raws
from pictocli.exif import Capture, capture_of
from pictocli.kinds import Limits
from pictocli.sizes import thumbnail_size

__all__ = ["DRAFT", "Opened", "jpeg", "opened"]

DRAFT = 1024  # JPEGs are decoded at the smallest eighth that keeps this many px: under 1/255 mean difference at 224 px
_TURNS = {
    number: Image.Transpose[name]
    for number, name in enumerate(
        ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"), 2
    )
}  # of EXIF's orientations
_QUALITY = 85  # the second reference system's
_LIMITS = Limits()

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # refused by our own check, which names the limit


class Opened(NamedTuple):
    """An upright picture. size: of the whole upright original, which `image` may be an eighth, quarter or half of.

    tables: a JPEG's quantisation tables. capture: what its camera wrote into it.
    """

    image: Image.Image
    size: tuple[int, int]
    tables: Mapping[int, list[int]] | None = None
    capture: Capture | None = None


def opened(
    source: str | io.BytesIO,
    file: BinaryIO,
    kind: str,
    page: int,
    *,
    least: int = DRAFT,
    dpi: int = 72,
    limits: Limits = _LIMITS,
    passwords: tuple[str, ...] = (),
) -> Opened:
    """Open one page of a file that is open as `file`; page 0 is a file that is one image.

    source: its path, or its bytes. least: px that a side keeps, of an image that has so many. dpi: of a PDF's page.
    Raises RefusalError, and whatever decoders raise on hostile bytes. Pillow gets the open file: of a path it would map
    some pictures into memory, and one that shrinks is a SIGBUS.
    """
    if kind == "pdf":
        drawn = documents.render(source, page, dpi, limits, passwords)
        return Opened(drawn, drawn.size)
    if kind == "raw":
        photo, size, turn = raws.photo(file, limits)
        with photo:  # whose tables say nothing: the preview's compression is not the photo's
            return Opened(_upright(photo, turn), size, capture=capture_of(photo))
    if kind == "jxl":
        jxl.prepare(file, limits)
    with Image.open(file) as image:
        if page:
            image.seek(page - 1)
        limits.check_pixels(image.width, image.height)
        turned, capture = _orientation(image) >= 5, capture_of(image)
        tags = getattr(image, "tag_v2", None)  # a TIFF's size as stored: Pillow has turned that of `image` already
        width, height = (tags[256], tags[257]) if tags and image.format == "TIFF" else image.size
        size = (height, width) if turned else (width, height)
        tables = getattr(image, "quantization", None) if image.format in ("JPEG", "MPO") else None
        return Opened(_upright(image, least=least), size, tables, capture)


def _upright(image: Image.Image, orientation: int | None = None, least: int = DRAFT) -> Image.Image:
    """An opened image of `least` px or more, loaded and turned: by its own EXIF orientation, or by the one given."""
    image.draft(image.mode, (least, least))
    image.load()  # of a TIFF, Pillow turns the picture then, and drops its orientation
    turn = _TURNS.get(orientation or _orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8, as far as its EXIF can be read."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):  # its decoder turns all but what it gives as JPEG
        return 1
    try:
        told = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return told if isinstance(told, int) else 1


def jpeg(image: Image.Image, width: int) -> bytes:
    """A JPEG of an RGB picture, at most `width` px wide, and as high as a JPEG may be."""
    size = thumbnail_size(*image.size, width)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
