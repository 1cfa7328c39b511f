"""Turns what a user names into roots to index: files, folders, buckets, web pages, and lists of them."""

from __future__ import annotations

import os
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pictocli.candidates import Target
from pictocli.errors import PictoError, ValidationError
from pictocli.listed import Named
from pictocli.lists import Listing, entries
from pictocli.records import IndexReport, Skipped
from pictocli.remote import Remote, error
from pictocli.sqlite import SqliteStore
from pictocli.urls import is_url, is_web, normal, parts, stored, without_password

__all__ = ["Sources", "check_typed", "gathered", "readable", "targets"]


@dataclass(slots=True)
class Sources:
    """What a call of index names. local: files and folders that exist; buckets: URLs of folders in them; named: files
    and URLs of a list, and URLs that name one thing; typed: web pages among the latter; missing: PATHs that are not
    there; skipped: entries of the list that are none.
    """

    local: list[str] = field(default_factory=list)
    buckets: list[str] = field(default_factory=list)
    named: Named = field(default_factory=Named)
    typed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    empty: int = 0
    listed: bool = False

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to index."""
        return not (self.local or self.buckets or self.named.count)

    @property
    def remote(self) -> bool:
        """Whether something of it must be fetched."""
        return bool(self.buckets) or any(is_url(folder) for folder in self.named.folders())

    def told(self, report: IndexReport) -> IndexReport:
        """The report with what was found out here."""
        report.missing = self.missing
        report.skipped[:0] = self.skipped
        report.empty, report.repeated = self.empty, self.named.repeated
        return report


def gathered(paths: Iterable[str], listing: Listing | None, remote: Remote) -> Sources:
    """What PATHs and a list name. Asks S3 what is an object and what a folder; fetches nothing.

    Raises ValidationError, NotFoundError for the list, PictoError for a bucket that cannot be asked.
    """
    sources = Sources(listed=listing is not None)
    for path in paths:
        if not is_url(path):
            (sources.local if os.path.exists(path) else sources.missing).append(path)
        elif is_web(url := normal(path)):
            sources.typed.append(url)
        else:
            _add_object(sources, url, remote.is_folder(url))
    for url in sources.typed:
        sources.named.add(stored(url))
    sources.named.repeated = 0  # a PATH given twice is one
    if listing is not None:
        for entry, fields in entries(listing):
            _add_entry(sources, entry, fields)
        sources.empty = listing.empty
    return sources


def _add_object(sources: Sources, url: str, is_folder: bool | None) -> None:
    if is_folder is None:
        sources.missing.append(url)
    elif is_folder:
        sources.buckets.append(url.rstrip("/"))
    else:
        sources.named.add(stored(url))


def _add_entry(sources: Sources, entry: str, fields: Mapping[str, object] | None) -> None:
    """An entry of a list; one that is none is skipped."""
    try:
        if is_url(entry):
            url = normal(entry)
            if url.endswith("/") and not is_web(url):
                raise ValidationError("a folder of a bucket: give it as a PATH")
            sources.named.add(stored(url), fields)
        elif "://" in entry[:12]:
            raise ValidationError("neither a file nor a URL of s3, https or http")
        elif os.path.isdir(entry):
            sources.local.append(entry)
        else:
            sources.named.add(os.path.realpath(entry), fields)
    except PictoError as exc:
        named = without_password(entry)
        sources.skipped.append(Skipped(named, str(exc).removesuffix(f": {named}")))


def check_typed(sources: Sources, remote: Remote, store: SqliteStore | None) -> None:
    """Make sure that one of the web pages among the PATHs comes at all, when there is nothing else to index.

    Raises PictoError, before anything is written, with what is wrong with the first of them.
    """
    others = sources.local or sources.buckets or sources.listed or sources.named.count > len(set(sources.typed))
    if others or not sources.typed:
        return
    known = store.validators_of([parts(url) for url in sources.typed]) if store else {}
    failed = remote.probe([(url, known.get(parts(url), "")) for url in sources.typed[:8]])
    if len(failed) == len(sources.typed):
        raise error(*failed[0])


def targets(store: SqliteStore, sources: Sources, dataset: str | None, *, create: bool) -> list[Target]:
    """The roots to index; files of one folder make one target. Roots are made when all have been checked.

    Raises ValidationError where a root may not be made, see `Catalog.root_to_be`.
    """
    roots = _Roots(store, dataset)
    found = list(_local(sources.local, roots))
    for url in sources.buckets:
        path = stored(url)
        held = roots.holding(path) or roots.made(path, url.rpartition("/")[2])
        found.append(Target(roots.ids[held], held, path[len(held) + 1 :]))
    holders: dict[str, None] = {}
    for folder in list(sources.named.folders()):
        held = roots.holding(folder) or roots.made_for(folder)
        sources.named.put_below(folder, held)
        holders[held] = None
    found += [Target(roots.ids[root], root, named=sources.named) for root in holders]
    made = {root: store.add_root(root, name) for root, name in roots.new.items()} if create else {}
    found = [replace(target, root_id=made.get(target.root, target.root_id)) for target in found]
    return list(dict.fromkeys(found))  # a PATH given twice is one


def _local(paths: Sequence[str], roots: _Roots) -> Iterator[Target]:
    files: dict[str, set[str]] = {}
    for path in paths:
        full = os.path.realpath(path)
        if os.path.isdir(full):
            root = roots.made(full, os.path.basename(os.path.abspath(path)) or full)
            yield Target(roots.ids[root], root)
        else:
            folder, name = os.path.split(full)
            files.setdefault(folder, set()).add(name)
    for folder, names in files.items():
        held = roots.holding(folder) or roots.made(folder, os.path.basename(folder) or folder)
        relative = os.path.relpath(folder, held)
        yield Target(roots.ids[held], held, "" if relative == "." else relative, frozenset(names))


class _Roots:
    """The roots that there are, and those to be made. ids: None for the latter."""

    def __init__(self, store: SqliteStore, dataset: str | None) -> None:
        self._store, self._dataset = store, dataset
        self.ids: dict[str, int | None] = {path: root_id for root_id, path in store.roots()}
        self.new: dict[str, str] = {}
        self._checked: set[str] = set()

    def holding(self, path: str) -> str | None:
        """The root that is `path` or holds it. Raises ValidationError when it is in another dataset than asked for."""
        above = path
        while above not in self.ids:
            shorter = above.rpartition("/")[0]
            if not shorter or shorter.endswith(("/", ":")):  # of "/a", or of "s3://bucket"
                above = "/"
                break
            above = shorter
        if above not in self.ids or (above == "/" and is_url(path)):
            return None
        root_id = self.ids[above]
        if root_id is not None and above not in self._checked:
            self._store.check_dataset(root_id, above, self._dataset)
            self._checked.add(above)
        return above

    def made(self, path: str, name: str) -> str:
        """Have a root made, unless it is there."""
        named = self._dataset or readable(name)
        known = self._store.root_to_be(path, self._dataset, named, self.new)
        if known is None and path not in self.new:
            self.new[path] = named
        self.ids[path] = known
        return path

    def made_for(self, folder: str) -> str:
        """Have a root made for what was named one by one: the whole host or bucket, or a folder of this machine.

        A bucket of which a folder is a root already gives one more such root.
        """
        if not is_url(folder):
            return self.made(folder, os.path.basename(folder) or folder)
        whole = parts(folder if folder.count("/") > 2 else f"{folder}/")[0]
        known = sorted(self.ids)
        after = bisect(known, f"{whole}/")
        beside = after < len(known) and known[after].startswith(f"{whole}/")
        root = folder if beside else whole
        return self.made(root, root.rpartition("/")[2])


def readable(name: str) -> str:
    """A folder's name as a dataset's, which is text: what is no UTF-8 in it is replaced."""
    return os.fsencode(name).decode("utf-8", "replace")
