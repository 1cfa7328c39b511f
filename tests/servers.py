"""Real servers on loopback: S3 as moto plays it, and web servers that answer well, late, wrongly or never."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["AWS", "Counting", "Site", "fill", "s3_server", "site", "unused_port"]

AWS = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}  # fmt: skip
"""A chain of credentials that moto takes, and that leads nowhere else. AWS_ENDPOINT_URL is the server's."""
LONG_AGO = 1_500_000_000.0


@dataclass
class Site:
    """A web server. pages: path → bytes. asked: (method, path) → requests; sent: path → bytes of bodies that were sent.

    ways: path → how it answers, see `_Handler`. address: http://127.0.0.1:port.
    """

    pages: dict[str, bytes] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    now: int = 0
    most: int = 0


class _Handler(BaseHTTPRequestHandler):
    """Answers a path in the way that its site has for it."""

    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, site = self.path.partition("?")[0], self.site
        with site.lock:
            site.asked[self.command, path] += 1
            site.now += 1
            site.most = max(site.most, site.now)
        try:
            way, _, rest = site.ways.get(path, "tagged").partition(" ")
            getattr(self, f"_{way}")(path, rest)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with site.lock:
                site.now -= 1

    def _answer(self, status: int, body: bytes = b"", promised: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        self.end_headers()
        if self.command != "HEAD":
            with self.site.lock:  # before the body: who has it whole may look at the count at once
                self.site.sent[self.path.partition("?")[0]] += len(body)
            self.wfile.write(body)

    def _tagged(self, path: str, _: str) -> None:
        """An ETag, a date, ranges; 404 for what is not there."""
        body = self.site.pages.get(path)
        if body is None:
            self._answer(404, b"<html>no</html>")
            return
        tag = f'"{sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Last_Modified": formatdate(LONG_AGO, usegmt=True)}
        wanted = self.headers.get("Range", "")
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
        elif wanted and self.headers.get("If-Range") == tag:
            self.site.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._answer(206, body[start:], **headers)
        else:
            self._answer(200, body, **headers)

    def _dated(self, path: str, _: str) -> None:
        date = formatdate(LONG_AGO, usegmt=True)
        if self.headers.get("If-Modified-Since") == date:
            self.send_response(304)
            self.end_headers()
        else:
            self._answer(200, self.site.pages[path], Last_Modified=date)

    def _plain(self, path: str, _: str) -> None:
        """No word of what it is."""
        self._answer(200, self.site.pages[path])

    def _status(self, _: str, status: str) -> None:
        self._answer(int(status), b"" if status == "304" else b"<html>no</html>")  # which has no body, ever

    def _once(self, path: str, status: str) -> None:
        if self.site.asked[self.command, path] == 1:
            self._answer(int(status))
        else:
            self._tagged(path, "")

    def _to(self, _: str, place: str) -> None:
        self._answer(302, Location=place)

    def _never(self, *_: str) -> None:
        time.sleep(3)
        self.close_connection = True

    def _drip(self, *_: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _each in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def _broken(self, path: str, times: str) -> None:
        """Half of it, then nothing; so many times."""
        if self.site.asked[self.command, path] <= int(times) and "Range" not in self.headers:
            body = self.site.pages[path]
            tag = f'"{sha256(body).hexdigest()[:16]}"'
            self._answer(200, body[: len(body) // 2], len(body), ETag=tag)
            self.close_connection = True
        else:
            self._tagged(path, "")

    def _longer(self, path: str, _: str) -> None:
        """A Content-Length of more bytes than come."""
        self._answer(200, self.site.pages[path], len(self.site.pages[path]) + 100)
        self.close_connection = True

    def _shorter(self, path: str, _: str) -> None:
        """A Content-Length of half the bytes that come."""
        self._answer(200, self.site.pages[path], len(self.site.pages[path]) // 2)

    def _endless(self, path: str, _: str) -> None:
        """Chunks without a length, far more than anybody wants."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _each in range(100):
            self.wfile.write(b"%x\r\n" % 10**5 + b"x" * 10**5 + b"\r\n")
            with self.site.lock:
                self.site.sent[path] += 10**5
        self.wfile.write(b"0\r\n\r\n")

    def _private(self, path: str, wanted: str) -> None:
        """For those who give a password."""
        if self.headers.get("Authorization") == wanted:
            self._tagged(path, "")
        else:
            self._answer(401)

    def _slow(self, path: str, _: str) -> None:
        time.sleep(0.2)
        self._tagged(path, "")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A web server for as long as the block lasts."""
    made = Site()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": made}))
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Counting:
    """moto's application, with what it was asked, and what it answers in its place."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.asked: Counter[tuple[str, str]] = Counter()
        self.denied: set[str] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.asked[environ["REQUEST_METHOD"], path] += 1
        if path in self.denied:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        return self.application(environ, start_response)


@contextlib.contextmanager
def s3_server() -> Iterator[tuple[str, Counting]]:
    """(address, what counts its requests) of moto's S3, on a free port."""
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request

    counting = Counting(create_backend_app("s3"))  # not by the dispatcher: it lists 150 folders a request, 1.5 ms
    server = make_server("127.0.0.1", 0, counting, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counting
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fill(address: str, bucket: str, files: dict[str, bytes]) -> None:
    """Make a bucket with these objects."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - no secret
        region_name="us-east-1",
    )
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=bucket)
    for key, body in files.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    client.close()


def unused_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
