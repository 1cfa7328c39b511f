"""What is out of bounds is in no table that a connection sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest
from hidden import OPEN, SECRET, make_hidden

import pictocli
from pictocli.errors import NotFoundError, ValidationError
from pictocli.protocols import NoProgress
from pictocli.queries import Queries
from pictocli.records import Scope
from pictocli.restricted import Restricted
from pictocli.schema import connect
from pictocli.visible import HIDDEN, Bounds, hide

EVERYTHING = {**OPEN, **SECRET}
SHARED = {"vector", "text_embedding", "tag_alias"}  # these say nothing of single images


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hidden(tmp_path_factory.mktemp("hidden"))


@pytest.fixture
def queries(path: Path) -> Queries:
    return Queries(connect(str(path), readonly=True))


def test_every_table_is_hidden_or_says_nothing_of_single_images(queries: Queries) -> None:
    held = queries.db.execute("SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')")
    names = {name for (name,) in held if not name.startswith("sqlite_")}
    assert names - set(HIDDEN) == SHARED


@pytest.mark.parametrize(
    ("bounds", "seen"),
    [
        (Bounds(), [1, 2, 3, 4, 5, 6]),
        (Bounds(datasets=("open",)), [1, 2, 3, 4]),
        (Bounds(datasets=("secret",)), [5, 6]),
        (Bounds(datasets=("open", "secret")), [1, 2, 3, 4, 5, 6]),
        (Bounds(folders=("crete",)), [2, 3, 4]),
        (Bounds(folders=("crete", "/")), [1, 2, 3, 4, 5, 6]),
        (Bounds(datasets=("open", "secret"), folders=("crete",)), [2, 3, 4]),
        (Bounds(datasets=("secret",), folders=("/",)), [5, 6]),
        (Bounds(where=("owner",)), [1, 2, 6]),
        (Bounds(where=("price<10",)), [1]),
        (Bounds(where=("owner in (ana, eve)", "price=5")), [1]),
        (Bounds(datasets=("open",), where=("owner",)), [1, 2]),
        (Bounds(datasets=("secret",), where=("price",)), []),
    ],
    ids=lambda given: " ".join([*given.datasets, *given.folders, *given.where]) if isinstance(given, Bounds) else "",
)
def test_bounds(queries: Queries, bounds: Bounds, seen: list[int]) -> None:
    hide(queries, bounds)
    assert [i for (i,) in queries.db.execute("SELECT id FROM image ORDER BY id")] == seen
    assert queries.count(None) == len(seen) == queries.count_images()
    found = queries.db.execute("SELECT image_id FROM images ORDER BY 1").fetchall()
    assert [i for (i,) in found] == seen
    for table in ("image_tag", "code", "tags", "embeddings", "image_label"):
        held = {i for (i,) in queries.db.execute(f"SELECT image_id FROM {table}")}
        assert held <= set(seen), table


@pytest.mark.parametrize(
    ("datasets", "folders", "seen"),
    [
        (("empty",), (), []),
        (("empty",), ("/",), []),
        (("empty",), ("//", "/"), []),
        (("empty", "secret"), ("/",), [5, 6]),
        (("empty", "open"), ("crete",), [2, 3, 4]),
        ((), ("/",), [1, 2, 3, 4, 5, 6]),
    ],
    ids=str,
)
def test_a_dataset_without_images_shows_nothing_of_others(
    datasets: tuple[str, ...], folders: tuple[str, ...], seen: list[int], path: Path, tmp_path: Path
) -> None:
    own = shutil.copy(path, tmp_path / "own.db")
    db = connect(str(own))
    db.execute("INSERT INTO dataset(name) VALUES('empty')")
    db.close()
    bounds = Bounds(datasets=datasets, folders=folders)
    queries = Queries(connect(str(own), readonly=True))
    hide(queries, bounds)
    assert [i for (i,) in queries.db.execute("SELECT id FROM image ORDER BY id")] == seen
    with Restricted(str(own), NoProgress(), bounds) as library:
        assert library.check()
        assert [each.image_id for each in library.tagged(before="2100", limit=50).results] == seen
        assert library.info().images == len(seen)


@pytest.mark.parametrize("blank", ["", " ", "\t\n"], ids=repr)
@pytest.mark.parametrize("kind", ["dataset", "folder"])
def test_a_name_that_is_empty_does_not_mean_everything(kind: str, blank: str, path: Path) -> None:
    with pictocli.open(path) as library, pytest.raises(ValidationError, match=f"^a {kind} without a name is given$"):
        library.mcp(datasets=["open", *[blank][kind == "folder" :]], folders=["crete", *[blank][kind == "dataset" :]])


def test_the_working_directory_says_nothing(path: Path, queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = path.parent / "open/crete"
    monkeypatch.chdir(folder)
    for name in (".", "..", "../../secret", "./"):
        with pytest.raises(NotFoundError, match=r"^no indexed folder "):
            hide(queries, Bounds(folders=(name,)))
    for name in (str(folder), f"{folder}/../crete/", "crete", "/crete/"):
        hide(queries, Bounds(folders=(name,)))
        assert queries.count_images() == 3
    assert Queries(connect(str(path), readonly=True)).folders(Scope(folder=".")) is not None  # a person's


def test_counts_are_those_of_what_is_seen(queries: Queries) -> None:
    hide(queries, Bounds(datasets=("open",)))
    db = queries.db
    assert db.execute("SELECT name, n FROM tag WHERE n > 0 ORDER BY name").fetchall() == [
        ("beach", 1), ("book", 1), ("car", 1), ("outdoor", 2), ("red", 1), ("sunny", 1),
    ]  # fmt: skip
    assert db.execute("SELECT name FROM dataset").fetchall() == [("open",)]
    assert db.execute("SELECT path, images FROM folder ORDER BY path").fetchall() == [("", 1), ("crete", 3)]
    assert {name for (name,) in db.execute("SELECT name FROM file")} == {"beach.jpg", "car.png", "report.pdf"}
    assert db.execute("SELECT count(*) FROM content").get == 4 == queries.count_contents()
    assert len(queries.roots()) == 1


def test_nothing_can_be_written_afterwards(queries: Queries) -> None:
    hide(queries, Bounds(datasets=("open",)))
    with pytest.raises(apsw.ReadOnlyError):
        queries.db.execute("DELETE FROM main.image")


@pytest.mark.parametrize(
    ("bounds", "error", "says"),
    [
        (Bounds(datasets=("none",)), NotFoundError, "there is no dataset none"),
        (Bounds(datasets=("open", "none")), NotFoundError, "there is no dataset none"),
        (Bounds(folders=("none",)), NotFoundError, "no indexed folder none"),
        (Bounds(folders=("crete", "none")), NotFoundError, "no indexed folder none"),
        (Bounds(datasets=("secret",), folders=("crete",)), NotFoundError, "no indexed folder crete"),
        (Bounds(where=("colour",)), ValidationError, "no image has a field colour"),
        (Bounds(where=("price<",)), ValidationError, "a value is missing here"),
    ],
    ids=lambda given: " ".join([*given.datasets, *given.folders, *given.where]) if isinstance(given, Bounds) else "",
)
def test_bounds_that_mean_nothing_change_nothing(
    queries: Queries, bounds: Bounds, error: type[Exception], says: str
) -> None:
    hide(queries, Bounds(datasets=("open",)))
    with pytest.raises(error, match=says):
        hide(queries, bounds)
    assert queries.count_images() == 4
