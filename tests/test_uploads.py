"""Thumbnails in S3: against a real S3 server, moto's, on loopback."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from PIL import Image
from program import environment, run

import pictocli
from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.uploads import Bucket


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert process.poll() is None
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, guard: Path) -> Iterator[Any]:
    """A client of that server, with an empty bucket `pics`; all programs have its address and credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(guard / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(guard / "none"),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="pics")
    yield client
    for each in client.list_objects_v2(Bucket="pics").get("Contents", []):
        client.delete_object(Bucket="pics", Key=each["Key"])
    client.delete_bucket_policy(Bucket="pics")
    client.delete_bucket(Bucket="pics")
    client.close()


def keys(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket="pics").get("Contents", [])]


def links(library: pictocli.Library) -> dict[int, str | None]:
    return {each.image_id: each.thumbnail_url for each in library.export()}


@pytest.mark.parametrize(
    ("place", "options", "key", "link", "kind"),
    [
        ("s3://pics/a/thumbs", {}, "a/thumbs/thumb_{}.jpg", "s3://pics/a/thumbs/thumb_{}.jpg", "JPEG"),
        ("s3://pics", {}, "thumb_{}.jpg", "s3://pics/thumb_{}.jpg", "JPEG"),
        (
            "s3://pics/p/",
            {"cdn": "https://cdn.example/"},
            "p/thumb_{}.jpg",
            "https://cdn.example/p/thumb_{}.jpg",
            "JPEG",
        ),
        ("s3://pics/p", {"format": "webp", "width": 100}, "p/thumb_{}.webp", "s3://pics/p/thumb_{}.webp", "WEBP"),
    ],
    ids=["prefix", "bucket", "cdn", "webp"],
)
def test_objects_and_links(
    place: str, options: dict[str, Any], key: str, link: str, kind: str, s3: Any, library: pictocli.Library
) -> None:
    report = library.export_thumbnails(place, **options)
    assert (report.written, report.unchanged, report.lacking) == (18, 0, 0)
    assert sorted(keys(s3)) == sorted(key.format(image_id) for image_id in range(1, 19))
    assert links(library) == {image_id: link.format(image_id) for image_id in range(1, 19)}
    found = s3.get_object(Bucket="pics", Key=key.format(7))
    assert found["ContentType"] == f"image/{kind.lower()}"
    with Image.open(io.BytesIO(found["Body"].read())) as image:
        assert (image.format, image.width) == (kind, options.get("width", image.width))
    assert library.export_thumbnails(place, **options).unchanged == 18


