"""Pictures and files that leave the gallery: small pictures, originals, and several at once as a zip."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

from pictocli.display import printable
from pictocli.errors import NotFoundError, PictoError
from pictocli.gallery.cells import file_of
from pictocli.kinds import sniff
from pictocli.library import Library
from pictocli.records import Image
from pictocli.urls import is_url

__all__ = ["PLACEHOLDER", "WIDTHS", "Original", "Small", "named", "original", "small", "unpasteable", "zipped"]

WIDTHS = (160, 320, 480, 640, 960, 1280, 1600, 1920)  # px of small pictures: few, so that browsers keep few
_BLOCK = 2**18  # bytes
PLACEHOLDER = bytes.fromhex(  # a PNG of one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6368000000820081"
    "77cd72b60000000049454e44ae426082"
)


class Small(NamedTuple):
    """A JPEG, and its tag, by which a browser asks whether it has changed."""

    jpeg: bytes
    etag: str


class Original(NamedTuple):
    """A file of the index. name: what it is called where it is saved."""

    path: str
    name: str


def small(library: Library, image_id: int, width: int) -> Small:
    """A small picture, at least as wide as asked for, of the widths there are. Raises as `Library.thumbnail`."""
    wide = next((each for each in WIDTHS if each >= width), WIDTHS[-1])
    jpeg = library.thumbnail(image_id, width=wide)
    return Small(jpeg, f'"{hashlib.sha256(jpeg).hexdigest()[:32]}"')


def original(image: Image) -> Original:
    """The file of an image. Raises NotFoundError where there is none, or one that is no picture any more.

    A library that somebody else has made may name any file as a picture: what is none does not leave.
    """
    path = file_of(image)
    if is_url(path):
        raise NotFoundError(f"{printable(image.filename)} is on a server", f"its address is {printable(path)}")
    try:
        with open(path, "rb", opener=_unwaiting) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            kind = sniff(file.read(1024)) if regular else "other"
    except (OSError, ValueError) as exc:
        raise NotFoundError(
            f"{printable(path)} is not there, or cannot be read", "bring its disk or folder back"
        ) from exc
    if kind == "other":
        raise NotFoundError(f"{printable(path)} is no picture any more", "index its folder again")
    return Original(path, printable(image.filename))


def _unwaiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # to open a pipe waits for its writer


def named(library: Library, ids: Sequence[int]) -> list[Image]:
    """Images in the order of these ids. Raises NotFoundError for one that is none."""
    return [library.show(each) for each in ids]


def unpasteable(path: str) -> str | None:
    """What a path has that no shell should be given by pasting: a newline ends a line there, which is then run."""
    kinds = {unicodedata.category(each) for each in path}
    if "Cc" in kinds:
        return "control characters"
    return "bytes that are not UTF-8" if "Cs" in kinds else None


def zipped(images: Sequence[Image]) -> Iterator[bytes]:
    """The files of these images as a zip, each file once, piece by piece; none is held as a whole.

    Named DATASET/FOLDER/NAME, without what could lead out of the folder where they are unpacked. Those that cannot be
    read are named in left-out.txt.
    """
    out = _Pieces()
    left: list[str] = []
    taken: set[str] = set()
    with zipfile.ZipFile(cast(IO[bytes], out), "w", zipfile.ZIP_STORED) as archive:
        for path, image in {file_of(image): image for image in images}.items():
            try:
                found = original(image)
                with open(found.path, "rb", opener=_unwaiting) as file:
                    yield from _member(archive, out, _unique(image, taken), file.fileno())
            except (PictoError, OSError) as exc:
                left.append(f"{printable(path)}: {exc}")
        if left:
            archive.writestr("left-out.txt", "\n".join(left) + "\n")
    yield out.taken()


def _member(archive: zipfile.ZipFile, out: _Pieces, name: str, source: int) -> Iterator[bytes]:
    changed = time.localtime(os.fstat(source).st_mtime)[:6]
    entry = zipfile.ZipInfo(name, max((1980, 1, 1, 0, 0, 0), min(changed, (2107, 12, 31, 23, 59, 58))))
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as member:
        while block := os.read(source, _BLOCK):
            member.write(block)
            yield out.taken()


def _unique(image: Image, taken: set[str]) -> str:
    parts = [image.dataset, *image.folder.split("/"), image.filename]
    safe = [printable(part).replace("\\", "_").replace("/", "_").replace(":", "_") for part in parts if part]
    name = "/".join("_" * len(part) if set(part) <= {"."} else part for part in safe)
    stem, suffix = os.path.splitext(name)
    found, number = name, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem}-{number}{suffix}"
    taken.add(found.casefold())
    return found


class _Pieces:
    """What a zip is written to, and taken from piece by piece. It cannot seek: sizes follow each file."""

    def __init__(self) -> None:
        self._held, self._at = bytearray(), 0

    def write(self, block: bytes) -> int:
        self._held += block
        self._at += len(block)
        return len(block)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def taken(self) -> bytes:
        """What has been written since."""
        found = bytes(self._held)
        self._held.clear()
        return found
