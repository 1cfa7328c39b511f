"""Vectors that were made elsewhere, looked up by the path and page that they are of."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pictocli.metadata import Metadata
from pictocli.parquet import Vectors
from pictocli.records import ModelSpec, Skipped
from pictocli.reports import ImportReport

__all__ = ["Carried", "Given"]

_PAGE = re.compile(r"(.+)#page=([1-9][0-9]{0,8})", re.DOTALL)
_UNIT = 1e-3  # how far from 1 a length may be, as `brain.checked` has it


class Given:
    """The vectors of a file, on disk, and where each belongs: a million of 768 numbers are 3 GB.

    places: root and dataset that picto's own file names for a path. metadata: as it was passed through there.
    """

    def __init__(self, vectors: Vectors, spec: ModelSpec, root: str | None, report: ImportReport) -> None:
        """Read all. root: the folder that relative paths begin at, else the working folder. Raises ValidationError."""
        self.spec, self.report = spec, report
        self.skipped: list[Skipped] = []
        self.pages: dict[str, dict[int, int]] = {}  # full path → page, 0 when none is named → row of `_floats`
        self.places: dict[str, tuple[str, str]] = {}
        self.metadata: dict[str, str] = {}
        self._base = os.path.abspath(root or os.getcwd())
        self._spelled = os.path.abspath if vectors.model else os.path.realpath  # picto's own follow no links
        self._file = tempfile.TemporaryFile(prefix="picto-")  # noqa: SIM115 - closed by `close`
        self._count = 0
        there = dict[str, bool]()
        try:
            for rows, numbers in vectors.batches(spec.dim):
                self._take(rows, numbers, there)
            self._file.flush()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the vectors from the disk."""
        self._file.close()

    def vector(self, path: str, page: int) -> bytes | None:
        """The vector of one page; the first page is also the one of a file that is named without a page."""
        given = self.pages.get(path, {})
        row = given.get(page, given.get(0) if page == 1 else None)
        if row is None:
            return None
        self._file.seek(row * 4 * self.spec.dim)
        return self._file.read(4 * self.spec.dim)

    def surplus(self, path: str, pages: Sequence[int]) -> int:
        """How many vectors are of pages that the file has not; pages: () for a file that is one image."""
        held = {*pages, 0} if pages else {0}
        return len(self.pages.get(path, {}).keys() - held)

    def _take(self, rows: Sequence[Mapping[str, Any]], numbers: Any, there: dict[str, bool]) -> None:
        lengths = np.linalg.norm(numbers.astype(np.float64), axis=1)
        for row, numbers_of, length in zip(rows, numbers, lengths, strict=True):
            self.report.rows += 1
            path, page = self._named(row)
            name = f"{path}#page={page}" if page else path
            if path not in there:
                there[path] = os.path.isfile(path)
            if not there[path]:
                self.report.absent += 1
                self.report.first_absent = self.report.first_absent or name
            elif page in self.pages.get(path, {}):
                self.report.repeated += 1
            elif not np.isfinite(length) or length == 0:
                self.skipped.append(Skipped(name, "its vector is missing, zero or not finite"))
            else:
                self._keep(path, page, row, (numbers_of / length).astype("<f4"))
                self.report.normalised += int(abs(length - 1) > _UNIT)

    def _keep(self, path: str, page: int, row: Mapping[str, Any], vector: Any) -> None:
        self.pages.setdefault(path, {})[page] = self._count
        self._file.write(vector.tobytes())
        self._count += 1
        folder, dataset = row.get("folder"), row.get("dataset")
        holder = os.path.dirname(path)
        if dataset and folder is not None and (holder + "/").endswith(f"/{folder}/" if folder else "/"):
            root = holder[: len(holder) - len(folder) - 1] if folder else holder
            self.places[path] = (root or "/", dataset)
        if row.get("metadata"):
            self.metadata[path] = row["metadata"]

    def _named(self, row: Mapping[str, Any]) -> tuple[str, int]:
        """The full path of a row and the page of it, 0 when it names none. A file may be called a.pdf#page=3, too."""
        raw = row.get("path_bytes")
        text = os.fsdecode(raw) if raw else str(row["path"] or "")
        text = text.removeprefix("file://") if text.startswith("file:///") else text
        full = os.path.join(self._base, text.replace("\0", ""))
        found = _PAGE.fullmatch(full)
        if found and not os.path.exists(full):
            return self._spelled(found[1]), int(found[2])
        return self._spelled(full), 0


class Carried(Metadata):
    """The metadata that picto's own file of vectors carries."""

    def __init__(self, given: Given) -> None:
        self._given, self.rows = given, 0

    def of(self, root: str, path: str) -> Mapping[str, Any] | None:  # noqa: ARG002 - as its parent has it
        """The fields for the file at the full path, or None."""
        try:
            found = json.loads(self._given.metadata.get(path, "null"))
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
