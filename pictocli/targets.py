"""What figures and pages are written to: formats told by a file's name, and files that may be replaced."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable

from pictocli.errors import PictoError, ValidationError

__all__ = ["SUFFIXES", "form_of", "no_folder", "require_replaceable", "signature"]

SUFFIXES = ("svg", "png", "html")
_HEAD = 1024  # bytes, within which what picto writes says that it is picto's

# How the files of picto's own figures begin, by format; a drawing program or editor that saves one changes this.
_OWN = {
    "svg": rb'<\?xml version="1\.0" encoding="UTF-8"\?>\n<!-- %s -->\n',
    "png": rb"\x89PNG\r\n\x1a\n.{25}.{4}tEXtSoftware\x00%s",
    "html": rb'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="%s">',
}


def signature(kind: str) -> str:
    """What a file of a figure names as its maker. kind: "map" or "plot"."""
    return f"picto {kind}"


def form_of(path: str, library: str, kind: str, indexed: Callable[[], bool]) -> str:
    """The format that a file is named for, if a figure of this kind may be written to it.

    indexed: whether the file is in the library. Raises ValidationError for another format, and for what is there
    already unless it is empty or such a figure of picto's, and no link; PictoError where its folder is not there.
    """
    form = os.path.splitext(path)[1].lower().lstrip(".")
    if form not in SUFFIXES:
        raise ValidationError(f"{path} is not named for a format", "name it .svg, .png or .html")
    if os.path.islink(path):
        raise ValidationError(f"{path} is a symbolic link", "name another file")
    own = re.compile(_OWN[form] % signature(kind).encode(), re.DOTALL)
    require_replaceable(
        path, library, lambda head: own.match(head) is not None, f"is no {kind} of picto's", hint="name another file",
        folder_hint=f"name a file: {os.path.join(path, f'{kind}.{form}')}", special_hint="name another file",
    )  # fmt: skip
    if indexed():
        raise ValidationError(f"{path} is in the library, as a picture", "name another file")
    return form


def require_replaceable(
    path: str, library: str, own: Callable[[bytes], bool], told: str, *, hint: str, folder_hint: str, special_hint: str
) -> None:
    """Raise ValidationError unless `path` is a new file, or one that is empty or `own` by how it begins.

    told: what one that is neither is. The hints: for such a file and for the library itself; for a folder; for a pipe
    or a device. PictoError where the folder is not there, or the file cannot be read.
    """
    if not path or "\0" in path:
        raise ValidationError("no file is named", hint)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            raise no_folder(path) from None
        return
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    if stat.S_ISDIR(mode):
        raise ValidationError(f"{path} is a folder", folder_hint)
    if not stat.S_ISREG(mode):
        raise ValidationError(f"{path} is not a regular file", special_hint)
    if os.path.exists(library) and os.path.samefile(path, library):
        raise ValidationError(f"{path} is the library itself", hint)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    if head and not own(head):
        raise ValidationError(f"{path} is there already, and {told}", hint)


def no_folder(path: str) -> PictoError:
    """The error for a file whose folder is not there."""
    return PictoError(f"cannot write {path}: no such folder", f"mkdir -p {os.path.dirname(path) or '.'}")


def _unwritable(path: str, exc: OSError) -> PictoError:
    told = (exc.strerror or str(exc)).lower()
    return PictoError(f"cannot write {path}: {told}", "check its folder and permissions, or name another file")
