"""SQLite's SQL on PostgreSQL: what it is translated to, and that a real server gives the answers that SQLite gives."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import stores
from psycopg.raw_cursor import RawCursor

from pictocli import databases, schema
from pictocli.catalog import Catalog
from pictocli.conditions import compared
from pictocli.errors import DamagedError, StoreError, TakenError
from pictocli.expressions import parse
from pictocli.fields import Fields, literal, path_of, value
from pictocli.filerows import FileRow, FinishedFile, PageRow
from pictocli.protocols import Database
from pictocli.queries import Queries
from pictocli.records import ModelSpec, Scope
from pictocli.scale.postgres import opening
from pictocli.scale.postgres import session as postgres_session
from pictocli.scale.postgres.calls import path_of as names_of
from pictocli.scale.postgres.connection import PostgresConnection
from pictocli.scale.postgres.many import together
from pictocli.scale.postgres.opening import password_of, shown, target
from pictocli.scale.postgres.sql import index_name, translated
from pictocli.scale.postgres.values import field_key
from pictocli.schema import from_db, savepoint, to_db, transaction
from pictocli.sqlite import SqliteStore

FIELD = value("i.metadata", "?")


# -- texts alone ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlite", "postgres", "takes"),
    [
        pytest.param("SELECT 1 -- x?\n WHERE a = ?", "SELECT 1 WHERE a = $1", (0,), id="comment"),
        pytest.param("SELECT '?:a' WHERE b = :a", "SELECT '?:a' WHERE b = $1", ("a",), id="text-is-left"),
        pytest.param("VALUES(?2, ?1, ?)", "VALUES ( $1 , $2 , $3 )", (1, 0, 2), id="numbered"),
        pytest.param("SELECT ?1 IS NULL OR a = ?1", "SELECT $1 ::text IS NULL OR a = $2", (0, 0), id="is-null"),
        pytest.param("SELECT a IS NOT b", "SELECT a IS DISTINCT FROM b", (), id="is-not"),
        pytest.param("SELECT a IS ?", "SELECT a IS NOT DISTINCT FROM $1", (0,), id="is"),
        pytest.param("SELECT a IS NOT NULL", "SELECT a IS NOT NULL", (), id="is-not-null"),
        pytest.param(
            "SELECT id FROM t WHERE id IN (SELECT value FROM json_each(?))", "SELECT id FROM t WHERE id = ANY ( $1 )",
            (0,), id="in-list",
        ),
        pytest.param(
            "SELECT id FROM t WHERE id NOT IN (SELECT value FROM json_each(?))",
            "SELECT id FROM t WHERE id <> ALL ( $1 )", (0,), id="not-in-list",
        ),
        pytest.param(
            "SELECT value FROM json_each(?)", "SELECT value FROM unnest ( $1 ::bigint[] ) AS given ( value )", (0,),
            id="list",
        ),
        pytest.param("SELECT iif(a, b, ifnull(c, 0))", "SELECT ( CASE WHEN a THEN b ELSE coalesce ( c , 0 ) END )", (),
                     id="iif"),
        pytest.param("SELECT a FROM t NOT INDEXED WHERE +b", "SELECT a FROM t WHERE b", (), id="hints"),
        pytest.param("SELECT a + 1 FROM t INDEXED BY x", "SELECT a + 1 FROM t", (), id="plus"),
        pytest.param("SELECT a FROM t CROSS JOIN u ON a = b", "SELECT a FROM t JOIN u ON a = b", (), id="cross-join"),
        pytest.param("SELECT x'00ff', 1e9", "SELECT '\\x00ff'::bytea , 1e9::float8", (), id="literals"),
        pytest.param("SELECT a GLOB 's3://?*'", "SELECT a ~ '^s3\\:\\/\\/..*$'", (), id="glob"),
        pytest.param("SELECT a NOT GLOB '*[^0-9]*'", "SELECT a !~ '^.*[^0-9].*$'", (), id="not-glob"),
        pytest.param("INSERT OR IGNORE INTO t VALUES(?)", "INSERT INTO t VALUES ( $1 ) ON CONFLICT DO NOTHING", (0,),
                     id="ignore"),
        pytest.param(
            "INSERT OR REPLACE INTO validator VALUES(?, ?)",
            "INSERT INTO validator VALUES ( $1 , $2 ) ON CONFLICT (file_id) DO UPDATE SET etag = excluded.etag", (0, 1),
            id="replace",
        ),
        pytest.param(
            "INSERT INTO content(hash, page, dpi) VALUES(?, 0, 0) ON CONFLICT(hash, page, dpi) DO UPDATE SET"
            " width = width RETURNING id",
            "INSERT INTO content ( hash , page , dpi ) VALUES ( $1 , 0 , 0 ) ON CONFLICT ( hash , page , dpi )"
            " DO UPDATE SET width = content.width RETURNING id", (0,), id="upsert",
        ),
        pytest.param(
            "INSERT INTO file(folder_id, name, size) VALUES(?1, ?2, ?3) ON CONFLICT(folder_id, name) DO UPDATE SET"
            " size = iif(size = ?3, ?3 + 1, ?4)",
            "INSERT INTO file ( folder_id , name , size ) VALUES ( $1 , $2 , $3 ) ON CONFLICT ( folder_id , name )"
            " DO UPDATE SET size = ( CASE WHEN file.size = excluded.size THEN excluded.size + 1 ELSE $4 END )",
            (0, 1, 2, 3), id="upsert-of-what-is-bound",
        ),
        pytest.param(
            "INSERT INTO embedding VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET v = ?2",
            "INSERT INTO embedding VALUES ( $1 , $2 ) ON CONFLICT ( content_id ) DO UPDATE SET v = excluded.v", (0, 1),
            id="upsert-without-names",
        ),
        pytest.param("INSERT INTO tag(name) VALUES(?)", "INSERT INTO tag ( name ) VALUES ( $1 ) RETURNING id", (0,),
                     id="last-id"),
        pytest.param("SELECT rowid FROM capture WHERE rowid > 3", "SELECT content_id FROM capture WHERE content_id > 3",
                     (), id="rowid"),
        pytest.param("SELECT v FROM vector", "SELECT v FROM named_vector", (), id="vector"),
        pytest.param("SELECT a FROM main.image JOIN temp.x", 'SELECT a FROM "picto" . image JOIN pg_temp . x', (),
                     id="schemas"),
        pytest.param("SELECT a WHERE id IN temp.seen", "SELECT a WHERE id IN ( SELECT id FROM pg_temp . seen )", (),
                     id="in-table"),
        pytest.param("SELECT min(x) FROM (SELECT 1 x)", "SELECT min ( x ) FROM ( SELECT 1 x ) AS q5", (),
                     id="query-without-a-name"),
        pytest.param(
            "SELECT DISTINCT a FROM t l WHERE b ORDER BY (SELECT c FROM u WHERE d = l.a) DESC, a LIMIT 3",
            "SELECT * FROM ( SELECT DISTINCT a FROM t l WHERE b ) AS l"
            " ORDER BY ( SELECT c FROM u WHERE d = l . a ) DESC , a LIMIT 3", (), id="distinct",
        ),
        pytest.param(f"SELECT {FIELD} < ''", "SELECT field_value ( i . metadata , $1 ) < '\\x02'::bytea", (0,),
                     id="field"),
        pytest.param(
            f"SELECT {value('metadata', literal(path_of(['it’s', 'b']))) }",
            """SELECT field_value ( metadata , '{"it’s","b"}' )""", (), id="field-of-an-index",
        ),
        pytest.param("SELECT instr(a, ?) = 0 OR instr(b, ?)",
                     "SELECT instr ( a , $1 ) = 0 OR ( instr ( b , $2 ) > 0 )", (0, 1), id="instr"),
    ],
)  # fmt: skip
def test_translated(sqlite: str, postgres: str, takes: tuple[int | str, ...]) -> None:
    (statement,) = translated(sqlite, "picto")
    assert (statement.sql, statement.takes) == (postgres, takes)


@pytest.mark.parametrize(
    ("sql", "rows", "made"),
    [
        pytest.param(
            "INSERT INTO embedding VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET v = ?2", [(1, "a"), (2, "a")],
            [("INSERT INTO embedding VALUES ( $1 , $2 ), ( $3 , $4 ) ON CONFLICT ( content_id )"
              " DO UPDATE SET v = excluded.v", [(1, "a"), (2, "a")])], id="two",
        ),
        pytest.param(
            "INSERT OR REPLACE INTO validator VALUES(?, ?)", [(1, "a"), (2, "a"), (1, "b")],
            [("INSERT INTO validator VALUES ( $1 , $2 ), ( $3 , $4 ) ON CONFLICT (file_id)"
              " DO UPDATE SET etag = excluded.etag", [(1, "a"), (2, "a")]),
             ("INSERT INTO validator VALUES ( $1 , $2 ) ON CONFLICT (file_id) DO UPDATE SET etag = excluded.etag",
              [(1, "b")])], id="one-replaces-another",
        ),
        pytest.param("INSERT INTO validator VALUES(?, ?) ON CONFLICT(file_id) DO UPDATE SET etag = ?3", [], None,
                     id="a-value-of-no-column"),
        pytest.param("UPDATE validator SET etag = ?", [], None, id="no-insert"),
        pytest.param("INSERT INTO validator SELECT id, ? FROM file", [], None, id="rows-of-a-query"),
    ],
)  # fmt: skip
def test_rows_that_go_together(sql: str, rows: list[tuple[Any, ...]], made: Any) -> None:
    found = together(translated(sql, "picto")[0].sql, rows)
    assert (None if found is None else list(found)) == made


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("SELECT 1", False), ("INSERT INTO image VALUES(1)", True), ("DELETE FROM temp.seen_image", False),
        ("CREATE TEMP VIEW a AS SELECT 1", False), ("DROP VIEW IF EXISTS temp.image", False), ("DROP INDEX a", True),
        ("CREATE INDEX a ON image(id)", True), ("PRAGMA optimize", False), ("UPDATE folder SET images = 0", True),
    ],
)  # fmt: skip
def test_what_writes(sql: str, writes: bool) -> None:
    assert translated(sql, "picto")[0].writes is writes


def test_names_of_indexes_are_never_cut() -> None:
    long = ["field $." + json.dumps("a" * 60 + end) for end in "bc"]
    assert index_name("field $.brand") == "field $.brand"
    assert len({index_name(name) for name in long}) == 2
    assert all(len(index_name(name)) <= 63 and index_name(index_name(name)) == index_name(name) for name in long)


@pytest.mark.parametrize(
    ("path", "names"),
    [("$.id", ["id"]), ('$."a"."b c"', ["a", "b c"]), ("$", []), ('$."\\u00e9\\""', ['é"'])],
    ids=["bare", "quoted", "all", "escapes"],
)
def test_paths(path: str, names: list[str]) -> None:
    assert names_of(path) == names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("postgresql://a:b@h/d", "postgresql://a@h/d"),
        ("postgresql://a:p@ss:w/rd?@h1,h2:5/d?schema=x", "postgresql://a@h1,h2:5/d?schema=x"),
        ("postgresql://a@h/d?password=b&schema=x", "postgresql://a@h/d?password=...&schema=x"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://a@h/d?p%61ssword=b&port=5", "postgresql://a@h/d?p%61ssword=...&port=5"),
        ("postgresql://a@h/d?password=b&c&d=e?f=g&schema=x&y=z", "postgresql://a@h/d?password=...&schema=x&y=z"),
        ("postgresql://a@h/d?sslpassword=b&scram_client_key=c",
         "postgresql://a@h/d?sslpassword=...&scram_client_key=..."),
        ("postgresql://a:b/d?schema=x", "postgresql://a/d?schema=x"),
        ("postgresql://a:2b", "postgresql://a"),
        ("postgresql://h1:5,h2:6/d", "postgresql://h1:5,h2:6/d"),
        ("postgresql://[::1]:5/d", "postgresql://[::1]:5/d"),
        ("postgresql://a:b\nc@h/d", "postgresql://a@h/d"),
    ],
    ids=["plain", "signs", "query", "none", "escaped", "unescaped", "secrets", "no-host", "no-host-digit", "ports",
         "six", "line-feed"],
)  # fmt: skip
def test_no_name_tells_a_password(name: str, told: str) -> None:
    assert shown(name) == told


def test_what_is_picto_s_of_a_name() -> None:
    where = target("postgresql://a@h1,h2:5/d?schema=x%20y&vectors=float32&target_session_attrs=read-write")
    assert (where.schema, where.vectors) == ("x y", "vector")
    assert "target_session_attrs=read-write" in where.dsn
    assert "schema" not in where.dsn
    assert where.place == ("h1,h2", ",5", "d", "x y")
    assert where.place == target("postgresql://b:c@h1,h2:5/d?schema=x%20y").place


@pytest.mark.parametrize(
    "name",
    [
        *(f"a:secret@h/d?{query}" for query in ("schema=", "schema=pg_x", "schema=a$$b", "schema={v}", "vectors=int8")),
        "a:secret@h/d?nosuch=1", "a:se@cret@h/d", "a:se?cret@h/d", "a:secret/d",
    ],
)  # fmt: skip
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(StoreError, match=r"is no name|there are no vectors") as caught:
        target(f"postgresql://{name}")
    assert "cret" not in str(caught.value)
    assert caught.value.__context__ is None  # which is told by -v


def test_a_plus_of_a_password_is_one() -> None:
    assert password_of("postgresql://a@h/d?password=b+c%20d") == "b+c d"


def test_keys_are_in_the_order_of_sqlite_s_values() -> None:
    numbers = [
        -math.inf, -(2**63), -(2**63) + 1, -1e10, -1, -0.5, -1e-300, 0, 1e-300, 0.1, 1, 2**53, 2**53 + 1, 2**63 - 1024,
        2**63 - 2, 2**63 - 1, 2**63, 1e300,
    ]  # fmt: skip
    ordered: list[Any] = [*numbers, math.inf, "", "1", "a", "é", "😀"]
    keys = [field_key(each) for each in ordered]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert field_key(0.0) == field_key(-0.0) == field_key(0)
    assert field_key(3) == field_key(3.0)


# -- on a server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def name() -> str:
    return stores.fresh()


@pytest.fixture
def server(name: str) -> Iterator[PostgresConnection]:
    """An empty library."""
    place = f"{name}?schema=s{next(_NUMBERS)}"
    db = databases.connect(place, create=True)
    assert isinstance(db, PostgresConnection)
    yield db
    db.close()


_NUMBERS = iter(range(10**9))


def both(server: PostgresConnection) -> Iterator[Database]:
    yield schema.memory()
    yield server


def filled(db: Database, files: Sequence[tuple[str, str | None]]) -> None:
    """Images 1, 2 … of files of these names, with these metadata."""
    store = SqliteStore(db)
    store.require_model(ModelSpec("m", "0", 4, 224, "bilinear", 64, 1.0, 0.0))
    folder = store.folder_id(store.add_root("/r", "r"), "")
    assert folder is not None
    for at, (name, metadata) in enumerate(files):
        row = FileRow(folder, name, "png", 1, 10**18 + at, bytes([at, 0, 255]), 1)
        vector = bytes([at, at]) + b"\0\x3f" + b"\0\0\0\x3f" * 3
        tags = {"objects": {f"o{at % 3}": 0.1 + at, "é": 1e-07}, "scenes": {"s": 0.25}, "attributes": {}}
        store.write([PageRow(row, 0, 3, 4, {"m": 0.5}, 1.5, vector, tags, None)], [])
        if metadata is not None:
            db.execute("UPDATE image SET metadata = ? WHERE id = ?", (metadata, at + 1))


ODD_NAMES = [
    b"caf\xe9.png", b"\xff", b"a\\b.png", "é.png".encode(), "e\u0301.png".encode(), b"new\nline", b"'\"$1 ?",
    "😀.png".encode(), b"\xf0\x28", b"%s%%", "\U0010fffd".encode(), "\U0010fffda".encode(), b"\x01",
    "\U0010fffd\U0010fffd".encode(), "\U0010fffd\U0010fffe".encode(), "\U0010fffe.png".encode(),
    "\U0010fffe1".encode(), "\U0010ffffa".encode(), "a\U0010ffff".encode(),
]  # fmt: skip


def test_names_of_any_bytes(server: PostgresConnection) -> None:
    found, raw, between = [], "CAST(name AS BLOB)", "SELECT name FROM file WHERE name >= ? AND name < ?"
    for db in both(server):
        names = [name.decode(errors="surrogateescape") for name in ODD_NAMES]
        filled(db, [(name, None) for name in names])
        for name in names:
            assert db.execute("SELECT name FROM file WHERE name = ?", (to_db(name),)).get == to_db(name)
        found.append(
            (
                db.execute("SELECT id, name, typeof(name), CAST(name AS BLOB) FROM file ORDER BY name").fetchall(),
                db.execute(f"{between} ORDER BY name", ("a", "z\U0010ffff")).fetchall(),
                db.execute(f"SELECT length({raw}), instr({raw}, x'2e') FROM file ORDER BY id").fetchall(),
                [from_db(row[0]) for row in db.execute("SELECT name FROM file ORDER BY id")] == names,
            )
        )
    assert found[0] == found[1]
    assert found[1][3]


ODD_TEXTS = ["a\0b", "\0", "a", "a\0", "b", "a\x01\U0010fffd0", "\x01\U0010fffd\0", "\U0010fffe\0", "\U0010fffd",
             "\U0010ffff\U0010fffe"]  # fmt: skip


def test_texts_of_any_characters(server: PostgresConnection) -> None:
    found = []
    label = "\U0010fffe1"
    for db in both(server):
        filled(db, [(f"\U0010fffe{at}", None) for at in range(len(ODD_TEXTS))])
        db.execute("UPDATE image SET objects = ? WHERE id = 1", (json.dumps({label: 0.5}),))
        db.executemany("UPDATE file SET reason = ?2 WHERE id = ?1", list(enumerate(ODD_TEXTS, 1)))
        db.executemany("INSERT INTO text_embedding VALUES(?, ?)", [(text, b"") for text in ODD_TEXTS])
        Catalog(db).set_meta("k", "\U0010fffe1")
        for text in ODD_TEXTS:
            assert db.execute("SELECT text FROM text_embedding WHERE text = ?", (text,)).fetchall() == [(text,)]
        found.append(
            (
                db.execute("SELECT text FROM text_embedding ORDER BY text").fetchall(),
                db.execute("SELECT reason FROM file ORDER BY id").fetchall(),
                db.execute("SELECT path, filename FROM images ORDER BY image_id").fetchall(),
                db.execute("SELECT id FROM file WHERE instr(name, ?) > 0", (label,)).fetchall(),
                Catalog(db).meta("k"),
                Queries(db).label_id(0, label),
                db.execute("SELECT label FROM tags WHERE label = ?", (label,)).fetchall(),
                db.execute("SELECT name FROM image_label WHERE name = ?", (label,)).fetchall(),
            )
        )
    assert found[0] == found[1]
    assert found[1][1] == [(text,) for text in ODD_TEXTS]


def test_texts_that_are_no_unicode_are_kept(server: PostgresConnection) -> None:
    texts = [(chr(half),) for half in (0xD800, 0xDBFF, 0xDC00, 0xDFFF)] + [("a\udc80\ud83d b",)]
    server.executemany("INSERT INTO text_embedding VALUES(?, x'')", texts)
    assert server.execute("SELECT text FROM text_embedding ORDER BY rowid").fetchall() == texts
    for text in texts:
        assert server.execute("SELECT text FROM text_embedding WHERE text = ?", text).fetchall() == [text]


@pytest.mark.parametrize("text", ["\U0010fffe1", "\U0010ffffé", "\U0010fffd", "\U0010fffd\U0010fffd"], ids=ascii)
def test_texts_of_metadata_are_no_numbers_and_no_bytes(server: PostgresConnection, text: str) -> None:
    for db in both(server):
        filled(db, [("a", json.dumps({"f": text, "g": [text]}))])
        assert db.execute("SELECT json_extract(metadata, '$.f') FROM image").fetchall() == [(text,)]
        for asked, images in ((f"f='{text}'", [1]), (f"f>'{text}'", []), (f"f~'{text}'", [1]), (f"g~'{text}'", [1])):
            assert list(Queries(db).passing([compared(Queries(db), parse(asked))], None)) == images, asked


VALUES: list[Any] = [
    1, 1.5, "1", " 2 ", "1e3", "x", "", None, True, False, [1, "a b", {"k": 2}], {"b": 1, "a": []}, 10**15, 2**53 + 1,
    -3, 0.1, "é", "\ud800", "a\0b", "\ud83d\ude00", "back\\u0000slash", "0x10", "1_000", "+5", ".5", "5.", "1e400",
    -0.0, 2**63 - 1, 2**63 - 1024, -(2**63), "9223372036854775807", {"0": 1},
]  # fmt: skip
CONDITIONS = [
    "f<2", "f<=1.5", "f>1", "f>=1e3", "f=1", "f=1.50", "f!=1", "f", "f=true", "f=false", "f>a", "f<b", "f>=x", "f=x",
    "f~A", "f~é", "f~1", 'f=""', 'f!=""', "f=null", "f='1'", "f>'1'", "f<'2'", "g.h>1", "g.h=yes", "nosuch=null",
    "f.0=1", "f.-1", "g.h.0=1", f"f={2**63 - 1}", f"f='{2**63 - 1}'", f"f in ({2**63 - 1024}, -{2**63})", f"f>={2**63}",
]  # fmt: skip


@pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
def test_conditions_on_metadata(server: PostgresConnection, indexed: bool) -> None:
    found = []
    for db in both(server):
        filled(db, [(f"{at}", json.dumps({"f": each, "g": {"h": each}})) for at, each in enumerate(VALUES)])
        db.execute("UPDATE image SET metadata = '{}' WHERE id = 1")
        if indexed:
            assert Fields(db).index([["f"], ["g", "h"]]) == ["f", "g.h"]
            assert Fields(db).is_indexed(["g", "h"])
        queries = Queries(db)
        answers = {}
        for text in CONDITIONS:
            condition = compared(queries, parse(text))
            answers[text] = sorted(set(queries.passing([condition], None)))
            share = db.execute(
                f"SELECT count(*) FROM (SELECT id AS image_id FROM image) l WHERE {condition.holds}", condition.values
            )
            assert share.get == len(answers[text]), text
        found.append((answers, Fields(db).names(), Fields(db).exists(["g", "h"]), Fields(db).exists(["h"])))
        if indexed:
            Fields(db).drop()
            assert not Fields(db).is_indexed(["f"])
    for text, ids in found[0][0].items():
        assert found[1][0][text] == ids, text
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        pytest.param("SELECT typeof(value) FROM meta WHERE key = 'width'", (), id="typeof"),
        pytest.param("SELECT sum(id > 1), ifnull(sum(id), 0), avg(n) FROM tag", (), id="sums"),
        pytest.param("SELECT sum(n) FROM tag WHERE FALSE", (), id="sum-of-none"),
        pytest.param(
            "SELECT tag_id, json_group_array(image_id) FROM image_tag GROUP BY tag_id ORDER BY 1", (), id="group-array"
        ),
        pytest.param(
            "SELECT ifnull(mtime_ns, 0) / 1e9, mtime_ns / 1000000000, mtime_ns % 7 FROM file ORDER BY id",
            (),
            id="arithmetic",
        ),
        pytest.param(
            "SELECT x.image_id, t.name, x.score FROM image_tag x JOIN tag t ON t.id = x.tag_id ORDER BY 1, 2",
            (),
            id="tags-by-triggers",
        ),
        pytest.param("SELECT image_id, category, name, score FROM image_label ORDER BY 1, 2, 3", (), id="labels"),
        pytest.param("SELECT image_id, label FROM tags ORDER BY 1, 2", (), id="view-tags"),
        pytest.param(
            "SELECT image_id, path, filename, page, modified, content_hash FROM images ORDER BY 1", (), id="view-images"
        ),
        pytest.param("SELECT id, images FROM folder", (), id="folders"),
        pytest.param("SELECT EXISTS (SELECT 1 FROM image), 1 = 2, NULL, 'a', 1.5, x'00'", (), id="types"),
        pytest.param("SELECT unixepoch(1700000000, 'unixepoch', 'localtime')", (), id="localtime"),
        pytest.param("SELECT id FROM image WHERE page NOT IN (SELECT value FROM json_each(?))", ("[]",), id="not-in"),
        pytest.param(
            "SELECT id FROM image WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", ("[3, 1, 3]",), id="in"
        ),
        pytest.param("SELECT id FROM image WHERE id IN (SELECT value FROM json_each(?))", ("null",), id="in-null"),
        pytest.param("SELECT vec_distance_cosine(v, ?) IS NULL FROM embedding", (b"\0\0\x80\x3f" * 4,), id="cosine"),
        pytest.param("SELECT v, length(v), typeof(v) FROM embedding ORDER BY content_id", (), id="vectors"),
        pytest.param(
            "SELECT json_extract(value, '$.id'), json_type(value, '$.dim') FROM meta WHERE key = 'model'", (), id="json"
        ),
        pytest.param("SELECT substr(thumbnail_url, 1, ?) FROM image", (3,), id="substr"),
        pytest.param("SELECT id FROM image WHERE (id, page) > (?, ?) ORDER BY id LIMIT ?", (2, 0, 2), id="keyset"),
        pytest.param(
            "SELECT id FROM file WHERE substr(CAST(name AS BLOB), 1, length(?1) + 1) = ?2 OR CAST(name AS BLOB) = ?1",
            (b"3", b"3."),
            id="bytes",
        ),
        pytest.param("SELECT id FROM file WHERE size < ? AND mtime_ns >= ?", (2**62, -(2**62)), id="big"),
    ],
)
def test_answers_are_sqlite_s(server: PostgresConnection, sql: str, values: tuple[Any, ...]) -> None:
    found = []
    for db in both(server):
        filled(db, [(f"{at}.png", None) for at in range(5)])
        Catalog(db).set_meta("width", 256)
        rows = db.execute(sql, values).fetchall()
        found.append([tuple(json.loads(x) if isinstance(x, str) and x[:1] == "[" else x for x in row) for row in rows])
    assert found[0] == found[1]


def test_ids_are_the_greatest_and_one(server: PostgresConnection) -> None:
    for db in both(server):
        filled(db, [(f"{at}.png", None) for at in range(4)])
        db.execute("DELETE FROM file WHERE id IN (2, 4)")
        assert db.execute("SELECT count(*) FROM content").get == 2
        db.execute("INSERT INTO dataset(name) VALUES('b')")
        assert db.last_insert_rowid() == 2
        db.execute("INSERT OR IGNORE INTO dataset(name) VALUES('b')")
        assert (db.last_insert_rowid(), db.changes()) == (2, 0)
        db.execute("INSERT INTO dataset(name) SELECT 'c' || name FROM dataset ORDER BY id")
        assert db.execute("SELECT id, name FROM dataset ORDER BY id").fetchall() == [
            (1, "r"),
            (2, "b"),
            (3, "cr"),
            (4, "cb"),
        ]
        folder = db.execute("SELECT id FROM folder").get
        stored = db.execute("INSERT INTO file(folder_id, name, kind) VALUES(?, 'n', 'png') RETURNING id", (folder,))
        assert stored.get == 4


@pytest.mark.parametrize("value", [None, "", "text", "a\U0001f600", 0, -5, 2**40, 1.5], ids=str)
def test_meta_keeps_what_it_is_given(server: PostgresConnection, value: Any) -> None:
    Catalog(server).set_meta("k", value)
    kept = Catalog(server).meta("k")
    assert (kept, type(kept)) == (value, type(value))


def test_many_rows_go_by_copy_or_one_by_one(server: PostgresConnection) -> None:
    for db in both(server):
        filled(db, [("a.png", None)])
        before = db.total_changes()
        with transaction(db), db.without_triggers(["tag_more"]):
            db.executemany("INSERT INTO image_tag VALUES(?, ?, ?)", ((1, at, at / 7) for at in range(10, 2010)))
            assert db.changes() in (1, 2000)
            db.executemany(
                "UPDATE image_tag SET score = ?2 WHERE image_id = ?1 AND score IS NOT ?2", [(10, 0.5), (11, 0.25)]
            )
        assert db.total_changes() - before == 2002
        assert db.execute("SELECT n FROM tag WHERE id = 1").get == 1
        scores = db.execute("SELECT score FROM image_tag WHERE image_id IN (10, 11, 12) ORDER BY image_id")
        assert scores.fetchall() == [(0.5,), (0.25,), (12 / 7,)]
        db.execute("DELETE FROM image_tag WHERE image_id >= 10 AND image_id < 15")
        assert db.execute("SELECT n FROM tag WHERE id = 1").get == 1 - 5


def test_each_of_many_gives_its_rows_in_their_order(server: PostgresConnection) -> None:
    put = (
        "INSERT INTO file(folder_id, name, kind, size) VALUES(1, ?1, 'png', ?2) ON CONFLICT(folder_id, name)"
        " DO UPDATE SET size = ifnull(size, 0) + ?2 RETURNING id, size"
    )
    names = [(f"{at % 250:03}", at) for at in range(260)]  # the last ten are there by then
    for db in both(server):
        filled(db, [("000", None)])
        assert len(db.execute("SELECT v FROM embedding").fetchall()) == 1
        with transaction(db):
            stored = db.executemany(put, names).fetchall()
        assert stored == [(at % 250 + 1, at + at % 250 * (at >= 250)) for at in range(260)]
        assert len(db.execute("SELECT v FROM embedding").fetchall()) == 1  # a pipeline goes on as a stream was read
        found = db.executemany("SELECT id, size FROM file WHERE name = ?", [("004",), ("none",), ("002",), ("004",)])
        assert found.fetchall() == [(5, 258), (3, 254), (5, 258)]
        assert db.executemany("SELECT id FROM file WHERE name = ?", []).fetchall() == []


def pages(db: Database, named: Sequence[tuple[str, bytes]]) -> list[PageRow]:
    """Pages of files of these names, with these hashes."""
    folder = SqliteStore(db).folder_id(1, "")
    assert folder is not None
    tags = {"objects": {"a": 0.5}, "scenes": {}, "attributes": {}}
    return [
        PageRow(
            FileRow(folder, name, "png", 1, 1, digest, 1),
            0,
            3,
            4,
            {},
            1.5,
            struct.pack("<4f", *digest),
            tags,
            digest,
            digest,
        )
        for name, digest in named
    ]


def test_a_batch_of_any_size_is_as_many_statements(server: PostgresConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, execute, executemany = list[str](), RawCursor.execute, RawCursor.executemany

    def counted(real: Any) -> Any:
        def run(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            sent.append(query)
            return real(self, query, *arguments, **options)

        return run

    filled(server, [("a.png", None)])
    numbers = []
    for count in (2, 40):
        sent.clear()
        rows = pages(server, [(f"{count} {at}.png", b"%02d%02d" % (count, at)) for at in range(count)])
        with monkeypatch.context() as patch:
            patch.setattr(RawCursor, "execute", counted(execute))
            patch.setattr(RawCursor, "executemany", counted(executemany))
            SqliteStore(server).write(rows, [FinishedFile(row.file, [0]) for row in rows])
        numbers.append(len(sent))
    assert 5 < numbers[0] == numbers[1] < 20
    assert server.execute("SELECT count(*) FROM image").get == 43


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param("aa bb cc", "ab ba cd", id="two-change-places"),
        pytest.param("aa bb cc", "ab bc ca de", id="three-change-places"),
        pytest.param("aa bb cc", "ab dd", id="one-is-given-up"),
        pytest.param("aa ba cc", "ad be fa ga", id="copies"),
    ],
)
def test_what_a_batch_leaves_is_what_its_pages_leave_one_after_the_other(
    server: PostgresConnection, first: str, then: str
) -> None:
    """Names and hashes, of a letter each: a content that one file gives up may be that of another one of the batch."""
    left = []
    for at_once in (True, False):
        for db in both(server):
            if db.execute("SELECT count(*) FROM root").get == 0:
                filled(db, [])
            for batch in (first, then):
                rows = pages(db, [(name, digest.encode() * 4) for name, digest in batch.split()])
                for part in [rows] if at_once else [[row] for row in rows]:
                    SqliteStore(db).write(part, [FinishedFile(row.file, [0]) for row in part])
            shown = (
                "SELECT f.name, i.id, c.hash, e.v, t.jpeg, n.digest FROM image i JOIN file f ON f.id = i.file_id"
                " JOIN content c ON c.id = i.content_id JOIN embedding e ON e.content_id = c.id"
                " JOIN thumbnail t ON t.content_id = c.id JOIN input n ON n.content_id = c.id ORDER BY 1"
            )
            counts = [db.execute(f"SELECT count(*) FROM {table}").get for table in ("file", "content", "image")]
            left.append((db.execute(shown).fetchall(), counts))
            db.execute("DELETE FROM file")
    assert left == [left[0]] * 4
    assert [row[0] for row in left[0][0]] == sorted({each[0] for each in f"{first} {then}".split()})


def test_a_long_answer_waits_while_others_are_asked(server: PostgresConnection) -> None:
    many = 3500
    with transaction(server):
        server.executemany(
            "INSERT INTO text_embedding VALUES(?, ?)", ((f"{at:05}", at.to_bytes(3)) for at in range(many))
        )
    rows = server.execute("SELECT text, v FROM text_embedding ORDER BY text")
    first = next(rows)
    other = server.execute("SELECT text, v FROM text_embedding ORDER BY text DESC")
    assert next(other)[0] == f"{many - 1:05}"
    del other  # nobody reads the rest of it
    third = server.execute("SELECT text, v FROM text_embedding")
    found = server.executemany("SELECT v FROM text_embedding WHERE text = ?", [("00002",), ("00001",)])
    assert found.fetchall() == [(b"\0\0\2",), (b"\0\0\1",)]
    assert len(third.fetchall()) == many
    assert server.execute("SELECT count(*) FROM text_embedding").get == many
    assert [first, *rows] == [(f"{at:05}", at.to_bytes(3)) for at in range(many)]


# -- transactions, and several at a time ----------------------------------------------------------------------------


def end(pids: str, name: str) -> None:
    """End the sessions that a query gives, in the database of this name."""
    stores.postgres().execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({pids}) p", name)


def pid_of(db: PostgresConnection) -> str:
    """A query for the process that serves a connection."""
    return f"SELECT {db.native('SELECT pg_backend_pid()')[0][0]} AS pid"


CLAIMS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"


def put(db: PostgresConnection, name: str) -> None:
    """Write, as a library's command would."""
    with databases.translated(f"{name}?schema={db.schema}"):
        db.execute("INSERT INTO dataset(name) VALUES('a')")


