"""Indexes on fields of the metadata: made once, kept in mind, used, and made again when they are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pictocli
from pictocli.errors import ValidationError
from pictocli.expressions import parse
from pictocli.fields import Fields, indexable
from pictocli.schema import connect

INDEXES = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'field %' ORDER BY name"
METADATA = "filename,price,brand.name\nold.bmp,49.9,acme\ncat.png,50,bolt\n"


@pytest.fixture
def described(library: pictocli.Library, photos: Path, tmp_path: Path, index: Callable[..., Any]) -> pictocli.Library:
    """A library with metadata and an index on price."""
    (tmp_path / "m.csv").write_text(METADATA)
    report = index(photos, metadata=str(tmp_path / "m.csv"), index_field=["price"])
    assert (report.indexed, report.described) == (0, 2)  # no picture is opened for it
    return library


def test_an_index_is_made_once_and_stays(
    described: pictocli.Library, photos: Path, index: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    assert rows(INDEXES) == [('field $."price"',)]
    index(photos, index_field=["price", '"brand.name"'])
    assert rows(INDEXES) == [('field $."brand.name"',), ('field $."price"',)]
    assert rows("SELECT value FROM meta WHERE key = 'index_fields'") == [('[["price"], ["brand.name"]]',)]
    db = connect(described.path)
    db.execute("""DROP INDEX 'field $."price"'""")
    db.close()
    index(photos)
    assert len(rows(INDEXES)) == 2
    assert described.check() == []
    assert [each.filename for each in described.tagged(where="price<50").results] == ["old.bmp"]


@pytest.mark.parametrize("name", ["a'b", '"a\\"b"', "'$'", "a;b", "", "x" * 65, ".".join("a" * 9), "a[0]", "'a\nb'"])
def test_names_that_may_not_become_sql(name: str, tmp_path: Path, index: Callable[..., Any], photos: Path) -> None:
    with pytest.raises(ValidationError):
        index(photos, index_field=[name], db=tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_names_that_may() -> None:
    assert indexable(["price", "'unit price'.x-1", "größe"]) == [("price",), ("unit price", "x-1"), ("größe",)]


def test_no_more_than_64(described: pictocli.Library) -> None:
    db = connect(described.path)
    with pytest.raises(ValidationError, match="no more than 64 fields"):
        Fields(db).index([[f"f{at}"] for at in range(64)])
    assert len(db.execute(INDEXES).fetchall()) == 1
    db.close()


def test_a_dry_run_makes_none(library: pictocli.Library, photos: Path, index: Any, rows: Callable[..., Any]) -> None:
    index(photos, index_field=["price"], dry_run=True)
    assert rows(INDEXES) == []


def test_a_stranger_cannot_have_sql_of_his_made(described: pictocli.Library) -> None:
    db = connect(described.path)
    db.execute('UPDATE meta SET value = \'[["x""); DROP TABLE image; --"], ["ok"]]\' WHERE key = \'index_fields\'')
    db.execute("UPDATE meta SET value = json_array(json_array('x''); DROP TABLE image; --'), json_array('ok'))"
               " WHERE key = 'index_fields'")  # fmt: skip
    Fields(db).restore()
    assert [name for (name,) in db.execute(INDEXES)] == ['field $."ok"', 'field $."price"']
    db.close()


@pytest.mark.parametrize("value", ["5", "[5]", "[[]]", "not json", '[["a", 5]]'])
def test_what_is_kept_in_mind_wrongly_is_damage(value: str, described: pictocli.Library) -> None:
    db = connect(described.path)
    db.execute("UPDATE meta SET value = ? WHERE key = 'index_fields'", (value,))
    db.close()
    assert [damage.what for damage in described.check()] == ["what it says of its indexed fields"]
    assert described.repair().left == []
    assert described.check() == []


@pytest.mark.parametrize(
    ("old", "new", "cut", "salvaged"),
    [(b'"bolt"', b'"b\xfflt"', 0, False), (b'{"price": "50"', b'{"price"; "50"', 0, True), (b"", b"", 3, True)],
    ids=["no UTF-8", "no JSON", "cut short"],
)
def test_an_index_survives_a_repair(
    old: bytes, new: bytes, cut: int, salvaged: bool, described: pictocli.Library, rows: Callable[..., Any]
) -> None:
    """Over JSON that is none no row can be changed while there is an index, which would stop the repair."""
    described.close()
    path = Path(described.path)
    data = path.read_bytes().replace(old, new)
    assert not new or data.count(new) == 1
    path.write_bytes(data[: len(data) - 16384 * cut])
    report = described.repair()
    assert report.left == []
    assert (report.kept is not None) == salvaged
    assert rows(INDEXES) == [('field $."price"',)]
    db = connect(described.path, readonly=True)
    assert Fields(db).is_indexed(parse("price").field)
    db.close()


def test_names_are_those_of_what_is_there(described: pictocli.Library) -> None:
    db = connect(described.path)
    db.execute('UPDATE image SET metadata = \'{"a": {"b c": [{"d": 1}]}}\' WHERE id = 1')
    assert Fields(db).names() == ['"brand.name"', "a", 'a."b c"', "price"]
    assert [Fields(db).exists(field) for field in (["a", "b c"], ["price"], ["c"], ["brand", "name"])] == [
        True, True, False, False
    ]  # fmt: skip
    db.close()
