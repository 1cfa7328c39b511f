"""Paths that begin as one that is being typed: of indexed images, be their disk there or not, and of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pictocli.kinds import IMAGE_SUFFIXES
from pictocli.prefixes import MOST, Prefixes
from pictocli.urls import is_url, spelled

__all__ = ["images", "limited", "roots"]


def images(names: Prefixes | None, typed: str) -> list[str]:
    """What may be meant by an IMG that begins so, one folder deep: folders end with a slash. names: None without index.

    Pages are given when the name of their document is there in full, or is the only one.
    """
    head, slash, name = typed.rpartition("/")
    head += slash
    found = {} if is_url(typed) else dict.fromkeys(_on_disk(head, name))
    if names is not None:
        for path in _indexed(names, head, name):
            found[path] = None
        if "/" not in typed and typed:
            found |= {f"{root}/": None for _, root in names.roots() if is_url(root) and root.startswith(typed)}
    return limited(found)


def roots(names: Prefixes, typed: str) -> list[str]:
    """Folders that were indexed, in full, be they there or gone."""
    full = os.path.expanduser(typed) if typed.startswith("~") else typed
    return [root for _, root in names.roots() if root.startswith(full) and root.isprintable()]


def limited(found: Iterable[str]) -> list[str]:
    """In order, at most MOST: the first, and the last, so that what they all begin with stays the same."""
    ordered = sorted(found)
    return ordered if len(ordered) <= MOST else [*ordered[: MOST - 1], ordered[-1]]


def _on_disk(head: str, name: str) -> Iterator[str]:
    """Folders and pictures in a folder; hidden ones only where the dot was typed."""
    try:
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            for entry in entries:
                if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith(".")):
                    if _is_folder(entry):
                        yield f"{head}{entry.name}/"
                    elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                        yield f"{head}{entry.name}"
    except OSError:
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _indexed(names: Prefixes, head: str, name: str) -> Iterator[str]:
    if is_url(head):
        places = [head.rstrip("/")]
    elif head.endswith("://"[1:]) and ":" in head:  # "https:/": of the roots that are URLs, the first part
        places = [head[:-1]]
    else:
        expanded = os.path.expanduser(head) or "."
        places = list(dict.fromkeys((os.path.abspath(expanded), os.path.realpath(expanded))))
    for place in places:
        base = place.rstrip("/") + "/"
        for root_id, root in names.roots():
            top = root.rstrip("/") + "/"
            if base.startswith(top):
                for path in _within(names, root_id, base[len(top) :].rstrip("/"), name):
                    yield spelled(head + path) if is_url(head) else head + path
            elif top.startswith(base + name):
                yield f"{head}{top[len(base) :].partition('/')[0]}/"


def _within(names: Prefixes, root_id: int, folder: str, name: str) -> Iterator[str]:
    """What an indexed folder holds, relative to it."""
    inner = names.below(root_id, folder, name)
    yield from (f"{part}/" for part in inner)
    folder_id = names.folder_id(root_id, folder, create=False)
    if folder_id is None:
        return
    files = names.files(folder_id, name)
    yield from (file for file, _ in files)
    whole = [file for file, pages in files if pages > 1 and (file == name or (len(files) == 1 and not inner))]
    stem, mark, rest = name.rpartition("#")
    if (mark and f"#{rest}".startswith("#page=")) or (mark and "#page=".startswith(f"#{rest}")):
        whole.append(stem)
    for file in whole:
        pages = (f"{file}#page={page}" for page in names.pages(folder_id, file))
        yield from (page for page in pages if page.startswith(name))
