"""Where a library of Lance tables lies: its name taken apart, what is told to object storage, and Lance's errors."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from pictocli.errors import DamagedError, PictoError, StoreError, TakenError

os.environ.setdefault("LANCE_LOG", "error")  # read when it is imported; it warns of every table that is new

try:
    import lance
    import pyarrow as pa

    # It warns at every fork of this process, as when Ray starts its own: what is forked here runs another program.
    warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
except ImportError as missing:
    raise StoreError(
        f"libraries of Lance tables need the package {missing.name}", "pip install 'pictocli[lance]'"
    ) from missing

__all__ = ["Place", "absent", "beaten", "lance", "place_of", "told"]

_PATIENCE = {"connect_timeout": "4 s", "timeout": "60 s", "client_max_retries": "2", "client_retry_timeout": "8",
             "download_retry_count": "2"}  # fmt: skip
_GONE = ("not found", "no such file", "nosuchkey", "was not found")
_RIGHTS = ("accessdenied", "forbidden", "unauthorized", "permission", "invalidaccesskeyid", "signature")
_REFUSED = re.compile(r"\b40[13]\b")  # HTTP's, of object storage
_BUCKET = ("nosuchbucket", "bucket does not exist", "specified bucket")
_NOBODY = ("error sending request", "connection refused", "tcp connect", "dns error", "timed out", "timeout", "connect")
_CREDENTIALS = ("credential", "no providers in chain", "imds")
_FULL = ("no space left", "disk quota", "storage full")
_NO_NAME = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
_BEATEN = ("conflict", "incompatible transaction", "too many concurrent writers")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")  # the first that holds something counts
_ENDPOINT = re.compile(r"https?://(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w./~%-]*)?", re.ASCII | re.IGNORECASE)
_NO_HEADER = re.compile(r"[\0-\x1f\x7f]")
_LINE = re.compile(r"\S+\.rs:\d+:\d+")  # a place in Lance's own source, whose number may be that of an error


@dataclass(frozen=True, slots=True)
class Place:
    """Where a library lies. name: in full, as a person writes it. uri: as Lance does. folder: None for a bucket."""

    name: str
    uri: str
    folder: str | None

    def of(self, table: str) -> str:
        """Where a table lies, as Lance is told."""
        return f"{self.uri}/{table}.lance"

    @property
    def options(self) -> dict[str, str] | None:
        """What Lance is told of object storage, beside what it takes from AWS_*; None for a folder.

        Raises StoreError for what it would panic at.
        """
        if self.folder is not None:
            return None
        _check_variables()
        options = dict(_PATIENCE)
        if "AWS_REGION" not in os.environ and "AWS_DEFAULT_REGION" not in os.environ:
            options["aws_region"] = "us-east-1"
        endpoint = _endpoint()[1]
        if endpoint:
            options["aws_endpoint"] = endpoint
        if endpoint.lower().startswith("http://") and "AWS_ALLOW_HTTP" not in os.environ:
            options["allow_http"] = "true"
        return options


def place_of(name: str) -> Place:
    """Take a library's name apart. Raises StoreError for one that names nothing, or what Lance cannot keep."""
    scheme, _, rest = name.partition("://")
    if _NO_NAME.search(name):
        what = f"{name!a} is no name for Lance tables: it holds a line break, or what is no UTF-8"
        raise StoreError(what, "name another with --db")
    if scheme == "lance":
        if not rest:
            raise StoreError(f"{name} names no folder", "lance://DIR names one")
        folder = os.path.abspath(rest)
        return Place(f"lance://{folder}", folder, folder)
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:  # a password may stand there
        raise StoreError(
            f"{scheme}://… names no bucket, but a user or a port",
            "lance+s3://BUCKET/PREFIX names a place, and AWS_* who asks and whom",
        )
    prefix = posixpath.normpath("/" + prefix).strip("/")
    if not bucket or not prefix:
        raise StoreError(f"{name} names no place in a bucket", "lance+s3://BUCKET/PREFIX names one")
    return Place(f"lance+s3://{bucket}/{prefix}", f"s3://{bucket}/{quote(prefix)}", None)


def _endpoint() -> tuple[str, str]:
    """The variable that says where object storage is, and what it says; both empty when there is none."""
    found = [(name, os.environ[name]) for name in _ENDPOINTS if name in os.environ]
    return next((each for each in found if each[1]), found[0] if found else ("", ""))


