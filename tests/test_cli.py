"""The command line through the installed program: every output compared in full, every exit code.

What is expected stands in cli_transcript.txt, a block a case. `python tests/test_cli.py` writes the outputs anew after
a change that is meant; read the difference before you keep it.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene
from program import HOLIDAY, ODD, PICTO, environment, make_world, run

TRANSCRIPT = Path(__file__).with_name("cli_transcript.txt")
CONTROLS = {code: chr(0x2400 + code) for code in range(32) if code != 10}  # NUL is shown as ␀, tab as ␉
VOLATILE = [
    (
        re.compile(r'("(?:processing_time_ms|size|size_bytes)": |(?:processing_time_ms|size|size_bytes)\t)[\d.]+'),
        r"\1N",
    ),
    (re.compile(r'("(?:indexed_at|content_hash|revision)": "|(?:indexed_at|content_hash|revision)\t)[\w:-]+'), r"\1…"),
    (re.compile(r'("measures": )\{[^}]*\}'), r"\1{…}"),
    (re.compile(r"(measures\t)\{[^}]*\}"), r"\1{…}"),
    (re.compile(r'(?<=,)"\{""luma_[^}]*\}"'), "{…}"),
    (re.compile(r',\d+\.\d(?=\r?$|,"\{)', re.MULTILINE), ",N"),
    (re.compile(r"(,png,)\d+"), r"\1N"),
    (re.compile(r"20[2-9]\d-\d\d-\d\d(T[\d:]+Z)?"), "DATE"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"(?<=\]8;)id=\d+"), "id=N"),
    (re.compile(r"\b[\d.]+ [kM]?B\b"), "SIZE"),
    (re.compile(r"(?<=[,\t ])[0-9a-f]{12}(?=,24,)"), "REVISION"),
    (re.compile(r"(?<=/W/picto.db,)\d+"), "N"),
    (re.compile(r"\b[\d.]+ m?s\b"), "TIME"),
    (re.compile(r" \([\d.]+/s\)"), " (RATE)"),
]


def blocks() -> list[tuple[str, str, str]]:
    """(name, command, everything expected) of each case."""
    parts = TRANSCRIPT.read_text("utf-8").split("## ")[1:]
    found = []
    for part in parts:
        name, _, rest = part.partition("\n")
        command, _, expected = rest.partition("\n")
        found.append((name, command.removeprefix("$ "), expected.rstrip("\n")))
    return found


def transcribed(command: str, world: Path, model: str, scratch: Path) -> str:
    """What a shell line prints on standard output, on standard error (after !), and its exit code (after =)."""
    env = environment(
        PICTO_DB=str(world / "picto.db"), W=str(world), T=str(scratch), MODEL=model, PYTHONDONTWRITEBYTECODE="1"
    )
    done = subprocess.run(["bash", "-c", command], cwd=world, env=env, capture_output=True, input=b"", check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    out = _steady(done.stdout, world, model, scratch)
    if out and not out.endswith("\n"):
        out += "%\n"  # as zsh marks it
    err = "".join(f"! {line}\n" for line in _steady(done.stderr, world, model, scratch).splitlines())
    return f"{out}{err}= {done.returncode}"


def _steady(output: bytes, world: Path, model: str, scratch: Path) -> str:
    """Output without what differs from run to run."""
    text = output.decode("utf-8", "backslashreplace")
    text = re.sub(r'("path_bytes": )"([^"]+)"', lambda found: found[1] + ascii(base64.b64decode(found[2])), text)
    for place, name in ((world, "/W"), (scratch, "/T"), (model, "/MODEL")):
        text = text.replace(str(place), name)
    for pattern, new in VOLATILE:
        text = pattern.sub(new, text)
    return text.translate(CONTROLS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture
def db(world: Path, tmp_path: Path) -> Path:
    """A copy of the world's database, which a test may change."""
    return Path(shutil.copy(world / "picto.db", tmp_path / "copy.db"))


def _bad_files(folder: Path) -> Path:
    """Every file that gives no image."""
    folder.mkdir()
    (folder / "text.jpg").write_text("hello, I am no picture\n")
    (folder / "page.png").write_text("<!DOCTYPE html><title>404</title>")
    (folder / "empty.jpg").touch()
    whole = io.BytesIO()
    scene(1, 400, 300).save(whole, "JPEG")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 3])
    (folder / "none.pdf").write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF\n"
    )
    make_pdf(folder / "secret.pdf", [1], encryption=5, user_pw="a", owner_pw="b")
    return folder


