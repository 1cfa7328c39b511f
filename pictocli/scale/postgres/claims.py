"""Lets one process at a time change a root, or the library as a whole.

By locks that the server takes back from a process that dies. A claim on a root shares the lock of all, and
has that of the root alone. The locks are a connection's: a process has one for all its claims on a library, so that a
claim within another of its own is no conflict.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import psycopg

from pictocli.errors import TakenError
from pictocli.scale.postgres.errors import translated
from pictocli.scale.postgres.opening import open_server, shown, target

__all__ = ["claimed", "require_held"]

_held: dict[tuple[str, int], tuple[psycopg.Connection[Any], list[int]]] = {}  # by name and process: how many claims
_guard = threading.Lock()


@contextlib.contextmanager
def claimed(name: str, roots: Mapping[int, str] | None = None) -> Iterator[None]:
    """Be the only process to change these roots (id → path) of the library of this name, or any of it, in this block.

    Raises TakenError naming the process that does already, StoreError at the end when the claim was lost meanwhile.
    """
    key = (name, os.getpid())
    with translated(name):
        with _guard:
            server, users = _held.get(key) or (open_server(target(name)), [])
            _held[key] = server, users
            users.append(1)
        taken = list[str]()
        try:
            _claim(server, name, roots, taken)
            yield
            require_held(name)
        finally:
            with _guard:
                users.pop()
                with contextlib.suppress(psycopg.Error):  # of a lost connection: the locks went with it
                    for lock in reversed(taken):  # at once: a server notices later that a connection was closed
                        server.execute(f"SELECT pg_advisory_unlock{lock}".encode())
                if not users:
                    del _held[key]
                    server.close()


def require_held(name: str) -> None:
    """See that this process still has the claims that it took on the library of this name, if any.

    Raises psycopg's OperationalError when their connection was lost: by now another process may have the same.
    """
    with _guard:  # so that nobody closes it meanwhile
        if held := _held.get((name, os.getpid())):
            held[0].execute("SELECT 1")


def _claim(server: psycopg.Connection[Any], name: str, roots: Mapping[int, str] | None, taken: list[str]) -> None:
    """Take the locks; what each is given back by goes into `taken`."""
    kind = int.from_bytes(sha256(f"picto claims {target(name).schema}".encode()).digest()[:4], signed=True)
    slots = [
        (0, "" if roots is None else "_shared", shown(name)),
        *((each, "", at) for each, at in (roots or {}).items()),
    ]
    for slot, shared, what in slots:
        (got,) = server.execute(f"SELECT pg_try_advisory_lock{shared}({kind}, {int(slot)})".encode()).fetchone() or (0,)
        if not got:
            raise _taken(
                server, kind, slot, what if slot or roots is None else next(iter((roots or {}).values()), what)
            )
        taken.append(f"{shared}({kind}, {int(slot)})")


def _taken(server: psycopg.Connection[Any], kind: int, slot: int, what: str) -> TakenError:
    """Who has a lock: of a root, of the library, or, where the library is asked for, of any root."""
    rows = server.execute(
        "SELECT l.objid, a.application_name FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::bigint::oid AND l.objsubid = 2"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.pid <> pg_backend_pid() ORDER BY l.objid DESC",
        (kind % 2**32,),
    ).fetchall()
    holders = [(held, program) for held, program in rows if held == slot or slot == 0]
    held, program = holders[0] if holders else (slot, None)
    who = str(program or "somebody else").removeprefix("picto ")
    process, at, host = who.partition("@")
    told = f"process {process} on {host}" if at else who
    doing = "indexed" if held else "changed"
    return TakenError(f"{what} is being {doing} by {told}", "wait until it has finished, or stop it")