@pytest.mark.parametrize("lost", ["its connection", "its claim"])
def test_a_writer_that_has_lost_its_claim_writes_no_more(server: PostgresConnection, name: str, lost: str) -> None:
    place = f"{name}?schema={server.schema}"
    with contextlib.suppress(StoreError), databases.claimed(place, {1: "/a"}):
        end(pid_of(server) if lost == "its connection" else CLAIMS, name)
        with pytest.raises(StoreError, match="ended the connection"):
            put(server, name)
    found = stores.postgres().execute(f"SELECT count(*) FROM {server.schema}.dataset", name)
    assert found == [(0,)]
    with databases.claimed(place):
        pass


def test_a_claim_that_was_lost_is_told_at_its_end(server: PostgresConnection, name: str) -> None:
    with pytest.raises(StoreError, match="ended the connection"), databases.claimed(f"{name}?schema={server.schema}"):
        end(CLAIMS, name)


def test_what_a_writer_asks_is_not_asked_twice(server: PostgresConnection, name: str) -> None:
    end(pid_of(server), name)
    with pytest.raises(StoreError, match="ended the connection"), databases.translated(name):
        server.native("SELECT 1")


def put_and_lose(db: PostgresConnection, name: str, pid: str) -> None:
    with savepoint(db):
        end(pid, name)
        put(db, name)


