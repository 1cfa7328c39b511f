"""Vectors and pictures, which the working copy has only digests of: looked up in Lance's tables when they are read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from pictocli.errors import DamagedError
from pictocli.scale.lance.place import Place, told
from pictocli.scale.lance.tables import TABLES, digest_of

__all__ = ["Blobs"]

_HELD = 48 * 2**20  # bytes kept of what was read
_AHEAD = 4 * 2**20  # bytes that are read at once, at most
_FIRST, _MOST = 4, 4096  # rows that are read at once: at first, and when every one has been wanted
_ASKED = 2000  # keys in one condition


class Blobs:
    """The bytes that digests stand for. opened: the lance.LanceDataset of a table, as the connection sees it."""

    def __init__(self, place: Place, opened: Callable[[str], Any]) -> None:
        self.place, self.opened = place, opened
        self.written: dict[bytes, bytes] = {}
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0
        self._runs: dict[str, tuple[int, int]] = {}  # a table → the key after those that were read last, and how many
        self._lock = threading.RLock()  # writing asks for several tables at once

    def write(self, content: Any) -> Any:
        """What stands for bytes that are written in this transaction; anything else stands for itself."""
        if not isinstance(content, bytes | bytearray | memoryview):
            return content
        found = bytes(content)
        digest = digest_of(found)
        self.written[digest] = found
        return digest

    def read(self, name: str, key: Any, digest: Any) -> Any:
        """The bytes that a digest stands for in a table's row. Raises DamagedError when there are none."""
        if not isinstance(digest, bytes):
            return digest
        with self._lock:
            found = self.written.get(digest)
            if found is None:
                found = self._kept.get(digest)
            if found is None:
                self._look(name, key)
                found = self._kept.get(digest)
            if found is None and name == "embedding":  # of a swap: they are still where they were staged
                self._look("staged", key)
                found = self._kept.get(digest)
            if found is None:
                raise DamagedError(f"{self.place.name} is damaged: the {name} of content {key} is missing")
        return found

    def expect(self, name: str, keys: Sequence[int]) -> None:
        """Read the rows of these keys at once: they are going to be asked for."""
        with self._lock:
            width = sum(map(len, self._kept.values())) // len(self._kept) if self._kept else 4096
            wanted = sorted(keys)[: max(1, _HELD // 2 // max(1, width))]
            for at in range(0, len(wanted), _ASKED):
                part = wanted[at : at + _ASKED]
                self._take(name, f"content_id IN ({', '.join(str(int(key)) for key in part)})")

    def forget(self) -> None:
        """The transaction is over."""
        self.written.clear()

    def _look(self, name: str, key: int) -> None:
        """Read a row and those after it: the more, the more often they were asked for one after the other."""
        after, rows = self._runs.get(name, (0, 0))
        rows = min(_MOST, rows * 4) if 0 <= key - after <= max(4, rows) and rows else _FIRST
        taken = self._take(name, f"content_id >= {int(key)} AND content_id < {int(key) + rows}")
        if taken > _AHEAD:
            rows = max(_FIRST, rows // 4)
        self._runs[name] = (key + rows, rows)

    def _take(self, name: str, where: str) -> int:
        """Keep the bytes of the rows that meet a condition; how many bytes."""
        rows, column, size = self.opened(name), TABLES[name].large, 0
        if rows is None or column is None:
            return 0
        with told(self.place):
            for batch in rows.to_batches(filter=where, columns=[column, "bytes_digest"]):
                for digest, content in zip(batch.column(1).to_pylist(), _bytes_of(batch.column(0)), strict=True):
                    size += len(content)
                    self._keep(digest, content)
        return size

    def _keep(self, digest: bytes, content: bytes) -> None:
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return
        self._kept[digest] = content
        self._size += len(content)
        while self._size > _HELD and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)


def _bytes_of(column: Any) -> list[bytes]:
    """Vectors as little-endian float32, bit by bit; pictures as they are."""
    if not hasattr(column.type, "list_size"):
        return [content or b"" for content in column.to_pylist()]
    width = 4 * column.type.list_size
    numbers = column.flatten()
    held = numbers.buffers()[1].to_pybytes()[4 * numbers.offset : 4 * (numbers.offset + len(numbers))]
    return [held[at : at + width] for at in range(0, len(held), width)]
