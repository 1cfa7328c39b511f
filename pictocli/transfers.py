"""What remote transports have in common: one answer to one request, and the ways that a request ends without a body."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

__all__ = ["Access", "Ask", "Body", "NotModifiedError", "RefusedError", "Transport"]


@dataclass(frozen=True, slots=True)
class Access:
    """What remote sources may be asked, and how. timeout: seconds of silence. pause: seconds before a second try.

    anonymous: without credentials. allow_local: also from local addresses, see `web`. The environment's
    PICTO_ANONYMOUS=1 and PICTO_ALLOW_LOCAL=1 say both, too.
    """

    anonymous: bool = False
    allow_local: bool = False
    timeout: float = 30.0
    pause: float = 0.5

    def told(self) -> Access:
        """What the caller says, or the environment."""

        def says(name: str) -> bool:
            return os.environ.get(name, "") not in ("", "0")

        return replace(
            self,
            anonymous=self.anonymous or says("PICTO_ANONYMOUS"),
            allow_local=self.allow_local or says("PICTO_ALLOW_LOCAL"),
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. validator: of the bytes that are known, so that only others are sent. start: bytes that are here
    already, of the body with the validator `of`.
    """

    url: str
    validator: str = ""
    start: int = 0
    of: str = ""


@dataclass(slots=True)
class Body:
    """The answer to a request. length: bytes that `blocks` promise, None when untold. start: where in the whole they
    begin. validator: an ETag, which is quoted, or a Last-Modified date, or "". modified: seconds since 1970, or None.
    """

    blocks: AsyncIterator[bytes]
    length: int | None
    start: int
    validator: str
    modified: float | None


class NotModifiedError(Exception):
    """The bytes are those of the validator that was sent."""


class RefusedError(Exception):
    """No body came. The message is a short phrase, as of `Skipped`.

    again: another try may help, after so many seconds if the server told. gone: there is no such thing. host: the
    host as a whole does not answer. hint: the remedy.
    """

    def __init__(
        self, reason: str, *, again: bool = False, after: float = 0.0, gone: bool = False, host: bool = False,
        hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.again, self.after, self.gone, self.host, self.hint = again, after, gone, host, hint


class Transport(Protocol):
    """Asks servers of one kind. Used within one event loop."""

    def opened(self, ask: Ask) -> contextlib.AbstractAsyncContextManager[Body]:
        """The answer to a request; raises NotModifiedError or RefusedError, also while its blocks are read."""
        ...

    async def exists(self, url: str) -> bool | None:
        """Whether there is such a thing; None when that cannot be told."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