def test_a_writer_that_was_ended_is_in_no_transaction(server: PostgresConnection, name: str) -> None:
    with pytest.raises(StoreError, match="ended the connection"):
        put_and_lose(server, name, pid_of(server))
    assert not server.in_transaction


def test_rows_that_are_lost_are_told(server: PostgresConnection, name: str) -> None:
    with transaction(server):
        rows = ((f"{at:05}", bytes(8192)) for at in range(3000))  # more than is under way on a connection
        server.executemany("INSERT INTO text_embedding VALUES(?, ?)", rows)
    reader = other_of(server, name, readonly=True)
    pid = pid_of(reader)
    found = reader.execute("SELECT text, v FROM text_embedding")
    assert len(next(found)[1]) == 8192
    end(pid, name)
    assert reader.execute("SELECT count(*) FROM text_embedding").get == 3000
    with pytest.raises(StoreError, match="ended the connection"), databases.translated(name):
        found.fetchall()
    reader.close()


def test_a_lock_that_was_undone_is_taken_again(
    server: PostgresConnection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "PATIENCE", "50ms")
    other = other_of(server, name)
    server.execute("BEGIN")
    server.execute("SAVEPOINT a")
    server.execute("INSERT INTO dataset(name) VALUES('a')")
    server.execute("ROLLBACK TO a")
    with transaction(other), pytest.raises(TakenError), databases.translated(name):
        server.execute("INSERT INTO dataset(name) VALUES('b')")
    server.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize(
    ("setting", "given", "shown", "wanted"),
    [
        ("default_transaction_isolation", "serializable", "transaction_isolation", "read committed"),
        ("standard_conforming_strings", "off", "standard_conforming_strings", "on"),
    ],
    ids=["isolation", "strings"],
)  # fmt: skip
def test_settings_of_a_role_change_nothing(
    server: PostgresConnection, name: str, setting: str, given: str, shown: str, wanted: str
) -> None:
    db: Any = databases.connect(f"{name}?schema={server.schema}&options=-c%20{setting}%3D{given}")
    db.execute("BEGIN IMMEDIATE")
    assert db.native(f"SHOW {shown}") == [(wanted,)]
    db.execute("ROLLBACK")
    db.close()


