"""What the targets look at: one small library with odd contents, and the program in this process."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import libraries
from pictures import make_pdf, scene

from pictocli.brain import put_labels
from pictocli.queries import Queries
from pictocli.schema import connect, to_db, transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # typer's own, of the click it is installed with
    from pictocli.cli import main

__all__ = ["PATIENCE", "Ran", "World", "in_time", "run_here"]

PATIENCE = 5  # seconds of work that an example may take

NAMES = (
    b"plain.png", b"-dash.png", b"tab\there.png", b"new\nline.png", b"esc\x1b[31m.png", b"caf\xe9.png", b"=1+1.png",
    b"report.pdf", b"report.pdf#page=2", "海辺😀.png".encode(), b'quote".png', b"[red]x.png",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of the program left behind."""

    code: int
    out: bytes
    err: str


class World:
    """A folder, where the program runs, and in it picto.db with an image of each of NAMES."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "picto.db"
        vectors = libraries.clustered(len(NAMES), 24, 3)
        db = libraries.make(self.db, vectors, [["car", "dog"][: at % 3] for at in range(len(NAMES))], folders=3)
        store = SqliteStore(db)
        put_labels(store, load())
        with transaction(db):
            for at, name in enumerate(NAMES, 1):
                db.execute("UPDATE file SET name = ? WHERE id = ?", (to_db(os.fsdecode(name)), at))
                metadata = json.dumps({"note": os.fsdecode(name), "n": at})
                db.execute("UPDATE image SET metadata = ? WHERE id = ?", (metadata, at))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.close()
        scene(1, 16, 12).save(folder / "a.png")
        make_pdf(folder / "a.pdf", [1, 2], size=(20, 10))
        (folder / "notes.txt").write_text("notes\n")
        (folder / "sub").mkdir()
        self.queries = Queries(connect(str(self.db), readonly=True))


class _TookTooLongError(BaseException):
    """Not an Exception: code that survives any of those must not survive this one."""


@contextmanager
def in_time() -> Iterator[None]:
    """Raise AssertionError when the block takes longer than PATIENCE. A native call must return to be interrupted."""

    def stop(_: int, __: FrameType | None) -> None:
        raise _TookTooLongError

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)  # of this process, as the machine may be busy
    signal.setitimer(signal.ITIMER_REAL, 10 * PATIENCE)  # for what waits
    try:
        yield
    except _TookTooLongError as exc:
        raise AssertionError(f"took more than {PATIENCE} s") from exc
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)


def run_here(world: World, arguments: Sequence[str], stdin: bytes = b"") -> Ran:
    """Run the program in this process, with files as its streams and the world's folder as its own."""
    kept, here = (sys.stdin, sys.stdout, sys.stderr), os.getcwd()
    os.environ["PICTO_DB"] = str(world.db)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        sys.stdin = io.TextIOWrapper(given, "utf-8")
        sys.stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
        sys.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
        os.chdir(world.folder)
        try:
            main(arguments)
        except SystemExit as exc:
            code = exc.code
        finally:
            out.seek(0)
            err.seek(0)
            printed, said = out.read(), err.read().decode()
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                stream.detach()
            sys.stdin, sys.stdout, sys.stderr = kept
            os.chdir(here)
    assert isinstance(code, int)
    return Ran(code, printed, said)
