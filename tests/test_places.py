"""Files that are there as a whole or not at all, and what links begin with."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from pictocli.errors import PictoError, ValidationError
from pictocli.places import Folder, link_base, place, whole


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(str(path)) as file:
        file.write(b"new")
        assert not path.exists()
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"new", ["a.txt"])


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_fails_leaves_the_old_file_and_no_trace(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail() -> None:
        with whole(str(path)) as file:
            file.write(b"half")
            raise error

    with pytest.raises(PictoError if isinstance(error, OSError) else type(error)):
        fail()
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a.txt"])


def test_a_link_and_rights_stay(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"old")
    os.chmod(tmp_path / "real.txt", 0o640)
    (tmp_path / "link.txt").symlink_to("real.txt")
    with whole(str(tmp_path / "link.txt")) as file:
        file.write(b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real.txt").stat().st_mode) == 0o640


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with whole(str(tmp_path / "pipe")) as file:
        file.write(b"through")
    reader.join()
    assert (read, stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)) == ([b"through"], True)


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [("", ValidationError, "is a folder"), ("none/a", PictoError, "cannot write .*: no such folder")],
    ids=["folder", "no folder"],
)
def test_what_cannot_be_written_is_told(path: str, error: type[PictoError], told: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=told), whole(str(tmp_path / path)):
        pass


def test_a_folder_is_made_and_its_address_is_a_uri(tmp_path: Path) -> None:
    target = Folder(str(tmp_path / "a b#c/é"))
    assert target.base == f"file://{tmp_path}/a%20b%23c/%C3%A9/"
    assert not target.taken()
    target.put("thumb_1.jpg", b"1", "image/jpeg")
    assert target.taken()
    assert os.listdir(tmp_path / "a b#c/é") == ["thumb_1.jpg"]


@pytest.mark.parametrize(
    ("destination", "cdn", "base"),
    [
        ("s3://bucket/a/b/", None, "s3://bucket/a/b/"), ("s3://bucket", None, "s3://bucket/"),
        ("s3://bucket/a", "https://cdn.example", "https://cdn.example/a/"),
        ("s3://bucket", "https://cdn.example/x/", "https://cdn.example/x/"),
        ("/srv/thumbs", "http://cdn.example", "http://cdn.example/"),
    ],
)  # fmt: skip
def test_a_cdn_stands_for_the_bucket_or_the_folder(destination: str, cdn: str | None, base: str) -> None:
    assert link_base(place(destination), cdn) == base
