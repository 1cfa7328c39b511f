"""What a camera wrote into a picture, its EXIF: when it was taken, with what and where."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from PIL import Image

__all__ = ["Capture", "capture_of"]

# Tags of EXIF 2.32 (CIPA DC-008)
_MAKE, _MODEL, _DETAILS, _GPS = 0x010F, 0x0110, 0x8769, 0x8825
_ORIGINAL, _DIGITIZED = 0x9003, 0x9004  # not 0x0132, which is when a program last wrote the file
_DATE = re.compile(r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1)
_LATEST = 2**34  # seconds, as `stored.py` and `consistency.py` have it
_LONGEST = 100  # characters of a camera's name


class Capture(NamedTuple):
    """taken_at: seconds since 1970 by the camera's own clock, whatever its zone. camera: make and model.

    latitude, longitude: degrees, north and east positive; both or none.
    """

    taken_at: int | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def capture_of(image: Image.Image) -> Capture | None:
    """What is known of how an opened image was taken; None when nothing is, or its EXIF cannot be read."""
    try:
        exif = image.getexif()
        if not exif:
            return None
        details, gps = _directory(exif, _DETAILS), _directory(exif, _GPS)
        taken_at = _seconds(details.get(_ORIGINAL))
        if taken_at is None:
            taken_at = _seconds(details.get(_DIGITIZED))
        place = _place(gps) or (None, None)
        found = Capture(taken_at, _camera(exif.get(_MAKE), exif.get(_MODEL)), *place)
    except Exception:  # as orientation: Pillow raises anything on hostile bytes, and the picture is there all the same
        return None
    return None if found == Capture() else found


def _directory(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    """One of EXIF's directories; empty when it cannot be read, which costs the others nothing."""
    try:
        return exif.get_ifd(tag)
    except Exception:
        return {}


def _text(value: Any) -> str:
    """A value of EXIF as a text on one line: it ends at the first NUL, and is UTF-8 where it can be."""
    if isinstance(value, str):  # as Pillow reads it, a character a byte
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes):
        return ""
    value = value.partition(b"\0")[0]
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _seconds(value: Any) -> int | None:
    """2024:05:01 12:00:00 in seconds since 1970; what follows the second does not count."""
    found = _DATE.match(_text(value))
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:  # 0000:00:00: the clock was never set
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds if abs(seconds) <= _LATEST else None


def _camera(make: Any, model: Any) -> str | None:
    """Canon EOS R5, Apple iPhone 12: the make is left out where the model begins with its first word."""
    maker, name = _text(make), _text(model)
    if not maker or name.casefold().startswith(maker.split()[0].casefold()):
        maker = ""
    return f"{maker} {name}".strip()[:_LONGEST].strip() or None


def _place(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, when both are whole. 0, 0 is what is written where there was no reception."""
    latitude, longitude = _degrees(gps.get(2), gps.get(1), "NS", 90), _degrees(gps.get(4), gps.get(3), "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    return latitude, longitude


def _degrees(parts: Any, side: Any, sides: str, most: int) -> float | None:
    """Degrees, minutes and seconds as degrees to seven decimals, a centimetre; None for what is none."""
    mark, given = _text(side).upper()[:1], parts if isinstance(parts, tuple) else (parts,)
    if not mark or mark not in sides or len(given) > 3 or any(isinstance(part, str | bytes | None) for part in given):
        return None
    degrees, minutes, seconds = ([float(part) for part in given] + [0.0, 0.0])[:3]  # 0/0 is NaN
    if not all(0 <= each < math.inf for each in (degrees, minutes, seconds)) or minutes > 60 or seconds > 60:
        return None
    found = round(degrees + minutes / 60 + seconds / 3600, 7)
    return None if found > most else -found if mark == sides[1] else found