def test_a_killed_export_goes_on(s3: Any, library: pictocli.Library, rows: Any) -> None:
    """Killed while the second batch is on its way: the first one's links are stored, and no other."""
    library.close()
    code = (
        "import os, signal, sys, pictocli, pictocli.publishing as p\np._BATCH = 5\nreal = p.Links.link\ncount = 0\n"
        "def link(self, urls):\n    global count\n    count += 1\n    if count == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n    real(self, urls)\np.Links.link = link\n"
        "pictocli.open(sys.argv[1]).export_thumbnails('s3://pics/t')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, library.path], env=environment(), capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert len(keys(s3)) == 15
    assert rows("SELECT count(*) FROM image WHERE thumbnail_url IS NOT NULL") == [(10,)]
    again = library.export_thumbnails("s3://pics/t")
    assert (again.written, again.unchanged) == (8, 10)
    assert len(keys(s3)) == 18


@pytest.mark.parametrize(
    ("place", "setting", "code", "told"),
    [
        ("s3://nobody-has-this/x", {}, 4, "error: there is no bucket s3://nobody-has-this"),
        ("s3://", {}, 2, "error: s3:// names no place in a bucket"),
        ("s3://pics/../x", {}, 2, "error: s3://pics/../x names no place in a bucket"),
        ("s3://No_Such Bucket/x", {}, 2, "error: s3://No_Such Bucket is no bucket's name"),
        (
            "s3://pics/x",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            3,
            "error: no credentials for s3://pics",
        ),
        ("s3://pics/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 3, "error: s3://pics cannot be reached"),
        ("gs://b/x", {}, 2, "error: thumbnails cannot be put to gs://b/x"),
    ],
    ids=["no bucket", "no name", "dots", "bad name", "no credentials", "no server", "another cloud"],
)
def test_what_cannot_be_written_is_told_in_a_sentence(
    place: str, setting: dict[str, str], code: int, told: str, s3: Any, library: pictocli.Library, rows: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    library.close()
    for name, value in setting.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    ran = run("thumbnails", "export", place, "--db", library.path)
    assert (ran.code, ran.out) == (code, b"")
    assert ran.err.splitlines()[0].startswith(told)
    assert "hint: " in ran.err
    assert rows("SELECT count(*) FROM image WHERE thumbnail_url IS NOT NULL") == [(0,)]
    assert rows("SELECT count(*) FROM meta WHERE key LIKE 'thumbnails %' AND value IS NOT NULL") == [(0,)]


def test_a_bucket_that_lets_nobody_write(s3: Any, library: pictocli.Library, rows: Any) -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::pics/*"}
    s3.put_bucket_policy(Bucket="pics", Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    library.close()
    ran = run("thumbnails", "export", "s3://pics/x", "--db", library.path)
    assert ran.code == 3
    assert ran.err.splitlines()[0].startswith("error: s3://pics may not be written: ")
    assert (keys(s3), rows("SELECT count(*) FROM image WHERE thumbnail_url IS NOT NULL")) == ([], [(0,)])
    assert rows("SELECT count(*) FROM meta WHERE key LIKE 'thumbnails %' AND value IS NOT NULL") == [(0,)]


def test_thumbnails_of_another_library_are_not_overwritten(s3: Any, library: pictocli.Library) -> None:
    s3.put_object(Bucket="pics", Key="t/thumb_1.jpg", Body=b"another's")
    with pytest.raises(ValidationError, match="s3://pics/t/ holds thumbnails already"):
        library.export_thumbnails("s3://pics/t")
    assert library.export_thumbnails("s3://pics/t", force=True).written == 18


def test_without_s3fs_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PictoError, match="S3 needs the package s3fs") as told:
        Bucket("s3://pics")
    assert told.value.hint == "pip install 'pictocli[remote]'"


def test_one_put_an_object_and_no_bucket_is_found_out(s3: Any) -> None:
    bucket = Bucket("s3://pics/x")
    assert not bucket.taken()
    bucket.put("thumb_1.jpg", b"1" * 2**21, "image/jpeg")
    assert bucket.taken()
    assert s3.head_object(Bucket="pics", Key="x/thumb_1.jpg")["ETag"].count("-") == 0  # a multipart upload's has one
    with pytest.raises(NotFoundError):
        Bucket("s3://other-one").put("a", b"", "image/jpeg")


class Unsteady(BaseHTTPRequestHandler):
    """A server that is busy when an object comes for the first time, and takes it the second."""

    protocol_version = "HTTP/1.1"
    tried: ClassVar[list[str]] = []
    stored: ClassVar[dict[str, int]] = {}
    under_way = most = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self.answer(200, b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>')

    def do_PUT(self) -> None:
        with self.lock:
            Unsteady.under_way += 1
            Unsteady.most = max(self.most, self.under_way)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.02)
        first = self.path not in self.tried
        self.tried.append(self.path)
        if first:
            self.answer(503, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
        else:
            self.stored[self.path] = len(body)
            self.answer(200, b"")
        with self.lock:
            Unsteady.under_way -= 1

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_a_busy_server_is_asked_again(s3: Any, library: pictocli.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unsteady)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        assert library.export_thumbnails("s3://pics/x").written == 18
    finally:
        server.shutdown()
        server.server_close()
    assert {Path(path.partition("?")[0]).name for path in Unsteady.stored} == {f"thumb_{n}.jpg" for n in range(1, 19)}
    assert len(Unsteady.tried) == 36
    assert 1 < Unsteady.most <= 32
