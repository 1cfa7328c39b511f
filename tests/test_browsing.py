"""Going through a whole library: pages in an order, by cursors, and counts, against the same asked the long way."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from pictures import make_pdf, scene

import pictocli
from pictocli.brain import put_labels
from pictocli.errors import DamagedError, NotFoundError, StoreError, ValidationError
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

N = 600
OBJECTS, SCENES = ["car", "dog", "cat", "person"], ["indoor", "outdoor", "beach"]


def fill(path: Path) -> None:
    """600 images in two datasets and nested folders, 2001 to 2023, half of them with a camera's clock."""
    chance = np.random.default_rng(7)
    db = connect(str(path), create=True)
    store = SqliteStore(db)
    put_labels(store, load())
    folders = [
        store.folder_id(root, name)
        for root in (store.add_root("/a", "alpha"), store.add_root("/a2", "alpha"), store.add_root("/b", "beta"))
        for name in ("", "x", "x/y", "xy", "z")
    ]
    with transaction(db):
        for at in range(1, N + 1):
            taken = int(chance.integers(1_000_000_000, 1_700_000_000)) // 86_400 * 86_400  # many of one moment
            folder = folders[int(chance.integers(0, len(folders)))]
            tags = [
                {name: 0.9 for name in names if chance.random() < 0.3} for names in (OBJECTS, SCENES)
            ]  # fmt: skip
            db.execute("INSERT INTO content VALUES(?, CAST(? AS BLOB), 0, 0, 4, 3, '{}', 1)", (at, at))
            if at % 2:
                db.execute("INSERT INTO capture(content_id, taken_at) VALUES(?, ?)", (at, taken))
            db.execute(
                "INSERT INTO file(id, folder_id, name, kind, pages, size, mtime_ns) VALUES(?, ?, ?, 'png', 1, 1, ?)",
                (at, folder, f"{at}.png", (taken + 1) * 1_000_000_000),
            )
            db.execute(
                "INSERT INTO image(id, file_id, folder_id, content_id, objects, scenes, metadata, indexed_at)"
                " VALUES(?1, ?1, ?2, ?1, ?3, ?4, ?5, 0)",
                (at, folder, *map(json.dumps, tags), json.dumps({"price": at % 10})),
            )
    db.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browsing") / "filled.db"
    fill(path)
    return path


@pytest.fixture
def shelf(filled: Path) -> Iterator[pictocli.Library]:
    with pictocli.open(filled) as library:
        yield library


