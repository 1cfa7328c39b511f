"""A small picture of an image: its stored thumbnail, else one that is made of the original now."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from pictocli.errors import DamagedError, UnreadableError, check_range
from pictocli.kinds import RefusalError
from pictocli.pdfs import passwords
from pictocli.queries import Queries
from pictocli.rgb import as_rgb
from pictocli.silence import silence
from pictocli.sizes import THUMBNAIL_WIDEST, THUMBNAIL_WIDTH, jpeg_width, thumbnail_size
from pictocli.steady import steady
from pictocli.stored_jpegs import stored_jpeg
from pictocli.upright import jpeg, opened
from pictocli.urls import is_url

__all__ = ["thumbnail"]

_FINEST = 300  # DPI: what a page is rendered at, at most
_one = threading.Lock()  # MuPDF must not be called by two threads at once


def thumbnail(
    queries: Queries, image_id: int, width: int = THUMBNAIL_WIDTH, pdf_password: str | Sequence[str] | None = None
) -> bytes:
    """A JPEG of an indexed image, at most `width` px wide, upright; a photo is not enlarged, a PDF's page is drawn so.

    A stored thumbnail that is narrower does where the original is on a server, gone or no longer readable. Raises
    UnreadableError where there is none, DamagedError for a stored one that `stored_jpeg` refuses, ValidationError for a
    width that is not 16..4096.
    """
    check_range("width", width, 16, THUMBNAIL_WIDEST)
    fields = queries.fields([image_id])[image_id]
    kind, dpi = queries.drawn_from(image_id)
    stored = queries.thumbnail(image_id)
    if stored is not None:
        has = jpeg_width(stored[:1024])
        wanted = width if dpi else thumbnail_size(fields["width"], fields["height"], width)[0]
        if has >= wanted:
            return _fitting(stored, image_id, width)
    try:
        dpi = min(_FINEST, math.ceil(dpi * width / fields["width"]))
        return _made(fields["path"], kind, fields["page"], width, dpi, passwords(pdf_password))
    except UnreadableError:
        if stored is None:
            raise
        return _fitting(stored, image_id, width)


def _fitting(stored: bytes, image_id: int, width: int) -> bytes:
    """A stored thumbnail as it is, unless it is wider."""
    try:
        with stored_jpeg(stored) as image:
            if image.width <= width:
                return stored
            image.draft("RGB", (width, width))
            return jpeg(image.convert("RGB"), width)
    except Exception as exc:  # what Pillow raises at a blob that is no picture
        raise DamagedError(f"the database is damaged: the thumbnail of image {image_id} is no JPEG of picto's") from exc


def _made(path: str, kind: str, page: int | None, width: int, dpi: int, passwords: tuple[str, ...]) -> bytes:
    """One of the original. Raises UnreadableError."""
    if is_url(path):
        raise UnreadableError(f"{path} is on a server", "picto index --thumbnails keeps a thumbnail of it")
    file = path.removesuffix(f"#page={page}") if page else path
    try:
        with silence(), steady(file) as (source, _), _one:
            seen = opened(file, source, kind, page or 0, least=width, dpi=dpi, passwords=passwords)
            return jpeg(as_rgb(seen.image), width)
    except Exception as exc:  # decoders raise anything on hostile bytes
        told = isinstance(exc, RefusalError | OSError) and str(exc)
        reason = (exc.strerror or told) if isinstance(exc, OSError) else told
        raise UnreadableError(f"cannot read {path}: {(reason or f'damaged {kind.upper()}').lower()}") from exc
