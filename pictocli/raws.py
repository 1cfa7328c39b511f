"""Raw photos: told from TIFF pictures, and seen by the preview that the camera has put into them."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pictocli.kinds import Limits, RefusalError, wanting

__all__ = ["is_raw", "photo", "taken"]

SMALL = 512  # px: a preview that is smaller on its long side shows less than the model and the measures look at
_ENTRIES, _DIRECTORIES = 512, 16  # of a TIFF that are looked at
_DNG_VERSION, _PHOTOMETRIC, _SUB_DIRECTORIES = 50706, 262, 330
_SENSOR = (32803, 34892)  # photometric interpretations of what a sensor saw: TIFF/EP's CFA, DNG's LinearRaw
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}  # EXIF's, of LibRaw's flips
_EXIF, _GPS, _TURNED = 0x8769, 0x8825, 0x0112
_TOLD = {0: (271, 272, 306), _EXIF: (36867, 36868, 36880, 36881, 36882), _GPS: tuple(range(32))}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 13: 4}
_CANON = (b"moov", b"uuid" + bytes.fromhex("85c0b687820f11e08111f4ce462b6a48"))  # the boxes around a CR3's EXIF
_CANON_EXIF = {0: b"CMT1", _EXIF: b"CMT2", _GPS: b"CMT4"}
_BOXES, _BOX = 64, 2**20  # boxes beside each other that are looked at, bytes that are read of one


def is_raw(file: BinaryIO) -> bool:
    """Whether a TIFF is a raw photo: a DNG, or with a picture in it that is of a sensor and not of colours."""
    with suppress(OSError, struct.error, OverflowError, ValueError):
        file.seek(0)
        head = file.read(8)
        if head[2:4] not in (b"*\0", b"\0*"):  # a BigTIFF: no camera writes these
            return False
        order = "<" if head[:2] == b"II" else ">"
        first = _directory(file, order, struct.unpack(order + "I", head[4:])[0])
        return _DNG_VERSION in first or any(
            each.get(_PHOTOMETRIC, (0,))[0] in _SENSOR
            for each in (first, *(_directory(file, order, at) for at in first.get(_SUB_DIRECTORIES, ())))
        )
    return False


def _directory(file: BinaryIO, order: str, at: int) -> dict[int, tuple[int, ...]]:
    """The entries of a TIFF's directory that tell what it is: tag → numbers."""
    file.seek(at)
    (count,) = struct.unpack(order + "H", file.read(2))
    found = {}
    block = file.read(12 * min(count, _ENTRIES))
    for tag, kind, number, place in struct.iter_unpack(order + "HHI4s", block[: len(block) // 12 * 12]):
        if tag in (_DNG_VERSION, _PHOTOMETRIC, _SUB_DIRECTORIES) and kind in _SIZES and 0 < number <= _DIRECTORIES:
            size = _SIZES[kind] * number
            if size > 4:
                file.seek(struct.unpack(order + "I", place)[0])
                place = file.read(size)
            found[tag] = struct.unpack(order + {1: "B", 2: "H", 4: "I"}[_SIZES[kind]] * number, place[:size])
    return found


def taken(size: int) -> int:
    """The bytes that showing a raw photo of `size` bytes takes: they, its preview, and what Pillow makes of that."""
    return 2 * size + 2**24


def photo(file: BinaryIO, limits: Limits) -> tuple[Image.Image, tuple[int, int], int]:
    """What a raw photo shows, its full upright size, and the EXIF orientation by which it is still to be turned.

    Its embedded preview, not loaded yet; without one, or with a tiny one, the sensor's picture at half its size. The
    camera's EXIF data go with it. Raises RefusalError, OSError and LibRaw's own errors.
    """
    try:
        import rawpy  # 0.15 s
    except ImportError as exc:
        raise RefusalError(wanting("raw")) from exc
    file.seek(0)
    try:
        with rawpy.imread(file) as raw:
            size, flip = _size(raw.sizes), _ORIENTATIONS.get(raw.sizes.flip, 1)
            limits.check_pixels(*size)
            preview = _preview(rawpy, raw)
            if preview is None or max(preview.size) < min(SMALL, *size):
                try:
                    developed = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
                    preview, flip = Image.fromarray(np.ascontiguousarray(developed)), 1  # LibRaw turns it itself
                except rawpy.LibRawError:
                    if preview is None:
                        raise
    except rawpy.LibRawFileUnsupportedError as exc:
        raise RefusalError("raw photo of an unknown camera") from exc
    limits.check_pixels(*preview.size)
    turn = _turn(preview, size, flip)
    shown = preview.size[::-1] if turn >= 5 else preview.size
    if all(0.95 <= mine / theirs <= 1.05 for mine, theirs in zip(shown, size, strict=True)):
        size = shown  # the camera's own picture: sensors have some columns more, and LibRaw's tables differ
    with suppress(Exception):  # a photo without a date is one, too
        _tell(file, preview)
    return preview, size, turn


def _size(sizes: Any) -> tuple[int, int]:
    """The photo's upright width and height: what the camera crops it to, where it says so."""
    width, height = sizes.width, sizes.height
    across, down = getattr(sizes, "crop_width", 0), getattr(sizes, "crop_height", 0)
    if width / 2 < across <= width and height / 2 < down <= height:
        width, height = across, down
    return (height, width) if sizes.flip & 4 else (width, height)


def _preview(rawpy: Any, raw: Any) -> Image.Image | None:
    """The largest preview in a raw photo; None when there is none that can be read."""
    try:
        found = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, NotImplementedError):
        return None  # the last is what rawpy says of an H.265, which Canon's cameras put into HDR photos
    if found.format == rawpy.ThumbFormat.JPEG:
        return Image.open(io.BytesIO(found.data))
    return Image.fromarray(np.ascontiguousarray(found.data))


def _turn(preview: Image.Image, size: tuple[int, int], flip: int) -> int:
    """The orientation by which a preview becomes upright: its own, else the raw's, and none when it is upright now.

    Some programs turn the preview and leave the raw's flip: then it stands already as the upright photo does.
    """
    told = preview.getexif().get(_TURNED)
    turn = told if isinstance(told, int) and 0 < told < 9 else flip
    (width, height), lying = preview.size, size[0] > size[1]
    return 1 if turn >= 5 and width != height and (width > height) == lying else turn


def _tell(file: BinaryIO, preview: Image.Image) -> None:
    """Give a preview the EXIF data of the raw photo, where that is a TIFF or a CR3: previews tell less, or nothing."""
    exif, told = _exif(file), Image.Exif()
    for directory, tags in _TOLD.items():
        source, target = exif[directory], told if directory == 0 else told.get_ifd(directory)
        target.update({tag: source[tag] for tag in tags if tag in source})
    if len(told):
        preview.info["exif"] = told.tobytes()
        preview._exif = None  # what it told before


def _exif(file: BinaryIO) -> dict[int, Mapping[int, Any]]:
    """The EXIF directories of a raw photo: of a CR3 each is a TIFF of its own."""
    file.seek(4)
    if file.read(8) == b"ftypcrx ":
        alone = {directory: Image.Exif() for directory in _CANON_EXIF}
        for directory, name in _CANON_EXIF.items():
            alone[directory].load(_box(file, *_CANON, name))
        return {**alone}
    exif = Image.Exif()
    file.seek(0)
    exif.load_from_fp(file)
    return {0: exif, _EXIF: exif.get_ifd(_EXIF), _GPS: exif.get_ifd(_GPS)}


def _box(file: BinaryIO, *path: bytes) -> bytes:
    """What the first box holds to which a path of names leads (ISO/IEC 14496-12); nothing when there is none."""
    at, end = 0, file.seek(0, io.SEEK_END)
    for name in path:
        for _ in range(_BOXES):
            if at >= end:
                return b""
            file.seek(at)
            head = file.read(4 + len(name))
            size = int.from_bytes(head[:4], "big")
            if size < 8:  # up to the end, or in 64 bits: so is only the last, which holds the pictures
                return b""
            if head[4:] == name:
                at, end = at + len(head), min(at + size, end)
                break
            at += size
        else:
            return b""
    file.seek(at)
    return file.read(min(max(end - at, 0), _BOX))
