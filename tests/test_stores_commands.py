"""Every command of `picto`, with its library in each store: the lines of cli_transcript.txt, and the same answers.

The program is forked from a process that has imported it (`forked.py`). By default some lines of each command are run,
with PICTO_CONTRACT=all every line that can differ from one store to the next, by the installed program.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import STORED, WHOLE, Keeper, differences, one_home
from forked import picto
from program import PICTO, environment, fill, make_world
from test_cli import COMMANDS, _bad_files, _steady, blocks
from test_gallery_guard import start

from pictocli import databases

MODULES = {"sqlite": (), "postgresql": ("psycopg", "pictocli.scale.postgres.engine"), "lance": ()}  # not to be forked

FILE_ONLY = {
    "vacuum": "SQLite files grow and are made smaller by themselves; a server and Lance have ways of their own",
    "repair-dry-run": "what is damaged in a file is mended by copying it",
    "repair": "as above",
    "repair-nothing-wrong": "as above",
    "repair-no-database": "as above",
    "database-is-none": "a file that is no database",
    "database-is-none-index": "as above",
    "database-is-a-folder": "a folder where a file should be",
    "database-is-a-folder-index": "as above",
    "database-unwritable-place": "a file's folder",
    "database-name-too-long": "a file's name",
    "database-option-without-file": "what stands in the help is the default file",
    "export-itself": "an export that would be written over a file",
    "map-over-the-library": "a map that would be written over a file",
    "index-empty-folder-new-database": "lists files",
    "index-missing-path": "a file that is not made",
    "index-dry-run-new-database": "as above",
    "index-no-such-model": "as above",
    "index-url-nobody-there": "as above",
}
"""Lines that speak of a file, with the reason."""

NO_LIBRARY = re.compile(r"picto (taxonomy|completion|man|config|--version|similr)|_PICTO_COMPLETE|picto 2>&1")
"""Lines that ask no library: the same whatever store there is."""

SOME = """
similar-tsv similar-json similar-csv similar-table similar-print0 similar-of-pdf-page similar-everywhere
similar-from-stdin similar-twin-outside similar-many similar-many-jsonl similar-nothing-tsv similar-verbose
similar-tags-or-and similar-tags-match-all similar-tags-elsewhere similar-no-such-id similar-no-such-dataset
search-kept-words search-json search-verbose search-tags search-nothing-scoped-elsewhere search-picture-alone
search-not tags-tsv tags-sort-score tags-json tags-csv tags-table tags-nothing-scoped-elsewhere show-tsv show-json
show-table show-twin show-not-indexed info-tsv info-json info-table info-recall-table index-from-table index-bad-files
index-bad-files-remembered index-unchanged index-dry-run index-copies index-other-model index-root-in-root
index-metadata reembed-same embed-missing database-missing database-elsewhere odd-names-json odd-names-csv
retag-everything-then-nothing retag-own-labels calibrate-no-such-folder export-jsonl export-embeddings export-csv
export-file export-parquet-to-a-pipe export-npy check-nothing-wrong check-damage thumbnails-export
import-no-path-is-here prune prune-a-mass-deletion duplicates rm-a-file-a-page-and-an-id rm-a-folder-yes mv-root merge
merge-another-model watch-no-such-folder where-of-a-csv filters-of-all-kinds-are-told preview-in-a-pipe html-similar
map-svg map-over-another-map info-plot info-plot-svg mcp-of-a-dataset-that-is-not-there mcp-that-nobody-asks
browse-nothing
""".split()  # noqa: SIM905 - read as prose  # fmt: skip
"""What is run unless all are asked for: of every command, of every format, of what each store does in its own way."""


def lines() -> list[Any]:
    chosen = [each for each in blocks() if each[0] not in FILE_ONLY and not NO_LIBRARY.search(each[1])]
    assert FILE_ONLY.keys() | set(SOME) <= {name for name, _, _ in blocks()}
    return [pytest.param(c, e, id=n) for n, c, e in chosen if WHOLE or n in SOME]


pytestmark = [pytest.mark.parametrize("store", STORED, scope="module")]
guard = pytest.fixture(scope="module", autouse=True)(one_home)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(scope="module")
def keeper(store: str, tmp_path_factory: pytest.TempPathFactory, world: Path, model: str, guard: Path) -> Keeper:
    """The store that is looked at, with its own library of the world."""
    made = Keeper(store, tmp_path_factory.mktemp(store))
    made.filled = made.new()
    fill(made.filled, world, model)
    return made


@pytest.fixture(scope="module")
def program(store: str, guard: Path) -> Iterator[Path]:
    """The program that lines call."""
    if WHOLE:
        yield PICTO
        return
    with tempfile.TemporaryDirectory(prefix="picto") as folder, picto(Path(folder), MODULES[store]) as script:
        yield script


class Shell:
    """Runs lines with libraries of one store: $COPY, a copy of the world's, and $NEW, which is not there yet."""

    def __init__(self, keeper: Keeper, program: Path, world: Path, model: str, scratch: Path) -> None:
        self.keeper, self.program, self.world, self.model, self.scratch = keeper, program, world, model, scratch
        self.names = {keeper.filled: "/W/picto.db"}

    def transcribed(self, command: str) -> str:
        """What a line prints on standard output, on standard error (after !), and its exit code (after =)."""
        env = {"PICTO_DB": self.keeper.filled, "W": str(self.world), "T": str(self.scratch), "MODEL": self.model}
        if "$COPY" in command:
            env["COPY"] = self.keeper.copy(self.keeper.filled)
            self.names[env["COPY"]] = "/T/copy.db"
        if "$NEW" in command:
            env["NEW"] = self.keeper.new()
            self.names[env["NEW"]] = "/T/new.db"
        env = environment(**env, PICTO=str(self.program))
        env["PATH"] = f"{self.program.parent}:{env['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.world, env=env, capture_output=True, input=b"", check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        out, err = self._steady(done.stdout), self._steady(done.stderr)
        if out and not out.endswith("\n"):
            out += "%\n"
        return out + "".join(f"! {line}\n" for line in err.splitlines()) + f"= {done.returncode}"

    def _steady(self, output: bytes) -> str:
        for ours, of_files in _OF_FILES.items():
            output = output.replace(ours, of_files)
        for name, called in sorted(self.names.items(), key=lambda pair: -len(pair[0])):  # library1 begins library10
            for each in {name, databases.shown(name)}:
                output = output.replace(each.encode(), called.encode())
        output = output.replace(b"/T/", os.fsencode(self.scratch) + b"/").replace(
            b"/W/", os.fsencode(self.world) + b"/"
        )
        return _steady(output, self.world, self.model, self.scratch)


