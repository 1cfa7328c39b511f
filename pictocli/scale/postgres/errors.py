"""PostgreSQL's errors as sentences that a person can act on. None of them tells a password."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors

from pictocli.errors import AwayError, DamagedError, StoreError, TakenError
from pictocli.scale.postgres.opening import NAMED, password_of, shown

__all__ = ["translated"]

_ENDED = (
    "closed the connection", "terminating", "connection is lost", "is closed", "connection has been closed",
    "shutting down", "starting up", "eof detected", "reset by peer", "broken pipe",
)  # fmt: skip
_BUSY = ("too many clients", "too many connections", "connection slots", "session is read-only")
_AGAIN = "run the same command again when it is back: what was stored stays"
_LIMITS = (errors.QueryCanceled, errors.IdleInTransactionSessionTimeout, errors.IdleSessionTimeout)
_MAY = (
    "GRANT USAGE on its schema and SELECT on its tables is enough to read; whoever writes is the user who made it, or a"
    " member of that role"
)


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn PostgreSQL's errors about the library of this name into a StoreError."""
    try:
        yield
    except psycopg.Error as exc:
        raise _told(exc, name) from exc


def _told(exc: psycopg.Error, name: str) -> StoreError:
    library, said = shown(name), _said(exc, name)
    if isinstance(exc, (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)):
        return TakenError(f"{library} is locked by another program", "try again when it has finished")
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return StoreError(f"cannot write {library}: {said}", "name a primary server, and a user who may write there")
    if isinstance(exc, errors.InsufficientPrivilege):
        return StoreError(f"the user may not do this with {library}: {said}", _MAY)
    if isinstance(exc, (errors.DiskFull, errors.OutOfMemory, errors.ProgramLimitExceeded)):
        return StoreError(
            f"no space left for {library}: {said}", "free some space there and run the same command again"
        )
    if isinstance(exc, (errors.TooManyConnections, errors.CannotConnectNow)):
        return AwayError(f"the server of {library} takes no connection just now: {said}", "try again in a while")
    if isinstance(exc, (errors.AdminShutdown, errors.CrashShutdown)):  # in whatever language it says so
        return AwayError(f"the server of {library} ended the connection", _AGAIN)
    if isinstance(exc, _LIMITS):
        return StoreError(f"the server of {library} has stopped a question: {said}", "let its limits of time be longer")
    if isinstance(exc, (errors.DataCorrupted, errors.IndexCorrupted)):
        return StoreError(f"{library} is damaged on its server: {said}", "ask who keeps the server for a backup")
    if isinstance(exc, psycopg.OperationalError) or exc.sqlstate is None:
        return _unreached(library, said)
    if isinstance(exc, (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)):
        hint = "picto info --check names what is wrong; ask who keeps the server for a backup"
        return DamagedError(f"{library} is damaged: {said}", hint)
    return StoreError(f"{library} cannot be used: {said}")


def _unreached(library: str, said: str) -> StoreError:
    """What stands between us and the server, by what libpq says of it."""
    low = said.lower()
    if "password authentication failed" in low or "no password supplied" in low or "authentication failed" in low:
        hint = "postgresql://USER:PASSWORD@HOST/DATABASE, or a line of ~/.pgpass"
        return StoreError(f"the server of {library} refuses the password", hint)
    if "connection option" in low or "invalid " in low:
        return StoreError(f"{library} is no name of a library in PostgreSQL: {said}", NAMED)
    if "pg_hba.conf" in low:
        return StoreError(f"the server of {library} lets nobody in from here: {said}", "its pg_hba.conf says who may")
    if "database" in low and "does not exist" in low:
        return StoreError(f"there is no database for {library}: {said}", "createdb makes it, on its server")
    if "role" in low and "does not exist" in low:
        return StoreError(f"the server of {library} does not know the user: {said}", "createuser makes one there")
    if "could not translate host name" in low or "resolve" in low:
        return AwayError(f"the server of {library} cannot be found: {said}", "check the name of its host")
    if any(sign in low for sign in ("refused", "timeout", "timed out", "no such file", "unreachable", "no route")):
        return AwayError(
            f"the server of {library} cannot be reached: {said}",
            "check that it runs, its host and port; what was stored stays",
        )
    if any(sign in low for sign in _ENDED):
        return AwayError(f"the server of {library} ended the connection", _AGAIN)
    if any(sign in low for sign in _BUSY):
        return AwayError(f"the server of {library} takes no connection just now: {said}", "try again in a while")
    return StoreError(f"the server of {library} cannot be used: {said}", _AGAIN)


def _said(exc: psycopg.Error, name: str) -> str:
    """What the server says, in one line, without a password."""
    text = exc.diag.message_primary or next(iter(str(exc).strip().splitlines()), type(exc).__name__)
    secret = password_of(name)
    return text.replace(secret, "...") if secret and len(secret) > 2 else text  # "s" is in every sentence
