"""A program that indexes a folder as picto does, but whose model only counts: what it does is what the store does.

    python tests/writers.py LIBRARY FOLDER LOG [SPOT COMMIT]

A picture that is embedded adds a line to LOG. SPOT: where the program is killed, as by the machine's end, in its
COMMIT-th commit to Lance tables: "before" a table is written, among the "tables", before the "swap" of the head, or
"after" it.
"""

from __future__ import annotations

import os
import signal
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from pictocli.brain import Brain, Thought
from pictocli.filling import index, index_with
from pictocli.protocols import NoProgress
from pictocli.records import IndexReport, ModelSpec

__all__ = ["SPEC", "SPOTS", "write"]

SPEC = ModelSpec("made-up", "0", 24, 32, "bilinear", 64, 112.7, -16.8)
SPOTS = ("before", "tables", "swap", "after")


class Counting(Brain):
    """Gives every picture a vector of its own, without a model."""

    def __init__(self, log: Path) -> None:
        self.log, self.batch_size, self.asynchronous = log, 4, False

    def begin(self, pixels: Any, measures: Any) -> Any:  # noqa: ARG002 - as its parent has it
        seeds = [zlib.crc32(each.tobytes()) for each in pixels]
        with self.log.open("a") as file:
            file.writelines(f"{seed}\n" for seed in seeds)
        vectors = [np.random.default_rng(seed).standard_normal(SPEC.dim).astype("<f4") for seed in seeds]
        told = [{"objects": {"car": 0.9}, "scenes": {}, "attributes": {}} for _ in seeds]
        return lambda: Thought([(v / np.linalg.norm(v)).tobytes() for v in vectors], told, 1.0)


class _Model:
    spec = SPEC

    def __init__(self, log: Path) -> None:
        self.log = log

    def brain(self, _: object) -> Brain:
        return Counting(self.log)


def write(name: str, folder: Path, log: Path) -> IndexReport:
    """Index a folder into the library of this name."""

    def follow(path: str, sources: Any, dataset: Any, model: Any, device: Any, options: Any, progress: Any) -> Any:
        made: Any = _Model(log)
        return index_with(path, sources, dataset, made, options, progress)

    return index(name, [str(folder)], NoProgress(), workers=0, batch_size=4, thumbnails=True, follow_up=follow)


def _end_at(spot: str, commit: int) -> None:
    """End this process, without a word to anybody, at a spot of one of its commits."""
    from pictocli.scale.lance import connection as lance_connection
    from pictocli.scale.lance import head as lance_head
    from pictocli.scale.lance import store as lance_store

    commits = tables = 0
    real_write, real_table, real_publish = lance_store.Store.write, lance_store.Store._written, lance_head.Lease.publish
    real_keep = lance_connection.keep_state

    def end(here: str) -> None:
        if here == spot and commits == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(*arguments: Any) -> Any:
        nonlocal commits, tables
        commits, tables = commits + 1, 0
        end("before")
        return real_write(*arguments)

    def table(*arguments: Any) -> Any:
        nonlocal tables
        found, tables = real_table(*arguments), tables + 1
        if tables == 2:
            end("tables")
        return found

    def publish(*arguments: Any) -> Any:
        end("swap")
        return real_publish(*arguments)

    def keep(*arguments: Any) -> Any:
        end("after")
        return real_keep(*arguments)

    patched: Any = lance_store.Store
    patched.write, patched._written = write, table
    patched = lance_head.Lease
    patched.publish = publish
    patched = lance_connection
    patched.keep_state = keep


if __name__ == "__main__":
    if len(sys.argv) > 4:
        _end_at(sys.argv[4], int(sys.argv[5]))
    done = write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(f"{done.indexed} {done.unchanged} {len(done.skipped)}\n")
