"""Walks folders and says which files lie there. Opens none of them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from pictocli.records import Skipped

__all__ = ["LATEST", "Found", "Rules", "walk"]

LATEST = 2**63 - 1  # ns since 1970, in the year 2262: a broken clock goes further, an integer of SQLite does not
# What cameras, Macs, Windows and NAS boxes leave beside pictures: never pictures themselves.
JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX"})


class Found(NamedTuple):
    """A regular file of some folder. size in bytes, mtime_ns in ns since 1970.

    A tuple, as is what the store knows of a file: a million of these are made to learn that nothing has changed.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What to leave out. include, exclude: globs on a file's name or on its path below the root."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    hidden: bool = False
    follow: bool = False

    def passes(self, path: str, name: str) -> bool:
        """Whether a file is wanted."""
        if not self.visible(name) or (self.include and not _matches(self.include, path, name)):
            return False
        return not (self.exclude and _matches(self.exclude, path, name))

    def enters(self, path: str, name: str) -> bool:
        """Whether a folder is walked into."""
        return self.visible(name) and not _matches(self.exclude, path, name)

    def visible(self, name: str) -> bool:
        """Whether a name is neither junk nor, unless asked for, hidden."""
        return name not in JUNK and not name.startswith("._" if self.hidden else ".")


def _matches(globs: Sequence[str], path: str, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase(path, glob.rstrip("/")) for glob in globs)


def walk(
    root: str, rules: Rules, unreadable: Callable[[Skipped], None], start: str = ""
) -> Iterator[tuple[str, list[Found]]]:
    """Yield the folder `start` of `root`, then every folder below it, with its wanted files, names in order.

    Symbolic links are followed only when `rules.follow` is set, and then each folder once, so that a loop ends. A
    folder that cannot be read is reported to `unreadable` and passed over.
    """
    pending, seen = [start], set()
    while pending:
        folder = pending.pop()
        full = os.path.join(root, folder) if folder else root
        try:
            here = Path(full).stat()
            with os.scandir(full) as entries:
                ordered = sorted(entries, key=attrgetter("name"))
        except OSError as exc:
            unreadable(Skipped(full, (exc.strerror or "cannot be read").lower()))
            continue
        if (here.st_dev, here.st_ino) in seen:
            continue
        seen.add((here.st_dev, here.st_ino))
        files, folders = _sorted_out(ordered, folder, rules)
        pending.extend(reversed(folders))
        yield folder, files


def _sorted_out(entries: Sequence[os.DirEntry[str]], folder: str, rules: Rules) -> tuple[list[Found], list[str]]:
    files, folders = [], []
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        try:
            if entry.is_dir(follow_symlinks=rules.follow):
                if rules.enters(path, entry.name):
                    folders.append(path)
            elif entry.is_file(follow_symlinks=rules.follow) and rules.passes(path, entry.name):
                stat = entry.stat(follow_symlinks=rules.follow)
                files.append(Found(entry.name, stat.st_size, min(stat.st_mtime_ns, LATEST)))
        except OSError:
            continue  # it went away between the listing and the look; the next run sees what is there then
    return files, folders
