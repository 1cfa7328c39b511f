"""Where thumbnails are exported to: a folder or a bucket; and files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from pictocli.errors import PictoError, ValidationError
from pictocli.targets import no_folder
from pictocli.uploads import Bucket

__all__ = ["Folder", "Place", "link_base", "place", "whole"]


class Place(Protocol):
    """A place that takes objects, several at a time. name: for people. base: what their addresses there begin with."""

    name: str
    base: str

    def taken(self) -> bool:
        """Whether thumbnails lie there already. Raises PictoError when it cannot be reached."""

    def put(self, name: str, body: bytes, media_type: str) -> None:
        """Write one object, as a whole or not at all. Raises PictoError."""


class Folder:
    """A folder on this machine, made when something is put there."""

    def __init__(self, path: str) -> None:
        self.name = self.path = os.path.realpath(path)
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise ValidationError(f"{path} is no folder", "name a folder, or s3://bucket/prefix")
        self.base = Path(self.path).as_uri().rstrip("/") + "/"

    def taken(self) -> bool:
        """Whether thumbnails lie there already."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            return any(entry.name.startswith("thumb_") for entry in entries)
        return False

    def put(self, name: str, body: bytes, media_type: str) -> None:  # noqa: ARG002 - a file's name says it
        """Write one file, under another name until it is whole."""
        part = os.path.join(self.path, f".{name}.part")  # what a killed run leaves is taken over by the next
        try:
            os.makedirs(self.path, exist_ok=True)
            with open(part, "wb") as file:
                file.write(body)
            os.replace(part, os.path.join(self.path, name))
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise _unwritable(self.path, exc) from exc


def place(destination: str) -> Place:
    """The folder or bucket of this name. Raises ValidationError for another kind of address, PictoError."""
    if destination.startswith("s3://"):
        return Bucket(destination)
    if "://" in destination:
        raise ValidationError(f"thumbnails cannot be put to {destination}", "name a folder, or s3://bucket/prefix")
    if not destination or "\0" in destination:
        raise ValidationError("no folder or bucket is named", "picto thumbnails export DIR, or s3://bucket/prefix")
    return Folder(destination)


def link_base(target: Place, cdn: str | None) -> str:
    """What the addresses of objects begin with: the place's own, or a CDN's in front of its bucket or folder."""
    if cdn is None:
        return target.base
    if not cdn.startswith(("https://", "http://")) or not cdn.partition("://")[2].strip("/") or set("?# ") & set(cdn):
        raise ValidationError(f"{cdn} is no address of a CDN", "--cdn https://cdn.example")
    return f"{cdn.rstrip('/')}/{target.key if isinstance(target, Bucket) else ''}"


@contextlib.contextmanager
def whole(path: str) -> Iterator[BinaryIO]:
    """A file to write that takes the place of the one at `path` when the block ends, and leaves no trace if it fails.

    A device or a pipe is written to as it is. Raises PictoError when it cannot be written.
    """
    full, mode = os.path.realpath(path), None
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
    if mode is not None and stat.S_ISDIR(mode):
        raise ValidationError(f"{path} is a folder", "-o names a file")
    regular = mode is None or stat.S_ISREG(mode)
    part = os.path.join(os.path.dirname(full), f".{os.path.basename(full)}.{os.getpid()}.part") if regular else path
    try:
        with open(part, "xb" if regular else "wb") as file:
            yield file
        if regular:
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            os.replace(part, full)
    except BaseException as exc:
        if regular:
            with contextlib.suppress(OSError):
                os.unlink(part)
        if isinstance(exc, OSError) and not isinstance(exc, BrokenPipeError):
            raise _unwritable(path, exc) from exc
        raise


def _unwritable(path: str, exc: OSError) -> PictoError:
    if isinstance(exc, FileNotFoundError):
        return no_folder(path)
    return PictoError(f"cannot write {path}: {exc.strerror or exc}", "check its folder, permissions and disk space")
