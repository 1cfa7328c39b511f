"""Writes a library's rows to a file or a pipe, in any format that takes a whole library."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pictocli.catalog import encoded
from pictocli.errors import ValidationError
from pictocli.places import whole
from pictocli.protocols import Progress
from pictocli.records import Exported, ModelSpec
from pictocli.render import write
from pictocli.reports import ExportReport

__all__ = ["FORMATS", "export_to", "for_file"]

FORMATS = ("jsonl", "csv", "parquet", "npy")


def for_file(
    library: str,
    target: str | os.PathLike[str] | BinaryIO,
    form: str | None,
    *,
    embeddings: bool,
    spreadsheet_safe: bool,
) -> str:
    """The format to write in, by default the one that a file is named for, else JSONL.

    Raises ValidationError for a format that is not one of FORMATS or does not fit, or a file that is the library's own.
    """
    path = os.fspath(target) if isinstance(target, str | os.PathLike) else None
    suffix = "" if path is None else os.path.splitext(path)[1].lower().lstrip(".")
    form = form or (suffix if suffix in FORMATS else "jsonl")
    if form not in FORMATS:
        raise ValidationError(f"a library cannot be exported as {form}", ", ".join(FORMATS))
    if embeddings and form == "csv":
        raise ValidationError("a CSV has no room for embeddings", "--embeddings goes with --format jsonl or parquet")
    if spreadsheet_safe and form != "csv":
        raise ValidationError("only a CSV can be made safe for spreadsheets", "--spreadsheet-safe needs --format csv")
    if form == "npy" and suffix != "npy":
        raise ValidationError("NumPy's file has a second one beside it", "-o NAME.npy, which makes NAME.npy.jsonl too")
    if path is not None and os.path.exists(path) and os.path.exists(library) and os.path.samefile(path, library):
        raise ValidationError(f"{path} is the library itself", "-o names another file")
    return form


def export_to(
    rows: Iterable[Exported],
    target: str | BinaryIO,
    form: str,
    *,
    spec: ModelSpec | None,
    embeddings: bool,
    spreadsheet_safe: bool,
    progress: Progress,
) -> ExportReport:
    """Write rows in one of FORMATS; see `Library.export_to`. spec: of the embeddings."""
    started = time.perf_counter()
    report = ExportReport()
    counted = _counted(rows, report, progress)
    dim = spec.dim if spec is not None and embeddings else None
    try:
        if form == "npy":
            assert isinstance(target, str)  # as `for_file` has it
            _npy(counted, target, spec.dim if spec else 0, report)
        elif isinstance(target, str):
            with whole(target) as out:
                _write(counted, out, form, dim, spec, spreadsheet_safe)
            report.paths.append(target)
        else:
            _write(counted, target, form, dim, spec, spreadsheet_safe)
    finally:
        progress.close()
    if not embeddings:
        report.lacking = 0
    report.seconds = time.perf_counter() - started
    return report


def _counted(rows: Iterable[Exported], report: ExportReport, progress: Progress) -> Iterator[Exported]:
    for row in rows:
        report.images += 1
        report.lacking += row.embedding is None
        if report.images % 1000 == 0:
            progress.doing(f"exporting, {report.images:,} images")
        yield row


def _write(
    rows: Iterable[Exported], out: BinaryIO, form: str, dim: int | None, spec: ModelSpec | None, spreadsheet_safe: bool
) -> None:
    if form == "parquet":
        from pictocli import parquet  # pyarrow: 0.2 s

        parquet.write(rows, out, dim=dim, model=encoded(spec) if spec else None)
    else:
        write(rows, form, out, kind=Exported, spreadsheet_safe=spreadsheet_safe)


def _npy(rows: Iterable[Exported], target: str, dim: int, report: ExportReport) -> None:
    """NAME.npy, float32 [n, dim], for numpy.load with or without mmap_mode; and NAME.npy.jsonl, line i for row i.

    Images without an embedding are in neither. The header is written again at the end: numpy leaves room in it.
    """
    from dataclasses import replace

    import numpy as np

    beside, made = target + ".jsonl", 0
    with whole(target) as out, whole(beside) as lines:

        def header() -> None:
            shape = {"descr": "<f4", "fortran_order": False, "shape": (made, dim)}
            np.lib.format.write_array_header_1_0(out, shape)

        def written() -> Iterator[Exported]:
            nonlocal made
            for row in rows:
                if row.embedding is not None:
                    out.write(np.asarray(row.embedding, "<f4").tobytes())
                    made += 1
                    yield replace(row, embedding=None)

        header()
        write(written(), "jsonl", lines, kind=Exported)
        out.seek(0)
        header()
    report.images = made
    report.paths += [target, beside]
