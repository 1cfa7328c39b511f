"""What is told of watched folders becomes work: what the rules let through, when it has been quiet for a while."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from naming import named
from test_keeping import make

import pictocli
from pictocli.candidates import IndexOptions
from pictocli.forgetting import Forgetting
from pictocli.scan import Rules
from pictocli.schema import connect
from pictocli.trail import Presence, Trail

Index = Callable[..., pictocli.records.IndexReport]
LATER = 1e9  # s: long after all that is told here


@pytest.fixture
def store(tmp_path: Path, index: Index) -> Iterator[Forgetting]:
    make(tmp_path / "w", 3)
    make(tmp_path / "w" / "deep" / "er", 2, 1)
    index(tmp_path / "w")
    db = connect(str(tmp_path / "library.db"))
    yield Forgetting(db)
    db.close()


def trail(tmp_path: Path, **rules: Any) -> Trail:
    options = IndexOptions(rules=Rules(**rules), never=frozenset({str(tmp_path / "w" / "never.png")}))
    return Trail({1: str(tmp_path / "w")}, options, str(tmp_path / "w" / "own.db"))


@pytest.mark.parametrize(
    ("told", "rules", "files", "gone"),
    [
        ([""], {}, {"": {"new.png", "00.png"}}, set()),
        (["new.png", "00.png"], {}, {"": {"new.png", "00.png"}}, set()),
        (["new.png"], {"include": ["*.jpg"]}, {}, set()),
        (["new.png"], {"exclude": ["n*"]}, {}, set()),
        ([".hidden.png", ".git/x.png", "Thumbs.db"], {}, {}, set()),
        ([".hidden.png"], {"hidden": True}, {"": {".hidden.png"}}, set()),
        (["link.png"], {}, {}, set()),
        (["02.png", "deep"], {}, {}, {"02.png", "deep/er/00.png", "deep/er/01.png"}),
        (["other"], {}, {"other/sub": {"a.png"}}, set()),
        (["other", "other/sub/a.png"], {}, {"other/sub": {"a.png"}}, set()),
        (["other"], {"exclude": ["other"]}, {}, set()),
        (["own.db", "own.db-wal"], {}, {}, set()),
        (["caf\ufffd.png"], {}, {"": {"new.png", "00.png"}}, {"02.png", "deep/er/00.png", "deep/er/01.png"}),
        (["unknown.png"], {}, {}, set()),
    ],
    ids=named,
)
def test_what_is_told_becomes_work(
    told: list[str], rules: dict[str, Any], files: dict[str, set[str]], gone: set[str], tmp_path: Path,
    store: Forgetting,
) -> None:  # fmt: skip
    w = tmp_path / "w"
    for name in ("new.png", "never.png", ".hidden.png", ".git/x.png", "Thumbs.db", "other/sub/a.png", "00.png"):
        (w / name).parent.mkdir(parents=True, exist_ok=True)
        (w / name).write_bytes(b"a" * (5 + len(name)))
    (w / "link.png").symlink_to("new.png")
    if gone:
        (w / "02.png").unlink()
        shutil.rmtree(w / "deep")
    if told == [""]:
        shutil.rmtree(w / "other")
    if "caf\ufffd.png" in told:
        shutil.rmtree(w / "other")
    found = trail(tmp_path, **rules)
    for path in told:
        found.note(str(w / path).rstrip("/"))
    found.sort_out(store, LATER, 0.4)
    assert {folder: names for (_, folder), names in found.files.items()} == files
    assert {os.path.relpath(path, w) for path in found.gone} == gone
    assert not Path(tmp_path / "w" / "own.db").exists()


def test_nothing_is_due_before_it_is_quiet(tmp_path: Path, store: Forgetting) -> None:
    import time

    found = trail(tmp_path)
    found.note(str(tmp_path / "w" / "new.png"))
    (tmp_path / "w" / "new.png").touch()
    now = time.monotonic()
    assert not found.ripe(now, 5)
    found.sort_out(store, now, 5)
    assert found.files == {}
    assert found.ripe(now + 6, 5)
    found.sort_out(store, now + 6, 5)
    (target,) = found.next_files(10)
    assert (target.folder, target.only, found.files) == ("", {"new.png"}, {})
    found.put_back([target])
    assert found.files == {(1, ""): {"new.png"}}


def test_files_are_taken_so_many_at_a_time(tmp_path: Path) -> None:
    found = trail(tmp_path)
    found.files = {(1, "a"): {"1", "2", "3"}, (1, "b"): {"4"}}
    taken = [[(t.folder, sorted(t.only or ())) for t in found.next_files(2)] for _ in range(3)]
    assert taken == [[("a", ["1", "2"])], [("a", ["3"]), ("b", ["4"])], []]


def test_a_root_that_goes_takes_what_was_told_of_it(tmp_path: Path) -> None:
    found = trail(tmp_path)
    found.note(str(tmp_path / "w" / "new.png"))
    found.gone = {str(tmp_path / "w" / "x.png")}
    found.files = {(1, "a"): {"1"}}
    found.drop(str(tmp_path / "w"))
    assert not found.ripe(LATER, 0)


def test_presence(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    os.mkdir(a)
    os.mkdir(b)
    there = Presence([a, b])
    assert (there.look(), there.here) == (([], []), [a, b])
    os.rename(a, tmp_path / "c")
    assert (there.look(), there.here) == (([a], []), [b])
    os.mkdir(a)  # an empty folder where a disk was mounted
    assert (there.look(), there.here) == (([], []), [b])
    os.rmdir(a)
    os.rename(tmp_path / "c", a)
    assert (there.look(), there.here) == (([], [a]), [a, b])
    os.rename(b, tmp_path / "old")
    os.mkdir(b)
    Path(b, "x").touch()
    assert there.look() == ([b], [])
    assert there.look() == ([], [b])  # another folder, with something in it
