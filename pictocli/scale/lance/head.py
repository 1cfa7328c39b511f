"""The head of a library of Lance tables: which version of each table belongs to its last commit, and who may write.

It is one text in a table of one row, which processes change by compare-and-swap. So a commit of many tables is seen as
a whole or not at all, and what a writer left behind that was killed before its swap is never seen.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pictocli.errors import DamagedError, StoreError, TakenError
from pictocli.scale.lance.place import Place, absent, beaten, lance, told

__all__ = ["HEAD", "Cell", "Lease", "holder_of", "is_dead", "mark_of", "signature"]

HEAD = "head"
State = dict[str, Any]
LEASE = 30.0  # s without a sign of life after which a writer is taken for dead
PATIENCE = 45.0  # s that the lease is waited for: longer than a dead one's lasts
_BEAT = 8.0  # s between signs of life
_KEPT = 200  # turns after which what old ones left is removed
_COMMITS, _MARK = 2000, 8  # commits whose writers the head names, and letters of each: 16 KB


class Cell:
    """A value as JSON that processes change by compare-and-swap: the row (turn, text) of a table of its own."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name = place, name
        self._rows: Any = None

    def create(self, value: State) -> bool:
        """Make the cell; whether it was not there yet."""
        row = pa.table({"turn": pa.array([0], pa.int64()), "text": pa.array([json.dumps(value)])})
        with told(self.place):
            try:
                lance.write_dataset(row, self.place.of(self.name), storage_options=self.place.options)
            except (OSError, ValueError) as exc:
                if "already exists" in str(exc).lower() or beaten(self.place, exc):
                    return False
                raise
        return True

    def is_there(self) -> bool:
        """Whether there is such a cell. Raises StoreError when that cannot be looked up."""
        folder = self.place.folder
        if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
            raise StoreError(f"{folder} is a file, not a folder of Lance tables", "lance://DIR names a folder")
        with told(self.place):
            try:
                self._open()
            except (OSError, ValueError) as exc:
                if absent(self.place, exc):
                    return False
                raise
        return True

    def version(self) -> int:
        """A number that is another one after every swap."""
        with told(self.place):
            if self._rows is None:
                self._open()
            return int(self._rows.latest_version)

    def read(self) -> tuple[int, State]:
        """The turn, and the value."""
        with told(self.place):
            if self._rows is None:
                self._open()
            self._rows.checkout_latest()
            rows = self._rows.to_table().to_pylist()
        try:
            (row,) = rows
            value = json.loads(row["text"])
            return int(row["turn"]), value if isinstance(value, dict) else {}
        except (ValueError, KeyError, TypeError) as exc:
            raise DamagedError(f"{self.place.name} is damaged: its {self.name} is none") from exc

    def swap(self, turn: int, value: State) -> bool:
        """Put a value in the place of the one of this turn; whether nobody else was faster."""
        text = json.dumps(value).replace("'", "''")
        with told(self.place):
            try:
                done = self._rows.update(
                    {"turn": str(turn + 1), "text": f"'{text}'"}, where=f"turn = {turn}", conflict_retries=0
                )
            except (OSError, RuntimeError) as exc:
                if beaten(self.place, exc):
                    return False
                raise
            if turn % _KEPT == _KEPT - 1:
                with contextlib.suppress(OSError, RuntimeError):  # tidying is nobody's errand
                    self._rows.cleanup_old_versions(older_than=datetime.timedelta(minutes=10))
        return bool(done["num_rows_updated"])

    def change(self, change: Callable[[State], State | None]) -> State | None:
        """Swap until nobody else is faster. change: makes the new value of the old, or None to leave it.

        Raises TakenError when somebody else is faster all the time.
        """
        ends = time.monotonic() + PATIENCE
        while True:
            turn, value = self.read()
            changed = change(value)
            if changed is None or self.swap(turn, changed):
                return changed
            if time.monotonic() > ends:
                raise TakenError(f"{self.place.name} is being changed by other processes", "try again later")
            time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - so that two do not meet again

    def _open(self) -> None:
        self._rows = lance.dataset(self.place.of(self.name), storage_options=self.place.options)


