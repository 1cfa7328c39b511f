"""Which engine a library's name asks for; a name of none is refused, and nothing in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import run

from pictocli import databases
from pictocli.errors import ValidationError

FILES = ["a.db", "/a/b.db", "./postgresql://h/x", "a:b.db", "c:/a.db", "C:/a.db", "a/b://c", "~/a.db", "ü://x", ""]
NEITHER = {
    "another driver": "postgresql+psycopg://u:secret@h/x",
    "upper case": "POSTGRESQL://u:secret@h/x",
    "one slash": "postgresql:/u:secret@h/x",
    "of SQLAlchemy": "sqlite:///secret.db",
    "a bucket": "s3://u:secret@h/x",
    "a page": "https://u:secret@h/x",
}


@pytest.mark.parametrize("name", FILES)
def test_a_path_is_a_file(name: str) -> None:
    assert databases.is_file(name)
    assert databases.shown(name) == name


@pytest.mark.parametrize("name", NEITHER.values(), ids=NEITHER)
def test_a_name_of_no_engine_is_refused(name: str) -> None:
    assert not databases.is_file(name)
    assert "secret" not in databases.shown(name)
    for ask in (databases.connect, databases.exists, databases.full, databases.size):
        with pytest.raises(ValidationError, match="begins no name of a library") as refused:
            ask(name)
        assert "secret" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(
    ("command", "code"),
    [("--db NAME index .", 2), ("--db NAME info", 2), ("--db NAME doctor", 3), ("move-db NAME a.db", 2),
     ("move-db a.db NAME", 2), ("--db a.db merge NAME", 2)],
    ids=lambda each: str(each).replace(" ", "-"),
)  # fmt: skip
def test_a_name_of_no_engine_makes_no_file_and_tells_no_password(command: str, code: int, tmp_path: Path) -> None:
    ran = run(*command.replace("NAME", NEITHER["another driver"]).split(), cwd=tmp_path)
    told = ran.err + ran.out.decode()
    assert (ran.code, "secret" in told, list(tmp_path.iterdir())) == (code, False, []), told
    assert "postgresql+psycopg:// begins no name of a library" in told
