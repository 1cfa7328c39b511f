"""Kills `picto index` at random moments, over one library whose folder grows and changes meanwhile.

    python tests/trials/kill.py [--times 50] [--seed 1]

SIGKILL goes to the whole process group, to the main process alone, or to a worker, which costs nothing at all. After
each kill: the library agrees, what was committed before the kill is there, no process is left behind, and the next run
completes. At the end a fresh index of the same folder holds the same pages, embeddings, tags and thumbnails. Half of
the runs make thumbnails.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials.agree import agree, asked, stored
from trials.running import Album, finished, group, many, start, waited

__all__ = ["compare", "kill", "trial"]

VICTIMS = ("group", "main", "worker")


def kill(db: Path, folder: Path, victim: str, chance: random.Random, usual: float, *options: str) -> tuple[bool, int]:
    """Index, and kill on the way. Returns whether there was still something to kill, and what was committed by then.

    usual: seconds that such a run takes. Half of the kills come at any time in it, half soon after a commit.
    """
    before = stored(db)
    process = start("index", folder, "--db", db, "--batch-size", "4", "--workers", "2", *options)
    if victim != "worker" and chance.random() < 0.5:  # workers are there for a part of the time only
        time.sleep(chance.uniform(0, usual))
    else:
        wanted = len(before) + chance.randrange(1, 25)
        waited(lambda: process.poll() is not None or len(stored(db)) >= wanted, 30)
        time.sleep(chance.uniform(0, 0.05))
    committed = stored(db)
    struck = _strike(process.pid, victim, chance) and process.poll() is None
    if victim == "worker":
        code, told = finished(process)
        assert (code, "skipped" in told) == (0, False), f"a process was killed, and the run said {code}: {told}"
    else:
        process.communicate()
        struck = process.returncode == -signal.SIGKILL
    if not waited(lambda: not group(process.pid), 10):
        left = group(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"{len(left)} processes outlive the run")
    agree(db)
    lost = committed - stored(db)
    assert not lost, f"{len(lost)} images that were stored are gone"
    return struck, len(committed)


def _strike(leader: int, victim: str, chance: random.Random) -> bool:
    """Send the kill; whether there was a process to send it to."""
    if victim == "group":
        os.killpg(leader, signal.SIGKILL)
        return True
    targets = [leader] if victim == "main" else _workers(leader)
    if not targets:
        return False
    try:
        os.kill(chance.choice(targets), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _workers(leader: int) -> list[int]:
    """The decoding processes of a run: not its children, which start them and track semaphores, but theirs."""
    found = []
    for pid in group(leader):
        with contextlib.suppress(OSError):  # gone meanwhile
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid != leader and parent in group(leader) and parent != leader:
                found.append(pid)
    return found


def complete(db: Path, album: Album, *options: str) -> float:
    """Index to the end; the seconds it took. All pages of the album must be there, and agree."""
    started = time.monotonic()
    process = start("index", album.folder, "--db", db, "--batch-size", "4", "--workers", "2", *options)
    code, told = finished(process)
    assert (code, "skipped" in told) == (0, False), f"the next run said {code}: {told}"
    agree(db)
    assert len(_rows(db, album.folder)) == sum(album.pages.values())
    return time.monotonic() - started


def _rows(db: Path, folder: Path) -> dict[tuple[str, int], tuple[bytes, list[dict[str, float]], bool]]:
    """(path, page) → embedding, tags by category and whether there is a thumbnail, of all files that exist."""
    with asked(db) as connection:
        rows = connection.execute(
            "SELECT o.path, f.name, i.page, e.v, i.objects, i.scenes, i.attributes, t.content_id IS NOT NULL"
            " FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = f.folder_id"
            " JOIN embedding e ON e.content_id = i.content_id LEFT JOIN thumbnail t ON t.content_id = i.content_id"
        ).fetchall()
    found: dict[Any, Any] = {}
    for place, name, page, vector, *tags, thumbnail in rows:
        if (folder / place / name).exists():
            found[f"{place}/{name}", page] = (vector, [json.loads(each) for each in tags], bool(thumbnail))
    return found


def compare(battered: Path, fresh: Path, folder: Path) -> int:
    """The number of pages that two libraries hold of a folder, which must be the same in every way."""
    rows, others = _rows(battered, folder), _rows(fresh, folder)
    assert rows.keys() == others.keys(), f"{len(rows.keys() ^ others.keys())} pages in one of them only"
    for page, (vector, tags, thumbnail) in rows.items():
        vectors = np.frombuffer(vector, "<f4"), np.frombuffer(others[page][0], "<f4")
        assert float(vectors[0] @ vectors[1]) > 0.99999, page  # another batch, another last digit
        assert (tags, thumbnail) == others[page][1:], page
    return len(rows)


def trial(base: Path, times: int, seed: int, model: str = "mini", victims: tuple[str, ...] = VICTIMS) -> str:
    """Kill so many times, in `base`; the closing line. Raises AssertionError at the first loss."""
    chance, album, db = random.Random(seed), Album(base / "album", seed), base / "library.db"  # noqa: S311 - no secret
    struck, committed, usual, rounds = Counter[str](), 0, 5.0, 0
    while struck.total() < times:
        album.grow(30)
        rounds += 1
        assert rounds < 4 * times, f"of {rounds} runs only {struck.total()} could be killed"
        victim = victims[struck.total() % len(victims)]
        options = ["--model", model, *chance.choice([[], ["--thumbnails"]])]
        hit, kept = kill(db, album.folder, victim, chance, usual, *options)
        struck[victim] += hit
        committed += kept
        usual = complete(db, album, "--model", model)
    complete(db, album, "--model", model, "--thumbnails")
    start_afresh = ("index", album.folder, "--db", base / "fresh.db", "--model", model, "--thumbnails")
    assert finished(start(*start_afresh))[0] == 0
    pages = compare(db, base / "fresh.db", album.folder)
    how = ", ".join(f"{count} of {victim}" for victim, count in struck.items())
    return f"{times} kills ({how}): of {committed:,} images stored before one, nothing lost; {pages:,} pages as afresh"


if __name__ == "__main__":
    many(trial, __doc__, 50)
