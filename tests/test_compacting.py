"""`picto compact`, over Lance tables, PostgreSQL and a file; what it does to Lance tables is in test_lance_nearest."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path

from libraries import clustered
from program import run
from stores import library_name, postgres
from test_lance_nearest import DIM, add, fill, nearest

import pictocli
from pictocli.databases import connect


def test_lance_tables(tmp_path: Path) -> None:
    name = library_name("lance", tmp_path)
    with closing(connect(name, create=True)) as db:
        fill(db, clustered(20, DIM, 3))
        add(db, clustered(20, DIM, 3))
    told = [run("--db", name, "compact", *options) for options in (["--dry-run"], [], ["--older-than", "0"])]
    assert [each.code for each in told] == [0, 0, 0]
    assert "Would compact" in told[0].err
    assert "hint: what was merged goes once nobody can be reading it" in told[1].err
    assert "old versions removed" in told[2].err


def test_postgresql(tmp_path: Path) -> None:
    """What was deleted makes room, and answers are what they were."""
    name, vectors = library_name("postgresql", tmp_path), clustered(2000, DIM, 20)
    with closing(connect(name, create=True)) as db:
        fill(db, vectors)
        db.execute("DELETE FROM image WHERE id % 2 = 0")
        before = nearest(db, vectors[0], "common", exact=True)
    with pictocli.open(name) as library:
        until = time.monotonic() + 20
        while (planned := library.compact(dry_run=True)).room == 0 and time.monotonic() < until:
            time.sleep(0.2)  # the server counts when it comes to it
        done, again = library.compact(), library.compact(dry_run=True)
    assert planned.before == planned.after > planned.room > 100_000
    assert done.room == planned.room
    assert again.room == 0
    with closing(connect(name)) as db:
        assert nearest(db, vectors[0], "common", exact=True) == before
    assert run("--db", name, "compact").code == 0


def test_postgresql_is_compacted_by_its_owner_only(tmp_path: Path) -> None:
    """The server would warn a reader of each table, and leave it as it is."""
    name = library_name("postgresql", tmp_path)
    connect(name, create=True).close()
    reader = name.replace("picto@", "compactor@")
    postgres().execute(
        "CREATE ROLE compactor LOGIN; GRANT USAGE ON SCHEMA picto TO compactor;"
        " GRANT SELECT ON ALL TABLES IN SCHEMA picto TO compactor", name
    )  # fmt: skip
    assert run("--db", reader, "compact", "--dry-run").code == 0
    refused = run("--db", reader, "compact")
    assert (refused.code, refused.out) == (3, b"")
    assert re.fullmatch(
        r"error: you may not compact \S+: its tables belong to picto\n\nhint: .*the user who made it, or a member.*\n",
        refused.err,
    )
    postgres().execute("GRANT picto TO compactor", name)
    assert run("--db", reader, "compact").code == 0
    postgres().execute("ALTER ROLE compactor SET default_transaction_read_only = on", name)
    assert run("--db", reader, "compact", "--dry-run").code == 0
    vacuumed = "SELECT max(last_vacuum) FROM pg_stat_all_tables WHERE schemaname = 'picto'"
    before = postgres().execute(vacuumed, name)
    refused = run("--db", reader, "compact")
    assert (refused.code, "error: cannot write" in refused.err, "read_only is on" in refused.err) == (3, True, True)
    assert postgres().execute(vacuumed, name) == before


def test_a_file_is_for_vacuum(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    connect(str(path), create=True).close()
    refused = run("--db", path, "compact")
    assert refused.code == 2
    assert f"{path} is a file\n\nhint: picto vacuum makes it smaller\n" in refused.err


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    missing = run("--db", library_name("lance", tmp_path), "compact")
    assert (missing.code, "there is no library at lance://" in missing.err) == (3, True)
    assert run("--db", library_name("lance", tmp_path), "compact", "--older-than", "-1").code == 2
