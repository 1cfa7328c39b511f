"""Which engine a library's name asks for. Whatever opens, claims or looks for a library does so through here."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import cast

from pictocli import claims, schema
from pictocli.begun import require_finished
from pictocli.errors import ValidationError
from pictocli.protocols import Database, Engine, Progress
from pictocli.reports import CompactReport

__all__ = [
    "claimed", "compact", "connect", "exists", "full", "identity", "is_file", "require_file", "shown", "size",
    "translated",
]  # fmt: skip

_SCALE = {
    "postgresql://": "pictocli.scale.postgres.engine",
    "postgres://": "pictocli.scale.postgres.engine",
    "lance://": "pictocli.scale.lance.engine",
    "lance+s3://": "pictocli.scale.lance.engine",
}


class _Files:
    """SQLite files, which are named by their paths."""

    connect = staticmethod(schema.connect)
    claimed = staticmethod(claims.claimed)
    translated = staticmethod(schema.translated)

    def exists(self, name: str) -> bool:
        return os.path.exists(name) and not (os.path.isfile(name) and os.path.getsize(name) == 0)

    def full(self, name: str) -> str:
        return os.path.abspath(name)

    def shown(self, name: str) -> str:
        return name

    def identity(self, name: str) -> tuple[int, int] | None:
        try:
            found = os.stat(name)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def size(self, name: str) -> int:
        return sum(os.stat(name + end).st_size for end in ("", "-wal") if os.path.exists(name + end))

    def compact(self, name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:  # noqa: ARG002 - refused
        what = f"picto compact is for PostgreSQL and Lance tables, and {name} is a file"
        raise ValidationError(what, "picto vacuum makes it smaller")


_FILES = _Files()


def is_file(name: str) -> bool:
    """Whether a library's name is the path of a SQLite file, there or not."""
    return _scheme(name) is None


def require_file(name: str, command: str, instead: str) -> None:
    """Raise ValidationError, which says what to do instead, when a command is for files and the library is none."""
    if not is_file(name):
        raise ValidationError(f"picto {command} is for libraries in a file, and {shown(name)} is none", instead)


def connect(
    name: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384, unfinished: bool = False
) -> Database:
    """Open the library of this name, as `Engine.connect` says. page_size: of a new SQLite file, in bytes.

    unfinished: also one that `picto move-db` has begun to fill; StoreError is raised for it otherwise.
    """
    db = _engine(name).connect(name, create=create, readonly=readonly, page_size=page_size)
    try:
        if not unfinished:
            with translated(name):
                require_finished(db, shown(name))
    except BaseException:
        db.close()
        raise
    return db


def claimed(name: str, roots: Mapping[int, str] | None = None) -> AbstractContextManager[None]:
    """Be the only process to change these roots (id → path) of a library, or any of it; see `Engine.claimed`."""
    return _engine(name).claimed(name, roots)


def translated(name: str) -> AbstractContextManager[None]:
    """Turn an engine's own errors into a StoreError that a person can act on."""
    return _engine(name).translated(name)


def exists(name: str) -> bool:
    """Whether there is a library of this name, no empty file."""
    return _engine(name).exists(name)


def full(name: str) -> str:
    """A library's name in full, whatever the working directory is."""
    return _engine(name).full(name)


def shown(name: str) -> str:
    """A library's name as it may be told: without a password; of one that is not understood, its beginning."""
    scheme = _scheme(name)
    return _engine(name).shown(name) if scheme is None or scheme in _SCALE else f"{scheme}…"


def identity(name: str) -> object:
    """Which library lies there: another one once it was replaced. None where it is seen that there is none."""
    return _engine(name).identity(name)


def compact(name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:
    """Compact a library on a server or of Lance tables, see `Library.compact`; ValidationError for a file."""
    return _engine(name).compact(name, dry_run=dry_run, older_than=older_than, progress=progress)


def size(name: str) -> int:
    """Bytes that a library takes, with what is still in its log."""
    return _engine(name).size(name)


def _engine(name: str) -> Engine:
    """What opens libraries of this name. An engine beside SQLite is imported when it is first asked for.

    Raises ValidationError for a name of no engine: as a path it would make a file, with a password in its name.
    """
    scheme = _scheme(name)
    if scheme is None:
        return _FILES
    if scheme not in _SCALE:
        hint = f"{', '.join(_SCALE)} begin one, and a path may begin with ./"
        raise ValidationError(f"{scheme} begins no name of a library", hint)
    return cast(Engine, importlib.import_module(_SCALE[scheme]))


def _scheme(name: str) -> str | None:
    """What a library's name begins with when it is no path, as "lance://". A drive of one letter is a path."""
    found = re.match(r"[a-zA-Z][\w+.-]+://?", name)
    return found[0] if found else None
