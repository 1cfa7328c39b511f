"""S3 as a real server speaks it: moto's, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import AWS, Counting, fill, s3_server, unused_port

from pictocli.downloads import Failed, Fetched, Unchanged
from pictocli.errors import NotFoundError, PictoError
from pictocli.objects import objects
from pictocli.records import Skipped
from pictocli.remote import Access, Remote, exists
from pictocli.scan import Rules

QUICK = Access(timeout=5, pause=0.01)
BODY = b"\xff\xd8\xff" + bytes(range(256)) * 20
KEYS = ["a.jpg", "a/1.jpg", "a/b/2.jpg", "a/b/", "a/c.txt", "a//x.jpg", "a/.hidden/3.jpg", "b ü?.jpg", "c/thumbs/4.jpg"]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Counting]]:
    with s3_server() as (address, counting):
        fill(address, "photos", dict.fromkeys(KEYS, BODY))
        fill(address, "empty", {})
        yield address, counting


@pytest.fixture
def s3(server: tuple[str, Counting], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    for name, value in (AWS | {"AWS_ENDPOINT_URL": server[0]}).items():
        monkeypatch.setenv(name, value)
    server[1].asked.clear()
    server[1].denied.clear()
    yield server[1]
    server[1].denied.clear()


def walked(root: str, start: str = "", rules: Rules | None = None) -> tuple[dict[str, list[str]], list[Skipped]]:
    skipped: list[Skipped] = []
    with Remote(QUICK) as remote:
        found = {
            folder: [file.name for file in files]
            for folder, files, etags in objects(remote, root, start, rules or Rules(), skipped.append)
            if all(etags[file.name] and file.size == len(BODY) and file.mtime_ns > 10**18 for file in files)
        }
    return found, skipped


@pytest.mark.parametrize(
    ("root", "start", "rules", "expected"),
    [
        ("s3://photos", "", Rules(),
         {"": ["a.jpg", "b ü?.jpg"], "a": ["∕x.jpg", "1.jpg", "c.txt"], "a/b": ["2.jpg"], "c/thumbs": ["4.jpg"]}),
        ("s3://photos/a", "", Rules(), {"": ["∕x.jpg", "1.jpg", "c.txt"], "b": ["2.jpg"]}),
        ("s3://photos", "a", Rules(), {"a": ["∕x.jpg", "1.jpg", "c.txt"], "a/b": ["2.jpg"]}),
        ("s3://photos", "", Rules(hidden=True, include=("*.jpg",), exclude=("thumbs", "a.jpg")),
         {"": ["b ü?.jpg"], "a": ["∕x.jpg", "1.jpg"], "a/b": ["2.jpg"], "a/.hidden": ["3.jpg"]}),
        ("s3://empty", "", Rules(), {}),
    ],
    ids=["bucket", "prefix", "folder of a root", "rules", "empty"],
)  # fmt: skip
def test_what_lies_in_a_bucket(
    root: str, start: str, rules: Rules, expected: dict[str, list[str]], s3: Counting
) -> None:
    assert walked(root, start, rules) == (expected, [])


def test_a_listing_goes_on_after_what_one_answer_holds(s3: Counting) -> None:
    with Remote(QUICK) as remote:
        assert [key for key, *_ in remote.listed("s3://photos", 4)] == sorted(KEYS)
    assert s3.asked == {("GET", "/photos"): 3}


@pytest.mark.parametrize(
    ("url", "found"),
    [("s3://photos", True), ("s3://empty", True), ("s3://photos/a", True), ("s3://photos/a/", True),
     ("s3://photos/a.jpg", False), ("s3://photos/b ü?.jpg", False), ("s3://photos/a/1", None),
     ("s3://photos/z/", None)],
)  # fmt: skip
def test_what_a_url_names(url: str, found: bool | None, s3: Counting) -> None:
    with Remote(QUICK) as remote:
        assert remote.is_folder(url) is found


def test_an_object_comes_once(s3: Counting) -> None:
    url = "s3://photos/b ü?.jpg"
    with Remote(QUICK) as remote:
        ((_, first),) = remote.fetched([(None, url, "")])
        assert isinstance(first, Fetched)
        assert Path(first.path).read_bytes() == BODY
        assert (first.size, first.validator[:1]) == (len(BODY), '"')
        assert [outcome for _, outcome in remote.fetched([(None, url, first.validator)])] == [Unchanged()]
        ((_, other),) = remote.fetched([(None, url, '"another"')])
        assert isinstance(other, Fetched)
        gone = [outcome for _, outcome in remote.fetched([(None, "s3://photos/gone.jpg", "")])]
        assert gone == [Failed("not found (404)", gone=True)]


def test_whether_objects_are_there(s3: Counting) -> None:
    s3.denied = {"/photos/a/1.jpg"}
    urls = ["s3://photos/a.jpg", "s3://photos/gone.jpg", "s3://photos/a/1.jpg"]
    assert exists(urls, QUICK) == dict(zip(urls, [True, False, None], strict=True))
    assert exists([]) == {}


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        ("wrong bucket", NotFoundError, "no such bucket: nobody"),
        ("no credentials", PictoError, "no credentials for s3://photos"),
        ("half of them", PictoError, "incomplete credentials for s3://photos"),
        ("no such profile", PictoError, "no credentials for s3://photos"),
        ("denied", PictoError, "access to s3://photos denied (403)"),
        ("nobody listens", PictoError, "cannot reach http://127.0.0.1:"),
    ],
)
def test_a_bucket_that_cannot_be_read(
    case: str, error: type[PictoError], message: str, s3: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case in ("no credentials", "half of them"):
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        if case == "no credentials":
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    elif case == "no such profile":
        monkeypatch.setenv("AWS_PROFILE", "nobody")
    elif case == "denied":
        s3.denied = {"/photos"}
    elif case == "nobody listens":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port()}")
    with Remote(QUICK) as remote, pytest.raises(error) as caught:
        list(remote.listed("s3://nobody" if case == "wrong bucket" else "s3://photos"))
    assert message in str(caught.value)
    assert caught.value.exit_code == (4 if error is NotFoundError else 3)
    assert caught.value.hint


def test_without_credentials_only_when_asked(s3: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with Remote(Access(anonymous=True, timeout=5)) as remote:
        assert len(list(remote.listed("s3://photos"))) == len(KEYS)
    monkeypatch.setenv("PICTO_ANONYMOUS", "1")
    with Remote(Access(timeout=5)) as remote:
        assert len(list(remote.listed("s3://photos"))) == len(KEYS)
