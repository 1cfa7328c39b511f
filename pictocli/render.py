"""Records → TSV, CSV, JSON, JSONL, paths, NUL-ended paths, for programs: nothing is cropped or coloured."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable

from pictocli.damage import Damage
from pictocli.grouped import Copy, Group
from pictocli.records import (
    Embedded,
    Exported,
    Image,
    ImageDetail,
    IndexReport,
    Label,
    LibraryInfo,
    SimilarImage,
    TaggedImage,
)
from pictocli.reports import Change, Forgotten

__all__ = ["FORMATS", "Celled", "Row", "as_object", "write"]

FORMATS = ("table", "tsv", "csv", "json", "jsonl", "paths")


@runtime_checkable
class Celled(Protocol):
    """A record that says itself what its lines of TSV are."""

    def cells(self) -> list[list[str]]:
        """Its lines, each a list of cells."""


Row = Image | Label | LibraryInfo | Embedded | IndexReport | Damage | Forgotten | Change | Group | Celled

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_FORMULA = re.compile(r"\A(?=[=+\-@\t\r\n＝＋－＠])")  # what a cell begins with that a spreadsheet runs, or drops
_IMAGE = (
    "image_id", "path", "filename", "dataset", "folder", "page", "similarity", "closer_than", "probability", "score",
    "parts", "matched", "tags", "metadata", "thumbnail_url", "width", "height", "processing_time_ms",
)  # fmt: skip
_DETAIL = (
    "scores", "kind", "size", "modified", "taken_at", "camera", "latitude", "longitude", "indexed_at", "content_hash",
    "model", "measures", "has_thumbnail", "copies",
)  # fmt: skip
_COPY = ("kind", "kept", "size")


def write(
    rows: Iterable[Row],
    form: str,
    out: BinaryIO,
    *,
    kind: type[Row],
    references: Sequence[str] | None = None,
    spreadsheet_safe: bool = False,
) -> None:
    """Write records in one of FORMATS but "table", line by line.

    kind: the class of the rows, which gives an empty answer its CSV header. references: with many references, the one
    that each row answers. spreadsheet_safe: in CSV, begin what a spreadsheet would run with an apostrophe. All but
    "json" hold one row at a time. Raises BrokenPipeError when the reader has gone.
    """
    if form == "json":
        objects = [as_object(row, reference) for row, reference in _paired(rows, references)]
        one = kind in (ImageDetail, LibraryInfo, IndexReport)
        _line(out, _json(objects[0] if one else objects, indent=2))
    elif form == "jsonl":
        for row, reference in _paired(rows, references):
            _line(out, _json(as_object(row, reference)))
    elif form == "csv":
        header = ([] if references is None else ["reference"]) + _columns(kind)
        _csv(_paired(rows, references), out, header, spreadsheet_safe)
    elif form == "tsv":
        for row, reference in _paired(rows, references):
            for cells in _tsv(row):
                _line(out, "\t".join(cell.translate(_ESCAPES) for cell in ([reference] if reference else []) + cells))
    else:
        for at, row in enumerate(rows):
            if isinstance(row, Group):
                _group_paths(row, out, form, at > 0)
            elif isinstance(row, Image | Embedded | Forgotten):
                _line(out, row.path, b"\0" if form == "print0" else b"\n")


def as_object(row: Row, reference: str = "") -> dict[str, Any]:
    """A record as JSON sees it, its keys in their documented order."""
    named = {"reference": reference} if reference else {}
    if isinstance(row, Group):
        return {"group": row.group, "images": [as_object(each) for each in row.images]}
    if not isinstance(row, Image):
        return {**named, **_plain(row), **(_bytes_of(row.path) if isinstance(row, Forgotten | Change) else {})}
    names = [name for name in _IMAGE if hasattr(row, name)]
    if isinstance(row, SimilarImage):  # pictures are compared with other pairs, words have a probability
        words, several = row.probability is not None, row.parts is not None
        unfit = {"closer_than": words or several, "probability": not words, "score": not several, "parts": not several}
        names = [name for name in names if not unfit.get(name)]
    if isinstance(row, ImageDetail | Exported):
        names += [name for name in _DETAIL if hasattr(row, name)]
    if isinstance(row, Copy):
        names += _COPY
    if isinstance(row, Exported) and row.embedding is not None:
        names.append("embedding")
    found: dict[str, Any] = named | {name: _plain(getattr(row, name)) for name in names}
    if "similarity" in found:
        found["similarity"] = round(found["similarity"], 6)
    if found.get("closer_than") is not None:
        found["closer_than"] = round(found["closer_than"], 6)
    if "parts" in found:
        found["score"] = round(found["score"], 4)
        found["parts"] = {name: round(cosine, 6) for name, cosine in found["parts"].items()}
    if "probability" in found:
        found["probability"] = float(f"{found['probability']:.4g}")
    found["processing_time_ms"] = round(row.processing_time_ms, 1)
    found |= _bytes_of(row.path)
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN, no Infinity


def _bytes_of(path: str) -> dict[str, str]:
    """What a path that is not UTF-8 carries beside its readable form."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"path_bytes": base64.b64encode(os.fsencode(path)).decode()}
    return {}


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return re.sub("[\ud800-\udfff]", "\ufffd", text)  # bytes of a name, or half a pair in metadata: neither is UTF-8


