"""The tables themselves: opened at the versions that the head names, and written on top of these.

A version is only built on the one that the head names. What a killed writer left beyond it is undone first, and a
writer that comes in between is noticed by the number of the version that was made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from pictocli.errors import DamagedError, TakenError
from pictocli.scale.lance.place import Place, beaten, lance, told
from pictocli.scale.lance.tables import GONE, TABLES, Row, Table, gone_rows, schema_of, to_arrow, width_of

__all__ = ["Changes", "Large", "Store"]

Large = Callable[[str, Any, bytes], bytes]
"""The bytes that a digest stands for: of a table's name, the row's key, and the digest."""

_BATCH = 4096  # rows that are turned into Arrow at a time
_THREADS = 4
_FRAGMENTS = 96  # a commit makes one: every so many become one, else each question would open thousands
_SMALL = 4096  # rows of a fragment that stays as it is
_TRIES = 3


@dataclass(slots=True)
class Changes:
    """What a transaction changed in one table. removed: keys; None for every row that there was."""

    inserted: list[Row] = field(default_factory=list)
    updated: list[Row] = field(default_factory=list)
    removed: list[Row] | None = field(default_factory=list)


class Store:
    """The tables of one library. Its methods may be called by several threads at once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()

    def at(self, name: str, version: int) -> Any:
        """The lance.LanceDataset of a table at one version."""
        with self._lock:
            found = self._open.get(name)
        if found is None or found.version != version:
            with told(self.place):
                if found is None:
                    found = lance.dataset(self.place.of(name), version=version, storage_options=self.place.options)
                else:
                    found = found.checkout_version(version)
            with self._lock:
                self._open[name] = found
        return found

    def writable(self, name: str, version: int) -> Any:
        """The lance.LanceDataset of a table at one version, to be written on, with what lies beyond it undone."""
        with told(self.place):
            rows = self.at(name, version).checkout_version(version)
            if rows.latest_version != version:
                rows.restore()
        return rows

    def write(
        self, versions: Mapping[str, int], changes: Mapping[str, Changes], seq: int, large: Large
    ) -> dict[str, int]:
        """Write what a transaction changed, tables side by side, and return the versions that hold it.

        Raises TakenError when another process writes, too.
        """
        removed: list[tuple[str, Row | None]] = []
        jobs: list[Callable[[], tuple[str, int]]] = []
        for name, change in changes.items():
            removed += [(name, key) for key in ([None] if change.removed is None else change.removed)]
            jobs.append(partial(self._written, TABLES[name], versions.get(name), change, seq, large))
        if removed:
            jobs.append(partial(self._appended, "gone", versions.get("gone"), gone_rows(removed, seq)))
        with ThreadPoolExecutor(_THREADS) as pool:
            return {**versions, **dict(pool.map(lambda job: job(), jobs))}

    def _written(self, table: Table, version: int | None, change: Changes, seq: int, large: Large) -> tuple[str, int]:
        every = change.inserted + change.updated
        if not every:
            return self._on_top(table.name, version, [partial(_remove, table, change.removed)])
        with told(self.place):
            schema = to_arrow(table, every[:1], seq, partial(large, table.name)).schema
        new = partial(_reader, table, schema, seq, partial(large, table.name))
        if version is None or self._widened(table, version, schema, change):
            return table.name, self._begun(table.name, new(every))
        steps: list[Callable[[Any], Any]] = [partial(_remove, table, change.removed)] if change.removed else []
        if change.updated:
            steps.append(lambda rows: _merge(table, new(every), rows))
        else:
            steps.append(lambda rows: lance.write_dataset(new(every), rows, mode="append"))
        return self._on_top(table.name, version, steps)

    def _widened(self, table: Table, version: int, schema: pa.Schema, change: Changes) -> bool:
        """Whether all vectors are replaced by such of another width. Raises DamagedError for a part of them."""
        rows = self.at(table.name, version)
        if width_of(schema) == width_of(rows.schema):
            return False
        if rows.count_rows() > len(change.updated) + len(change.removed or ()):
            raise DamagedError(f"{self.place.name} would be damaged: its vectors would differ in their width")
        return True

    def _appended(self, name: str, version: int | None, batch: pa.RecordBatch) -> tuple[str, int]:
        rows = pa.Table.from_batches([batch], GONE)
        if version is None:
            return name, self._begun(name, rows)
        return self._on_top(name, version, [lambda found: lance.write_dataset(rows, found, mode="append")])

    def _begun(self, name: str, rows: Any) -> int:
        """Begin a table, or begin it anew: what lay there before belongs to no commit, or is all replaced."""
        with told(self.place):
            made = lance.write_dataset(rows, self.place.of(name), mode="overwrite", storage_options=self.place.options)
        with self._lock:
            self._open[name] = made
        return int(made.version)

    def _on_top(self, name: str, version: int | None, steps: Sequence[Callable[[Any], Any]]) -> tuple[str, int]:
        """Write on top of a version, each step making one; again, when something lay beyond or came in between."""
        if version is None:
            raise DamagedError(f"{self.place.name} is damaged: its table {name} is not there")
        with told(self.place):
            rows = self.at(name, version).checkout_version(version)
            for _ in range(_TRIES):
                rows = _stepped(self.place, rows, steps)
                if rows is not None:
                    rows = _gathered(rows)
                    with self._lock:
                        self._open[name] = rows
                    return name, int(rows.version)
                rows = self.writable(name, version)
        raise TakenError(f"{self.place.name} is being changed by another process", "run the same command again")


def _stepped(place: Place, rows: Any, steps: Sequence[Callable[[Any], Any]]) -> Any:
    """A table after steps that each make one version; None when something lay beyond or came in between."""
    for step in steps:
        before = rows.version
        try:
            rows = step(rows)
        except (OSError, RuntimeError) as exc:
            if not beaten(place, exc):
                raise
            return None
        if rows.version != before + 1:
            return None
    return rows


def _reader(
    table: Table, schema: pa.Schema, seq: int, large: Callable[[Any, bytes], bytes], rows: Sequence[Row]
) -> Any:
    """Rows as a stream of Arrow batches: their pictures are not all held at once."""

    def batches() -> Iterator[pa.RecordBatch]:
        for at in range(0, len(rows), _BATCH):
            yield to_arrow(table, rows[at : at + _BATCH], seq, large)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _remove(table: Table, keys: Sequence[Row] | None, rows: Any) -> Any:
    if keys is None:
        rows.delete("true")
        return rows
    kinds = schema_of(table)
    columns = [
        pa.array(values, kinds.field(name).type)
        for name, values in zip(table.key, zip(*keys, strict=True), strict=True)
    ]
    rows.merge_insert(list(table.key)).when_matched_delete().conflict_retries(0).execute(
        pa.Table.from_arrays(columns, names=list(table.key))
    )
    return rows


def _merge(table: Table, new: Any, rows: Any) -> Any:
    merge = rows.merge_insert(list(table.key)).when_matched_update_all().when_not_matched_insert_all()
    merge.conflict_retries(0).execute(new)
    return rows


def _gathered(rows: Any) -> Any:
    """A table of which small fragments have become one where there were many."""
    version, pieces = rows.version, rows.get_fragments()
    if len(pieces) <= _FRAGMENTS or sum(piece.metadata.physical_rows < _SMALL for piece in pieces) <= _FRAGMENTS:
        return rows
    held = rows.count_rows()
    rows.optimize.compact_files(target_rows_per_fragment=_SMALL, num_threads=1)
    alone = rows.version <= version + 2 and rows.count_rows() == held  # compacting makes two versions
    return rows if alone else rows.checkout_version(version)
