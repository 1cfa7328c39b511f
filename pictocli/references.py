"""Finds what a user means by IMG: an indexed image by id, path or content, else a file or bytes to embed now."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pictocli.errors import NotFoundError, UnreadableError, ValidationError
from pictocli.queries import Queries
from pictocli.urls import is_url, normal, stored

__all__ = ["ImageLike", "Reference", "at_path", "find", "images_of", "indexed", "is_indexed", "paths_of"]

ImageLike = str | os.PathLike[str] | int | bytes

_PAGE = re.compile(r"(.+)#page=([0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reference:
    """image_id: of the indexed image it is, whose place is its scope. twin: of an indexed image with the same bytes.

    path, page: where to decode it from when neither is there; data: its bytes when they came without a path.
    """

    image_id: int | None = None
    twin: int | None = None
    path: str | None = None
    page: int | None = None
    data: bytes | None = None


def find(queries: Queries, image: ImageLike) -> Reference:
    """Find an image by id (123 or "id:123"), by path (`report.pdf#page=3` for a page), or by its bytes.

    A URL that is not in the index is not asked for. Raises NotFoundError, ValidationError for a folder or a bad id,
    UnreadableError for a file that cannot be read.
    """
    if isinstance(image, bytes):
        import hashlib

        return Reference(twin=queries.by_hash(hashlib.sha256(image).digest(), None), data=image)
    if isinstance(image, int):
        return _by_id(queries, image)
    text = os.fspath(image)
    if text.startswith("id:"):
        if not text[3:].isascii() or not text[3:].isdigit() or len(text) > 21:
            raise ValidationError(f"{text} is not an image id", "ids are whole numbers: id:123")
        return _by_id(queries, int(text[3:]))
    if is_url(text):
        reference = at_path(text)
        assert reference.path is not None
        found = queries.by_path(stored(reference.path), reference.page)
        return reference if found is None else Reference(image_id=found)
    for path, page in _spellings(text):
        for full in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            found = queries.by_path(full, page)
            if found is not None:
                return Reference(image_id=found)
    reference = at_path(text)
    assert reference.path is not None
    return replace(reference, twin=queries.by_hash(_digest(reference.path), reference.page))


def indexed(queries: Queries, text: str) -> int | None:
    """The id of the indexed image that a text names: id:123, a path or a URL. Nothing but the index is looked at.

    None for a path that is not in it. Raises NotFoundError and ValidationError for an id, as `find` does.
    """
    if text.startswith("id:"):
        return find(queries, text).image_id
    if is_url(text):
        path, page = _spellings(text)[-1]
        return queries.by_path(stored(normal(path)), page)
    found = (queries.by_path(os.path.abspath(path), page) for path, page in _spellings(text))
    return next((image_id for image_id in found if image_id is not None), None)


def is_indexed(queries: Queries, path: str) -> bool:
    """Whether a file holds indexed images, named as it is or by where its links lead."""
    return any(queries.by_path(full, None) is not None for full in {os.path.abspath(path), os.path.realpath(path)})


def images_of(given: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """One image or several. A text is one: its letters are no images."""
    return [given] if isinstance(given, str | os.PathLike | int | bytes) else list(given)


def paths_of(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """One path or several. A text is one: of its letters, "/" would be everything that there is on the disk."""
    return [os.fspath(each) for each in ([given] if isinstance(given, str | os.PathLike) else given)]


def at_path(image: ImageLike) -> Reference:
    """The file or bytes that `image` names, whether indexed or not. Raises as `find` does; ids are refused."""
    if isinstance(image, bytes):
        return Reference(data=image)
    if isinstance(image, int):
        raise ValidationError(f"{image} is an id, and a path is needed")
    text = os.fspath(image)
    if is_url(text):
        path, page = _spellings(text)[-1]
        return Reference(path=normal(path), page=page)
    for path, page in _spellings(text):
        if os.path.isdir(path):
            raise ValidationError(f"{path} is a folder, not an image", "picto index indexes folders")
        if os.path.isfile(path):
            return Reference(path=path, page=page)
        if os.path.lexists(path):  # a FIFO would keep us waiting for ever
            raise UnreadableError(f"cannot read {path}: not a regular file")
    raise NotFoundError(f"no such image: {text}", "name a file, a PDF page as file.pdf#page=3, or id:123")


def _spellings(text: str) -> list[tuple[str, int | None]]:
    """The paths and pages that a text may mean: first a file of just that name, then a page of one."""
    if "\0" in text:  # no file is named so, and the operating system's answer is a ValueError
        raise NotFoundError(f"no such image: {text!r}")
    paged = _PAGE.fullmatch(text)
    return [(text, None)] + ([(paged[1], int(paged[2]))] if paged else [])


def _by_id(queries: Queries, image_id: int) -> Reference:
    if not 0 < image_id < 2**63 or not queries.by_id(image_id):
        raise NotFoundError(
            f"no image has the id {image_id}", "picto tags, similar and search print ids with --format json"
        )
    return Reference(image_id=image_id)


def _digest(path: str) -> bytes:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as exc:
        raise UnreadableError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}") from exc
