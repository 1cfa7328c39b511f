"""Runs functions in worker processes, and lives on when one of them crashes or hangs.

Each process has a thread here that hands it one call at a time, so a call that dies or takes too long is known by name,
and costs a process and nothing else. Processes are forked from a clean server that never loaded torch (spawned where
there is no such server): forking after torch has started its threads deadlocks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from pictocli.errors import PictoError
from pictocli.interrupts import held

__all__ = ["CrashedError", "Job", "LateError", "Workers", "alive", "default_workers"]

LIMIT = 30.0  # seconds that a call may take: a picture of 200 megapixels takes 4

_parent: Connection | None = None  # of a worker process: where its calls come from


class CrashedError(Exception):
    """A job killed its worker process, twice."""


class LateError(Exception):
    """A job took too long, and its worker process was ended."""


@dataclass(slots=True)
class Job:
    """One call on its way: its result is there after `Workers.result`. future: None where it will be made then."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    future: Future[Any] | None


def default_workers() -> int:
    """One worker a usable core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def alive() -> None:
    """Said by a call that takes long for a good reason: its time begins anew. Does nothing outside a worker process."""
    if _parent is not None:
        _parent.send(None)


class Workers:
    """A pool of `count` processes, started with the first job. With 0, calls run here, when their result is asked.

    limit: seconds that a call may take, or be silent between two calls of `alive`; with 0 processes it has no effect.
    """

    machines = 1

    def __init__(self, count: int, limit: float = LIMIT) -> None:
        self.count, self.limit = count, limit
        self._threads: ThreadPoolExecutor | None = None
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all: list[_Worker] = []

    def submit(self, call: Callable[..., Any], *args: Any) -> Job:
        """Queue a call of a module-level function. Raises PictoError where no process can be started."""
        if self.count == 0:
            return Job(call, args, None)
        if self._threads is None:
            self._start()
        assert self._threads is not None
        return Job(call, args, self._threads.submit(_made, self._idle, self.limit, call, args))

    def result(self, job: Job) -> Any:
        """Wait for a call. Raises what it raised, CrashedError when it killed its process twice, LateError."""
        return job.call(*job.args) if job.future is None else job.future.result()

    @held()
    def close(self) -> None:
        """End the processes, whatever they do; jobs that have not been asked for are dropped."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            worker.close()
        self._threads, self._all, self._idle = None, [], SimpleQueue()

    @held()
    def _start(self) -> None:
        self._threads = ThreadPoolExecutor(self.count, "worker")
        self._all = [_Worker() for _ in range(self.count)]
        for worker in self._all:
            worker.start()  # all of them now, so that they come up side by side
            self._idle.put(worker)


def _made(idle: SimpleQueue[_Worker], limit: float, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Make a call in a process that is idle: there is one for each thread that runs this."""
    worker = idle.get()
    try:
        try:
            return worker.ask(call, args, limit)
        except CrashedError:  # perhaps of another process that took all the memory
            return worker.ask(call, args, limit)
    finally:
        idle.put(worker)


class _Worker:
    """One process, and the line to it. Started anew after it has died."""

    _starting = threading.Lock()

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._closed = False

    def start(self) -> None:
        """Start the process.

        A new process imports the main module of its parent again: a user's script that indexes, and has no guard, would
        index in every worker, and a script on standard input cannot be found at all. Ours need no main module.
        """
        context = _context()
        line, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        with self._starting, _deaf():
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                process.start()
            except (OSError, EOFError) as exc:  # no memory or no process is left, or the server cannot run
                hint = "--workers 0 decodes without any"
                if "AF_UNIX" in str(exc):  # of the socket by which processes are asked for, 107 bytes at most
                    hint = f"name a folder with a shorter path in TMPDIR; {hint}"
                raise PictoError(f"cannot start a decoding process: {exc}", hint) from exc
            finally:
                sys.modules["__main__"] = main
        theirs.close()  # else its end would be open here after it has died
        self._process, self._line = process, line

    def ask(self, call: Callable[..., Any], args: tuple[Any, ...], limit: float) -> Any:
        """Have a call made. Raises what it raises, CrashedError when the process dies of it, LateError."""
        if self._closed:
            raise CrashedError
        if self._process is None:
            self.start()
        assert self._line is not None
        try:
            self._line.send((call, args))
            while self._line.poll(limit):
                if (answer := self._line.recv()) is not None:
                    break
            else:
                self._end()
                raise LateError
        except (EOFError, OSError) as exc:
            self._end()
            raise CrashedError from exc
        value, error = answer
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """End the process, and start no other."""
        self._closed = True
        if (process := self._process) is not None:  # once: its thread may be ending it, too
            process.kill()

    def _end(self) -> None:
        assert self._process is not None
        assert self._line is not None
        self._process.kill()
        self._line.close()
        self._process = self._line = None


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Have processes that are started here not hear Ctrl-C, from their first moment on: it is their parent's."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # now: starting it, as the first process does, would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context() -> BaseContext:
    method = "forkserver" if sys.platform.startswith("linux") else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pictocli.decode"])
    return context


def _serve(line: Connection) -> None:
    """What a worker process does: make calls until its parent has gone."""
    global _parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be made deaf
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _parent = line
    with contextlib.suppress(EOFError, OSError):  # the line's, not the calls'
        while True:
            call, args = line.recv()
            line.send(_answer(call, args))


def _answer(call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return call(*args), None
    except Exception as exc:
        return None, exc


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and a call that hangs would do so for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGTERM)
