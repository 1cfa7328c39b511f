"""Where something has happened in watched folders, and what of it is work: files to index, files that are gone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence

from pictocli.candidates import IndexOptions, Target
from pictocli.forgetting import Forgetting
from pictocli.keeping import is_gone
from pictocli.scan import LATEST, Rules, walk

__all__ = ["Presence", "Trail"]


class Presence:
    """Which roots are there. A disk that is unmounted leaves an empty folder, with another number than its own."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._places = {root: os.stat(root) for root in roots}
        self._away: set[str] = set()

    @property
    def here(self) -> list[str]:
        """The roots that were there at the last look."""
        return [root for root in self._places if root not in self._away]

    def look(self) -> tuple[list[str], list[str]]:
        """The roots that have gone since the last look, and those that have come back."""
        went, came = [], []
        for root, was in self._places.items():
            try:
                now = os.stat(root)
                with os.scandir(root) as entries:
                    there = os.path.samestat(now, was) or (root in self._away and next(entries, None) is not None)
            except OSError:
                there = False
            if there and root in self._away:
                self._places[root] = now
                came.append(root)
            elif not there and root not in self._away:
                went.append(root)
        self._away = (self._away | set(went)) - set(came)
        return went, came


class Trail:
    """Paths that were told of, until nothing more is told of them for a while; then the work that they mean.

    files: (root id, folder) → names that may need work. gone: full paths at which nothing lies any more.
    """

    def __init__(self, roots: Mapping[int, str], options: IndexOptions, database: str) -> None:
        self.roots, self.options, self.database = roots, options, database
        self.files: dict[tuple[int, str], set[str]] = {}
        self.gone: set[str] = set()
        self._pending: dict[str, float] = {}  # path → when it was last told of
        self._deleted = self._latest = 0.0

    def note(self, path: str, wait: float = 0.0) -> None:
        """Something happened at `path`, or will be known to have happened in `wait` seconds."""
        if "\ufffd" in path:  # how a name that is no UTF-8 is told: which one, its folder says
            path = os.path.dirname(path)
        beside = path.startswith(self.database) and os.path.dirname(path) == os.path.dirname(self.database)
        if not beside:  # else what is written to the library would be looked at for ever
            self._pending[path] = time.monotonic() + wait

    def drop(self, root: str) -> None:
        """Forget what was told of a root that has gone as a whole."""
        inside = root.rstrip("/") + "/"
        self._pending = {path: at for path, at in self._pending.items() if not (path + "/").startswith(inside)}
        self.gone = {path for path in self.gone if not path.startswith(inside)}
        self.files = {key: names for key, names in self.files.items() if self.roots[key[0]] != root}

    def ripe(self, now: float, quiet: float) -> bool:
        """Whether there is something to do now."""
        if self.files or (self.gone and self.deletions_over(now, quiet)):
            return True
        return any(now - at >= quiet for at in self._pending.values())

    def deletions_over(self, now: float, quiet: float) -> bool:
        """Whether no deletion was told for a while: a folder goes file by file, and is one deletion all the same."""
        return now - self._deleted >= quiet

    def sort_out(self, store: Forgetting, now: float, quiet: float) -> None:
        """Turn what has been quiet for a while into work."""
        due = {path for path, at in self._pending.items() if now - at >= quiet}
        self._latest = max([self._latest, *(self._pending.pop(path) for path in due)])
        for path in sorted(due):
            if any(parent in due and os.path.isdir(parent) for parent in _parents(path)):
                continue  # the folder's own walk finds it
            root_id = self._root_of(path)
            if root_id is None:
                continue
            try:
                if is_gone(path):
                    self._vanished(store, path)
                    continue
                mode = os.lstat(path).st_mode
            except OSError:
                continue  # nobody can say; a folder that may be read again is told of again
            root = self.roots[root_id]
            relative = os.path.relpath(path, root)
            if stat.S_ISDIR(mode):
                self._walk(store, root_id, "" if relative == "." else relative)
            elif stat.S_ISREG(mode) and _wanted(self.options.rules, relative):
                self._add(root_id, relative)

    def _root_of(self, path: str) -> int | None:
        for root_id, root in self.roots.items():
            if (path + "/").startswith(root.rstrip("/") + "/"):
                return root_id
        return None

    def _add(self, root_id: int, relative: str) -> None:
        folder, name = os.path.split(relative)
        self.files.setdefault((root_id, folder), set()).add(name)

    def _vanished(self, store: Forgetting, path: str) -> None:
        """Take note of a file or a folder that is gone."""
        if store.lookup(path) is not None:
            self._lost(path)
            return
        for place in store.below(path):
            for file in store.files(place.folder_id):
                self._lost(os.path.join(place.root, place.folder, file.name))

    def _lost(self, path: str) -> None:
        self.gone.add(path)
        self._deleted = self._latest

    def _walk(self, store: Forgetting, root_id: int, start: str) -> None:
        """Compare a folder, and all below it, with what the library knows."""
        root, seen = self.roots[root_id], set()
        if start and not all(self.options.rules.enters(part, os.path.basename(part)) for part in _steps(start)):
            return
        for folder, files in walk(root, self.options.rules, lambda _: None, start):
            seen.add(folder)
            here = os.path.join(root, folder, "")
            folder_id = store.folder_id(root_id, folder, create=False)
            known = {} if folder_id is None else store.known(folder_id)
            for found in files:
                held, path = known.pop(found.name, None), here + found.name
                same = held is not None and (held.size, held.mtime_ns) == (found.size, min(found.mtime_ns, LATEST))
                if not same and path not in self._pending and path not in self.options.never:
                    self._add(root_id, f"{folder}/{found.name}" if folder else found.name)
            self._missing(here, known)
        for place in store.below(os.path.join(root, start).rstrip("/")):
            if place.folder not in seen:
                names = [file.name for file in store.files(place.folder_id)]
                self._missing(os.path.join(root, place.folder, ""), names)

    def _missing(self, here: str, names: Sequence[str] | Mapping[str, object]) -> None:
        """Take note of those of these files that are gone, and not just left out by the rules."""
        for name in names:
            try:
                if is_gone(here + name):
                    self._lost(here + name)
            except OSError:
                continue

    # -- work -------------------------------------------------------------------------------------------------------

    def next_files(self, count: int) -> list[Target]:
        """Take so many files at most, folder by folder."""
        targets = []
        for (root_id, folder), names in sorted(self.files.items()):
            taken = sorted(names)[:count]
            count -= len(taken)
            names.difference_update(taken)
            targets.append(Target(root_id, self.roots[root_id], folder, frozenset(taken)))
            if not count:
                break
        self.files = {key: names for key, names in self.files.items() if names}
        return targets

    def put_back(self, targets: Sequence[Target]) -> None:
        """Keep files for later that could not be worked on now."""
        for target in targets:
            assert target.root_id is not None
            self.files.setdefault((target.root_id, target.folder), set()).update(target.only or ())

    def take_gone(self) -> list[str]:
        """The paths that are gone, which are then forgotten here."""
        gone, self.gone = sorted(self.gone), set()
        return gone


def _steps(folder: str) -> Iterator[str]:
    """a, a/b, a/b/c."""
    parts = folder.split("/")
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _parents(path: str) -> Iterator[str]:
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _wanted(rules: Rules, relative: str) -> bool:
    """Whether the rules let a file through, and every folder above it."""
    folder, name = os.path.split(relative)
    inside = all(rules.enters(step, os.path.basename(step)) for step in _steps(folder)) if folder else True
    return inside and rules.passes(relative, name)
