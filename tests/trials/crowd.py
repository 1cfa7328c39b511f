"""Two indexers of different folders and ten readers at once, in one library.

    python tests/trials/crowd.py [--seconds 60]

The indexers index folders that grow meanwhile, again and again. Each reader asks one kind of question, as a program of
its own; an answer must be one, with exit code 0 or 1. Between the questions a connection looks at the library: every
finished file has all its pages, every page its content and embedding, and tags and counts are in step, always.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from checkpoints import save_siglip
from program import PICTO, environment
from trials.agree import agree, asked, disagreements
from trials.running import Album, finished, start

__all__ = ["trial"]

QUESTIONS = [
    ["similar", "id:1", "--threshold", "0", "--everywhere"],
    ["similar", "id:2", "--threshold", "0", "--folder", "/", "--format", "jsonl"],
    ["search", "known words"],
    ["search", "known words", "--format", "json"],
    ["tags", "--attributes", "landscape-orientation"],
    ["tags", "--attributes", "landscape-orientation,blurry", "--sort", "score", "--format", "csv"],
    ["info"],
    ["info", "--format", "json"],
    ["show", "id:1"],
    ["show", "id:3", "--format", "json"],
]


class Crowd:
    """What goes on at once, until `until`; anything that goes wrong ends in `wrong`."""

    def __init__(self, db: Path, model: Path, seconds: float) -> None:
        self.db, self.model, self.until = db, model, time.monotonic() + seconds
        self.done, self.wrong = Counter[str](), list[str]()

    def index(self, album: Album) -> None:
        """Grow a folder and index it, over and over."""
        while time.monotonic() < self.until:
            album.grow()
            code, told = finished(
                start("index", album.folder, "--db", self.db, "--model", self.model, "--batch-size", "4")
            )
            assert code == 0, told
            self.done["runs"] += 1

    def ask(self, question: list[str]) -> None:
        """Ask one thing over and over."""
        while time.monotonic() < self.until:
            done = subprocess.run(
                [PICTO, *question, "--db", self.db], capture_output=True, env=environment(), timeout=60, check=False
            )
            assert (done.returncode, done.stderr) == (0, b""), f"{question}: {done.returncode} {done.stderr.decode()}"
            self.done["answers"] += 1

    def look(self) -> None:
        """Check the library while it is written."""
        while time.monotonic() < self.until:
            wrong = disagreements(self.db)
            assert not wrong, wrong
            self.done["looks"] += 1
            time.sleep(0.1)

    def run(self, *tasks: Callable[[], None]) -> None:
        """Do all of these at once. Raises AssertionError with everything that went wrong."""

        def guarded(task: Callable[[], None]) -> None:
            try:
                task()
            except Exception as exc:
                self.wrong.append(f"{type(exc).__name__}: {exc}")

        threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.wrong, "\n".join(self.wrong)


def trial(base: Path, seconds: float) -> str:
    """The closing line. Raises AssertionError when anything goes wrong."""
    db, model = base / "library.db", save_siglip(base / "small")
    albums = [Album(base / name, at) for at, name in enumerate(("one", "two"))]
    for album in albums:  # so that readers find something from their first question on
        album.grow()
        assert finished(start("index", album.folder, "--db", db, "--model", model))[0] == 0
    assert finished(start("search", "known words", "--db", db))[0] == 0
    crowd = Crowd(db, model, seconds)
    crowd.run(
        *(lambda album=album: crowd.index(album) for album in albums),
        *(lambda question=question: crowd.ask(question) for question in QUESTIONS),
        crowd.look,
    )
    pages = agree(db)
    with asked(db) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM file WHERE size IS NOT NULL")}
    missing = [path for album in albums for path in album.pages if path.name not in names]
    assert not missing, f"{len(missing)} files are not in the library"
    told = ", ".join(f"{count:,} {what}" for what, count in crowd.done.items())
    return (
        f"2 indexers and {len(QUESTIONS)} readers for {seconds:g} s: {told}; no error, {pages:,} images, nothing lost"
    )


def main() -> None:
    """Run the trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        print(trial(Path(base).resolve(), options.seconds))


if __name__ == "__main__":
    main()
