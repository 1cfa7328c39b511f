"""Runs functions in worker processes, and lives on when a decoder kills one.

Workers are forked from a clean server process that never loaded torch (spawned where there is no such server): forking
after torch has started its threads deadlocks.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

__all__ = ["CrashedError", "Job", "Workers", "default_workers"]


class CrashedError(Exception):
    """A job killed its worker process, twice."""


@dataclass(slots=True)
class Job:
    """One call on its way: its result is there after `Workers.result`."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    future: Future[Any] | None
    pool: ProcessPoolExecutor | None


def default_workers() -> int:
    """One worker a usable core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> None:
    """Leave Ctrl-C to the parent, which finishes its batch first, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody: its workers would wait for their next job for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGTERM)


class Workers:
    """A pool of `count` processes, started with the first job. With 0, calls run here, when their result is asked."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._alone: ProcessPoolExecutor | None = None

    def submit(self, call: Callable[..., Any], *args: Any) -> Job:
        """Queue a call of a module-level function."""
        if self.count == 0:
            return Job(call, args, None, None)
        pool = self._running()
        try:
            return Job(call, args, _submitted(pool, call, *args), pool)
        except BrokenProcessPool:
            return Job(call, args, None, pool)  # result() starts it again in a new pool

    def result(self, job: Job) -> Any:
        """Wait for a call. Raises what it raised, CrashedError when it killed its process alone and twice."""
        if self.count == 0:
            return job.call(*job.args)
        try:
            if job.future is not None:
                return job.future.result()
        except BrokenProcessPool:
            pass
        # The pool died, of this job or of another: run this one by itself, so that the guilty one is found.
        if job.pool is self._pool:
            _stop(self._pool)
            self._pool = None
        self._alone = self._alone or _started(1)
        try:
            return _submitted(self._alone, job.call, *job.args).result()
        except BrokenProcessPool as exc:
            _stop(self._alone)
            self._alone = None
            raise CrashedError from exc

    def close(self) -> None:
        """Stop the processes; jobs that have not started are dropped."""
        _stop(self._pool)
        _stop(self._alone)
        self._pool = self._alone = None

    def _running(self) -> ProcessPoolExecutor:
        self._pool = self._pool or _started(self.count)
        return self._pool


def _started(count: int) -> ProcessPoolExecutor:
    method = "forkserver" if sys.platform.startswith("linux") else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pictocli.decode"])
    return ProcessPoolExecutor(count, mp_context=context, initializer=_start)


def _submitted(pool: ProcessPoolExecutor, call: Callable[..., Any], *args: Any) -> Future[Any]:
    """Queue a call, starting a process for it where one is still to be had.

    A new process imports the main module of its parent again: a user's script that indexes, and has no guard, would
    index in every worker, and a script on standard input cannot be found at all. Ours need no main module.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        return pool.submit(call, *args)
    finally:
        sys.modules["__main__"] = main


def _stop(pool: ProcessPoolExecutor | None) -> None:
    if pool is not None:
        pool.shutdown(wait=False, cancel_futures=True)
