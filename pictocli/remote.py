"""Objects and web pages as files: listed, asked whether they are there, and fetched ahead of their turn.

An event loop in a thread of its own has all connections. Files lie in a temporary folder, each until it is decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pictocli.downloads import AT_ONCE, PREFIX, Downloads, Failed, Fetched, Outcome, sweep
from pictocli.errors import NotFoundError, PictoError, UnreadableError
from pictocli.kinds import Limits
from pictocli.transfers import Access, RefusedError, Transport
from pictocli.urls import is_web

__all__ = ["Access", "Listed", "Remote", "error", "exists", "fetched"]

_AHEAD = 128  # files that are on their way or wait for their turn
T = TypeVar("T")
Listed = tuple[str, int, int, str]
"""An object: its key, bytes, ns since 1970, ETag."""


class _Turn(NamedTuple):
    """A download under way. number: 0 when it is over."""

    number: int
    future: Future[Outcome]


class Remote:
    """All connections of one run. Use it as a context manager; nothing is started before the first question."""

    def __init__(self, access: Access | None = None, limits: Limits | None = None) -> None:
        self.access, self.limits = (access or Access()).told(), limits or Limits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._folder: str | None = None
        self._transports: dict[bool, Any] = {}
        self._downloads: Downloads | None = None
        self._number = 0
        self._ready: dict[str, Outcome] = {}

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all requests, and remove what was fetched and not taken."""
        if self._loop is not None and self._thread is not None:
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._loop = self._thread = self._folder = self._downloads = None
        self._transports, self._ready = {}, {}

    # -- questions --------------------------------------------------------------------------------------------------

    def is_folder(self, url: str) -> bool | None:
        """Whether a URL of S3 names a prefix; False is an object, None neither.

        Raises PictoError when that cannot be told: no such bucket, no credentials, no answer.
        """
        key = url.removeprefix("s3://").partition("/")[2]
        if key and not key.endswith("/") and self.exists([url])[url]:  # also where nothing may be listed
            return False
        below = url if not key or key.endswith("/") else f"{url}/"
        return True if self._page(below, "", 1)[0] or not key else None

    def listed(self, url: str, count: int = 1000) -> Iterator[Listed]:
        """Every object below a URL of S3 that ends in "/", or in a whole bucket, in the order of keys, `count` a time.

        Raises PictoError.
        """
        after = ""
        while True:
            found, after = self._page(url, after, count)
            for key, size, modified, etag in found:
                yield key, size, int(modified * 1e9), etag
            if not after:
                return

    def exists(self, urls: Iterable[str]) -> dict[str, bool | None]:
        """Whether there are such objects and web pages; None where that cannot be told. 32 are asked at a time."""
        wanted = list(dict.fromkeys(urls))

        async def one(url: str, slots: asyncio.Semaphore) -> bool | None:
            async with slots:
                return await self._transport(url).exists(url)

        async def all_of() -> list[bool | None]:
            slots = asyncio.Semaphore(AT_ONCE)
            return list(await asyncio.gather(*(one(url, slots) for url in wanted)))

        return dict(zip(wanted, self._wait(all_of()), strict=True)) if wanted else {}

    # -- files ------------------------------------------------------------------------------------------------------

    def fetched(self, files: Iterable[tuple[T, str | None, str]]) -> Iterator[tuple[T, Outcome | None]]:
        """Fetch (item, URL, validator) ahead, and yield (item, outcome) in the same order; with None for a URL, None.

        What was fetched is the taker's, who releases it.
        """
        waiting: deque[tuple[T, _Turn | None]] = deque()
        try:
            for item, url, validator in files:
                waiting.append((item, None if url is None else self._begun(url, validator)))
                while waiting and (len(waiting) > _AHEAD or (turn := waiting[0][1]) is None or turn.future.done()):
                    first, its_turn = waiting.popleft()
                    yield first, its_turn and self._outcome(its_turn)
            while waiting:
                first, its_turn = waiting.popleft()
                yield first, its_turn and self._outcome(its_turn)
        finally:
            for _, other in waiting:
                if other is not None:
                    other.future.cancel()

    def probe(self, files: Sequence[tuple[str, str]]) -> list[tuple[str, Failed]]:
        """Fetch one after the other of (URL, validator) until one comes or is unchanged; `fetched` need not again.

        Returns those that failed, all of them when nothing came.
        """
        failed = []
        for url, validator in files:
            outcome = self._outcome(self._begun(url, validator))
            self._ready[url] = outcome
            if not isinstance(outcome, Failed):
                break
            failed.append((url, outcome))
        return failed

    def one(self, url: str) -> Fetched:
        """An object or a web page as a file, the taker's. Raises NotFoundError, UnreadableError, PictoError."""
        outcome = self._outcome(self._begun(url, ""))
        if isinstance(outcome, Failed):
            raise error(url, outcome)
        assert isinstance(outcome, Fetched)
        return outcome

    def _begun(self, url: str, validator: str) -> _Turn:
        if url in self._ready:
            future: Future[Outcome] = Future()
            future.set_result(self._ready.pop(url))
            return _Turn(0, future)
        loop = self._started()
        if self._downloads is None:
            self._folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
            sweep(Path(self._folder).parent)
            self._downloads = self._wait(self._made(self._folder))
        self._number += 1
        asked = self._downloads.fetch(self._number, url, validator)
        return _Turn(self._number, asyncio.run_coroutine_threadsafe(asked, loop))

    def _outcome(self, turn: _Turn) -> Outcome:
        """Wait for a download. Its file is the taker's then, and takes no room here."""
        if self._downloads is not None and turn.number:
            self._downloads.awaits(turn.number)
        outcome = turn.future.result()
        if isinstance(outcome, Fetched) and self._downloads is not None and turn.number:
            self._downloads.free(outcome.here)
        return outcome

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="remote", daemon=True)
            self._thread.start()
        return self._loop

    def _wait(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._started()).result()

    async def _made(self, folder: str) -> Downloads:
        return Downloads(self._transport, folder, self.limits, self.access.timeout, self.access.pause)

    def _transport(self, url: str) -> Transport:
        """The client for a URL, made when the first needs it. Within the loop."""
        web = is_web(url)
        if web not in self._transports:
            made = _web if web else _buckets
            self._transports[web] = made(self.access)
        found: Transport = self._transports[web]
        return found

    def _page(self, url: str, after: str, count: int = 1000) -> tuple[list[tuple[str, int, float, str]], str]:
        async def asked() -> Any:
            for attempt in range(4):
                try:
                    return await self._transport(url).page(url, after, count)  # type: ignore[attr-defined]
                except RefusedError as exc:
                    if not exc.again or attempt == (1 if exc.host else 3):
                        raise
                    await asyncio.sleep(max(self.access.pause * 2**attempt, min(exc.after, 60.0)))
            raise AssertionError

        try:
            found: tuple[list[tuple[str, int, float, str]], str] = self._wait(asked())
        except RefusedError as exc:
            raise error(url, Failed(str(exc), exc.gone, exc.hint)) from exc
        return found

    async def _ended(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()


def error(url: str, failed: Failed) -> PictoError:
    """A failure as the error that ends a command."""
    kind = NotFoundError if failed.gone else UnreadableError
    named = url.partition("?")[0]  # a query may hold a signature
    about = failed.reason if named.split("/")[2] in failed.reason else f"cannot fetch {named}: {failed.reason}"
    return kind(about, failed.hint)


@contextlib.contextmanager
def fetched(url: str) -> Iterator[str]:
    """What a URL names as a file, whose path this is, for as long as the block lasts.

    Raises NotFoundError, UnreadableError, PictoError.
    """
    with Remote() as remote:
        yield remote.one(url).path


def exists(urls: Iterable[str], access: Access | None = None) -> dict[str, bool | None]:
    """Whether there are such objects and web pages; None where a server does not say, or does not answer."""
    with Remote(access) as remote:
        return remote.exists(urls)


def _web(access: Access) -> Any:
    with _installed():
        from pictocli.web import Web

        return Web(AT_ONCE, access.timeout, allow_local=access.allow_local)


def _buckets(access: Access) -> Any:
    with _installed():
        from pictocli.buckets import Buckets

        return Buckets(AT_ONCE, access.timeout, anonymous=access.anonymous)


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        raise PictoError("URLs need packages that are not installed", "pip install 'pictocli[remote]'") from exc
