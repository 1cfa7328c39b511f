"""The engine of libraries in Lance tables: in a folder (lance://DIR) or in a bucket (lance+s3://BUCKET/PREFIX).

See `connection` for how SQL runs on them, and `protocols.Engine` for what each function does.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pictocli import claims, schema
from pictocli.errors import DamagedError, PictoError, StoreError
from pictocli.migrations import MIGRATIONS
from pictocli.protocols import Progress
from pictocli.reports import CompactReport
from pictocli.scale.lance.claims import CLAIMS, claimed_in_bucket
from pictocli.scale.lance.connection import LanceConnection
from pictocli.scale.lance.copy import of_copy
from pictocli.scale.lance.head import HEAD, Cell
from pictocli.scale.lance.place import Place, place_of, told
from pictocli.scale.lance.tables import TABLES

__all__ = ["claimed", "compact", "connect", "exists", "full", "identity", "shown", "size", "translated"]

_FORMAT = 1
_OWN = tuple(f"{name}.lance" for name in (*TABLES, "gone", HEAD, CLAIMS))  # the folders that make a library


def connect(name: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384) -> LanceConnection:  # noqa: ARG001 - of files
    """Open a library, making one where asked to write. page_size says nothing here."""
    place = place_of(name)
    head = Cell(place, HEAD)
    with translated(name):
        if not head.is_there():
            if not create:
                raise _missing(place)
            _make(place, head)
        _recognise(place, head)
        return LanceConnection(place, head, readonly=readonly)


def compact(name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:
    """Merge the pieces that commits leave, and remove what no commit names any more; see `compact`."""
    from pictocli.scale.lance.compact import compact as compacted

    return compacted(name, dry_run=dry_run, older_than=older_than, progress=progress)


@contextlib.contextmanager
def claimed(name: str, roots: Mapping[int, str] | None = None) -> Iterator[None]:
    """Be the only process to change these roots (id → path) of a library, or any of it, in this block."""
    place = place_of(name)
    if place.folder is None:
        with claimed_in_bucket(place, roots):
            yield
        return
    if not os.path.isdir(place.folder):
        raise _missing(place)
    with claims.claimed(os.path.join(place.folder, "library"), roots, place.name):
        yield


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn errors of Lance, and of the working copy's SQLite, into a StoreError that a person can act on."""
    place = place_of(name)
    try:
        with schema.translated(place.name), of_copy(place):
            yield
    except PictoError as exc:
        if isinstance(exc, DamagedError):  # picto repair is for files
            exc.hint = "picto info --check names what is wrong; put the library back from a backup"
        raise
    except OSError as exc:
        with told(place):
            raise exc


def exists(name: str) -> bool:
    """Whether there is a library. What cannot be looked at is there: opening it says why not."""
    try:
        return Cell(place_of(name), HEAD).is_there()
    except StoreError:
        return True


def full(name: str) -> str:
    """The name in full, whatever the working directory is."""
    return place_of(name).name


def shown(name: str) -> str:
    """The name as it may be told: without a password, which no name of ours has."""
    scheme, _, rest = name.partition("://")
    return f"{scheme}://…" if scheme != "lance" and "@" in rest.partition("/")[0] else name


def identity(name: str) -> object:
    """Which library lies there, None where there is none: another one once it was replaced."""
    place = place_of(name)
    head = Cell(place, HEAD)
    try:  # with the place: a copy of the folder is another library
        return (full(name), head.read()[1].get("library")) if head.is_there() else None
    except StoreError:
        return None


def size(name: str) -> int:
    """Bytes of all files of the library's tables, also of those that no commit names any more."""
    place = place_of(name)
    if place.folder is None:
        return _size_in_bucket(place)
    total = 0
    for table in _OWN:
        for folder, _, files in os.walk(os.path.join(place.folder, table)):
            for file in files:
                with contextlib.suppress(OSError):  # a file may vanish meanwhile
                    total += os.stat(os.path.join(folder, file)).st_size
    return total


def _size_in_bucket(place: Place) -> int:
    ours = tuple(f"{_path_in_bucket(place)}/{table}/" for table in _OWN)  # another library may lie below
    return sum(found.size or 0 for found in _in_bucket(place, recursive=True) if found.path.startswith(ours))


def _path_in_bucket(place: Place) -> str:
    return unquote(place.uri.removeprefix("s3://"))


def _in_bucket(place: Place, *, recursive: bool) -> list[Any]:
    """What lies there: pyarrow.fs.FileInfo each, of files and of what stands for folders."""
    from pyarrow import fs

    options = place.options or {}
    with told(place):
        where = {"endpoint_override": options["aws_endpoint"]} if "aws_endpoint" in options else {}
        if "aws_region" in options:
            where["region"] = options["aws_region"]
        bucket = fs.S3FileSystem(connect_timeout=4, request_timeout=60, **where)
        path = _path_in_bucket(place)
        return list(bucket.get_file_info(fs.FileSelector(path, recursive=recursive, allow_not_found=True)))


def _missing(place: Place) -> StoreError:
    return StoreError(f"there is no library at {place.name}", "picto index FOLDER makes one, --db names another")


def _make(place: Place, head: Cell) -> None:
    """Make an empty library. Raises StoreError where something else lies already."""
    if place.folder is None:
        names = [found.base_name for found in _in_bucket(place, recursive=False)]
    else:
        try:
            os.makedirs(place.folder, mode=0o700, exist_ok=True)
            names = os.listdir(place.folder)
        except OSError as exc:
            hint = "check its folder, or name another with --db"
            raise StoreError(f"cannot write {place.folder}: {exc.strerror}", hint) from exc
        if not all(name.endswith(".lance") for name in names):
            raise StoreError(f"{place.folder} holds other files, and no library", "lance://DIR names an empty folder")
    if not {name.removesuffix(".lance") for name in names}.isdisjoint({*TABLES, "gone"}):
        if head.is_there():  # another process has made it just now
            return
        raise StoreError(
            f"{place.name} holds tables, but no {HEAD}.lance that says which of them belong together",
            f"put {HEAD}.lance back from a backup, or name another place with --db",
        )
    head.create({
        "format": _FORMAT, "schema": len(MIGRATIONS), "library": uuid.uuid4().hex, "commit": 0, "tables": {},
        "writer": "", "lease": None,
    })  # fmt: skip


def _recognise(place: Place, head: Cell) -> None:
    """Raise StoreError for a library that is none of picto's, or of a newer one."""
    _, state = head.read()
    if not {"format", "schema", "library", "commit", "tables"} <= state.keys():
        raise StoreError(f"{place.name} is no library of picto's", "name another with --db")
    if state["format"] > _FORMAT or state["schema"] > len(MIGRATIONS):
        raise StoreError(f"{place.name} was made by a newer picto", "pip install --upgrade pictocli")