def test_what_is_damaged_on_a_server_is_not_for_repair(server: PostgresConnection, name: str) -> None:
    with pytest.raises(DamagedError) as caught, databases.translated(name):
        server.native("SELECT 1 / 0")
    assert "repair" not in str(caught.value.hint)
    with pytest.raises(DamagedError, match="the thumbnail of content 7 is missing"):
        server.thumbnail_head(7, 10)


def other_of(db: PostgresConnection, name: str, *, readonly: bool = False) -> PostgresConnection:
    found = databases.connect(f"{name}?schema={db.schema}", readonly=readonly)
    assert isinstance(found, PostgresConnection)
    return found


def test_a_reader_sees_one_state(server: PostgresConnection, name: str) -> None:
    reader = other_of(server, name, readonly=True)
    first = reader.version()
    assert first == reader.version()
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM dataset").get == 0
    server.execute("INSERT INTO dataset(name) VALUES('a')")
    assert reader.execute("SELECT count(*) FROM dataset").get == 0
    reader.execute("ROLLBACK")
    assert reader.execute("SELECT count(*) FROM dataset").get == 1
    assert reader.version() != first
    with pytest.raises(StoreError, match="cannot write"), databases.translated(name):
        reader.execute("DELETE FROM dataset")
    reader.execute("CREATE TEMP TABLE mine(id INTEGER PRIMARY KEY)")
    reader.execute("INSERT INTO temp.mine VALUES(1)")
    reader.close()