def moment(image: Any) -> str:
    if image.taken_at:
        return str(image.taken_at)
    seconds = time.mktime(time.strptime(image.modified, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def walked(library: pictocli.Library, **asked: Any) -> list[int]:
    """All ids, page by page, by the cursor of the next one."""
    page = library.browse(**asked)
    found, at = [each.image_id for each in page.results], page.at
    while page.next is not None:
        at += len(page.results)
        page = library.browse(start=page.next, **asked)
        assert page.at == at
        found += [each.image_id for each in page.results]
    assert len(found) == page.total
    return found


@pytest.mark.parametrize("sort", ["newest", "oldest", "id"])
@pytest.mark.parametrize("limit", [1000, 100, 7])
def test_every_image_comes_once_and_in_its_order(sort: str, limit: int, shelf: pictocli.Library) -> None:
    images = {each.image_id: each for each in shelf.export()}
    back = sort == "newest"
    expected = sorted(images, key=(lambda i: i) if sort == "id" else lambda i: moment(images[i]), reverse=back)
    if back:  # of one moment those of lower id first, in both
        expected.sort(key=lambda i: i)
        expected.sort(key=lambda i: moment(images[i]), reverse=True)
    assert walked(shelf, sort=sort, limit=limit) == expected


ASKED: list[dict[str, Any]] = [
    {"objects": ["car"]}, {"objects": ["car", "dog"]}, {"objects": ["car", "dog"], "match": "all"},
    {"objects": ["cars"], "scenes": ["outdoor", "beach"]}, {"dataset": "alpha"}, {"dataset": "alpha", "folder": "x"},
    {"dataset": "beta", "folder": "x/y", "scenes": ["indoor"]}, {"folder": "xy"}, {"after": "2015"},
    {"after": "2003-05", "before": "2010-02-03"}, {"before": "2004", "dataset": "beta"}, {"where": "price<3"},
    {"where": ["price>=5", "price!=7"], "objects": ["person"], "after": "2010"}, {"camera": "canon"},
]  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(f"{k}={v}" for k, v in asked.items()))
def test_what_is_asked_for_is_what_tagged_and_export_answer(asked: dict[str, Any], shelf: pictocli.Library) -> None:
    labels = {name: value for name, value in asked.items() if name in ("objects", "scenes", "match")}
    scope = {name: value for name, value in asked.items() if name in ("dataset", "folder")}
    filters = {name: value for name, value in asked.items() if name not in labels | scope}
    expected = {each.image_id for each in shelf.export(**scope, **filters)}
    if labels:
        expected &= {each.image_id for each in shelf.tagged(**labels, limit=500).results}
    assert len(expected) < 500
    assert set(walked(shelf, **asked)) == expected
    facets = shelf.facets(**asked)
    assert facets.total == len(expected)
    assert bool(expected) == (asked != {"camera": "canon"})


@pytest.mark.parametrize("asked", ASKED[:-1], ids=lambda asked: " ".join(f"{k}={v}" for k, v in asked.items()))
def test_a_count_is_what_choosing_it_gives(asked: dict[str, Any], shelf: pictocli.Library) -> None:
    facets = shelf.facets(**asked)
    for category in ("objects", "scenes"):
        others = {name: value for name, value in asked.items() if name not in (category, "match")}
        if "match" in asked:  # of the other category
            continue
        counted = dict(facets.tags[category])
        assert list(counted.values()) == sorted(counted.values(), reverse=True)
        for label in OBJECTS if category == "objects" else SCENES:
            assert counted.get(label, 0) == shelf.browse(**others, **{category: [label]}, limit=1).total
    assert not facets.tags["attributes"]
    unscoped = {name: value for name, value in asked.items() if name not in ("dataset", "folder")}
    every = shelf.browse(**unscoped, limit=1000).results
    assert facets.folders is not None
    assert {(d, f): n for d, f, n in facets.folders} == Counter((each.dataset, each.folder) for each in every)
    undated = {name: value for name, value in asked.items() if name not in ("after", "before")}
    assert facets.months == sorted(
        Counter(moment(each)[:7] for each in shelf.browse(**undated, limit=1000).results).items()
    )


def test_among_some_images_only(shelf: pictocli.Library) -> None:
    some = [each.image_id for each in shelf.browse(objects=["dog"], limit=50).results]
    facets = shelf.facets(among=[*some, 10**9])
    assert facets.total == 50
    assert dict(facets.tags["objects"])["dog"] == 50
    assert facets.folders is not None
    assert sum(count for _, _, count in facets.folders) == 50


def test_what_time_is_not_there_for_is_left_out(shelf: pictocli.Library) -> None:
    facets = shelf.facets(seconds=-1)
    assert (facets.total, facets.tags, facets.folders, facets.months) == (N, {}, None, None)
    assert set(shelf.facets(facets=["scenes", "months"]).tags) == {"scenes"}


def test_around_an_image_and_back(shelf: pictocli.Library) -> None:
    page = shelf.browse(limit=100)
    middle = shelf.browse(limit=3, around=page.results[50].image_id)
    assert [each.image_id for each in middle.results] == [each.image_id for each in page.results[49:52]]
    assert (middle.at, middle.cursors) == (49, page.cursors[49:52])
    second = shelf.browse(limit=100, start=page.next)
    assert second.previous == page.cursors[0]
    assert page.previous is None
    third = shelf.browse(limit=100, start=second.cursors[50])
    assert third.previous == page.cursors[50]
    assert [each.image_id for each in shelf.browse(limit=3, around=page.results[0].image_id).results] == [
        each.image_id for each in page.results[:3]
    ]


@pytest.mark.parametrize("sort", ["newest", "oldest", "id"])
def test_a_cursor_whose_image_is_gone_goes_on_after_it(sort: str, filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.write_bytes(filled.read_bytes())
    with pictocli.open(path) as library:
        first = library.browse(sort=sort, limit=10)
        gone = library.browse(sort=sort, limit=10, start=first.next)
        db = connect(str(path))
        db.execute("DELETE FROM image WHERE id = ?", (gone.results[0].image_id,))
        db.close()
        after = library.browse(sort=sort, limit=9, start=first.next)
        assert [each.image_id for each in after.results] == [each.image_id for each in gone.results[1:]]
        assert (after.at, after.total) == (10, N - 1)


def test_others_write_meanwhile(filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.write_bytes(filled.read_bytes())
    with pictocli.open(path) as library:
        first = library.browse(limit=5)
        db = connect(str(path))
        db.execute("DELETE FROM image WHERE id = ?", (first.results[2].image_id,))
        stale = library.browse(limit=5, stale=3600)
        assert stale.total == N  # as it was
        assert [each.image_id for each in stale.results] == [first.results[at].image_id for at in (0, 1, 3, 4)]
        assert len(stale.cursors) == 4
        assert library.facets(stale=3600).total == N
        assert library.browse(limit=5).total == library.facets().total == N - 1
        db.close()


def test_another_file_in_its_place_is_another_library(filled: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "library.db", tmp_path / "other.db"
    path.write_bytes(filled.read_bytes())
    with pictocli.open(path) as library:
        first = library.browse(limit=1).results[0].image_id
        before = library.tagged(["car"])
        assert library.facets().total == library.info().images == before.considered == N
        other.write_bytes(filled.read_bytes())
        db = connect(str(other))
        gone = before.results[0].image_id
        db.execute("DELETE FROM image WHERE id = ?", (gone,))
        db.close()
        os.replace(other, path)
        assert library.browse(limit=1, stale=3600).total == library.facets(stale=3600).total == N - 1
        after = library.tagged(["car"])
        assert after.considered == library.info().images == N - 1
        assert gone not in [each.image_id for each in after.results]
        path.unlink()
        for ask in (library.info, library.browse, lambda: library.show(first), lambda: library.tagged(["car"])):
            with pytest.raises(StoreError, match="there is no database at "):
                ask()
        path.write_bytes(filled.read_bytes())
        assert library.browse(limit=1, stale=3600).total == library.info().images == N


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        ({"sort": "best"}, ValidationError, "there is no order best"),
        ({"start": "here"}, ValidationError, "here is no place in a list of images"),
        ({"start": f"1.{10**19}"}, ValidationError, "is no place in a list of images"),
        ({"start": "1.99999999999999999999"}, ValidationError, "is no place in a list of images"),
        ({"limit": 0}, ValidationError, "limit must lie between 1 and 1000, not 0"),
        ({"objects": ["carr"]}, ValidationError, "unknown label carr in objects"),
        ({"dataset": "gamma"}, NotFoundError, "there is no dataset gamma"),
        ({"folder": "nowhere"}, NotFoundError, "no indexed folder nowhere"),
        ({"after": "soon"}, ValidationError, "soon is no date"),
        ({"after": "2020", "before": "2019"}, ValidationError, "nothing lies after 2020 and before 2019"),
        ({"around": 10**6}, NotFoundError, "image 1000000 is not among those asked for"),
        ({"where": "price<"}, ValidationError, "price<"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_asked(
    asked: dict[str, Any], error: type[Exception], sentence: str, shelf: pictocli.Library
) -> None:
    with pytest.raises(error, match=sentence.replace(".", "\\.")):
        shelf.browse(**asked)


def test_a_library_without_images(tmp_path: Path) -> None:
    with pictocli.open(tmp_path / "none.db") as library, pytest.raises(StoreError, match="there is no database"):
        library.browse()
    connect(str(tmp_path / "empty.db"), create=True).close()
    with pictocli.open(tmp_path / "empty.db") as library:
        page, facets = library.browse(), library.facets()
    assert (page.results, page.total, page.next, page.previous) == ([], 0, None, None)
    assert (facets.total, facets.folders, facets.months) == (0, [], [])


@pytest.mark.parametrize(
    "change",
    ["UPDATE image SET folder_id = 'x' WHERE id = 3", "UPDATE folder SET images = images + 1",
     "INSERT INTO image_tag VALUES(1, 'x', 0.5)", "UPDATE capture SET taken_at = 'soon' WHERE content_id = 3"],
    ids=lambda change: " ".join(change.split()[:4]),
)  # fmt: skip
def test_a_database_that_does_not_add_up_is_told_of(change: str, filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.write_bytes(filled.read_bytes())
    db = apsw.Connection(str(path))
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute(change)
    db.close()
    with pictocli.open(path) as library, pytest.raises(DamagedError):
        library.facets()


def test_pages_of_a_document(tmp_path: Path, index: Any) -> None:
    (tmp_path / "p").mkdir()
    make_pdf(tmp_path / "p/ten.pdf", list(range(10)))
    scene(1, 40, 30).save(tmp_path / "p/one.png")
    os.utime(tmp_path / "p/one.png", (1, 1))
    index(tmp_path / "p")
    with pictocli.open(tmp_path / "library.db") as library:
        found = library.pages(f"{tmp_path}/p/ten.pdf#page=6", beside=2)
        assert ([each.page for each in found.results], found.at, found.total) == ([4, 5, 6, 7, 8], 3, 10)
        assert [each.page for each in library.pages(f"{tmp_path}/p/ten.pdf#page=1").results] == [1, 2, 3, 4]
        assert library.pages(tmp_path / "p/one.png").total == 0
        assert [each.page for each in library.browse(limit=11).results] == [*range(1, 11), None]
        with pytest.raises(NotFoundError, match="no image has the id 99"):
            library.pages(99)
