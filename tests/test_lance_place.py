"""Where libraries of Lance tables lie: whatever a folder or a bucket's prefix is named, and what lies there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pictocli import databases
from pictocli.errors import DamagedError, StoreError, TakenError
from pictocli.schema import transaction

os.environ.setdefault("LANCE_LOG", "error")  # read when it is imported
pytest.importorskip("lance")

from pictocli.scale.lance import head as lance_head
from pictocli.scale.lance.head import HEAD, Cell, Lease
from pictocli.scale.lance.place import beaten, place_of, told


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(name: str) -> None:
    with closing(databases.connect(name, create=True)) as db, transaction(db):
        db.execute("INSERT INTO meta VALUES('a', 1)")


@pytest.mark.parametrize(
    "folder", ["my-bucket/library", "photos-2403", "conflict", "timeout/a  b", "a#b?c%20d", "ü [x]*"]
)
def test_a_folder_may_have_any_name(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"lance://{tmp_path / folder}"
    make(name)
    assert databases.exists(name)
    shutil.rmtree(tmp_path / folder / "meta.lance/data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    with pytest.raises(DamagedError, match="is damaged: a part of it has vanished"):
        databases.connect(name)


NAMES = {
    "plain": ("lance+s3://pictures/a/b", "s3://pictures/a/b"),
    "signs": ("lance+s3://pictures/a#b/c?d", "s3://pictures/a%23b/c%3Fd"),
    "percent": ("lance+s3://pictures/a%20b", "s3://pictures/a%2520b"),
    "space": ("lance+s3://pictures/a b", "s3://pictures/a%20b"),
}


@pytest.mark.parametrize(("name", "uri"), NAMES.values(), ids=NAMES)
def test_a_prefix_is_quoted_for_lance(name: str, uri: str) -> None:
    place = place_of(name)
    assert (place.name, place.uri) == (name, uri)


REFUSED = {
    "password": "lance+s3://KEY:SECRET@pictures/a",
    "port": "lance+s3://SECRET:9000/a",
    "line": "lance:///tmp/a\nb",
    "no UTF-8": "lance:///tmp/\udcff",
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_is_none_is_refused_before_anything_is_asked(name: str) -> None:
    with pytest.raises(StoreError, match=r"names no bucket|is no name for Lance tables") as caught:
        databases.connect(name, create=True)
    assert "SECRET" not in f"{caught.value} {caught.value.hint}"
    assert str(caught.value).isprintable()
    assert "@" not in databases.shown(name)


SAID = {
    "swap lost": ("Commit conflict for version 3: tmp/a/conflict/head.lance", True, TakenError, "another process"),
    "name of a folder": ("LanceError(IO): tmp/a/conflict/head.lance/x: Permission denied (os error 13)", False,
                         StoreError, "permission denied"),
    "number in a name": ("Not found: tmp/a/conflict/x.lance/data/403.lance, rust/a.rs:401:40", False,
                         DamagedError, "has vanished"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "lost", "error", "sentence"), SAID.values(), ids=SAID)
def test_what_lance_says_is_read_without_the_path(text: str, lost: bool, error: Any, sentence: str) -> None:
    place = place_of("lance:///tmp/a/conflict")
    assert beaten(place, OSError(text)) == lost
    with pytest.raises(error, match=sentence), told(place):
        raise OSError(text)


VARIABLES = {
    "no scheme": ("AWS_ENDPOINT_URL", "localhost:9000", "http://HOST:PORT"),
    "password": ("AWS_ENDPOINT_URL_S3", "user:SECRET@minio.example:9000", "http://HOST:PORT"),
    "password, scheme": ("AWS_ENDPOINT", "http://user:SECRET@minio.example", "http://HOST:PORT"),
    "no host": ("AWS_ENDPOINT", "http://", "http://HOST:PORT"),
    "no port": ("AWS_ENDPOINT_URL", "http://127.0.0.1:99999", "http://HOST:PORT"),
    "blank": ("AWS_ENDPOINT_URL", "http://127.0.0.1 ", "http://HOST:PORT"),
    "empty": ("AWS_ENDPOINT_URL", "", "unset it"),
    "region": ("AWS_REGION", "us east", "us-east-1"),
    "key": ("AWS_ACCESS_KEY_ID", "SECRET\nx", "set it without"),
    "token": ("AWS_SESSION_TOKEN", "SECRET\n", "set it without"),
}


@pytest.mark.parametrize(("variable", "value", "hint"), VARIABLES.values(), ids=VARIABLES)
def test_a_variable_by_which_lance_would_panic_is_refused(
    variable: str, value: str, hint: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=f"^{variable} ") as caught:
        databases.connect("lance+s3://pictures/library")
    assert hint in str(caught.value.hint)
    assert "SECRET" not in f"{caught.value} {caught.value.hint}"
    assert capfd.readouterr().err == "", "of Rust"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9000", "https://[::1]:9000/a", "HTTPS://s3.example", "http://a_b"]
)
def test_an_address_of_object_storage_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    monkeypatch.setenv("AWS_ENDPOINT", address)
    options = place_of("lance+s3://pictures/library").options
    assert options is not None
    assert options["aws_endpoint"] == address
    assert ("allow_http" in options) == address.startswith("http:")


def test_a_panic_is_told_in_one_sentence() -> None:
    panic = type("PanicException", (BaseException,), {})  # as Rust's, which no module has
    with pytest.raises(StoreError, match=r"cannot be read or written: called unwrap\(\)"), told(place_of("lance:///a")):
        raise panic("called unwrap()")
    with pytest.raises(KeyboardInterrupt), told(place_of("lance:///a")):
        raise KeyboardInterrupt


def test_another_program_is_started_without_a_word_of_forks() -> None:
    """Ray starts its processes so, by a function that is called between fork and exec."""
    script = (
        "import subprocess, pictocli.scale.lance.place\nsubprocess.run(['true'], preexec_fn=lambda: None, check=True)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "asked", [lambda cell: cell.change(dict), lambda cell: Lease(cell).take()], ids=["cell", "lease"]
)
def test_nobody_swaps_for_ever(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"lance://{tmp_path / 'library'}"
    make(name)
    monkeypatch.setattr(lance_head, "PATIENCE", 0.2)
    monkeypatch.setattr(Cell, "swap", lambda *_: False)
    with pytest.raises(TakenError, match="is being changed by other processes"):
        asked(Cell(place_of(name), HEAD))


@pytest.mark.parametrize("lost", ["head.lance", "head.lance/_versions"])
def test_tables_without_a_head_are_left_alone(lost: str, tmp_path: Path) -> None:
    name = f"lance://{tmp_path / 'library'}"
    make(name)
    shutil.copytree(tmp_path / "library", tmp_path / "backup")
    shutil.rmtree(tmp_path / "library" / lost)
    before = sorted((tmp_path / "library").rglob("*"))
    with pytest.raises(StoreError, match=r"holds tables, but no head\.lance") as caught:
        databases.connect(name, create=True)
    assert caught.value.hint == "put head.lance back from a backup, or name another place with --db"
    assert sorted((tmp_path / "library").rglob("*")) == before
    shutil.copytree(tmp_path / "backup/head.lance", tmp_path / "library/head.lance", dirs_exist_ok=True)
    with closing(databases.connect(name, create=True)) as db:
        assert db.execute("SELECT value FROM meta").get == 1


def test_a_library_that_another_process_makes_just_now_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, real = f"lance://{tmp_path / 'library'}", Cell.is_there
    make(name)

    def too_early(self: Cell) -> bool:
        monkeypatch.setattr(Cell, "is_there", real)
        return False

    monkeypatch.setattr(Cell, "is_there", too_early)
    with closing(databases.connect(name, create=True)) as db:
        assert db.execute("SELECT value FROM meta").get == 1
