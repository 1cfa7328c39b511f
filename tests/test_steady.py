"""Files that change while they are indexed: what is stored is of one content, or the next run takes it up."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene

from pictocli import indexing, pipeline
from pictocli.decode import Inspected, Recipe, Refused, decode, inspect
from pictocli.steady import steady


def replace(path: Path) -> None:
    """As `mv` does."""
    scene(2).save(path.parent.parent / "other.png")
    os.replace(path.parent.parent / "other.png", path)


def overwrite(path: Path) -> None:
    """As many bytes, in place."""
    path.write_bytes(path.read_bytes()[::-1])


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed.png"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    scene(2).save(path.parent.parent / "other.png")
    path.unlink()
    path.symlink_to(path.parent.parent / "other.png")


CHANGED, GONE = "changed while indexing", "vanished while indexing"
# change → reasons when it comes before the file is inspected (None: it is indexed as it is then), or before decoding
CHANGES: dict[Callable[[Path], None], tuple[str | None, str]] = {
    replace: (None, CHANGED),
    overwrite: ("not an image", CHANGED),
    truncate: ("truncated", CHANGED),
    Path.unlink: ("no such file or directory", GONE),
    rename: ("no such file or directory", GONE),
    folder: ("is a directory", "is a directory"),
    pipe: ("not a regular file", "not a regular file"),
    link: (None, CHANGED),
}


def hooked(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, path: Path, change: Callable[[Path], None]) -> None:
    """`change` the file once, right before it is inspected or decoded."""
    real, done = getattr(module, name), list[str]()

    def call(source: str, *more: Any) -> Any:
        if source == str(path) and not done:
            done.append(source)
            change(path)
        return real(source, *more)

    monkeypatch.setattr(module, name, call)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("step", ["inspect", "decode"])
def test_a_file_that_changes_on_its_way_is_one_content_or_none(
    change: Callable[[Path], None], step: str, index: Any, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photos/a.png"
    path.parent.mkdir()
    scene(1).save(path)
    scene(3).save(path.with_name("b.png"))
    module = pipeline if step == "inspect" else indexing
    hooked(monkeypatch, module, step, path, change)
    report = index(path.parent)
    reason = CHANGES[change][step == "decode"]
    assert [(Path(each.path).name, each.reason) for each in report.skipped] == ([("a.png", reason)] if reason else [])
    assert report.indexed == 1 + (reason is None)
    for name, size, mtime_ns, digest in rows("SELECT name, size, mtime_ns, hash FROM file WHERE pages AND size"):
        status = path.with_name(name).stat()
        assert (size, mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert digest == hashlib.sha256(path.with_name(name).read_bytes()).digest()
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    scene(4).save(path)
    assert index(path.parent).skipped == []
    ((digest,),) = rows("SELECT hash FROM file WHERE name = 'a.png' AND pages = 1 AND size")
    assert digest == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("change", [replace, overwrite, truncate, link], ids=lambda change: change.__name__)
def test_a_pdf_that_changes_on_its_way_is_not_taken_for_the_one_before(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "pdfs").mkdir()
    path = make_pdf(tmp_path / "pdfs/a.pdf", [1, 2])
    seen = inspect(str(path))
    assert isinstance(seen, Inspected)
    change(path)
    found = decode(str(path), "pdf", 1, Recipe(64, "bicubic", 72, thumbnail=False), seen.stamp)
    assert found == Refused(CHANGED, "unreadable")


def read_while(path: Path, change: Callable[[Path], object]) -> None:
    """Fail as a decoder does on a file that changes under it."""
    with steady(str(path)) as (file, stamp):
        assert stamp.size == len(file.read())
        change(path)
        raise ValueError("damaged")


@pytest.mark.parametrize(
    ("change", "error"),
    [(replace, CHANGED), (overwrite, CHANGED), (truncate, CHANGED), (pipe, CHANGED), (Path.unlink, "No such file")],
    ids=["replace", "overwrite", "truncate", "pipe", "unlink"],
)
def test_what_went_wrong_within_is_of_no_account_when_the_file_has_changed(
    change: Callable[[Path], None], error: str, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    scene(1).save(tmp_path / "photos/a.png")
    with pytest.raises(OSError, match=error):
        read_while(tmp_path / "photos/a.png", change)


def test_a_file_that_stays_as_it_is_may_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(ValueError, match="damaged"):
        read_while(tmp_path / "a", Path.exists)


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(inspect(str(tmp_path / "a.png"))), daemon=True)
    thread.start()
    thread.join(10)
    assert found == [Refused("not a regular file", "unreadable")]


def test_files_that_are_rewritten_all_the_time(index: Any, rows: Any, tmp_path: Path) -> None:
    """A real race: twenty pictures replaced as fast as can be while they are indexed, then at rest."""
    (tmp_path / "photos").mkdir()
    contents = [scene(seed, 60, 40) for seed in range(20)]
    over = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not over.is_set():
            for at in range(20):
                contents[(at + turn) % 20].save(tmp_path / "new.png")
                os.replace(tmp_path / "new.png", tmp_path / f"photos/{at}.png")
            turn += 1
            time.sleep(0.001)

    thread = threading.Thread(target=rewrite)
    thread.start()
    while not (tmp_path / "photos/19.png").exists():
        time.sleep(0.01)
    for _ in range(3):
        report = index(tmp_path / "photos")
        assert {each.reason for each in report.skipped} <= {CHANGED}
    over.set()
    thread.join()
    assert index(tmp_path / "photos").skipped == []
    for name, digest in rows("SELECT name, hash FROM file WHERE size"):
        assert digest == hashlib.sha256((tmp_path / "photos" / name).read_bytes()).digest()
    assert len(rows("SELECT 1 FROM file WHERE size AND pages = 1")) == 20
