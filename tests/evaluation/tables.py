"""Figures as text: a caption, then tables in markdown that read as well in a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["markdown", "plain", "share", "shown"]

_WIDTH = 118
_TAGS = ("precision", "recall", "F1", "macro precision", "macro recall", "AP", "labels", "tags", "none", "ECE")
_NAMES = {"macro precision": "macro P", "macro recall": "macro R", "precision": "P", "recall": "R"}
_NOTES = (
    'top-1, top-5: the classes of the set as texts, "a photo of a {name}". near: the share of the five nearest'
    " among the other pictures of the set that are of the same class (1,000 queries at most).",
    "P, R, F1: precision and recall of tags over all known pairs of picture and label. macro: means over the"
    " labels that are true of some picture; a label never given has precision 0. AP: mean average precision over"
    " labels with 20 true pictures or more. labels: how many of those that are true of some picture are given."
    " tags: tags a picture; none: share of pictures without. ECE: expected calibration error, 15 equal bins, known"
    " pairs with p ≥ .01 of the labels that are true of some picture. –: no value.",
    "raw p ≥ .5: by the model's own probability. label-free tags: as picto gives them without a calibration."
    " per-label z ≥ 3: logits standardised over pictures. per-image z: these again within the picture, 2.5"
    " (objects) or 2 at least and z ≥ 1. calibrated p ≥ τ: by each label's probability and threshold; tags: with"
    " groups, votes and caps too.",
)


def shown(report: Mapping[str, Any], *, samples: bool, verbose: bool) -> str:
    """The whole report as text. samples: with picto's own tags over all categories; verbose: with every label."""
    parts = [_caption(report)]
    if report["sets"]:
        head = ["set", "pictures", "classes", "top-1", "top-5", "near"]
        rows = [
            [each["set"], f"{each['pictures']:,}", str(each["classes"])]
            + [share(each[name]) for name in ("top-1", "top-5", "neighbours")]
            for each in report["sets"]
        ]
        parts.append(markdown(head, rows, left=1))
    if report["tags"]:
        head = ["", "", *(_NAMES.get(name, name) for name in _TAGS)]
        parts.append(
            markdown(head, [[each["category"], each["step"], *_cells(each)] for each in report["tags"]], left=2)
        )
    if samples and report["tags"]:
        columns = [name for name in _TAGS if name not in ("AP", "ECE")]
        head = [f"{report['tagged by']}, with those measured in pixels", *(_NAMES.get(name, name) for name in columns)]
        rows = [[name, *_cells(each, columns)] for name, each in report["as tagged"].items()]
        parts.append(markdown(head, rows, left=1))
    if verbose:
        parts.append(_labels(report["per label"]))
    parts.append("\n".join(_wrapped(note) for note in _NOTES))
    return "\n\n".join(parts) + "\n"


def _caption(report: Mapping[str, Any]) -> str:
    said = [
        f"{report['model']} {report['revision'][:12]} on {report['pictures']:,} pictures: {report['of']}. Taxonomy"
        f" {report['taxonomy']}; {report['known']:,} pairs of picture and label are known, {report['true']:,} true."
        f" Calibration: {report['calibration']}."
    ]
    if report["unread"]:
        said.append(f"{report['unread']} of {report['unread'] + report['pictures']} files cannot be read.")
    if report["strange"]:
        names = report["strange"]
        said.append(f"Not in the taxonomy: {', '.join(names[:8])}" + (" …" if len(names) > 8 else "") + ".")
    return "\n".join(_wrapped(each) for each in said)


def _wrapped(text: str) -> str:
    kept = text.replace(" ≥ ", "\u00a0≥\u00a0")  # comparisons stay on one line
    return textwrap.fill(kept, _WIDTH, break_long_words=False, break_on_hyphens=False).replace("\u00a0", " ")


def _cells(row: Mapping[str, Any], names: Sequence[str] = _TAGS) -> list[str]:
    told = {"labels": f"{row['labels given']}/{row['labels']}", "tags": f"{row['tags']:.2f}"}
    return [told.get(name) or share(row[name]) for name in names]


def _labels(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a label of which something is known, the frequent first."""
    head = ["label", "category", "pictures", "given", "right", "P", "R", "can be given"]
    body = []
    for each in sorted(rows, key=lambda row: (-row["pictures"], row["label"])):
        precision = each["right"] / each["given"] if each["given"] else math.nan
        recall = each["right"] / each["pictures"] if each["pictures"] else math.nan
        numbers = [str(each[name]) for name in ("pictures", "given", "right")]
        may = "yes" if each["can be given"] else "no"
        body.append([each["label"], each["category"], *numbers, share(precision), share(recall), may])
    return markdown(head, body, left=2)


def share(value: float) -> str:
    """.359, 1.000, or – for what has no value."""
    return "–" if math.isnan(value) else f"{value:.3f}".removeprefix("0") if value < 0.9995 else "1.000"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table whose first `left` columns are flush left and the others flush right, padded to line up."""
    widths = [max(3, *(len(row[at]) for row in (head, *rows))) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if at < left else cell.rjust(w)
            for at, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * w if at < left else "-" * (w - 1) + ":" for at, w in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def plain(value: Any) -> Any:
    """The same figures for JSON, which has no NaN: null."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
