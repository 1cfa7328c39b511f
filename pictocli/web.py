"""Fetches from web servers; the only importer of aiohttp. Says no to what leads from a public host into this network.

A host is local when its name or address says so, or when a name leads to an address that is not global. A local host is
asked only when the user named this very host and port, or allowed it; addresses are looked at when a connection is
made, so that a name cannot lead to one address when it is checked and to another when it is used (RFC 6890, SSRF).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pictocli.errors import ValidationError
from pictocli.transfers import Ask, Body, NotModifiedError, RefusedError
from pictocli.urls import is_web, normal

__all__ = ["Web"]

_HOPS = 10  # redirects, as browsers and curl's users have them at least
_BLOCK = 2**18  # bytes
_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa")
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524))
_LOCAL = "a local address, refused"
_ALLOW = "--allow-local fetches from local addresses, too"


class Web:
    """A client of HTTP. timeout: seconds that a server may be silent. Made within an event loop."""

    def __init__(self, connections: int, timeout: float, *, allow_local: bool) -> None:
        self.allow_local, self.timeout = allow_local, timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, resolver=_Resolver(allow_local), ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "picto", "Accept": "image/*, application/pdf, */*;q=0.5"},
            auto_decompress=False,  # a picture comes as it is: lengths can be compared, and nothing swells
            skip_auto_headers=("Accept-Encoding",),
            trust_env=True,  # proxies, and passwords in ~/.netrc
        )

    @contextlib.asynccontextmanager
    async def opened(self, ask: Ask) -> AsyncIterator[Body]:
        """The answer to a GET, after redirects. See `transfers.Transport`."""
        headers = {"Accept-Encoding": "identity"}
        if ask.validator:
            headers["If-None-Match" if _is_etag(ask.validator) else "If-Modified-Since"] = ask.validator
        if ask.start and ask.of and not ask.of.startswith("W/"):
            headers |= {"Range": f"bytes={ask.start}-", "If-Range": ask.of}
        with self._explained():
            async with await self._followed("GET", ask.url, headers) as answer:
                if answer.status == 304:
                    raise NotModifiedError
                if answer.status not in (200, 206):
                    raise _refused(answer)
                if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
                    raise RefusedError("the server sends it compressed")
                yield self._body(answer)

    async def exists(self, url: str) -> bool | None:
        """Whether a server has this: by HEAD, or where it does not know that, by the first byte of a GET."""
        try:
            with self._explained():
                async with await self._followed("HEAD", url, {}) as answer:
                    status = answer.status
                if status in (400, 403, 405, 501):
                    async with await self._followed("GET", url, {"Range": "bytes=0-0"}) as answer:
                        status = answer.status
        except RefusedError:
            return None
        return False if status in (404, 410) else True if status < 400 or status == 416 else None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _followed(self, method: str, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        from yarl import URL  # aiohttp's own

        first = urlsplit(url).netloc
        for _ in range(_HOPS + 1):
            self._check(url, first)
            answer = await self._session.request(method, URL(url, encoded=True), headers=headers, allow_redirects=False)
            if answer.status not in (301, 302, 303, 307, 308) or "Location" not in answer.headers:
                return answer
            answer.release()
            url = _next(url, answer.headers["Location"])
        raise RefusedError(f"more than {_HOPS} redirects")

    def _check(self, url: str, first: str) -> None:
        """Refuse a host that is local by its name, unless it is the one that the user named."""
        place = urlsplit(url)
        host = place.hostname or ""
        address = _address(host)
        if self.allow_local or (not _is_local(address) if address else not _sounds_local(host)):
            return
        if place.netloc != first:
            raise RefusedError(f"redirected to {place.netloc}, {_LOCAL}", hint=_ALLOW)
        if address and address.is_link_local:  # where clouds keep their machines' passwords
            raise RefusedError(f"{place.netloc} is {_LOCAL}", hint=_ALLOW)

    @staticmethod
    def _body(answer: aiohttp.ClientResponse) -> Body:
        headers = answer.headers
        length = headers.get("Content-Length", "")
        begins = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        return Body(
            answer.content.iter_chunked(_BLOCK),
            int(length) if length.isascii() and length.isdigit() and "Transfer-Encoding" not in headers else None,
            int(begins) if answer.status == 206 and begins.isascii() and begins.isdigit() else 0,
            _validator(headers.get("ETag", ""), headers.get("Last-Modified", "")),
            _seconds(headers.get("Last-Modified", "")),
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """aiohttp's errors as RefusedError."""
        try:
            yield
        except TimeoutError as exc:
            raise RefusedError(f"no answer within {self.timeout:g} s", again=True, host=True) from exc
        except aiohttp.ClientConnectorCertificateError as exc:
            raise RefusedError("its certificate is not valid", host=True) from exc
        except aiohttp.ClientConnectorError as exc:
            if isinstance(exc.os_error, _LocalError):
                raise RefusedError(f"its host's name leads to {_LOCAL}", hint=_ALLOW) from exc
            if isinstance(exc, aiohttp.ClientConnectorDNSError):
                raise RefusedError("no such host", again=True, host=True) from exc
            reason = "no secure connection" if isinstance(exc.os_error, ssl.SSLError) else "cannot connect"
            raise RefusedError(reason, again=True, host=True) from exc
        except aiohttp.ClientPayloadError as exc:
            raise RefusedError("incomplete download", again=True) from exc
        except aiohttp.InvalidURL as exc:
            raise RefusedError("not a URL that can be asked for") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise RefusedError("the connection broke", again=True) from exc


