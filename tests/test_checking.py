"""`picto info --check` names every damage, and `picto repair` mends it: one case a kind of damage, made by SQL."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import clustered, make
from pictures import scene
from program import make_world, run

import pictocli
from pictocli import pipeline
from pictocli.catalog import Catalog
from pictocli.errors import DamagedError, PictoError
from pictocli.records import Pairs
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.workers import CrashedError

DIM = 24
NAN = struct.pack(f"<{DIM}f", math.nan, *[0.0] * (DIM - 1))
LONG = struct.pack(f"<{DIM}f", 2.0, *[0.0] * (DIM - 1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    """A library with thumbnails of nothing, codes, and quantiles of pairs; not to be changed."""
    base = make_world(tmp_path_factory.mktemp("world"), model)
    db = connect(str(base / "picto.db"))
    SqliteStore(db).build_codes(np.full(DIM, 0.01, "<f4").tobytes())
    Catalog(db).keep_pairs(Pairs(contents=14, n=1000, ranks=(0, 500, 999), cosines=(-0.5, 0.1, 0.95)))
    db.close()
    return base


@pytest.fixture
def path(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(world / "picto.db", tmp_path / "picto.db"))


def spoil(path: Path, *statements: str) -> None:
    """Change a database as no program of ours would: without the triggers that keep its tables in step."""
    db = sqlite3.connect(path)
    kept = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in kept:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement, {"nan": NAN, "long": LONG, "deep": '{"a":' * 100_000} if ":" in statement else {})
    for _, sql in kept:
        db.execute(sql)
    db.commit()
    db.close()


# statement → (what the check says, whether nothing is lost)
DAMAGES: dict[str, tuple[str, str, bool]] = {
    "an embedding is gone": ("DELETE FROM embedding WHERE content_id = 3", "images without an embedding", False),
    "an embedding is NaN": ("UPDATE embedding SET v = :nan WHERE content_id = 3", "no vectors of unit length", False),
    "an embedding is long": ("UPDATE embedding SET v = :long WHERE content_id = 3", "no vectors of unit", False),
    "an embedding is short": ("UPDATE embedding SET v = x'00' WHERE content_id = 3", "no vectors of unit", False),
    "an embedding is text": ("UPDATE embedding SET v = 'hello' WHERE content_id = 3", "no vectors of unit", False),
    "an embedding of nothing": ("INSERT INTO embedding VALUES(99, :nan)", "whose content is gone", True),
    "a text's embedding is NaN": ("UPDATE text_embedding SET v = :nan", "rows of text_embedding", True),
    "a label's vector is cut": (
        "UPDATE vector SET v = x'0000' WHERE name LIKE 'labels%'",
        "vectors of the labels",
        True,
    ),
    "the mean is cut": ("UPDATE vector SET v = x'0000' WHERE name = 'mean'", "the mean of all", True),
    "a code is gone": ("DELETE FROM code WHERE image_id = 4", "1-bit code is missing or wrong", True),
    "a code is wrong": ("UPDATE code SET c = x'ffffff' WHERE image_id = 4", "1-bit code is missing or wrong", True),
    "a code is elsewhere": ("UPDATE code SET folder_id = 99 WHERE image_id = 4", "1-bit codes of no image", True),
    "a folder miscounts": ("UPDATE folder SET images = 7 WHERE id = 1", "wrong count of images", True),
    "a folder counts no number": ("UPDATE folder SET images = 'many' WHERE id = 1", "wrong count of images", True),
    "a label miscounts": ("UPDATE tag SET n = n + 1 WHERE name = 'car'", "labels with a wrong count", True),
    "tags are not listed": ("DELETE FROM image_tag", "not listed under their label", True),
    "tags are listed of nothing": ("INSERT INTO image_tag VALUES(1, 99, 0.5)", "that they do not carry", True),
    "tags are listed otherwise": ("UPDATE image_tag SET score = 0.01", "not listed under their label", True),
    "tags are no JSON": ("UPDATE image SET objects = 'cat' WHERE id = 5", "objects that are not", False),
    "tags are deep": ("UPDATE image SET objects = :deep WHERE id = 5", "objects that are not", False),
    "tags are a list": ("UPDATE image SET scenes = '[1, 2]' WHERE id = 5", "scenes that are not", False),
    "a score is absurd": ("UPDATE image SET objects = '{\"car\": 1e300}' WHERE id = 5", "objects that are not", False),
    "a score is text": ('UPDATE image SET objects = \'{"car": "x"}\' WHERE id = 5', "objects that are not", False),
    "tags are a blob": ("UPDATE image SET objects = x'7b7d' WHERE id = 5", "objects that are not", False),
    "metadata is no JSON": ("UPDATE image SET metadata = '{' WHERE id = 5", "metadata that are not", False),
    "measures are none": ("UPDATE content SET measures = '[]' WHERE id = 5", "measures that are not", False),
    "text is no UTF-8": ("UPDATE dataset SET name = CAST(x'68ff' AS TEXT) WHERE id = 1", "no UTF-8", False),
    "a label is renamed": ("UPDATE tag SET name = 'cbr' WHERE name = 'car'", "not the taxonomy's", True),
    "an alias of nothing": ("INSERT INTO tag_alias VALUES(0, 'zzz', 99999)", "whose tag is gone", True),
    "a label of no category": ("UPDATE tag SET category = 7 WHERE name = 'car'", "labels of no category", True),
    "a model that is none": ("UPDATE meta SET value = '{}' WHERE key = 'model'", "of its model", False),
    "no model": ("DELETE FROM meta WHERE key = 'model'", "of its model", False),
    "pairs that are none": ("UPDATE meta SET value = '[]' WHERE key = 'pairs'", "of its random pairs", True),
    "a recall that is none": ("INSERT INTO meta VALUES('recall', '{}')", "of its recall", True),
    "own labels that are none": ("INSERT INTO meta VALUES('own_taxonomy', '[[[')", "of its own labels", False),
    "an image without a file": ("DELETE FROM file WHERE id = 2", "rows of image whose file is gone", False),
    "an image in no folder": ("UPDATE image SET folder_id = 99 WHERE id = 2", "whose folder is gone", False),
    "an image elsewhere": ("UPDATE image SET folder_id = 1 WHERE id = 5", "in another folder", True),
    "an image of another file": ("UPDATE image SET content_id = 1 WHERE id = 2", "another page or file", False),
    "no content": ("DELETE FROM content WHERE id = 2", "rows of image whose content is gone", False),
    "a content of no image": ("DELETE FROM image WHERE id = 2", "contents that no image shows", False),
    "a content of no size": ("UPDATE content SET width = 'wide' WHERE id = 2", "contents whose size", False),
    "a time that never comes": ("UPDATE image SET indexed_at = 9e18 WHERE id = 2", "images whose page, time", False),
    "a file of no kind": ("UPDATE file SET kind = 'jpfg' WHERE id = 2", "files whose kind", False),
    "a file half finished": ("UPDATE file SET size = NULL WHERE id = 2", "files whose kind", False),
    "a file with a NUL": ("UPDATE file SET name = x'6100' WHERE id = 2", "no file name", False),
    "a file named by a number": ("UPDATE file SET name = 7 WHERE id = 2", "no file name", False),
    "a skipped file with images": ("UPDATE file SET reason = 'x' WHERE id = 2", "files that hold none", False),
    "a folder in no root": ("UPDATE folder SET root_id = 99 WHERE id = 2", "rows of folder whose root", False),
    "a root in no dataset": ("UPDATE root SET dataset_id = 99 WHERE id = 2", "rows of root whose dataset", False),
    "a thumbnail that is none": ("INSERT INTO thumbnail VALUES(1, 'x')", "thumbnails that are no JPEG", False),
}

QUESTIONS = (
    ["info"], ["similar", "id:1", "--everywhere", "--threshold", "0"], ["search", "a red car"],
    ["tags", "--objects", "car"], ["show", "id:5"],
)  # fmt: skip


def ask_everything(path: Path) -> list[str]:
    """Every question, asked through the library; what was refused, each with a plain sentence."""
    refused = []
    questions: list[Callable[[pictocli.Library], Any]] = [
        lambda library: library.info(),
        lambda library: library.similar(1, threshold=0, everywhere=True),
        lambda library: library.search("a red car"),
        lambda library: library.tagged(objects=["car"]),
        lambda library: library.labels(),
        *(lambda library, n=number: library.show(n) for number in range(1, 15)),  # type: ignore[misc]
    ]
    for question in questions:
        try:
            with pictocli.open(path) as library:
                found = question(library)
            assert all(image.similarity == image.similarity for image in getattr(found, "results", ())
                       if hasattr(image, "similarity"))  # fmt: skip
        except PictoError as exc:
            refused.append(f"{exc}: {exc.hint}")
    return refused


def test_a_sound_library_is_said_to_be_so(path: Path) -> None:
    before = path.read_bytes()
    with pictocli.open(path) as library:
        assert library.check() == []
        assert library.repair().found == []
    assert path.read_bytes() == before
    done = run("--db", str(path), "info", "--check")
    assert (done.code, done.out, done.err) == (0, b"", "no damage: SQLite finds the file sound, and all tables agree\n")


@pytest.mark.parametrize("case", DAMAGES)
def test_each_damage_is_named_and_repaired(case: str, path: Path) -> None:
    statement, what, derived = DAMAGES[case]
    spoil(path, statement)
    with pictocli.open(path) as library:
        found = library.check()
    assert [damage.derived for damage in found if what in damage.what] == [derived], found
    ask_everything(path)
    data = path.read_bytes()
    with pictocli.open(path) as library:
        assert library.repair(dry_run=True).found == found
        assert path.read_bytes() == data
        report = library.repair()
        assert (report.found, report.left, report.kept) == (found, [], None)
        assert library.check() == []
    again = ask_everything(path)
    assert [each for each in again if "damaged" in each] == []


@pytest.mark.parametrize(
    "case", ["an embedding is gone", "an embedding is NaN", "tags are not listed", "an image without a file",
             "pairs that are none", "a model that is none", "a folder miscounts"],
)  # fmt: skip
def test_no_answer_leaves_out_what_is_lost_without_a_word(case: str, path: Path) -> None:
    spoil(path, DAMAGES[case][0])
    refused = ask_everything(path)
    assert refused
    assert all("repair" in each for each in refused), refused


def compared(library: pictocli.Library) -> dict[int, str]:
    """The images that a vector is compared with: none has a least cosine, whatever the test's model makes of it."""
    found = library.search(images=["id:1"], limit=500).results
    return {image.image_id: image.path for image in found if image.image_id != 1}


