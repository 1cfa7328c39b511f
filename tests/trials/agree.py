"""Checks one library file by SQL alone, as any program may: whether every table tells the same.

    python tests/trials/agree.py LIBRARY.db

None of picto's own code is asked. Every trial ends with it. Prints what disagrees, else how much there is.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from program import PICTO, environment

__all__ = ["agree", "asked", "disagreements", "stored"]

# sentence → rows that must not be there
FORBIDDEN = {
    "finished files that lack pages": "SELECT f.id FROM file f WHERE f.size IS NOT NULL"
    " AND f.pages <> (SELECT count(*) FROM image i WHERE i.file_id = f.id)",
    "pages outside their file": "SELECT i.id FROM image i JOIN file f ON f.id = i.file_id WHERE i.page > f.pages",
    "images in another folder than their file": "SELECT i.id FROM image i JOIN file f ON f.id = i.file_id"
    " WHERE i.folder_id <> f.folder_id",
    "images of finished files with other files' content": "SELECT i.id FROM image i JOIN file f ON f.id = i.file_id"
    " JOIN content c ON c.id = i.content_id WHERE f.size IS NOT NULL"
    " AND (c.hash, c.page, c.dpi) IS NOT (f.hash, i.page, f.dpi)",
    "images without an embedding": "SELECT i.id FROM image i WHERE NOT EXISTS"
    " (SELECT 1 FROM content c JOIN embedding e ON e.content_id = c.id WHERE c.id = i.content_id)",
    "content without an image": "SELECT id FROM content c WHERE NOT EXISTS"
    " (SELECT 1 FROM image i WHERE i.content_id = c.id)",
    "thumbnails that are no JPEG": "SELECT content_id FROM thumbnail WHERE substr(jpeg, 1, 3) <> x'ffd8ff'",
    "folders that count wrong": "SELECT id FROM folder o WHERE images <>"
    " (SELECT count(*) FROM image i WHERE i.folder_id = o.id)",
    "tags that count wrong": "SELECT id FROM tag t WHERE n <> (SELECT count(*) FROM image_tag WHERE tag_id = t.id)",
}


@contextmanager
def asked(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a library that leaves it as it is, its log too."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        yield db


def stored(path: Path) -> set[int]:
    """The ids of all images that are committed; none before there is a library."""
    if not path.exists() or not path.stat().st_size:
        return set()
    with asked(path) as db:
        try:
            return {i for (i,) in db.execute("SELECT id FROM image")}
        except sqlite3.OperationalError as exc:
            if "no such table" in str(exc):
                return set()
            raise


def disagreements(path: Path) -> list[str]:
    """What is wrong with a library, a sentence each. Its pictures are taken to be whole: every page has its image."""
    with asked(path) as db:
        db.execute("BEGIN")  # one snapshot, whoever writes meanwhile
        found = [f"integrity check: {text}" for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        found += [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
        if not db.execute("SELECT 1 FROM sqlite_schema").fetchone():  # killed before its first table
            return found
        for sentence, sql in FORBIDDEN.items():
            if rows := db.execute(sql).fetchall():
                found.append(f"{sentence}: {len(rows)}, first {rows[0]}")
        return found + _vectors(db) + _tags(db)


def _vectors(db: sqlite3.Connection) -> list[str]:
    """Embeddings of the model's width and of unit length, and codes that are theirs."""
    kept = db.execute("SELECT value FROM meta WHERE key = 'model'").fetchone()
    dim = json.loads(kept[0])["dim"] if kept else 0
    mean = db.execute("SELECT v FROM vector WHERE name = 'mean'").fetchone()
    wrong = Counter[str]()
    rows = db.execute(
        "SELECT i.id, e.v, c.c FROM image i JOIN embedding e ON e.content_id = i.content_id"
        " LEFT JOIN code c ON c.folder_id = i.folder_id AND c.image_id = i.id"
    )
    for _, blob, code in rows:
        if len(blob) != 4 * dim:
            wrong["embeddings of another size"] += 1
            continue
        vector = np.frombuffer(blob, "<f4")
        wrong["embeddings that are not of unit length"] += not abs(float(np.linalg.norm(vector)) - 1) < 1e-3
        if mean is None:
            wrong["codes without a mean"] += code is not None
            continue
        bits = np.packbits(vector - np.frombuffer(mean[0], "<f4") > 0, bitorder="little").tobytes()
        wrong["codes that are not their embedding's"] += code != bits
    wrong["codes of no image"] += db.execute(
        "SELECT count(*) FROM code c WHERE NOT EXISTS"
        " (SELECT 1 FROM image i WHERE i.id = c.image_id AND i.folder_id = c.folder_id)"
    ).fetchone()[0]
    return [f"{what}: {count}" for what, count in wrong.items() if count]


def _tags(db: sqlite3.Connection) -> list[str]:
    """The inverted table says what the JSON columns say."""
    told: set[Any] = set()
    for image, *columns in db.execute("SELECT id, objects, scenes, attributes FROM image"):
        for category, column in enumerate(columns):
            told |= {(image, category, name, score) for name, score in json.loads(column).items()}
    inverted = set(
        db.execute("SELECT x.image_id, t.category, t.name, x.score FROM image_tag x LEFT JOIN tag t ON t.id = x.tag_id")
    )
    return [f"tags in one place only: {len(told ^ inverted)}"] if told != inverted else []


def agree(path: Path) -> int:
    """The images of a library, in which all must agree. A file that was never made agrees with itself."""
    if not path.exists() or not path.stat().st_size:
        return 0
    wrong = disagreements(path)
    assert not wrong, f"{path}: {'; '.join(wrong)}"
    if _has_own_check():
        done = subprocess.run([PICTO, "info", "--check", "--db", path], capture_output=True, env=environment())
        assert done.returncode == 0, done.stderr.decode()
    return len(stored(path))


@functools.cache
def _has_own_check() -> bool:
    """Whether this picto can check a library itself."""
    done = subprocess.run([PICTO, "info", "--help"], capture_output=True, env=environment(), check=True)
    return b"--check" in done.stdout.replace(b"--check-", b"")


if __name__ == "__main__":
    print(f"{agree(Path(sys.argv[1])):,} images, and all agrees")
