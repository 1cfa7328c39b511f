"""Downloads into files: a few at a time, again where that may help, and never more of them than there is room for."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pictocli.kinds import IMAGE_SUFFIXES, Limits, RefusalError, sniff
from pictocli.transfers import Ask, NotModifiedError, RefusedError, Transport

__all__ = ["AT_ONCE", "PREFIX", "ROOM", "Downloads", "Failed", "Fetched", "Outcome", "Unchanged", "sweep"]

AT_ONCE = 32  # requests
PREFIX = "picto-fetch-"  # of folders that hold what was fetched; then the process's number
ROOM = 2**28  # bytes of files that are here and not yet taken; the one that is waited for may always come
_TRIES, _HOST_TRIES = 5, 3
_PAUSE = 0.5  # seconds before the second try, twice as many before each further one
_LONGEST_PAUSE = 60.0  # whatever a server asks for
_DEAD = 3  # URLs of a host that fail for the host's sake, one after the other: then its others are not asked for
_HEAD = 1024  # bytes that tell what a file is
_SLOWEST = 1000  # bytes a second; a server that drips would keep a slot for days


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that has come. validator: as of `transfers.Body`. path: where it lies until `release`.

    size: its bytes, of which only `here` came when the first ones are no picture's. mtime_ns: the server's, else of the
    download, in ns since 1970.
    """

    path: str
    size: int
    here: int
    mtime_ns: int
    validator: str

    def release(self) -> None:
        """Remove the file: its pages have been decoded."""
        Path(self.path).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server says that the bytes are those that are known."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why nothing came, as of `transfers.RefusedError`."""

    reason: str
    gone: bool = False
    hint: str | None = None


Outcome = Fetched | Unchanged | Failed


class Downloads:
    """Fetches into `folder`. Belongs to one event loop; only `awaits` and `free` may be called from elsewhere.

    transport: gives that of a URL. timeout: seconds that a server may be silent. pause: see `_PAUSE`.
    """

    def __init__(
        self, transport: Callable[[str], Transport], folder: str, limits: Limits, timeout: float, pause: float = _PAUSE
    ) -> None:
        self._transport, self._folder, self._limits, self._timeout = transport, folder, limits, timeout
        self._pause, self._loop = pause, asyncio.get_running_loop()
        self._slots, self._freed, self._used = asyncio.Semaphore(AT_ONCE), asyncio.Event(), 0
        self._awaited = 0
        self._dead: Counter[str] = Counter()

    async def fetch(self, number: int, url: str, validator: str) -> Outcome:
        """Fetch a URL, unless its validator is still this one. number: its turn; its file's name is made of it."""
        host = urlsplit(url).netloc
        path = os.path.join(self._folder, f"{number:08}{_suffix(url)}")
        async with self._slots:
            await self._take(number, 0)
            if self._dead[host] >= _DEAD:
                return Failed("not asked for: its host failed three times")
            return await self._tried(number, url, validator, path)

    def awaits(self, number: int) -> None:
        """Say whose turn it is: it comes whether there is room or not. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._await, number)

    def free(self, count: int) -> None:
        """Give back the room of a file that has been taken. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._give, count)

    async def _tried(self, number: int, url: str, validator: str, path: str) -> Outcome:
        partial = _Partial(path, url)
        for attempt in range(_TRIES):
            try:
                await self._once(number, partial, validator)
            except NotModifiedError:
                outcome: Outcome = Unchanged() if validator else Failed("the server answers 304, unasked")
            except RefusalError as exc:
                outcome = Failed(str(exc))
            except RefusedError as exc:
                if exc.again and attempt + 1 < (_HOST_TRIES if exc.host else _TRIES):
                    wait = self._pause * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
                    await asyncio.sleep(max(wait, min(exc.after, _LONGEST_PAUSE)))
                    continue
                self._dead[urlsplit(url).netloc] += exc.host
                self._give(partial.drop())
                return Failed(str(exc), exc.gone, exc.hint)
            else:
                outcome = partial.finished()
            break
        self._dead.pop(urlsplit(url).netloc, None)
        if not isinstance(outcome, Fetched):
            self._give(partial.drop())
        return outcome

    async def _once(self, number: int, partial: _Partial, validator: str) -> None:
        """One request, and what comes of it into the file. Goes on where an earlier one broke off, if it may."""
        here = partial.size
        async with self._transport(partial.url).opened(
            Ask(partial.url, "" if here else validator, here, partial.validator)
        ) as body:
            if body.start != here or (here and body.validator != partial.validator):
                self._give(partial.drop())
                if body.start:
                    raise RefusedError("changed while it was fetched", again=True)
            partial.validator, partial.modified = body.validator, body.modified
            partial.whole = None if body.length is None else body.start + body.length
            if body.length is not None:
                self._limits.check_file_size(body.start + body.length)
            received, started = 0, time.monotonic()
            async for block in body.blocks:
                received += len(block)
                self._limits.check_file_size(body.start + received)
                waited = time.monotonic()
                await self._take(number, len(block))
                partial.add(block)
                if partial.is_no_picture():
                    return
                started += time.monotonic() - waited  # for room, which is not the server's fault
                spent = time.monotonic() - started
                if spent > self._timeout and received < _SLOWEST * spent:
                    raise RefusedError("too slow, under 1 kB/s", host=True)
            if body.length is not None and received != body.length:
                raise RefusedError("incomplete download", again=True)

    async def _take(self, number: int, count: int) -> None:
        """Wait until there is room for so many bytes, or this file is the one that is waited for."""
        while self._used + count > ROOM and number > self._awaited:
            self._freed.clear()
            await self._freed.wait()
        self._used += count

    def _await(self, number: int) -> None:
        self._awaited = number
        self._freed.set()

    def _give(self, count: int) -> None:
        self._used -= count
        self._freed.set()


class _Partial:
    """A file on its way."""

    def __init__(self, path: str, url: str) -> None:
        self.path, self.url = path, url
        self.size, self.validator = 0, ""
        self.modified: float | None = None
        self.whole: int | None = None
        self._head = b""

    def add(self, block: bytes) -> None:
        try:
            with open(self.path, "ab") as file:
                file.write(block)
        except OSError as exc:  # this machine's trouble, not the server's
            raise RefusedError(f"cannot be kept here: {(exc.strerror or str(exc)).lower()}") from exc
        self.size += len(block)
        if len(self._head) < _HEAD:
            self._head += block[: _HEAD - len(self._head)]

    def is_no_picture(self) -> bool:
        """Whether what has come shows that the rest would be of no use: a film in a bucket has gigabytes."""
        if len(self._head) < _HEAD:
            return False
        return sniff(self._head) == "other"

    def drop(self) -> int:
        """Remove what has come, and say how many bytes that was."""
        size, self.size, self.validator, self._head = self.size, 0, "", b""
        Path(self.path).unlink(missing_ok=True)
        return size

    def finished(self) -> Fetched:
        Path(self.path).touch()  # it may be empty
        if self.modified is not None and 0 <= self.modified < 2**33:
            os.utime(self.path, (self.modified, self.modified))
        whole = max(self.size, self.whole or 0)
        return Fetched(self.path, whole, self.size, os.stat(self.path).st_mtime_ns, self.validator)


def _suffix(url: str) -> str:
    """The suffix of what a URL names, as far as it says that it is a picture."""
    suffix = os.path.splitext(urlsplit(url).path)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES else ""


def sweep(folder: Path) -> None:
    """Remove what runs that were killed have left behind in the folder for temporary files."""
    for left in folder.glob(f"{PREFIX}*-*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, to ask is to end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
