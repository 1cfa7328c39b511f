"""Runs the installed program, and makes the small world that its tests look at.

The world's pictures are real files, indexed by picto's own indexing; only their embeddings and tags are given here, so
that answers are the same on every machine: a model's differ in their last digits from one processor to the next.
"""

from __future__ import annotations

import fcntl
import math
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pictures import make_pdf, scene

from pictocli import hub
from pictocli.brain import Brain, Model, Thought, put_labels
from pictocli.candidates import IndexOptions, Target
from pictocli.databases import connect
from pictocli.indexing import Indexer
from pictocli.protocols import NoProgress
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

__all__ = ["HOLIDAY", "ODD", "PICTO", "Ran", "drained", "environment", "fill", "make_world", "peak", "run", "screen"]

PICTO = Path(sys.executable).with_name("picto")

HOLIDAY = ["beach.jpg", "crete/DSC_0412.jpg", "crete/albums/postcards-from-grandmother-and-aunt-ida.pdf", "new/van.png"]
ODD = [
    b"-dash.png", b"[red]x.png", b"back\\slash.png", b"caf\xe9.png", b"esc\x1b[31m.png", b"new\nline.png",
    b'quote".png', b"tab\there.png", "海辺の長い長い写真の名前はどこまでも続く😀.png".encode(),
]  # fmt: skip
"""File names that a program must not trip over, in their order."""

TAKEN = 1563128520  # 2019-07-14 18:22 UTC

# Per page in the order of ids: the cosine to the first, and tags.
PAGES: list[tuple[float, dict[str, dict[str, float]]]] = [
    (1.0, {"objects": {}, "scenes": {"beach": 0.97, "outdoor": 0.91}, "attributes": {"sunny": 0.8}}),
    (0.9412, {"objects": {"person": 0.66}, "scenes": {"beach": 0.9, "outdoor": 0.74}, "attributes": {}}),
    (0.7123, {"objects": {"book": 0.52}, "scenes": {}, "attributes": {}}),
    (0.3, {"objects": {}, "scenes": {}, "attributes": {}}),
    (0.05, {"objects": {"car": 0.98, "truck": 0.61}, "scenes": {"outdoor": 0.91}, "attributes": {"red": 0.83}}),
    *[(0.6 - 0.01 * at, {"objects": {"car": 0.7}, "scenes": {}, "attributes": {}}) for at in range(len(ODD))],
]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of the program left behind."""

    code: int
    out: bytes
    err: str


def environment(**more: str) -> dict[str, str]:
    """The variables that the program is run with: those of this process, one clock, and the program on the path."""
    fixed = {"TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "PICTO": str(PICTO)}
    return os.environ | fixed | {"PATH": f"{PICTO.parent}:{os.environ['PATH']}"} | more


def run(
    *arguments: str | bytes | Path, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """Run `picto` off a terminal. A traceback is never meant for users: it fails the test."""
    done = subprocess.run(
        [PICTO, *arguments], input=stdin, capture_output=True, cwd=cwd, env=environment(**(env or {})), check=False
    )
    err = done.stderr.decode(errors="replace")
    assert "Traceback" not in err, err
    return Ran(done.returncode, done.stdout, err)


_PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*arguments: str) -> float:
    """Megabytes that a run of `picto` holds at most.

    Asked for by a small process: Linux counts what a parent holds as its child's, which it shares until the child runs.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, PICTO, *arguments], capture_output=True, text=True, env=environment(), check=True
    )
    code, kilobytes = map(int, done.stdout.split())
    assert code == 0
    return kilobytes / 1024


def screen(
    *arguments: str, columns: int = 80, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[Ran, str]:
    """Run `picto` with standard output and error on two terminals of so many columns. Returns the run and its output.

    The output is text with "\\n" line ends, its escape sequences as they came.
    """
    pairs = [pty.openpty() for _ in range(2)]
    for _, slave in pairs:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [PICTO, *arguments], stdin=subprocess.DEVNULL, stdout=pairs[0][1], stderr=pairs[1][1], cwd=cwd,
        env=environment(**(env or {})),
    )  # fmt: skip
    for _, slave in pairs:
        os.close(slave)
    out, err = drained([master for master, _ in pairs])
    text = out.decode(errors="replace").replace("\r\n", "\n")
    said = err.decode(errors="replace").replace("\r\n", "\n")
    assert "Traceback" not in text + said, text + said
    return Ran(process.wait(), out, said), text


def drained(masters: Sequence[int]) -> list[bytes]:
    """All that is written to terminals, until their programs have gone."""
    texts = dict.fromkeys(masters, b"")
    open_ones = list(masters)
    while open_ones:
        for master in select.select(open_ones, [], [])[0]:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: nobody has the other end open any more
                data = b""
            texts[master] += data
            if not data:
                open_ones.remove(master)
                os.close(master)
    return [texts[master] for master in masters]


def make_world(base: Path, model: str) -> Path:
    """A folder with pictures, and picto.db that holds them: datasets holiday (5 images) and odd (one an odd name)."""
    for number, name in enumerate(HOLIDAY):
        path = base / "holiday" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pdf":
            make_pdf(path, [20, 21])
        else:
            scene(30 + number, 64, 48).save(path)
    (base / "odd").mkdir()
    for number, odd in enumerate(ODD):
        scene(50 + number, 32, 24).save(base / "odd" / os.fsdecode(odd))
    for path in base.rglob("*.*"):
        os.utime(path, (TAKEN, TAKEN))
    fill(str(base / "picto.db"), base, model)
    return base


def fill(name: str, base: Path, model: str) -> None:
    """Make a library of that folder's pictures."""
    db = connect(name, create=True)
    store = SqliteStore(db)
    files = hub.resolve(model)
    spec = hub.read_spec(files)
    store.require_model(spec)
    put_labels(store, load())
    rule = Model(spec, "cpu", NoProgress(), files).tagger(store, load())[1]  # so that the program need not embed them
    store.set_meta("tag_rule", rule)
    pages = iter(PAGES)
    for name in ("holiday", "odd"):
        target = Target(store.add_root(str(base / name), name), str(base / name))
        Indexer(store, spec, Given(pages, spec.dim), IndexOptions(), NoProgress()).run([target])
    for text, vector in {"a red car": [0.05, 0.15], "sand": [0.16], "zebras": []}.items():
        rest = math.sqrt(1 - sum(value * value for value in vector))
        filled = [*vector, *[0.0] * (2 - len(vector)), rest, *[0.0] * (spec.dim - 3)]
        store.keep_text(text, np.asarray(filled, "<f4").tobytes(), spec)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


class Given(Brain):
    """Knows what every page holds, and looks at none."""

    def __init__(self, pages: Iterator[tuple[float, Any]], dim: int) -> None:
        self.pages, self.dim = pages, dim
        self.batch_size, self.asynchronous = 16, False

    def begin(self, pixels: Any, measures: Any) -> Any:  # noqa: ARG002 - as its parent has it
        batch = [next(self.pages) for _ in pixels]
        vectors = [np.asarray(_vector(cosine, self.dim), "<f4").tobytes() for cosine, _ in batch]
        return lambda: Thought(vectors, [tags for _, tags in batch], 1.0 * len(batch))


def _vector(cosine: float, dim: int) -> list[float]:
    """A unit vector with this cosine to the first axis."""
    return [cosine, math.sqrt(1 - cosine * cosine)] + [0.0] * (dim - 2)
