"""Which files need work: told from their stat alone, at little cost for those that need none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from pictocli.brain import put_labels
from pictocli.candidates import Candidates, IndexOptions, Target
from pictocli.protocols import NoProgress
from pictocli.records import IndexReport, ModelSpec, Skipped
from pictocli.schema import connect
from pictocli.sqlite import FileRow, FinishedFile, SqliteStore
from pictocli.taxonomy import load

FOLDERS, FILES = 4, 500
SPEC = ModelSpec("made-up", "0", 8, 64, "bilinear", 64, 1.0, 0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """2,000 files in four folders."""
    for folder in range(FOLDERS):
        (tmp_path / f"root/{folder}").mkdir(parents=True)
        for file in range(FILES):
            (tmp_path / f"root/{folder}/IMG_{file:04}.jpg").touch()
    return tmp_path / "root"


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore(connect(str(tmp_path / "library.db"), create=True))
    store.require_model(SPEC)
    return store


def know(store: SqliteStore, root: Path, **told: object) -> Target:
    """Let the store know every file of the root as it is now, or as `told`."""
    target = Target(store.add_root(str(root), root.name), str(root))
    assert target.root_id is not None
    for folder in sorted(root.iterdir()):
        folder_id = store.folder_id(target.root_id, folder.name)
        assert folder_id is not None
        files = []
        for file in sorted(folder.iterdir()):
            stat = file.stat()
            own = {"kind": "jpeg", "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "pages": 1} | told
            files.append(FinishedFile(FileRow(folder_id, file.name, **own)))  # type: ignore[arg-type]
        store.write([], files)
    return target


def found(store: SqliteStore, target: Target, **options: object) -> tuple[list[str], IndexReport]:
    """The files that need work, below the root, and what was said of the others."""
    report = IndexReport()
    candidates = Candidates(store, IndexOptions(**options), report, NoProgress())  # type: ignore[arg-type]
    files = [each for pending in candidates.pending(target) for each in candidates.of(pending)]
    assert candidates.count == len(files)
    return [os.path.relpath(each.path, target.root) for each in files], report


@pytest.mark.parametrize(
    ("told", "options", "work", "unchanged", "skipped"),
    [
        ({}, {}, False, True, None),
        ({}, {"force": True}, True, False, None),
        ({}, {"pdf_dpi": 144}, False, True, None),
        ({"size": 5}, {}, True, False, None),
        ({"mtime_ns": 5}, {}, True, False, None),
        ({"kind": "pdf", "dpi": 72}, {"pdf_dpi": 144}, True, False, None),
        ({"kind": "pdf", "dpi": 144}, {"pdf_dpi": 144}, False, True, None),
        ({"kind": "pdf", "dpi": 72}, {}, False, True, None),
        ({"kind": "pdf", "reason": "damaged PDF"}, {"pdf_dpi": 144}, False, False, "damaged PDF"),
        ({"kind": "other", "pages": 0}, {}, False, False, None),
        ({"reason": "truncated", "pages": 0}, {}, False, False, "truncated"),
    ],
    ids=["as it was", "force", "dpi of a photo", "another size", "another time", "another dpi", "this dpi", "any dpi",
         "dpi of a damaged pdf", "no picture", "broken"],
)  # fmt: skip
def test_what_needs_work(
    told: dict[str, object], options: dict[str, object], work: bool, unchanged: bool, skipped: str | None,
    store: SqliteStore, tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "root/trip").mkdir(parents=True)
    (tmp_path / "root/trip/a.jpg").write_bytes(b"1")
    target = know(store, tmp_path / "root", **told)
    names, report = found(store, target, **options)
    assert names == (["trip/a.jpg"] if work else [])
    assert report.unchanged == unchanged
    assert report.skipped == ([Skipped(f"{tmp_path}/root/trip/a.jpg", skipped)] if skipped else [])


def test_what_is_new_comes_in_order_as_it_was_found(store: SqliteStore, root: Path) -> None:
    target = know(store, root)
    (root / "1/new\nline.jpg").write_bytes(b"12345")
    (root / "9").mkdir()
    (root / "9" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
    candidates = Candidates(store, IndexOptions(), IndexReport(), NoProgress())
    files = [each for pending in candidates.pending(target) for each in candidates.of(pending)]
    assert [each.path for each in files] == [
        f"{root}/1/new\nline.jpg",
        os.fsdecode(os.fsencode(root) + b"/9/caf\xe9.jpg"),
    ]
    assert [each.found.size for each in files] == [5, 1]
    assert [each.found.mtime_ns for each in files] == [os.stat(each.path).st_mtime_ns for each in files]
    assert [each.known for each in files] == [None, None]


def test_files_that_wait_for_their_turn_take_little_memory(store: SqliteStore, root: Path) -> None:
    """All are found before the first is opened, so that what is left can be told: of a million files, 30 MB."""
    candidates = Candidates(store, IndexOptions(), IndexReport(), NoProgress())
    target = Target(store.add_root(str(root), "root"), str(root))
    tracemalloc.start()
    pending = list(candidates.pending(target))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert candidates.count == FOLDERS * FILES
    assert len(pending) == FOLDERS
    assert taken < 50 * FOLDERS * FILES


AGAIN = """
import json, sys
import apsw
path, root = sys.argv[1:]
statements, opened = [], []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
def trace(cursor, sql, bound):
    statements.append(sql)
    return True
apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", trace))
import pictocli
with pictocli.open(path) as library:
    report = library.index([root])
opened = [name for name in opened if name.startswith(root + "/")]
print(json.dumps([report.unchanged, len(statements), opened, sorted({"torch", "transformers"} & set(sys.modules))]))
"""


def test_nothing_is_opened_for_files_that_have_not_changed(store: SqliteStore, root: Path, tmp_path: Path) -> None:
    """A run over 100,000 of them takes a second or two: two statements a folder, none a file, and no model."""
    know(store, root)
    put_labels(store, load())
    store.db.close()
    statements = []
    for folders in (FOLDERS, 1):
        for folder in range(folders, FOLDERS):
            (root / str(folder)).rename(tmp_path / str(folder))
        command = [sys.executable, "-c", AGAIN, str(tmp_path / "library.db"), str(root)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        unchanged, asked, opened, heavy = json.loads(done.stdout)
        assert (unchanged, opened, heavy) == (folders * FILES, [], [])
        statements.append(asked)
    assert statements[0] - statements[1] == 2 * (FOLDERS - 1)
