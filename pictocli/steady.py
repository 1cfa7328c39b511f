"""Opens files that others may be writing: waits for no pipe, and tells when a file changes while it is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

__all__ = ["Stamp", "steady"]


class Stamp(NamedTuple):
    """What changes with a file's bytes: size in bytes, times in ns since 1970.

    No inode: some network file systems give a file another one each time that it is opened.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


@contextmanager
def steady(path: str, stamp: Stamp | None = None) -> Iterator[tuple[BinaryIO, Stamp]]:
    """The regular file at `path`, open for reading, and its stamp.

    Raises OSError: when it cannot be read, is not regular, is not the file of `stamp`, or is another when the block
    ends, whatever went wrong within: of what was read there, nothing can be trusted.
    """
    with open(path, "rb", opener=_opened) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        stamp = stamp or _stamped(status)
        try:
            _compare(status, stamp)
            yield file, stamp
        finally:
            _compare(os.stat(path), stamp)


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # to open a pipe waits for its writer


def _stamped(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _compare(status: os.stat_result, stamp: Stamp) -> None:
    if _stamped(status) != stamp:
        raise OSError(errno.ESTALE, "changed while indexing")
