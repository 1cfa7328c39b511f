"""What a user names, as roots: paths, buckets, pages and lists of them, and what stays as it was when that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictocli.errors import ValidationError
from pictocli.lists import Listing
from pictocli.remote import Remote
from pictocli.schema import memory
from pictocli.sources import Sources, gathered, targets
from pictocli.sqlite import SqliteStore
from pictocli.urls import normal, stored


def sources(paths: list[str], listed: str = "", tmp_path: Path = Path()) -> Sources:
    listing = None
    if listed:
        (tmp_path / "list").write_text(listed)
        listing = Listing(str(tmp_path / "list"))
    return gathered(paths, listing, Remote())


@pytest.fixture
def store() -> SqliteStore:
    return SqliteStore(memory())


def made(store: SqliteStore, given: Sources, dataset: str | None = None) -> dict[str, list[tuple[str, list[str]]]]:
    found = targets(store, given, dataset, create=True)
    assert all(target.root_id is not None for target in found)
    return {target.root: [] if target.named is None else list(target.named.below(target.root)) for target in found}


def test_pages_lie_below_their_host(store: SqliteStore) -> None:
    given = sources(["https://h/a/1.jpg", "https://h/2.jpg", "http://h:8080/a/1.jpg", "https://h/a/1.jpg"])
    assert (given.typed[0], given.named.repeated, given.remote) == ("https://h/a/1.jpg", 0, True)
    assert made(store, given) == {
        "https://h": [("https://h", ["2.jpg"]), ("https://h/a", ["1.jpg"])],
        "http://h:8080": [("http://h:8080/a", ["1.jpg"])],
    }
    assert [row[0] for row in store.db.execute("SELECT name FROM dataset ORDER BY id")] == ["h:8080", "h"]
    assert made(store, sources(["https://h/b/3.jpg"])) == {"https://h": [("https://h/b", ["3.jpg"])]}
    assert len(store.roots()) == 2


def test_a_list_of_everything(store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "here.jpg").touch()
    monkeypatch.chdir(tmp_path)
    lines = ["here.jpg", "gone.jpg", "photos", "s3://bucket/a/1.jpg", "s3://bucket/2.jpg", "https://h/1.jpg",
             "here.jpg", "ftp://h/1.jpg", "https://a:b@h/1.jpg", "s3://bucket/a/", "s3://x/1.jpg"]  # fmt: skip
    given = sources([], "\n".join(lines), tmp_path)
    assert (given.local, given.named.count, given.named.repeated) == (["photos"], 5, 1)
    assert [(each.path, each.reason) for each in given.skipped] == [
        ("ftp://h/1.jpg", "neither a file nor a URL of s3, https or http"),
        ("https://h/1.jpg", "a URL must not hold a user or password, which would be stored"),
        ("s3://bucket/a/", "a folder of a bucket: give it as a PATH"),
        ("s3://x/1.jpg", "not a bucket's name: 'x'"),
    ]
    store.add_root(str(tmp_path), "all")
    given.local.clear()  # it lies inside that root, which is refused as ever
    assert made(store, given) == {
        str(tmp_path): [(str(tmp_path), ["gone.jpg", "here.jpg"])],
        "https://h": [("https://h", ["1.jpg"])],
        "s3://bucket": [("s3://bucket", ["2.jpg"]), ("s3://bucket/a", ["1.jpg"])],
    }


def bucket(*urls: str) -> Sources:
    """Folders of buckets, of which S3 has been asked."""
    given = Sources()
    given.buckets += [normal(url) for url in urls]
    return given


def test_a_prefix_below_a_root_is_a_part_of_it(store: SqliteStore) -> None:
    assert made(store, bucket("s3://bucket/photos")) == {"s3://bucket/photos": []}
    (part,) = targets(store, bucket("s3://bucket/photos/2024"), None, create=True)
    assert (part.root, part.folder, part.root_id) == ("s3://bucket/photos", "2024", store.roots()[0][0])
    with pytest.raises(ValidationError, match="s3://bucket holds s3://bucket/photos, which is indexed already"):
        targets(store, bucket("s3://bucket"), None, create=True)
    with pytest.raises(ValidationError, match="is indexed already, as dataset photos"):
        targets(store, bucket("s3://bucket/photos/2024"), "other", create=True)
    with pytest.raises(ValidationError, match="a dataset named photos exists already"):
        targets(store, bucket("s3://another/photos"), None, create=True)
    one = Sources()
    one.named.add(stored("s3://bucket/scans/1.jpg"))
    one.named.add(stored("s3://bucket/photos/x/2.jpg"))
    assert made(store, one) == {
        "s3://bucket/photos": [("s3://bucket/photos/x", ["2.jpg"])],
        "s3://bucket/scans": [("s3://bucket/scans", ["1.jpg"])],
    }
    assert [path for _, path in store.roots()] == ["s3://bucket/photos", "s3://bucket/scans"]


def test_a_dry_run_makes_no_root(store: SqliteStore) -> None:
    (target,) = targets(store, sources(["https://h/a.jpg"]), None, create=False)
    assert (target.root_id, store.roots()) == (None, [])


def test_ten_thousand_folders_take_no_ten_thousand_looks(store: SqliteStore) -> None:
    given = Sources()
    for at in range(10_000):
        given.named.add(f"https://h/{at // 100}/{at}/1.jpg")
    asked = []
    store.db.trace_v2(1, asked.append)  # SQLITE_TRACE_STMT
    (target,) = targets(store, given, None, create=True)
    store.db.trace_v2(0)
    assert target.named is not None
    assert sum(1 for _ in target.named.below("https://h")) == 10_000
    assert len(asked) < 30