@pytest.fixture
def scratch(tmp_path: Path, world: Path) -> Path:
    _fill_scratch(tmp_path, world)
    return tmp_path


def _fill_scratch(scratch: Path, world: Path) -> None:
    _bad_files(scratch / "bad")
    (scratch / "empty").mkdir()
    (scratch / "notes.db").write_text("these are notes, and no database whatever its name says\n" * 20)
    shutil.copy(world / "picto.db", scratch / "copy.db")
    shutil.copy(world / "holiday/beach.jpg", scratch / "twin.jpg")


@pytest.mark.parametrize(("command", "expected"), [pytest.param(c, e, id=n) for n, c, e in blocks()])
def test_transcript(command: str, expected: str, world: Path, model: str, scratch: Path) -> None:
    assert transcribed(command, world, model, scratch) == expected


# -- odd names ------------------------------------------------------------------------------------------------------


def _unescaped(cell: bytes) -> bytes:
    """A TSV cell as it was before it was escaped."""
    plain = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
    return re.sub(rb"\\([tnr\\])", lambda found: plain[found[1]], cell)


def _paths(form: str, out: bytes) -> list[bytes]:
    """The paths that a program reads from an output."""
    if form == "print0":
        return out.split(b"\0")[:-1]
    if form == "tsv":
        return [_unescaped(line.split(b"\t")[1]) for line in out.splitlines()]
    if form == "csv":
        rows = csv.DictReader(io.StringIO(out.decode("utf-8", "surrogateescape"), newline=""))
        return [os.fsencode(row["path"]) for row in rows]
    objects = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
    return [base64.b64decode(each["path_bytes"]) if "path_bytes" in each else each["path"].encode() for each in objects]


@pytest.mark.parametrize("form", ["print0", "tsv", "csv", "json", "jsonl"])
def test_odd_names_come_back_from_every_format(form: str, world: Path) -> None:
    asked = ["-0"] if form == "print0" else ["--format", form]
    ran = run("tags", "--objects", "car", "--dataset", "odd", *asked, env={"PICTO_DB": str(world / "picto.db")})
    assert (ran.code, ran.err) == (0, "")
    assert _paths(form, ran.out) == [os.fsencode(world / "odd") + b"/" + name for name in ODD]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_odd_names_are_found(name: bytes, world: Path) -> None:
    env = {"PICTO_DB": str(world / "picto.db")}
    ran = run("show", "--format", "paths", "--", name, cwd=world / "odd", env=env)
    assert (ran.code, ran.out, ran.err) == (0, os.fsencode(world / "odd") + b"/" + name + b"\n", "")


def test_a_folder_that_is_not_utf8(tmp_path: Path, db: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    ran = run("index", folder, "--db", db)
    assert (ran.code, run("info", "--db", db, "--format", "json").code) == (0, 0)


# -- with a model ---------------------------------------------------------------------------------------------------


def _rows(db: Path, sql: str = "SELECT count(*) FROM image") -> Any:
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def test_a_new_picture_and_new_words(world: Path, tmp_path: Path, db: Path) -> None:
    picture = io.BytesIO()
    scene(99).save(picture, "PNG")
    piped = run("similar", "-", "--threshold", "0", "--db", db, "-v", stdin=picture.getvalue())
    found = piped.out.splitlines()  # as many as chance gives a random model
    assert piped.code == (0 if found else 1)
    assert all(re.fullmatch(rb"[01]\.\d{4}\t/[^\t\n]+", line) for line in found)
    assert f"{len(found)} of 14 in the whole database" in piped.err or not found
    first = run("search", "a dog on the beach", "--db", db, "-0")
    assert (first.code, first.err, first.out.count(b"\0")) == (0, "", 14)
    assert _rows(db, "SELECT count(*) FROM text_embedding WHERE text = 'a dog on the beach'") == 1
    assert run("search", "A dog, on the BEACH!", "--db", db, "-0").out == first.out


def test_embed_stores_nothing(world: Path, db: Path, tmp_path: Path) -> None:
    before = db.read_bytes()
    pdf = f"{world}/holiday/{HOLIDAY[2]}#page=2"
    ran = run("embed", world / "holiday/beach.jpg", pdf, "-", "--db", db, stdin=(world / "odd/[red]x.png").read_bytes())
    assert (ran.code, ran.err) == (0, "")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["path"] for row in rows] == [str(world / "holiday/beach.jpg"), pdf, "-"]
    for row in rows:
        assert list(row) == ["path", "embedding", "processing_time_ms", "model"]
        assert len(row["embedding"]) == 24
        assert sum(value * value for value in row["embedding"]) == pytest.approx(1, abs=1e-3)
        assert row["processing_time_ms"] > 0
    assert db.read_bytes() == before


