"""URLs as places: how one is written, which root, folder and name it has, and what of it may be kept. Pure text.

A root of web pages is `https://host`, one of objects `s3://bucket` or `s3://bucket/prefix`. Folders and names lie below
it as those of files do, joined by "/". A "/" that separates no two parts, as in a query or doubled, is kept as "∕"
(U+2215), which no URL holds unescaped: a name stays a name, and the URL comes back as it was.
"""

from __future__ import annotations

import os
import re

from pictocli.errors import ValidationError

__all__ = ["is_url", "is_web", "joined", "kept", "normal", "parts", "spelled", "stored", "without_password"]

_URL = re.compile(r"(s3|https?)://", re.IGNORECASE)
_WEB = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:\[\]@\\<>^`{|}%]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PORTS = {"http": 80, "https": 443}
_STAND_IN = "\u2215"  # DIVISION SLASH
_ALONE = re.compile(r"(?<=/)/|\A/|/\Z")  # slashes beside an empty part
_LONGEST = 8192  # characters that servers take at most, roughly


def is_url(path: str) -> bool:
    """Whether a text names an object or a web page, and no file."""
    return _URL.match(path) is not None


def is_web(path: str) -> bool:
    """Whether a text is a URL of HTTP."""
    return path[:4].lower() == "http" and is_url(path)


def normal(url: str) -> str:
    """One spelling of a URL: scheme and host in lower case, no default port, no fragment, characters escaped.

    Raises ValidationError for what is no URL, or holds a password: it would be stored with the image.
    """
    if "\0" in url or len(url) > _LONGEST:
        raise ValidationError(f"not a URL: {url[:80]!r}" + ("…" if len(url) > 80 else ""))
    if not is_web(url):
        return _normal_object(url)
    found = _WEB.fullmatch(url.strip())
    assert found is not None
    scheme, host, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    if "@" in host:
        told = f"{scheme}://{host.rpartition('@')[2]}{path}"
        raise ValidationError(
            f"a URL must not hold a user or password, which would be stored: {told}", "put them into ~/.netrc"
        )
    named = _HOST.fullmatch(host)
    if named is None or (named[2] and not 0 < int(named[2]) < 65536):
        raise ValidationError(f"not a URL: {url}", "https://example.org/beach.jpg")
    port = f":{int(named[2])}" if named[2] and int(named[2]) != _PORTS[scheme] else ""
    return f"{scheme}://{_ascii(named[1], url)}{port}{_escaped(path) or '/'}{_escaped(query)}"


def _normal_object(url: str) -> str:
    bucket, slash, key = url[5:].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValidationError(f"not a bucket's name: {bucket!r}", "s3://bucket/prefix")
    if _STAND_IN in key:
        raise ValidationError(f"a key with the character {_STAND_IN} cannot be kept: {url}")
    return f"s3://{bucket}{slash}{key}"


def _ascii(host: str, url: str) -> str:
    try:
        return host.lower() if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError as exc:
        raise ValidationError(f"not a URL: {url}", "https://example.org/beach.jpg") from exc


def _escaped(text: str) -> str:
    """A path or query with what a URL may not hold as %XX; what is escaped already stays."""
    from urllib.parse import quote  # not needed for files

    return quote(os.fsencode(text), safe="/%:@!$&'()*+,;=~-._?[]|")


def parts(url: str) -> tuple[str, str, str]:
    """(root, folder, name) of a normal URL, its root being the host or the bucket. The name of a bucket is ""."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    folder, _, name = kept(path, web=scheme != "s3").rpartition("/")
    return f"{scheme}://{host}", folder, name


def kept(path: str, *, web: bool) -> str:
    """What lies below a root as it is stored: parts that are not empty, and the slashes between them. `spelled` undoes
    it.
    """
    if not web:
        return _ALONE.sub(_STAND_IN, path)
    path, asked, query = path.partition("?")
    return (_ALONE.sub(_STAND_IN, path) + asked + query.replace("/", _STAND_IN)) or "."


def stored(url: str) -> str:
    """A normal URL as a full path whose last "/" parts folder and name; `spelled` undoes it."""
    return os.path.join(*parts(url)).rstrip("/")


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"(://)[^/?#]*@", r"\1", url, count=1)


def spelled(path: str) -> str:
    """A stored path as its URL; another path as it is."""
    if not is_url(path):
        return path
    path = path.replace(_STAND_IN, "/")
    return path[:-1] if path.endswith("/.") and path.count("/") == 3 else path


def joined(root: str, folder: str, name: str) -> str:
    """The full path, or the URL, of a file below a root."""
    return spelled(os.path.join(root, folder, name))