@pytest.fixture
def shell(keeper: Keeper, program: Path, world: Path, model: str, tmp_path: Path) -> Shell:
    _bad_files(tmp_path / "bad")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.db").write_text("these are notes, and no database whatever its name says\n" * 20)
    (tmp_path / "twin.jpg").write_bytes((world / "holiday/beach.jpg").read_bytes())
    return Shell(keeper, program, world, model, tmp_path)


_OF_FILES = {
    b"there is no library at": b"there is no database at",
    b"no damage: all tables": b"no damage: SQLite finds the file sound, and all tables",
    b"a backup of it has what is lost":
        b"picto repair mends what can be mended; a copy of the file first does no harm",
}  # fmt: skip
"""What is said of other libraries, and what is said of a file in its place."""

_OTHER_MODEL = (
    "import json; from pictocli.catalog import Catalog; from pictocli.databases import connect; "
    "db = connect('$T/copy.db'); kept = Catalog(db); model = json.loads(kept.meta('model')) | {'id': 'other'}; "
    "kept.set_meta('model', json.dumps(model)); db.close()"
)


def elsewhere(command: str) -> str:
    """A line of the transcript for a library that is no file."""
    command = command.replace("cp picto.db $T/r.db; ", "").replace("$T/r.db", "$T/copy.db")
    command = command.replace("--db copy.db", "--db $T/copy.db")
    command = re.sub(
        r"import sqlite3; db = sqlite3.connect\(", "from pictocli.databases import connect; db = connect(", command
    )
    command = command.replace("db.commit()", "db.close()")
    command = re.sub(r'^python3 -c ".*?json_set.*?\)"; picto', f'python3 -c "{_OTHER_MODEL}"; picto', command)
    command = re.sub(r"(\$T/nix\.db|\$T/none\.db|\bnowhere\.db)", "$T/new.db", command)
    return command.replace("$T/copy.db", "$COPY").replace("$T/new.db", "$NEW")


