"""Interrupts `picto index` with Ctrl-C, once or twice, with `kill`, and with the end of its terminal.

    python tests/trials/interrupt.py [--times 24] [--seed 1]

At any moment of the run. Once: it ends by itself with exit code 130, says how many images it stored, and
nothing of it is missing. Twice: it ends within seconds. Afterwards the library agrees, no process is left behind, and
the next run completes. What asks a program to end (SIGTERM, SIGHUP) is a Ctrl-C.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from checkpoints import save_siglip
from trials.agree import agree, asked, stored
from trials.kill import complete
from trials.running import Album, finished, group, many, start, waited

__all__ = ["interrupt", "trial"]

ASKED = ((signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGINT))


def interrupt(db: Path, album: Album, model: Path, after: float | int, signals: Sequence[int]) -> tuple[bool, float]:
    """Index, and interrupt after so many seconds (float) or images that are stored (int).

    Returns whether the run was still under way, and the seconds from the last signal to its end.
    """
    before, earlier = len(stored(db)), _contents(db)
    options = ("--model", model, "--batch-size", "4", "--workers", "2")
    process = start("index", album.folder, "--db", db, *options)
    if isinstance(after, int):
        assert waited(lambda: process.poll() is not None or len(stored(db)) >= before + after)
    else:
        time.sleep(after)
    committed = stored(db)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1 * (len(signals) > 1))
    started = time.monotonic()
    code, told = finished(process)
    seconds = time.monotonic() - started
    if not waited(lambda: not group(process.pid), 10):
        left = len(group(process.pid))
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"{left} processes outlive the run")
    agree(db)
    assert committed <= stored(db)
    unready = () if isinstance(after, int) else tuple(-number for number in signals)  # Python was still starting
    assert code in (0, 130, *unready), f"exit {code}: {told}"
    if code == 130 and (counted := re.match(r"Interrupted: indexed (\d+) image", told)):
        assert int(counted[1]) <= len(_contents(db) - earlier), told  # copies are images too, and counted apart
    return code != 0, seconds


def _contents(db: Path) -> set[tuple[int, int]]:
    """(image id, content id) of all that is committed: a changed file's images keep their ids."""
    if not stored(db):
        return set()
    with asked(db) as connection:
        return set(connection.execute("SELECT id, content_id FROM image"))


def trial(base: Path, times: int, seed: int) -> str:
    """Interrupt so many runs; the closing line. Raises AssertionError at the first loss."""
    chance, model = random.Random(seed), save_siglip(base / "small")  # noqa: S311 - no secret
    album, db = Album(base / "album", seed), base / "library.db"
    hit, slowest = 0, dict.fromkeys(ASKED, 0.0)
    for number in range(times):
        album.grow()
        signals = ASKED[number % len(ASKED)]
        after = chance.choice([chance.uniform(0.3, 6), chance.randrange(1, 9)])
        under_way, seconds = interrupt(db, album, model, after, signals)
        hit += under_way
        slowest[signals] = max(slowest[signals], seconds)
        complete(db, album, "--model", str(model))
    longest = ", ".join(f"{'+'.join(signal.Signals(n).name for n in each)} {s:.1f} s" for each, s in slowest.items())
    return f"{times} runs interrupted, {hit} under way: nothing lost, all completed later; longest wait: {longest}"


if __name__ == "__main__":
    many(trial, __doc__, 24)