def _check_variables() -> None:
    """Raise StoreError for a variable by which Lance panics. What it holds is not told: that may be a secret."""
    name, endpoint = _endpoint()
    with contextlib.suppress(ValueError):  # of a port beyond 65535
        if _ENDPOINT.fullmatch(endpoint) and urlsplit(endpoint).port != 0:
            name = ""
    if name:
        raise StoreError(f"{name} is no address of object storage", "write it as http://HOST:PORT, or unset it")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if not re.fullmatch(r"[\w-]*", os.environ.get(name, ""), re.ASCII):
            raise StoreError(f"{name} names no region", "us-east-1 is one; storage that is not Amazon's takes any")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if _NO_HEADER.search(os.environ.get(name, "")):
            raise StoreError(f"{name} holds a line break or another control character", "set it without")


@contextlib.contextmanager
def told(place: Place) -> Iterator[None]:
    """Turn Lance's and Arrow's errors into a StoreError that a person can act on."""
    try:
        yield
    except PictoError:
        raise
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as exc:
        raise _said(place, exc) from exc
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # of Rust: no module has the class, which is no Exception
            raise
        hint = "check the variables AWS_*" if place.folder is None else "run the same command again"
        raise StoreError(f"{place.name} cannot be read or written: {' '.join(str(exc).split())[:200]}", hint) from exc


def absent(place: Place, exc: Exception) -> bool:
    """Whether an error of Lance says that there is no such table, in a bucket or folder that is there."""
    text = _spoken(place, exc)
    return "not found" in text and not any(word in text for word in _BUCKET)


def beaten(place: Place, exc: Exception) -> bool:
    """Whether an error of Lance says that another process has written meanwhile."""
    text = _spoken(place, exc)
    return any(word in text for word in _BEATEN)


def _spoken(place: Place, exc: Exception) -> str:
    """What an error of Lance says, in small letters, without the library's path: any word may stand in that."""
    text = str(exc)
    for path in (place.uri, unquote(place.uri), place.uri.removeprefix("s3://").partition("/")[2]):
        for spelt in (path, quote(path), unquote(path)):
            text = re.sub(rf"(?<!\w){re.escape(spelt.strip('/'))}(?=/)", "", text)
    return " ".join(_LINE.sub("", text).split()).lower()


def _said(place: Place, exc: Exception) -> StoreError:
    text, lower = " ".join(str(exc).split()), _spoken(place, exc)

    def speaks(of: tuple[str, ...]) -> bool:
        return any(word in lower for word in of)

    where = place.name
    if isinstance(exc, OSError) and exc.strerror:
        return StoreError(f"cannot use {where}: {exc.strerror}", "check its folder and permissions, or use --db")
    if "not a directory" in lower:
        return StoreError(f"cannot use {where}: a file lies in its way", "lance://DIR names a folder")
    if speaks(_FULL):
        return StoreError(f"no space left for {where}", "free some space and run the same command again")
    if "too many concurrent writers" in lower or "commit conflict" in lower:
        return TakenError(f"{where} is being changed by another process", "try again when it has finished")
    if place.folder is None:
        bucket = place.uri.removeprefix("s3://").partition("/")[0]
        if speaks(_BUCKET):
            return StoreError(f"there is no bucket {bucket}", "make it, or name another one with --db")
        if speaks(_CREDENTIALS):
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            return StoreError(f"there are no credentials for the bucket {bucket}", hint)
        if speaks(_RIGHTS) or _REFUSED.search(lower):
            hint = "its owner must allow this account to list, read, write and delete in it"
            return StoreError(f"the bucket {bucket} does not let this account in", hint)
        if speaks(_NOBODY):
            hint = "check the network and AWS_ENDPOINT_URL, and run the same command again: what was stored stays"
            return StoreError(f"object storage does not answer for {where}", hint)
    if speaks(_RIGHTS):
        return StoreError(f"cannot write {where}: permission denied", "check its folder, or use --db")
    if speaks(_GONE):
        return DamagedError(f"{where} is damaged: a part of it has vanished")
    return StoreError(f"{where} cannot be read or written: {text[:200]}", "run the same command again")
