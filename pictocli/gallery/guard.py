"""Who may ask: a browser of this machine that has opened the printed address, by the server's own name."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Collection
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["POLICY", "Guard"]

POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_OPEN_AGAIN = "open the address that picto browse printed; each start has a new one"
Refusal = Callable[[int, str, str], Response]


class Guard:
    """ASGI middleware: refuses what does not come from the gallery's own pages, and puts its headers on every answer.

    hosts: the names, with port, under which a browser may call. Starlette's own check of them ignores ports
    (Kludex/starlette#1997). token: opens the gallery as `/?token=`, for a cookie that dies with this object. images:
    how many the library held at the start. refusal: makes the answer of (status, message, hint).
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str, images: int, refusal: Refusal) -> None:
        self._app, self._hosts, self._refusal = app, {host.lower() for host in hosts}, refusal
        self.images = images
        self.token, self._secret, self._once = token, secrets.token_urlsafe(32), set[str]()

    def once(self) -> str:
        """Another token, which works one time: it is seen by others in the arguments of a browser that is started."""
        made = secrets.token_urlsafe(32)
        self._once.add(made)
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = Headers(scope=scope)
            answer = self._refused_host(headers) or self._opened(scope, headers) or self._refused(scope, headers)
            await (answer or self._app)(scope, receive, _with_headers(send))

    def _refused_host(self, headers: Headers) -> Response | None:
        """A page of another host's name that leads here (DNS rebinding) must not read anything."""
        names = headers.getlist("host")
        if len(names) == 1 and names[0].lower() in self._hosts:
            return None
        return self._refusal(403, "this server does not go by that name", _OPEN_AGAIN)

    def _opened(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to an address with a token."""
        if scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
            return None
        given = QueryParams(scope["query_string"])
        token = given.get("token")
        if token is None:
            return None
        once = {each for each in self._once if _equal(each, token)}
        if not once and not _equal(self.token, token):
            return self._refusal(403, "that is not the token of this server", _OPEN_AGAIN)
        self._once -= once
        rest = urlencode([(name, value) for name, value in given.multi_items() if name != "token"])
        answer = RedirectResponse(f"/?{rest}" if rest else "/", 303, {"cache-control": "no-store"})
        answer.set_cookie(_cookie(headers), self._secret, path="/", httponly=True, samesite="strict")
        return answer

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        name = _cookie(headers)
        if not any(_equal(self._secret, each) for each in _cookies(headers, name)):
            return self._refusal(403, "this browser has not been let in", _OPEN_AGAIN)
        if scope["method"] in ("GET", "HEAD"):
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        ours = site == "same-origin" if site is not None else origin == f"http://{headers['host']}".lower()
        # "null": of a form on our own page, as no-referrer keeps its origin, too, to itself
        if ours and origin in (None, "null", f"http://{headers['host']}".lower()):
            return None
        return self._refusal(403, "that was asked by a page of another site", _OPEN_AGAIN)


def _equal(ours: str, given: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(ours.encode(), given.encode("utf-8", "replace"))


def _cookie(headers: Headers) -> str:
    """Cookies are shared by all ports of a host: each server's has a name of its own."""
    return f"picto-{headers['host'].rpartition(':')[2]}"


def _cookies(headers: Headers, name: str) -> list[str]:
    found = []
    for line in headers.getlist("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                found.append(value)
    return found


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "private, no-cache")
        await send(message)

    return sent