def test_reembed_keeps_ids(tmp_path: Path, db: Path, world: Path) -> None:
    from checkpoints import save_siglip2

    other = str(save_siglip2(tmp_path / "other", seed=7))
    each = "SELECT i.id || hex(f.name) AS pair FROM image i JOIN file f ON f.id = i.file_id ORDER BY i.id"
    paths = f"SELECT group_concat(pair) FROM ({each})"
    before = _rows(db, paths)
    ran = run("reembed", "--model", other, "--db", db, "--workers", "0")
    assert (ran.code, ran.out) == (0, b"")
    assert _rows(db, paths) == before
    assert json.loads(run("info", "--db", db, "--format", "json").out)["model"] == other


def test_ctrl_c_keeps_what_was_stored_and_the_next_run_the_rest(tmp_path: Path, db: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(160):
        scene(seed, 640, 480).save(folder / f"{seed:03}.jpg")
    line = [PICTO, "index", folder, "--db", db, "--batch-size", "4", "--workers", "2"]
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # background jobs ignore it
    process = subprocess.Popen(line, stderr=subprocess.PIPE, env=environment(), **heard)
    until = time.monotonic() + 60
    while _rows(db) < 22 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].decode()
    kept = _rows(db) - 14
    assert process.returncode == 130
    assert re.fullmatch(rf"Interrupted: indexed {kept} images in [\d.]+ s \([\d.]+/s\)\n", said)
    assert 8 <= kept < 160
    again = run("index", "nix", folder, "--db", db)
    assert (again.code, again.out) == (4, b"")  # 4: nix is not there, and the other PATH is indexed all the same
    err = re.sub(r"in [\d.]+ s \([\d.]+/s\)", "in TIME", again.err)
    expected = f"Indexed {160 - kept} images in TIME, {kept} unchanged"
    assert err == f"error: no such file or folder: nix\n{expected}\n"  # no bar in a pipe
    assert _rows(db) == 174