def test_what_is_gone_is_embedded_again_and_nothing_else(library: pictocli.Library, index: Any, photos: Path) -> None:
    path = Path(library.path)
    spoil(path, "DELETE FROM embedding WHERE content_id IN (2, 5)", "UPDATE content SET measures = 7 WHERE id = 7")
    report = library.repair()
    assert report.left == []
    assert 1 <= report.unfinished <= 3
    ids = compared(library)
    assert len(ids) == 14
    library.close()
    done = index(photos)
    assert (done.indexed, done.skipped) == (3, [])
    with pictocli.open(path) as again:
        now = compared(again)
        assert len(now) == 17
        assert ids.items() <= now.items()
        assert again.check() == []


def test_the_commands(path: Path) -> None:
    spoil(path, DAMAGES["a code is gone"][0], DAMAGES["an embedding is gone"][0])
    done = run("--db", str(path), "info", "--check", "--format", "json")
    assert done.code == 3
    kinds = json.loads(done.out)
    assert [set(each) for each in kinds] == [{"what", "count", "example", "derived", "remedy"}] * len(kinds)
    listed = run("--db", str(path), "info", "--check")
    assert listed.code == 3
    assert len(listed.out.splitlines()) == len(kinds)
    dry = run("--db", str(path), "repair", "--dry-run")
    assert (dry.code, dry.out) == (0, b"")
    done = run("--db", str(path), "repair")
    assert (done.code, done.out) == (0, b"")
    assert "picto index with the same folders embeds what is gone of 1 file again" in done.err
    assert run("--db", str(path), "info", "--check").code == 0
    assert [each.name for each in path.parent.iterdir()] == ["picto.db"]


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_hostile_values_end_in_one_sentence(question: list[str], path: Path) -> None:
    """Everything at once: wrong types, deep JSON, NaN, escape codes."""
    spoil(
        path, DAMAGES["tags are deep"][0].replace("= 5", "> 0"), "UPDATE content SET width = 'w', measures = :deep",
        "UPDATE file SET mtime_ns = 9e300", "UPDATE dataset SET name = x'1b5b33316d' WHERE id = 1",
        "UPDATE embedding SET v = :nan",
        "UPDATE meta SET value = x'00' WHERE key = 'pairs'", "UPDATE folder SET images = 9223372036854775807",
    )  # fmt: skip
    done = run("--db", str(path), *question)
    assert (done.code, done.out) == (3, b"")
    assert "damaged" in done.err
    assert "unexpected" not in done.err
    assert "\x1b" not in done.err
    assert "picto repair" in done.err