def expected_elsewhere(expected: str) -> str:
    """What is expected, with the names of libraries that are no files."""
    expected = expected.replace("/T/r.db", "/T/copy.db").replace("/W/nowhere.db", "/T/new.db")
    return re.sub(r"/T/(nix|none)\.db", "/T/new.db", expected)


@pytest.mark.parametrize(("command", "expected"), lines())
def test_a_line(command: str, expected: str, shell: Shell) -> None:
    told, wanted = shell.transcribed(elsewhere(command)), expected_elsewhere(expected)
    if "database    picto.db" in wanted:  # a table is as wide as the name above it
        told, wanted = (" ".join(each.partition(" images ")[2].split()) for each in (told, wanted))
    assert told == wanted


def test_every_command_is_here(store: str) -> None:
    """In what is run by default, in what speaks of files alone, or in what asks no library."""
    told = " ".join(c for n, c, _ in blocks() if n in {*SOME, *FILE_ONLY} or NO_LIBRARY.search(c))
    missing = {each for each in COMMANDS if not re.search(rf"picto (-q )?{each}\b", told)}
    # doctor looks at the machine and has no line in the transcript; the last two: test_compacting.py, test_moving.py
    assert missing <= {"config", "doctor", "compact", "move-db"}, store


@pytest.mark.parametrize("command", ["vacuum", "repair", "repair --dry-run"])
def test_what_is_for_files_says_so(command: str, store: str, shell: Shell) -> None:
    told = shell.transcribed(f"picto {command}")
    if store == "sqlite":
        assert told.endswith("= 0")
    else:
        assert told.startswith(
            f"! error: picto {command.split()[0]} is for libraries in a file, and /W/picto.db is none"
        )
        assert told.endswith("= 2")
        if command == "vacuum":
            assert "hint: picto compact brings room back there" in told


PAGES = [
    "/", "/?q=a+red+car", "/?objects=car", "/?dataset=holiday&folder=crete", "/?like=1", "/?sort=oldest",
    "/?q=sand&scenes=beach",
    "/image/1", "/image/3/panel", "/image/6", "/image/99", "/thumbnail/1?w=480", "/facets?objects=car",
]  # fmt: skip


_OTHER = re.compile(
    r"data-library=\"\w+|(?<=\"The open library\">)[^<]+|\b[\d.]+ m?s\b|nonce-[\w-]+|token=[\w-]+|20\d\d-\d\d-\d\d"
)


def browsed(name: str) -> dict[str, Any]:
    """What the gallery of a library sends: code and text of each page, without times, ports and names."""
    server, told = start(name), {}  # type: ignore[arg-type]
    try:
        server.cookie = server.ask(f"/?token={server.token}", cookie=None).headers["set-cookie"].partition(";")[0]
        until = time.monotonic() + 60
        while b"data-late" in server.ask("/").body and time.monotonic() < until:  # it counts beside the first page
            time.sleep(0.1)
        for page in PAGES:
            answer = server.ask(page)
            text = answer.body.decode("utf-8", "replace")
            for each in (name, databases.shown(name)):
                text = text.replace(each, "LIBRARY")
            told[page] = [answer.code, *_OTHER.sub("…", text).splitlines()]
    finally:
        server.end()
    return told


def test_browse(store: str, keeper: Keeper, world: Path) -> None:
    wanted = browsed(str(world / "picto.db"))
    assert {page for page, (code, *_) in wanted.items() if code == 200} >= {"/", "/image/1", "/?objects=car"}
    told = differences(wanted, browsed(keeper.filled))
    assert not told, "\n".join(told[:10])