def test_an_end_of_file_is_no_ctrl_c(world: Path) -> None:
    """Typer takes every EOFError for one: a run whose helper process was killed once ended with 130, and not a word."""
    program = """
import sys
from pictocli import cli, library
def ended(*_, **__): raise EOFError("unexpected EOF")
library.Library.index = ended
cli.main(sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", program, "index", world], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: unexpected EOFError: unexpected EOF\n" in done.stderr


# -- everything else ------------------------------------------------------------------------------------------------


def test_a_traceback_is_shown_when_it_is_asked_for(world: Path) -> None:
    line = [PICTO, "show", "missing.jpg", "-v", "--db", world / "picto.db"]
    ran = subprocess.run(line, capture_output=True, env=environment(), text=True, check=False)
    assert ran.returncode == 4
    assert ran.stderr.startswith("Traceback (most recent call last):")
    assert "\nerror: no such image: missing.jpg\n" in ran.stderr


@pytest.mark.parametrize("asked", ["similar id:1", "tags --objects car", "show id:1", "info", "similar twin.jpg"])
def test_nothing_heavy_is_imported(asked: str, world: Path, tmp_path: Path) -> None:
    shutil.copy(world / "holiday/beach.jpg", tmp_path / "twin.jpg")
    code = (
        "import sys\nfrom pictocli.cli import main\ntry:\n    main()\nexcept SystemExit as stop:\n"
        "    assert stop.code == 0\nheavy = {'torch', 'transformers', 'numpy', 'PIL', 'pymupdf', 'rich', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *asked.split()], cwd=tmp_path, env=environment(PICTO_DB=str(world / "picto.db")),
        capture_output=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"[]\n")


COMMANDS = [
    "index", "watch", "similar", "search", "tags", "duplicates", "browse", "show", "info", "map", "taxonomy",
    "retag", "calibrate", "embed", "reembed", "export", "import", "thumbnails", "prune", "rm", "mv-root", "merge",
    "move-db", "vacuum", "compact", "repair", "mcp", "completion", "man", "config", "doctor",
]  # fmt: skip


def test_help_lists_every_command_with_a_whole_summary() -> None:
    text = run("--help").out.decode()
    listed = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert "..." not in "".join(listed)
    assert all(line.endswith(".") for line in listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str) -> None:
    ran = run(command, "--help")
    text = ran.out.decode()
    assert (ran.code, ran.err) == (0, "")
    assert f"Examples:\n    picto {command}" in text
    assert max(map(len, text.splitlines())) <= 80
    if "Arguments:" in text:
        assert re.search(r"Arguments:\n  \S+ {2,}[A-Z].*", text), "an argument has no help"
    assert text.count("rguments:") <= 1
    assert run("-q", command, "-h").out == ran.out


def _rewrite() -> None:
    """Write the transcript anew."""
    from checkpoints import save_siglip

    with tempfile.TemporaryDirectory() as base:
        os.environ.update(HOME=f"{base}/home", HF_HOME=f"{base}/hf", HF_ENDPOINT="http://127.0.0.1:9")
        model = str(save_siglip(Path(base, "small")))
        world = make_world(Path(base, "world"), model)
        texts = []
        for name, command, _ in blocks():
            scratch = Path(tempfile.mkdtemp(dir=base))
            _fill_scratch(scratch, world)
            texts.append(f"## {name}\n$ {command}\n{transcribed(command, world, model, scratch)}\n")
        TRANSCRIPT.write_text("\n".join(texts), "utf-8")


if __name__ == "__main__":
    _rewrite()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["info", "similar - --threshold 0", "similar --stdin", "show nope.jpg"])
def test_closed_streams_are_empty_ones(closed: str, arguments: str, world: Path) -> None:
    command = f'"$PICTO" {arguments} --db {shlex.quote(str(world / "picto.db"))}'
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} {closed}"], stdin=subprocess.DEVNULL, capture_output=True, env=environment(),
        check=False,
    )  # fmt: skip
    wanted = {"info": 0, "similar --stdin": 1, "show nope.jpg": 4}.get(arguments, 3)
    assert (done.returncode, b"unexpected" in done.stderr, b"Traceback" in done.stderr) == (wanted, False, False)


def test_a_working_folder_that_is_gone(world: Path, tmp_path: Path) -> None:
    command = (
        f'mkdir gone && cd gone && rmdir ../gone && "$PICTO" show a.jpg --db {shlex.quote(str(world / "picto.db"))}'
    )
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, env=environment(), check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, b"error: the working folder is gone")


@pytest.mark.parametrize(("read", "code"), [(True, 3), (False, 0)], ids=["read", "unread"])
def test_a_broken_pipe_is_quiet_only_where_our_reader_has_gone(read: bool, code: int) -> None:
    """A worker's line that broke was taken for a closed standard output: nothing was said, and the exit code was 0."""
    program = (
        "import sys; from pictocli.library import Library; from pictocli.cli import main\n"
        "def show(*_): raise BrokenPipeError(32, 'Broken pipe')\n"
        "Library.show = show; sys.stdin.read(); main(['show', 'a.jpg'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if not read:
            process.stdout.close()
        process.stdin.close()
        told = process.stderr.read()
        assert process.wait() == code
    assert (b"unexpected BrokenPipeError" in told) == read


def test_another_exit_is_not_taken_for_a_closed_pipe() -> None:
    program = (
        "import sys; from pictocli.library import Library; from pictocli.cli import main\n"
        "def show(*_): sys.exit(15)\nLibrary.show = show; main(['show', 'a.jpg'])"
    )
    assert subprocess.run([sys.executable, "-c", program], env=environment(), check=False).returncode == 15


def test_many_references_are_answered_as_they_come(world: Path) -> None:
    with subprocess.Popen(
        [PICTO, "similar", "--stdin", "--limit", "1", "--db", str(world / "picto.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        for reference in (b"id:1", b"id:3"):
            process.stdin.write(reference + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(reference + b"\t")
        process.stdin.close()
    assert process.returncode == 0


def test_many_references_in_a_table_are_named(world: Path) -> None:
    ran = run(
        "similar", "--stdin", "--limit", "1", "--format", "table", "--db", world / "picto.db", stdin=b"id:1\nid:3\n"
    )
    lines = ran.out.decode().splitlines()
    assert (lines[0], lines[2], len(lines)) == ("id:1", "id:3", 4)