def test_a_fault_of_ours_is_not_blamed_on_the_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("pictocli.reading.closer_than", broken)
    with pictocli.open(path) as library:
        with pytest.raises(KeyError):
            library.similar(1)
        spoil(path, DAMAGES["a code is gone"][0])
        with pytest.raises(DamagedError, match="1-bit code"):
            library.similar(1)


def test_a_question_sees_one_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that another process removes in the middle of a question is not a damage."""
    import pictocli.reading

    real = pictocli.reading.near

    def near(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        db = connect(str(path))
        db.execute("DELETE FROM image WHERE id = 5")
        db.close()
        return found

    with pictocli.open(path) as library:
        monkeypatch.setattr(pictocli.reading, "near", near)
        assert len(library.similar(1, threshold=0, everywhere=True).results) == 13
        monkeypatch.setattr(pictocli.reading, "near", real)
        assert len(library.similar(1, threshold=0, everywhere=True).results) == 12


def test_the_check_only_reads(path: Path) -> None:
    spoil(path, DAMAGES["a code is gone"][0])
    path.chmod(0o400)
    before = path.read_bytes()
    with pictocli.open(path) as library:
        assert len(library.check()) == 1
    assert path.read_bytes() == before


def test_a_large_library_is_checked_soon(tmp_path: Path) -> None:
    db = make(tmp_path / "large.db", clustered(20_000, 64, 50), [["car", "dog"]] * 20_000)
    SqliteStore(db).build_codes()
    db.close()
    with pictocli.open(tmp_path / "large.db") as library:
        started = time.process_time()
        found = library.check()
        assert time.process_time() - started < 8
    assert found == []


def test_files_that_gave_no_image_are_no_damage(
    index: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw photos, and files that crashed their decoder, were said to be of a kind that picto never writes."""

    def inspect(path: str, limits: Any, opening: Any) -> Any:
        if path.endswith("crash.png"):
            raise CrashedError
        return inspecting(path, limits, opening)

    inspecting = pipeline.inspect
    monkeypatch.setattr(pipeline, "inspect", inspect)
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album/a.png")
    for name, data in {
        "b.nef": b"IIRO" * 9,
        "c.jpg": b"text",
        "d.png": b"",
        "crash.png": b"\x89PNG",
        "e": b"?",
    }.items():
        (tmp_path / "album" / name).write_bytes(data)
    report = index(tmp_path / "album")
    assert {Path(each.path).name: each.reason for each in report.skipped} == {
        "b.nef": "damaged RAW",
        "c.jpg": "text, not an image",
        "crash.png": "crashed its decoder",
        "d.png": "empty file",
    }
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.check() == []
