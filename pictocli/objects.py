"""Walks buckets as `scan` walks folders: says which objects lie there, and fetches none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pictocli.records import Skipped
from pictocli.remote import Remote
from pictocli.scan import LATEST, Found, Rules
from pictocli.urls import kept, spelled

__all__ = ["objects"]

_TOGETHER = 50_000  # objects: a folder's that lie apart, as keys are sorted, come together if they are no further apart


def objects(
    remote: Remote, root: str, start: str, rules: Rules, unreadable: Callable[[Skipped], None]
) -> Iterator[tuple[str, list[Found], Mapping[str, str]]]:
    """Yield folders at and below `start` of a root in a bucket, with their wanted objects and the ETags of these.

    A folder with subfolders may come several times. Raises PictoError when the bucket cannot be listed.
    """
    base = spelled(f"{root}/{start}/" if start else f"{root}/")
    offset = len(base.removeprefix("s3://").partition("/")[2])
    folders: dict[str, tuple[list[Found], dict[str, str]]] = {}
    entered: dict[str, bool] = {}
    count = 0
    for key, size, modified, etag in remote.listed(base):
        below = key[offset:]
        if not below or below.endswith("/"):  # what consoles make to show a folder
            continue
        if "\0" in below or kept(below, web=False).replace("\u2215", "/") != below:
            unreadable(Skipped(base + below, "its key cannot be a path"))
            continue
        folder, _, name = kept(below, web=False).rpartition("/")
        path = f"{folder}/{name}" if folder else name
        if folder not in entered:
            entered[folder] = _enters(folder, rules)
        if not entered[folder] or not rules.passes(path, name):
            continue
        files, etags = folders.setdefault(f"{start}/{folder}".strip("/") if start else folder, ([], {}))
        files.append(Found(name, size, min(modified, LATEST)))
        etags[name] = etag
        count += 1
        if count >= _TOGETHER:
            yield from ((each, *those) for each, those in folders.items())
            folders, count = {}, 0
    yield from ((each, *those) for each, those in folders.items())


def _enters(folder: str, rules: Rules) -> bool:
    """Whether a folder, and every one that it lies in, is walked into."""
    names = folder.split("/") if folder else []
    return all(rules.enters("/".join(names[: at + 1]), name) for at, name in enumerate(names))
