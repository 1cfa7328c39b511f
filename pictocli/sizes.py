"""How large thumbnails are: what is asked for, and what lies there, told by the head of a JPEG."""

from __future__ import annotations

__all__ = ["JPEG_HIGHEST", "THUMBNAIL_WIDEST", "THUMBNAIL_WIDTH", "jpeg_width", "thumbnail_size"]

THUMBNAIL_WIDTH = 640  # px, the second reference system's
THUMBNAIL_WIDEST = 4096  # px
JPEG_HIGHEST = 65_500  # px that libjpeg writes
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of ITU T.81, table B.1, that begin a frame


def thumbnail_size(width: int, height: int, most: int) -> tuple[int, int]:
    """Width and height of a picture's thumbnail: at most `most` px wide and as high as a JPEG may be, not enlarged."""
    scale = min(1.0, most / width, JPEG_HIGHEST / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def jpeg_width(head: bytes) -> int:
    """The width in px of the JPEG that begins so; 0 when these bytes do not tell."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _FRAMES:
            return int.from_bytes(head[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0
