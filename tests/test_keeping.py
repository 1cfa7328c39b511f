"""prune, mv-root and vacuum: only what is surely gone is forgotten, and `check` finds every library sound after."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import scene
from program import PICTO, environment
from test_claims import Holder

import pictocli
from pictocli.errors import NotFoundError, PictoError, StoreError, TakenError, ValidationError
from pictocli.keeping import absent, too_many

Rows = Callable[..., list[tuple[Any, ...]]]
Index = Callable[..., pictocli.records.IndexReport]


def make(folder: Path, count: int, seed: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{at:02}.png" for at in range(count)]
    for at, path in enumerate(paths):
        scene(1000 * seed + at, 32, 24).save(path)
    return paths


# -- prune ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "known", "expected"), [(0, 0, False), (1, 5, False), (20, 100, False), (21, 100, True), (1, 4, True)]
)
def test_more_than_a_fifth_is_too_many(gone: int, known: int, expected: bool) -> None:
    assert too_many(gone, known) is expected


def test_what_is_gone_is_forgotten_and_nothing_else(
    tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    paths = make(tmp_path / "a" / "deep", 10)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    index(tmp_path / "a")
    for path in (paths[3], paths[7], tmp_path / "a" / "notes.txt"):
        path.unlink()
    told = ours.prune(dry_run=True)
    assert rows("SELECT count(*) FROM image") == [(10,)]
    report = ours.prune()  # 2 of 10 is a fifth, and not more; a file that is no picture does not count
    assert [Path(file.path).name for file in report.files] == ["notes.txt", "03.png", "07.png"]
    assert (report.files, report.images, report.known, report.passed) == (told.files, 2, 10, [])
    assert rows("SELECT name FROM file ORDER BY name") == [(p.name,) for p in paths if p not in (paths[3], paths[7])]
    assert rows("SELECT (SELECT count(*) FROM content), (SELECT count(*) FROM embedding)") == [(8, 8)]
    assert rows("SELECT path FROM folder") == [("deep",)]
    assert ours.prune().files == []


def test_a_mass_deletion_wants_a_yes(tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library) -> None:
    paths = make(tmp_path / "a", 10)
    index(tmp_path / "a")
    for path in paths[:3]:
        path.unlink()
    with pytest.raises(PictoError, match="3 of 10 files are missing, more than a fifth: nothing was forgotten") as told:
        ours.prune()
    assert (told.value.exit_code, "mv-root" in str(told.value.hint)) == (3, True)
    assert rows("SELECT count(*) FROM image") == [(10,)]
    assert ours.prune(dry_run=True).images == 3
    assert ours.prune(yes=True).images == 3
    assert rows("SELECT count(*) FROM image") == [(7,)]


@pytest.mark.parametrize("how", ["gone", "empty", "file"])
def test_an_unmounted_disk_is_no_deletion(
    how: str, tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    root, other = tmp_path / "disk", tmp_path / "other"
    make(root, 3)
    kept = make(other, 10, 1)
    index(root, other)
    root.rename(tmp_path / "elsewhere")
    if how == "empty":
        root.mkdir()
    elif how == "file":
        root.touch()
    kept[0].unlink()
    report = ours.prune(yes=True)
    assert [file.path for file in report.files] == [str(kept[0])]
    assert [(each.path, "mounted?" in each.reason) for each in report.passed] == [(str(root), True)]
    assert rows("SELECT count(*) FROM image") == [(12,)]


def test_scope(tmp_path: Path, index: Index, ours: pictocli.Library) -> None:
    for name in ("a", "b"):
        make(tmp_path / name / "one", 6, ord(name))
        make(tmp_path / name / "two", 6, ord(name) + 9)
    index(tmp_path / "a", tmp_path / "b")
    for path in tmp_path.glob("*/*/05.png"):
        path.unlink()

    def found(**scope: Any) -> list[str]:
        return [os.path.relpath(file.path, tmp_path) for file in ours.prune(dry_run=True, **scope).files]

    assert found() == ["a/one/05.png", "a/two/05.png", "b/one/05.png", "b/two/05.png"]
    assert found(dataset="b") == ["b/one/05.png", "b/two/05.png"]
    assert found(dataset="b", folder="two") == ["b/two/05.png"]
    with pytest.raises(NotFoundError, match="there is no dataset c"):
        ours.prune(dataset="c")
    assert len(ours.prune(dataset="b", folder="two").files) == 1
    assert found() == ["a/one/05.png", "a/two/05.png", "b/one/05.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_not_gone(tmp_path: Path, index: Index, ours: pictocli.Library) -> None:
    make(tmp_path / "a" / "secret", 3)
    index(tmp_path / "a")
    (tmp_path / "a" / "secret").chmod(0)
    report = ours.prune(yes=True)
    (tmp_path / "a" / "secret").chmod(0o700)
    assert (report.files, [each.reason for each in report.passed]) == ([], ["permission denied"])


def test_what_no_one_can_say_is_passed_over(
    tmp_path: Path, index: Index, ours: pictocli.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `test_a_folder_that_cannot_be_read_is_not_gone`, for root too: a share that fails."""
    make(tmp_path / "a" / "b", 3)
    index(tmp_path / "a")

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, **options: Any) -> Any:
            if str(path).startswith(str(tmp_path / "a" / "b")):
                raise OSError(5, "Input/output error")
            return real(path, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", failing(os.listdir))
        patch.setattr(os, "lstat", failing(os.lstat))
        report = ours.prune(yes=True)
    assert report.files == []
    assert [(each.path, each.reason) for each in report.passed] == [(str(tmp_path / "a" / "b"), "input/output error")]


def test_a_remote_root_is_no_folder_of_this_machine() -> None:
    assert absent("s3://bucket/photos") == "not a folder of this machine: --remote asks its server"


def test_a_broken_link_is_there(tmp_path: Path, index: Index, ours: pictocli.Library) -> None:
    paths = make(tmp_path / "a", 3)
    shutil.move(paths[0], tmp_path / "real.png")
    paths[0].symlink_to(tmp_path / "real.png")
    index(tmp_path / "a", follow=True)
    (tmp_path / "real.png").unlink()
    assert ours.prune(yes=True).files == []


def test_nothing_is_forgotten_while_somebody_indexes(tmp_path: Path, index: Index, ours: pictocli.Library) -> None:
    make(tmp_path / "a", 2)
    index(tmp_path / "a")
    holder = Holder(tmp_path / "library.db", {1: "/a"})
    for change in (
        ours.prune, ours.vacuum, lambda: ours.remove([1]), lambda: ours.move_root(tmp_path / "a", tmp_path),
    ):  # fmt: skip
        with pytest.raises(TakenError, match=f"by process {holder.process.pid}"):
            change()
    assert ours.prune(dry_run=True).files == []
    holder.stop()


# -- mv-root --------------------------------------------------------------------------------------------------------


def test_a_root_that_moved_is_followed(tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library) -> None:
    make(tmp_path / "a" / "deep", 12)
    index(tmp_path / "a")
    before = rows("SELECT id, file_id, content_id FROM image")
    (tmp_path / "b").mkdir()
    (tmp_path / "a").rename(tmp_path / "b" / "new")
    told = ours.move_root(f"{tmp_path / 'a'}/", tmp_path / "b" / "new", dry_run=True)
    assert rows("SELECT path FROM root") == [(str(tmp_path / "a"),)]
    report = ours.move_root(f"{tmp_path / 'a'}/", tmp_path / "b" / "new")
    assert (report.old, report.new) == (str(tmp_path / "a"), str(tmp_path / "b" / "new"))
    assert (report.files, report.looked, report.there, told.there) == (12, 12, 12, 12)
    again = index(tmp_path / "b" / "new")
    assert (again.indexed, again.unchanged, again.moved) == (0, 12, 0)
    assert rows("SELECT id, file_id, content_id FROM image") == before


@pytest.mark.parametrize(
    ("old", "new", "error", "sentence"),
    [
        ("a", "missing", NotFoundError, "there is no folder {}/missing"),
        ("a", "empty", PictoError, "none of 3 files looked for is in {}/empty"),
        ("a/deep", "empty", ValidationError, "{}/a/deep lies in {}/a, and only whole roots move"),
        ("c", "empty", NotFoundError, "{}/c is no root of the library"),
        ("a", "b", ValidationError, "{}/b is a root of the library already"),
        ("a", "b/sub", ValidationError, "{}/b/sub and {}/b, another root of the library, lie one inside the other"),
        ("a", "", ValidationError, "{} and {}/b, another root of the library, lie one inside the other"),
        ("a", "a", ValidationError, "{}/a is where the library has it already"),
    ],
)
def test_what_cannot_be_a_move_is_refused(
    old: str, new: str, error: type[PictoError], sentence: str, tmp_path: Path, index: Index, rows: Rows,
    ours: pictocli.Library,
) -> None:  # fmt: skip
    make(tmp_path / "a" / "deep", 3)
    make(tmp_path / "b" / "sub", 3, 1)
    (tmp_path / "empty").mkdir()
    index(tmp_path / "a", tmp_path / "b")
    with pytest.raises(error) as told:
        ours.move_root(tmp_path / old, tmp_path / new)
    assert str(told.value) == sentence.replace("{}", str(tmp_path))
    assert rows("SELECT path FROM root") == [(str(tmp_path / "a"),), (str(tmp_path / "b"),)]


@pytest.mark.parametrize("new", ["missing", "empty"])
def test_force_takes_it_all_the_same(
    new: str, tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    make(tmp_path / "a", 3)
    (tmp_path / "empty").mkdir()
    index(tmp_path / "a")
    assert ours.move_root(tmp_path / "a", tmp_path / new, force=True).there == 0
    assert rows("SELECT path FROM root") == [(str(tmp_path / new),)]


# -- vacuum ---------------------------------------------------------------------------------------------------------


def large(tmp_path: Path, index: Index, rows: Rows, megabytes: int = 8) -> Path:
    """A library of which most is room that a deletion left."""
    make(tmp_path / "a", 4)
    index(tmp_path / "a")
    path = tmp_path / "library.db"
    db = sqlite3.connect(path)
    half = megabytes * 125_000
    db.execute("UPDATE image SET metadata = json_object('x', printf('%.*c', ?, 'x'))", (half,))
    db.execute("CREATE TABLE pad AS SELECT zeroblob(?) FROM image", (half,))
    db.execute("DROP TABLE pad")
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


def digest(rows: Rows) -> str:
    text = repr([rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("image", "file", "embedding", "image_tag")])
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_library_is_made_small(tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library) -> None:
    path = large(tmp_path, index, rows)
    before, content, page = path.stat().st_size, digest(rows), rows("PRAGMA page_size")
    report = ours.vacuum()
    assert (report.before, report.after) == (before, path.stat().st_size)
    assert before > 8_000_000 > 6_000_000 > report.after
    assert (digest(rows), rows("PRAGMA page_size"), rows("PRAGMA journal_mode")) == (content, page, [("wal",)])


def test_an_open_library_is_left_alone(tmp_path: Path, index: Index, rows: Rows) -> None:
    path = large(tmp_path, index, rows, 1)
    with pictocli.open(path) as reader, pictocli.open(path) as ours:
        assert reader.info().images == 4
        with pytest.raises(TakenError, match="is open in another program"):
            ours.vacuum()
        assert reader.info().images == 4
        reader.close()
        ours.vacuum()
        assert ours.check() == []


def test_no_room_is_told_before(
    tmp_path: Path, index: Index, rows: Rows, ours: pictocli.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = large(tmp_path, index, rows, 1)
    size = path.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 2 * size - 1))  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match=r"takes up to .* are free"):
        ours.vacuum()
    assert path.stat().st_size == size


def test_killed_in_the_middle_nothing_is_lost(tmp_path: Path, index: Index, rows: Rows) -> None:
    path = large(tmp_path, index, rows, 40)
    content = digest(rows)
    seen = 0
    for wait in (0.0, 0.03, 0.1):
        process = subprocess.Popen([PICTO, "vacuum", "--db", path], env=environment(), stderr=subprocess.PIPE)
        until = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < until and not os.path.exists(f"{path}-claims"):
            time.sleep(0.002)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        seen += process.returncode == -signal.SIGKILL
        with pictocli.open(path) as library:
            assert library.check() == []
        assert digest(rows) == content
    assert seen
    with pictocli.open(path) as library:
        library.vacuum()
        assert library.check() == []
    assert not [name for name in os.listdir(tmp_path) if name.startswith("etilqs")]
    assert digest(rows) == content
