"""Walking folders: what is found, what is passed over, and that loops end."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pictocli import scan
from pictocli.records import Skipped
from pictocli.scan import JUNK, Found, Rules, walk

TREE = ("a.jpg", "b.txt", ".hidden.jpg", "sub/c.jpg", "sub/deep/d.png", ".cache/e.jpg", "Sub/f.JPG", "sub.d/g.jpg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    return tmp_path / "tree"


def names(root: Path, rules: Rules | None = None, start: str = "") -> list[str]:
    skipped: list[Skipped] = []
    found = [
        f"{folder}/{file.name}".lstrip("/")
        for folder, files in walk(str(root), rules or Rules(), skipped.append, start)
        for file in files
    ]
    assert skipped == []
    return found


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({}, ["a.jpg", "b.txt", "Sub/f.JPG", "sub/c.jpg", "sub/deep/d.png", "sub.d/g.jpg"]),
        ({"hidden": True}, [".hidden.jpg", "a.jpg", "b.txt", ".cache/e.jpg", "Sub/f.JPG", "sub/c.jpg", "sub/deep/d.png",
                            "sub.d/g.jpg"]),
        ({"include": ["*.jpg"]}, ["a.jpg", "sub/c.jpg", "sub.d/g.jpg"]),
        ({"include": ["*.jpg", "*.png"], "exclude": ["sub.d"]}, ["a.jpg", "sub/c.jpg", "sub/deep/d.png"]),
        ({"include": ["sub/*"]}, ["sub/c.jpg", "sub/deep/d.png"]),
        ({"exclude": ["sub"]}, ["a.jpg", "b.txt", "Sub/f.JPG", "sub.d/g.jpg"]),
        ({"exclude": ["sub/deep/"]}, ["a.jpg", "b.txt", "Sub/f.JPG", "sub/c.jpg", "sub.d/g.jpg"]),
        ({"exclude": ["*"]}, []),
        ({"include": ["*.jpg"], "exclude": ["c.*"]}, ["a.jpg", "sub.d/g.jpg"]),
        ({"include": ["[ab].*"]}, ["a.jpg", "b.txt"]),
    ],
    ids=["all", "hidden", "include", "include and exclude", "include a path", "exclude a folder", "exclude a path",
         "exclude all", "exclude wins", "a character class"],
)  # fmt: skip
def test_what_is_wanted(rules: dict[str, Any], wanted: list[str], tree: Path) -> None:
    assert names(tree, Rules(**rules)) == wanted


def test_files_come_with_their_size_and_time(tree: Path) -> None:
    os.utime(tree / "sub/c.jpg", ns=(1, 1_600_000_000_123_456_789))
    files = dict(walk(str(tree), Rules(), pytest.fail))["sub"]
    assert files == [Found("c.jpg", 9, 1_600_000_000_123_456_789)]


def test_it_can_start_below_the_root(tree: Path) -> None:
    assert names(tree, start="sub") == ["sub/c.jpg", "sub/deep/d.png"]


@pytest.mark.parametrize("name", [*sorted(JUNK), "._IMG_1.JPG"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_cameras_macs_and_disks_leave_is_passed_over(name: str, folder: bool, tree: Path) -> None:
    before = names(tree, Rules(hidden=True))
    if folder:
        (tree / name).mkdir()
        (tree / name / "thumb.jpg").write_text("x")
    else:
        (tree / name).write_text("x")
    assert names(tree, Rules(hidden=True)) == before


def test_links_are_passed_over_unless_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/far.jpg").write_text("x")
    (tree / "way").symlink_to(tmp_path / "elsewhere")
    (tree / "link.jpg").symlink_to(tmp_path / "elsewhere/far.jpg")
    (tree / "dangling.jpg").symlink_to(tmp_path / "nothing")
    rules = {"include": ["far.jpg", "link.jpg", "dangling.jpg"]}
    assert names(tree, Rules(**rules)) == []
    assert names(tree, Rules(**rules, follow=True)) == ["link.jpg", "way/far.jpg"]


def test_loops_of_links_end_and_each_folder_comes_once(tree: Path) -> None:
    (tree / "sub/up").symlink_to(tree)
    (tree / "sub/itself").symlink_to(tree / "sub")
    (tree / "twin").symlink_to(tree / "sub/deep")
    found = names(tree, Rules(follow=True))
    assert sorted(Path(name).name for name in found) == ["a.jpg", "b.txt", "c.jpg", "d.png", "f.JPG", "g.jpg"]


def test_sockets_and_pipes_are_no_files(tree: Path) -> None:
    os.mkfifo(tree / "pipe.jpg")
    assert "pipe.jpg" not in names(tree)


def test_an_unreadable_folder_is_reported_and_the_rest_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("/sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(scan.os, "scandir", scandir)
    skipped: list[Skipped] = []
    found = [file.name for _, files in walk(str(tree), Rules(), skipped.append) for file in files]
    assert found == ["a.jpg", "b.txt", "f.JPG", "g.jpg"]
    assert skipped == [Skipped(f"{tree}/sub", "permission denied")]


def test_a_root_that_is_gone_is_reported(tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    assert list(walk(str(tmp_path / "gone"), Rules(), skipped.append)) == []
    assert skipped == [Skipped(f"{tmp_path}/gone", "no such file or directory")]


ODD = ["new\nline.jpg", "quo'te\".jpg", "[red]x.jpg", "-leading.jpg", "tab\t.jpg", "é.jpg", "e\u0301.jpg", "%_.jpg",
       os.fsdecode(b"caf\xe9.jpg"), " .jpg", "a.jpg#page=3"]  # fmt: skip


def test_any_name_is_found_as_it_is(tmp_path: Path) -> None:
    for name in ODD:
        (tmp_path / name).write_text("x")
    assert names(tmp_path) == sorted(ODD)


def test_a_time_beyond_all_calendars_is_the_latest_there_is(tmp_path: Path) -> None:
    """Cameras with broken clocks: an integer of 64 bits counts nanoseconds until 2262."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.utime(tmp_path / "a.jpg", (0, 10**10))
    if (tmp_path / "a.jpg").stat().st_mtime < 10**10:
        pytest.skip("this file system knows no such times")
    ((_, files),) = walk(str(tmp_path), Rules(), lambda _: None)
    assert [found.mtime_ns for found in files] == [2**63 - 1]


def test_a_folder_without_permission_is_told_and_the_rest_walked() -> None:
    with tempfile.TemporaryDirectory() as name:
        root, privileged = Path(name), os.geteuid() == 0
        for folder in ("a", "closed", "z"):
            (root / folder).mkdir()
            (root / folder / "x.png").touch()
        root.chmod(0o755)
        (root / "closed").chmod(0)
        told: list[Skipped] = []
        if privileged:
            os.seteuid(65534)
        try:
            found = [folder for folder, _ in walk(name, Rules(), told.append)]
        finally:
            if privileged:
                os.seteuid(0)
            (root / "closed").chmod(0o700)
        assert found == ["", "a", "z"]
        assert told == [Skipped(f"{name}/closed", "permission denied")]
