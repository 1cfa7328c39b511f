"""Watches a process and all below it: the CPU time they take, and the memory they hold at once. Linux only."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Watch", "watched"]


def tree(root: int) -> Iterator[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(told[1]), []).append(int(entry.parent.name))
    pending = [root]
    while pending:
        process = pending.pop()
        pending += parents.get(process, [])
        yield process


@dataclass
class Watch:
    """What a tree of processes took. cpu: seconds; peak: bytes, of all at once."""

    cpu: float = 0.0
    peak: int = 0


@contextmanager
def watched(root: int) -> Iterator[Watch]:
    """Sample a tree of processes while the block runs."""
    found, spent, over = Watch(), dict[int, int](), threading.Event()

    def look() -> None:
        memory = 0
        for process in tree(root):
            try:
                told = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            except OSError:
                continue
            spent[process] = int(told[11]) + int(told[12])
            memory += int(rollup.split("\nPss:")[1].split()[0]) * 1024
        found.peak = max(found.peak, memory)

    def sample() -> None:
        while not over.wait(0.05):
            look()

    look()
    before = sum(spent.values())
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        look()
        found.cpu = (sum(spent.values()) - before) / os.sysconf("SC_CLK_TCK")