class Lease:
    """The right to write, which one connection has at a time. It is renewed while it is held."""

    def __init__(self, head: Cell) -> None:
        self.head = head
        self.token = ""
        self._turn = 0
        self._state: State = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._renewer: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether it is held, as far as is known here."""
        return bool(self.token)

    def take(self) -> State:
        """Wait for the lease, and return the head's state. Raises TakenError when it does not come free."""
        ends, seen, since = time.monotonic() + PATIENCE, None, time.monotonic()
        pause, version, turn, state = 0.02 if self.head.place.folder else 0.1, -1, 0, State()
        while True:
            if version != (version := self.head.version()):  # looking costs less than reading
                turn, state = self.head.read()
            holder = state.get("lease")
            now = time.monotonic()
            if holder != seen:
                seen, since = holder, now
            if holder is None or is_dead(holder, now - since):
                token = uuid.uuid4().hex
                state["lease"] = signature(token)
                version = -1
                if self.head.swap(turn, state):
                    self.token, self._turn, self._state = token, turn + 1, state
                    self._renew_from_now_on()
                    return dict(state)
            if now > ends:
                who = "other processes" if holder is None else holder_of(holder)
                raise TakenError(f"{self.head.place.name} is being changed by {who}", "try again when it has finished")
            time.sleep(random.uniform(pause / 2, 2 * pause))  # noqa: S311 - so that two do not meet again

    def publish(self, changes: State) -> State:
        """Put these keys into the head's state, which is returned, and give the lease back.

        Raises TakenError when the lease has been lost.
        """
        self._over.set()
        with self._lock:
            token, self.token = self.token, ""
            writers = mark_of(self._state["writer"]) if "writers" not in self._state else self._state["writers"]
            writers = (writers + mark_of(token))[-_COMMITS * _MARK :]
            state = {**self._state, **changes, "lease": None, "writer": token, "writers": writers}
            try:
                done = self.head.swap(self._turn, state)
            except StoreError:
                done = self._published(state, token)
                if not done:
                    raise
        if not done:
            raise TakenError(
                f"{self.head.place.name} was taken over by another process, and nothing of this batch is stored",
                "run the same command again",
            )
        return state

    def release(self) -> None:
        """Give the lease back, with nothing changed."""
        self._over.set()
        with self._lock:
            if not self.token:
                return
            self.token = ""
            with contextlib.suppress(StoreError):  # it comes free by itself
                self.head.swap(self._turn, {**self._state, "lease": None})

    def _published(self, state: State, token: str) -> bool:
        """Whether a swap that seemed to fail was done all the same."""
        _, now = self.head.read()
        return now.get("commit") == state.get("commit") and now.get("writer") == token

    def _renew_from_now_on(self) -> None:
        self._over = over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, args=(over, self.token), name="lease", daemon=True)
        self._renewer.start()

    def _renew(self, over: threading.Event, token: str) -> None:
        while not over.wait(_BEAT):
            with self._lock:
                if self.token != token:
                    return
                state = {**self._state, "lease": signature(token)}
                try:
                    done = self.head.swap(self._turn, state)
                except StoreError:
                    continue  # the next beat may come through, and the commit says so else
                if not done:
                    return  # taken over: the commit finds out
                self._turn, self._state = self._turn + 1, state


def mark_of(writer: str) -> str:
    """What stands for the writer of a commit among those that the head names one after the other, in `writers`."""
    return writer[:_MARK]


def signature(token: str) -> dict[str, Any]:
    """Who signs now: a process of a machine, and when."""
    return {"token": token, "host": socket.gethostname(), "pid": os.getpid(), "space": _space(), "at": time.time()}


def holder_of(signed: State) -> str:
    """Who has signed, as a person may read it."""
    where = "" if signed.get("host") == socket.gethostname() else f" on {signed.get('host')}"
    return f"process {signed.get('pid')}{where}"


def is_dead(signed: State, watched: float) -> bool:
    """Whether who has signed is known to live no more. watched: s that its sign has been seen not to change.

    Clocks of two machines may differ by minutes, so that the time of signing says nothing here.
    """
    pid = signed.get("pid")
    if os.name == "posix" and signed.get("space") == _space() and isinstance(pid, int):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
    return watched > LEASE


def _space() -> str:
    """What says that two numbers of processes are of one machine: the start of it, and the container."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            told.append(file.read().strip())
    return " ".join(told)