class _LocalError(OSError):
    """A name that leads to a local address."""


class _Resolver(AbstractResolver):
    """The system's, less local addresses of names that do not say so."""

    def __init__(self, allow_local: bool) -> None:
        self._real, self._allow = aiohttp.ThreadedResolver(), allow_local
        told = (os.environ.get(name) or os.environ.get(name.lower()) for name in ("HTTP_PROXY", "HTTPS_PROXY"))
        self._proxies = {urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname for proxy in told if proxy}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._real.resolve(host, port, family)
        if self._allow or host in self._proxies:
            return found
        for each in found:
            address = _address(each["host"].partition("%")[0])
            if address is None or (_is_local(address) and (address.is_link_local or not _sounds_local(host))):
                raise _LocalError(f"{host} is {_LOCAL}")
        return found

    async def close(self) -> None:
        await self._real.close()


def _next(url: str, location: str) -> str:
    """Where a redirect leads."""
    try:
        there = urljoin(url, location)
        if not is_web(there):
            raise RefusedError(f"redirected to {there.partition(':')[0][:20]}:, refused")
        return normal(there)
    except (ValueError, ValidationError) as exc:
        raise RefusedError("redirected to a URL that cannot be asked for") from exc


def _refused(answer: aiohttp.ClientResponse) -> RefusedError:
    """Why there is no body, by the status."""
    status = answer.status
    if status in (404, 410):
        return RefusedError(f"not found ({status})", gone=True)
    if status in (401, 403):
        return RefusedError(f"access denied ({status})", hint="passwords are taken from ~/.netrc")
    after = answer.headers.get("Retry-After", "")
    wait = float(after) if after.isascii() and after.isdigit() else 0.0
    return RefusedError(f"the server answers {status}", again=status in _AGAIN or status == 416, after=wait)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address, or the IPv4 one in it, is not one of the public Internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_local(inner)
    return not address.is_global or address.is_multicast


def _sounds_local(host: str) -> bool:
    """Whether a name says itself that it is one of this network."""
    host = host.rstrip(".").lower()
    return "." not in host or host.endswith(tuple(f".{name}" for name in _LOCAL_NAMES))


def _is_etag(validator: str) -> bool:
    return validator.endswith('"')


def _validator(etag: str, modified: str) -> str:
    """What to ask with next time: the ETag, else the date; "" for one that no request may hold, or an endless one."""
    told = etag if _is_etag(etag) else modified if _seconds(modified) is not None else ""
    return told if len(told) <= 1024 and told.isascii() and told.isprintable() else ""


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
