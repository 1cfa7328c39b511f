"""Lets one process at a time change a root, or the library as a whole; readers never wait.

A file beside the database has a slot a root, which is locked: the operating system takes a lock back from a process
that dies, so none is ever left behind. SQLite's own locks last for a transaction, and hold off nobody between two.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from pictocli.errors import StoreError, TakenError

try:
    import fcntl
except ImportError:  # Windows: two indexers of one root do its work twice there, and lose nothing
    fcntl = None  # type: ignore[assignment]

__all__ = ["claimed"]

_SLOT = 16  # bytes, the number of the process that has locked them; slot 0 is the whole library's, then one a root id


@contextlib.contextmanager
def claimed(path: str, roots: Mapping[int, str] | None = None, told: str | None = None) -> Iterator[None]:
    """Be the only process to change these roots (id → path) of the database at `path`, or any of it, in this block.

    told: the library's name for a person, where that is not `path`. Raises TakenError naming the process that does
    already. Where the operating system has no locks, nobody is held off.
    """
    if fcntl is None:
        yield
        return
    beside = os.path.realpath(path) + "-claims"
    file = _opened(beside)
    try:
        _claim(file, told or path, roots)
        while not _is_at(file, beside):  # its last user has just removed it
            os.close(file)
            file = _opened(beside)
            _claim(file, told or path, roots)
        yield
    finally:
        if _lock(file, 0, 0) and _is_at(file, beside):  # nobody else has a claim; nor on another file of this name
            with contextlib.suppress(OSError):
                os.unlink(beside)
        os.close(file)


def _opened(beside: str) -> int:
    try:
        return os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"cannot write {beside}: {exc.strerror}", "check its folder, or use --db") from exc


def _is_at(file: int, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False


def _claim(file: int, name: str, roots: Mapping[int, str] | None) -> None:
    """Lock the slots of `roots`, or all there may ever be. Raises TakenError when another process has one."""
    if roots is None:
        if not _lock(file, 0, 0):
            slots = range(os.fstat(file).st_size // _SLOT)
            raise _taken(name, file, next((slot for slot in slots if not _lock(file, slot)), 0))
        _sign(file, 0)
    for root_id, root in (roots or {}).items():
        if not _lock(file, root_id):
            raise _taken(root, file, root_id if _lock(file, 0) else 0)
        _sign(file, root_id)


def _lock(file: int, slot: int, length: int = _SLOT) -> bool:
    """Whether a slot, or with length 0 all from there on, could be locked. A file system without locks refuses none."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, slot * _SLOT)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _sign(file: int, slot: int) -> None:
    os.pwrite(file, f"{os.getpid():<{_SLOT - 1}}\n".encode(), slot * _SLOT)


def _taken(what: str, file: int, slot: int) -> TakenError:
    holder = os.pread(file, _SLOT, slot * _SLOT).strip(b"\0 \n").decode("ascii", "replace")
    doing = "indexed" if slot else "changed"
    return TakenError(f"{what} is being {doing} by process {holder}", "wait until it has finished, or stop it")
