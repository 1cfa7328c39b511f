"""A library of which a part is seen answers as if the rest were not there, and writes nothing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hidden import OPEN, SECRET, make_hidden

from pictocli.errors import NotFoundError, StoreError, ValidationError
from pictocli.protocols import NoProgress
from pictocli.restricted import Restricted
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.visible import Bounds

SOME = Bounds(datasets=("open",))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hidden(tmp_path_factory.mktemp("hidden"))


@pytest.fixture
def path(world: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; the pictures lie where they lay."""
    return Path(shutil.copy(world, tmp_path / "picto.db"))


def opened(path: Path, bounds: Bounds = SOME, **options: bool) -> Restricted:
    return Restricted(str(path), NoProgress(), bounds, **options)


def ids(answer: Any) -> list[int]:
    return [image.image_id for image in answer.results]


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda lib: lib.similar(1, threshold=0, everywhere=True), [2, 3, 4]),
        (lambda lib: lib.similar(1, threshold=0), [2, 3, 4]),
        (lambda lib: lib.search("a red car"), [2, 1, 3, 4]),
        (lambda lib: lib.search(images=[1]), [2, 3, 4]),
        (lambda lib: lib.tagged(["car"]), [2]),
        (lambda lib: lib.tagged(where="owner"), [1, 2]),
        (lambda lib: lib.tagged(before="2100"), [1, 2, 3, 4]),
    ],
    ids=["similar", "similar in its folder", "search", "search by an image", "tags", "metadata", "date"],
)
def test_questions(path: Path, ask: Callable[[Restricted], Any], expected: list[int]) -> None:
    with opened(path) as library:
        answer = ask(library)
    assert sorted(ids(answer)) == sorted(expected)
    assert (answer.considered - (answer.considered == 3), answer.elsewhere, answer.closer_than) in [
        (4, None, None), (2, None, None),
    ]  # fmt: skip


def test_one_image_without_its_copy_elsewhere(path: Path) -> None:
    with opened(path) as library:
        assert list(library.show(1).copies) == []
    with opened(path, Bounds()) as library:
        assert [Path(copy).name for copy in library.show(1).copies] == ["beach-copy.jpg"]


@pytest.mark.parametrize("image", [5, "5", "id:5", 99, "id:x", "id:-1", "", "\0", "/", "https://example.org/a.jpg"])
def test_what_is_out_of_bounds_is_not_found(path: Path, image: int | str) -> None:
    with opened(path) as library, pytest.raises(NotFoundError, match="no such image: "):
        library.found(image)


@pytest.mark.parametrize("name", [*SECRET.values(), "picto.db", "open", "none.jpg"])
def test_paths_that_are_not_seen_are_all_the_same(path: Path, world: Path, name: str) -> None:
    asked = str(world.parent / name)
    with opened(path) as library, pytest.raises(NotFoundError) as raised:
        library.found(asked)
    assert (str(raised.value), raised.value.hint) == (
        f"no such image: {asked}", "take its id from an answer of search, similar or tags",
    )  # fmt: skip


@pytest.mark.parametrize(("image_id", "name"), OPEN.items(), ids=str)
def test_an_image_is_named_by_its_path_unless_paths_are_hidden(
    path: Path, world: Path, image_id: int, name: str
) -> None:
    asked = str(world.parent / name)
    with opened(path) as library:
        assert library.found(asked) == library.found(image_id) == library.found(f"id:{image_id}") == image_id
    with opened(path, paths=False) as library:
        assert library.found(image_id) == image_id
        with pytest.raises(NotFoundError):
            library.found(asked)


def test_a_file_is_asked_with_where_that_is_allowed(path: Path, world: Path, tmp_path: Path) -> None:
    hidden, copy = str(world.parent / SECRET[6]), shutil.copy(world.parent / OPEN[2], tmp_path / "copy.png")
    with opened(path, files=True) as library:
        assert (library.found(hidden), library.found(str(copy))) == (hidden, str(copy))
        assert ids(library.similar(library.found(str(copy)), threshold=0)) == [2, 3, 1, 4]  # it has the bytes of 2
        with pytest.raises(NotFoundError):  # though an image that is not seen has these bytes
            library.show(hidden)
        with pytest.raises(NotFoundError):
            library.found("https://example.org/a.jpg")


def test_what_is_seen_follows_the_library(path: Path) -> None:
    with opened(path, Bounds(where=("owner=ana",))) as library:
        assert ids(library.tagged(before="2100")) == [1]
        db = connect(str(path))
        db.execute("""UPDATE image SET metadata = '{"owner": "ana"}' WHERE id IN (2, 6)""")
        assert ids(library.tagged(before="2100")) == [1, 2, 6]
        db.execute("DELETE FROM image WHERE id = 2")
        assert ids(library.tagged(before="2100")) == [1, 6]
        assert library.info().images == 2
        db.execute("UPDATE image SET metadata = NULL")
        with pytest.raises(StoreError, match="what may be seen of the library is not in it"):
            library.info()
        db.execute("""UPDATE image SET metadata = '{"owner": "ana"}' WHERE id = 3""")
        assert library.info().images == 1
        db.close()


def test_another_file_in_its_place_is_another_library(path: Path, tmp_path: Path) -> None:
    with opened(path) as library:
        assert library.info().images == 4
        other = Path(shutil.copy(path, tmp_path / "other.db"))
        db = connect(str(other))
        db.execute("DELETE FROM image WHERE id = 1")
        db.close()
        os.replace(other, path)
        assert library.info().images == 3
        path.unlink()
        with pytest.raises(StoreError, match="there is no database at "):
            library.info()


@pytest.mark.parametrize("bounds", [Bounds(), SOME], ids=["all", "some"])
def test_nothing_is_written(path: Path, bounds: Bounds) -> None:
    before = path.read_bytes()
    with opened(path, bounds) as library:
        assert library.check()
        assert len(ids(library.search("words that nobody has asked for"))) >= 4
        assert len(ids(library.search("words that nobody has asked for", limit=1))) == 1
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["picto.db"]


@pytest.mark.parametrize("bounds", [Bounds(datasets=("none",)), Bounds(folders=("none",)), Bounds(where=("none",))])
def test_bounds_that_mean_nothing_are_told_before_an_agent_asks(path: Path, bounds: Bounds) -> None:
    with opened(path, bounds) as library:
        with pytest.raises((NotFoundError, ValidationError), match="none"):
            library.check()
        for ask in (library.info, library.fields, lambda: library.found(1), lambda: library.tagged(["car"])):
            with pytest.raises(StoreError) as raised:
                ask()
            assert (str(raised.value), raised.value.hint) == ("what may be seen of the library is not in it", None)


def test_a_library_that_is_not_there_yet(tmp_path: Path) -> None:
    with opened(tmp_path / "none.db") as library:
        assert not library.check()
        with pytest.raises(StoreError, match="there is no database at "):
            library.info()


def test_questions_while_another_process_writes(path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        db = connect(str(path))
        store = SqliteStore(db)
        turn = 0
        while not stop.is_set():
            turn += 1
            store.set_meta("turn", turn)
        db.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with opened(path) as library:
            for _ in range(50):
                assert library.info().images == 4
                assert ids(library.tagged(["car"])) == [2]
    finally:
        stop.set()
        writer.join()