def _line(out: BinaryIO, text: str, end: bytes = b"\n") -> None:
    out.write(text.encode("utf-8", "surrogateescape") + end)
    out.flush()  # whoever reads the pipe sees each line as it comes


def _paired(rows: Iterable[Row], references: Sequence[str] | None) -> Iterable[tuple[Row, str]]:
    return zip(rows, references, strict=True) if references else ((row, "") for row in rows)


def _tsv(row: Row) -> list[list[str]]:
    """The lines of one record, each a list of cells."""
    if isinstance(row, SimilarImage):
        return [[f"{row.similarity:.4f}", row.path]]
    if isinstance(row, TaggedImage):
        return [[",".join(row.matched), row.path]]
    if isinstance(row, Group):
        return [[str(row.group), _how(each), each.path] for each in row.images]
    if isinstance(row, Damage):
        return [[row.what, str(row.count), row.example or "", row.remedy]]
    if isinstance(row, Forgotten):
        return [[str(row.images), row.path]]
    if isinstance(row, Celled):
        return row.cells()
    if isinstance(row, Label):
        return [[row.category, row.id, ",".join(row.aliases)]]
    if isinstance(row, Embedded):
        return [[row.path, " ".join(f"{value:.8g}" for value in row.embedding)]]
    return [[key, value if isinstance(value, str) else _json(value)] for key, value in as_object(row).items()]


def _how(copy: Copy) -> str:
    """What an image is in its group, in a word: kept, first, exact, same, or how similar a near one is."""
    if copy.kind == "first":
        return "first" if copy.kept is None else "kept"
    return f"{copy.similarity:.4f}" if copy.kind == "near" else copy.kind


def _group_paths(group: Group, out: BinaryIO, form: str, later: bool) -> None:
    """All of a group, after an empty line; or, where one is kept, the others."""
    if later and form == "paths" and group.images[0].kept is None:
        _line(out, "")
    for each in group.images:
        if not each.kept:
            _line(out, each.path, b"\0" if form == "print0" else b"\n")


def _copies(rows: Iterable[tuple[Row, str]]) -> Iterable[tuple[Mapping[str, Any], Row]]:
    """The objects of one CSV line each."""
    for row, reference in rows:
        if isinstance(row, Group):
            yield from (({"group": row.group} | as_object(each), each) for each in row.images)
        else:
            yield as_object(row, reference), row


def _csv(rows: Iterable[tuple[Row, str]], out: BinaryIO, header: Sequence[str], spreadsheet_safe: bool) -> None:
    _csv_line(out, header)
    for given, row in _copies(rows):
        found = dict(given)
        if isinstance(row, Image):
            found |= {name: "|".join(labels) for name, labels in found.pop("tags").items()}
        cells = [_cell(found.get(name)) for name in header]
        _csv_line(out, [_FORMULA.sub("'", cell) for cell in cells] if spreadsheet_safe else cells)


def _columns(kind: type[Row]) -> list[str]:
    if issubclass(kind, Group):
        return ["group", *_columns(Copy), *_COPY]
    if not issubclass(kind, Image):
        return [each.name for each in fields(kind)]  # type: ignore[arg-type]  # of dataclasses, every one
    fitting = [name for name in _IMAGE if name not in ("score", "parts")]  # a CSV has one header for all questions
    names = [name for name in fitting if name in kind.__dataclass_fields__]
    if issubclass(kind, ImageDetail | Exported):
        names += [name for name in _DETAIL if name in kind.__dataclass_fields__]
    at = names.index("tags")
    return [*names[:at], "objects", "scenes", "attributes", *names[at + 1 :]]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _csv_line(out: BinaryIO, cells: Sequence[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # RFC 4180
    _line(out, text.getvalue(), b"")
