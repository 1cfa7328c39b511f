"""The pictures that were dropped on the page: in memory, the last few of them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from io import BytesIO
from typing import NamedTuple

from pictocli.errors import NotFoundError, UnreadableError

__all__ = ["LARGEST", "Dropped", "Picture"]

LARGEST = 64_000_000  # bytes of one picture
_MOST, _ALL = 16, 256_000_000  # pictures that are kept, and bytes of all of them
_WIDTH = 640  # px of its small picture


class Picture(NamedTuple):
    """jpeg: a small one, upright. width, height: of that, in px."""

    data: bytes
    jpeg: bytes
    width: int
    height: int


class Dropped:
    """Keeps pictures by keys that cannot be guessed, and forgets those that were asked for longest ago."""

    def __init__(self, salt: bytes) -> None:
        self._salt, self._held, self._one = salt, OrderedDict[str, Picture](), threading.Lock()

    def put(self, data: bytes) -> str:
        """Keep a picture. Raises UnreadableError for what is none."""
        from PIL import Image

        from pictocli.decode import Recipe, Refused, decode_bytes  # PyMuPDF and more: 0.2 s

        made = decode_bytes(data, Recipe(32, "bilinear", 72, True, thumbnail_width=_WIDTH))
        if isinstance(made, Refused) or made.thumbnail is None:
            reason = (made.reason if isinstance(made, Refused) else None) or "not an image"
            raise UnreadableError(f"cannot read what was dropped: {reason}")
        with Image.open(BytesIO(made.thumbnail)) as image:
            width, height = image.size
        key = "d" + hashlib.sha256(self._salt + data).hexdigest()[:24]
        with self._one:
            self._held[key] = Picture(data, made.thumbnail, width, height)
            self._held.move_to_end(key)
            while len(self._held) > _MOST or sum(len(each.data) for each in self._held.values()) > _ALL:
                self._held.popitem(last=False)
        return key

    def get(self, key: str) -> Picture:
        """A picture. Raises NotFoundError when it was forgotten."""
        with self._one:
            if key not in self._held:
                raise NotFoundError("the dropped picture is no longer here", "drop it on the page again")
            self._held.move_to_end(key)
            return self._held[key]