def put_and_fail(db: Database, part: Callable[[Database], AbstractContextManager[None]], name: str) -> None:
    with part(db):
        db.execute("INSERT INTO dataset(name) VALUES(?)", (name,))
        raise KeyError


def test_savepoints(server: PostgresConnection) -> None:
    for db in both(server):
        with pytest.raises(KeyError):
            put_and_fail(db, savepoint, "a")
        assert not db.in_transaction
        with savepoint(db):
            db.execute("INSERT INTO dataset(name) VALUES('b')")
            with pytest.raises(KeyError):
                put_and_fail(db, savepoint, "c")
        assert not db.in_transaction
        with pytest.raises(KeyError):
            put_and_fail(db, transaction, "d")
        assert db.execute("SELECT name FROM dataset").fetchall() == [("b",)]


def test_one_writer_at_a_time(server: PostgresConnection, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pictocli.scale.postgres.session.PATIENCE", "50ms")
    other = other_of(server, name)
    with transaction(server):
        server.execute("INSERT INTO dataset(name) VALUES('a')")
        with pytest.raises(TakenError), databases.translated(name):
            other.execute("BEGIN IMMEDIATE")
        assert not other.in_transaction
        with pytest.raises(TakenError), databases.translated(name):
            other.execute("INSERT INTO dataset(name) VALUES('b')")
    other.execute("INSERT INTO dataset(name) VALUES('b')")
    assert other.execute("SELECT count(*) FROM dataset").get == 2
    other.close()


@pytest.mark.parametrize(
    ("held", "wanted", "told"),
    [
        ({1: "/a"}, {2: "/b"}, None),
        ({1: "/a"}, {1: "/a"}, "/a is being indexed by process"),
        ({1: "/a"}, None, "is being indexed by process"),
        (None, {1: "/a"}, "/a is being changed by process"),
        (None, None, "is being changed by process"),
    ],
    ids=["others", "same", "root-then-all", "all-then-root", "all"],
)
def test_claims(
    name: str, monkeypatch: pytest.MonkeyPatch, held: dict[int, str] | None, wanted: dict[int, str] | None,
    told: str | None,
) -> None:  # fmt: skip
    from pictocli.scale.postgres import claims as postgres_claims

    with databases.claimed(name, held):
        with databases.claimed(name, held):  # within one's own
            pass
        with monkeypatch.context() as patch:
            patch.setattr(postgres_claims, "_held", {})  # as another process would
            if told is None:
                with databases.claimed(name, wanted):
                    pass
            else:
                with pytest.raises(TakenError, match=told), databases.claimed(name, wanted):
                    pass
    with databases.claimed(name, wanted):
        pass


@pytest.mark.parametrize("refused", [False, True], ids=["ended", "refused"])
def test_a_claim_is_given_back_before_its_connection_goes(
    name: str, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """A server notices a while later that a connection was closed: here, when the test is over."""
    from pictocli.scale.postgres import claims as postgres_claims

    with contextlib.ExitStack() as late:

        def lasting(where: Any) -> Any:
            server = opening.open_server(where)
            late.callback(server.close)
            monkeypatch.setattr(server, "close", lambda: None)
            return server

        monkeypatch.setattr(postgres_claims, "open_server", lasting)
        with databases.claimed(name, {1: "/a"} if refused else None), monkeypatch.context() as patch:
            if refused:
                patch.setattr(postgres_claims, "_held", {})  # as another process would
                with pytest.raises(TakenError), databases.claimed(name, {2: "/b", 1: "/a"}):
                    pass
        with databases.claimed(name):
            pass
        monkeypatch.undo()


def test_a_session_that_was_ended_is_taken_up_again(server: PostgresConnection, name: str) -> None:
    server.execute("INSERT INTO dataset(name) VALUES('a')")
    reader = other_of(server, name, readonly=True)
    version = reader.version()
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    for begin in (True, False):
        server.native(end)
        if begin:
            reader.execute("BEGIN")
        assert reader.execute("SELECT name FROM dataset").get == "a"
        assert reader.version() != version  # what was temporary is gone
        if begin:
            server.native(end)
            with pytest.raises(StoreError, match="ended the connection"), databases.translated(name):
                reader.execute("SELECT name FROM dataset")
            assert not reader.in_transaction
    reader.close()


def test_what_is_there(name: str, tmp_path: Path) -> None:
    place = f"{name}?schema=there"
    assert not databases.exists(place)
    with pytest.raises(StoreError, match="there is no library at"):
        databases.connect(place)
    databases.connect(place, create=True).close()
    assert databases.exists(place)
    assert databases.size(place) > 100_000
    assert databases.full(place) == place
    assert not databases.is_file(place)
    newer = databases.connect(place)
    newer.execute("UPDATE library SET version = 99")
    newer.close()
    with pytest.raises(StoreError, match="newer picto"):
        databases.connect(place)


def test_a_scope_is_found_by_its_folder(server: PostgresConnection) -> None:
    for db in both(server):
        filled(db, [("a.png", None)])
        assert Queries(db).folders(Scope("r", None)) == [1]
        assert Queries(db).count([1]) == 1
