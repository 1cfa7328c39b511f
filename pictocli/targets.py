"""What figures are written as, told by the name of their file."""

from __future__ import annotations

import os

from pictocli.errors import ValidationError

__all__ = ["SUFFIXES", "form_of"]

SUFFIXES = ("svg", "png", "html")


def form_of(path: str, library: str) -> str:
    """The format that a file is named for. Raises ValidationError for another one, or for the library's own file."""
    form = os.path.splitext(path)[1].lower().lstrip(".")
    if form not in SUFFIXES:
        raise ValidationError(f"{path} is not named for a format", "name it .svg, .png or .html")
    if os.path.exists(path) and os.path.exists(library) and os.path.samefile(path, library):
        raise ValidationError(f"{path} is the library itself", "name another file")
    return form
