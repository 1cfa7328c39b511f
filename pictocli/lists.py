"""Reads lists of files and URLs: one a line or a NUL, or a column of a table whose other fields go with the images."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pictocli.errors import NotFoundError, ValidationError
from pictocli.metadata import TABLES, rows

__all__ = ["Listing", "entries"]

_LONGEST = 2**16  # bytes of a line
Take = Callable[[str, "Mapping[str, Any] | None"], None]


@dataclass(slots=True)
class Listing:
    """A list to read. source: a file, or "-" for standard input. nul: entries end by NUL, not by line.

    image_column: of a table, the column with files or URLs; passed: its columns that go with the images. Both may be
    dotted paths into nested fields. empty: rows without an image, known once the list has been read.
    """

    source: str
    nul: bool = False
    image_column: str | None = None
    passed: Sequence[str] = ()
    empty: int = field(default=0, init=False)


def entries(listing: Listing) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """(file or URL, fields) of each entry, in the order of the list.

    Raises NotFoundError for the list, ValidationError for one that cannot be read, naming the line.
    """
    if listing.passed and listing.image_column is None:
        raise ValidationError("--pass takes fields from a table", "name its column of images: --image-column image_url")
    if listing.image_column is None:
        yield from ((entry, None) for entry in _plain(listing))
        return
    if listing.nul:
        raise ValidationError("a table has no entries that end by NUL", "leave -0 out")
    named = _leaves(listing.passed)
    if listing.source != "-":
        yield from _column(Path(listing.source), listing, named)
        return
    with tempfile.TemporaryDirectory(prefix="picto-list-") as folder:
        path = _kept(folder)
        try:
            yield from _column(path, listing, named)
        except ValidationError as exc:
            raise ValidationError(str(exc).replace(str(path), "standard input"), exc.hint) from exc


def _plain(listing: Listing) -> Iterator[str]:
    name = "standard input" if listing.source == "-" else listing.source
    if os.path.splitext(listing.source)[1].lower() in TABLES:
        raise ValidationError(f"{name} is a table", "name its column of images: --image-column image_url")
    if listing.source == "-":
        yield from _parts(sys.stdin.buffer, b"\0" if listing.nul else b"\n", name)
        return
    try:
        with open(listing.source, "rb") as file:
            yield from _parts(file, b"\0" if listing.nul else b"\n", name)
    except FileNotFoundError as exc:
        raise NotFoundError(f"no such file: {listing.source}") from exc
    except OSError as exc:
        raise ValidationError(f"cannot read {listing.source}: {exc.strerror}") from exc


def _parts(file: BinaryIO, end: bytes, name: str) -> Iterator[str]:
    """What lies between the ends, but for nothing; lines may end as Windows has it."""
    rest = file.read(3).removeprefix(b"\xef\xbb\xbf")
    while block := file.read1(2**16) if hasattr(file, "read1") else file.read(2**16):
        *whole, rest = (rest + block).split(end)
        for part in whole:
            yield from _entry(part, end, name)
        if len(rest) > _LONGEST:
            raise ValidationError(f"{name} has an entry longer than {_LONGEST:,} bytes: is it a list?")
    for part in rest.split(end):
        yield from _entry(part, end, name)


def _entry(part: bytes, end: bytes, name: str) -> Iterator[str]:
    if end == b"\n":
        part = part.removesuffix(b"\r")
        if b"\0" in part:
            raise ValidationError(f"{name} is no list of lines", "-0 reads entries that end by NUL")
    if part.strip():
        yield os.fsdecode(part)


def _leaves(fields: Sequence[str]) -> dict[str, str]:
    """What fields are called beside an image → their dotted paths: by their last part."""
    named: dict[str, str] = {}
    for path in fields:
        leaf = path.rpartition(".")[2]
        if not leaf or named.get(leaf, path) != path:
            raise ValidationError(f"--pass {path}: no field may be called {leaf!r} twice, or be without a name")
        named[leaf] = path
    return named


def _column(path: Path, listing: Listing, named: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    assert listing.image_column is not None
    found, seen = False, dict[str, None]()
    for row in rows(path, (listing.image_column,)):
        image = _at(row, listing.image_column)
        if not isinstance(image, str) or not image.strip() or "\0" in image:
            listing.empty += 1
            if len(seen) < 20:
                seen |= dict.fromkeys(row)
            continue
        found = True
        fields = {leaf: value for leaf, path in named.items() if (value := _at(row, path)) is not None}
        yield image.strip(), fields if named else None
    if not found and seen:
        raise ValidationError(
            f"no row of {path} has text in {listing.image_column}", f"its fields are {', '.join(seen)}"
        )


def _at(row: Mapping[str, Any], path: str) -> Any:
    """The value of a field, by its name or by the names on the way to it; None where there is none."""
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _kept(folder: str) -> Path:
    """Standard input as a file that says by its name whether it is JSONL or CSV."""
    first = sys.stdin.buffer.read(2**12)
    suffix = ".jsonl" if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else ".csv"
    path = Path(folder, f"standard input{suffix}")
    with path.open("wb") as file:
        file.write(first)
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
