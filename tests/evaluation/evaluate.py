"""How good a model's search and tags are, on pictures of which something is known.

    python tests/evaluation/evaluate.py DATA [--model mini] [--labels FILE.csv] [--split val] [--limit N] [-v]

DATA is a folder of classes (DATA/label/*.jpg); with --labels, any folder and a CSV of `path` and `labels` (or of
`objects`, `scenes` and `attributes`), labels separated by "|"; or the bundled model's training data. Everything goes
through picto's own decoding, preprocessing, model loader and tagger, so any model can be measured:

    python tests/evaluation/evaluate.py coco/val2017 --labels coco.csv --model siglip2-base
    python tests/evaluation/evaluate.py places365/val --model siglip2-so400m --folds 2

A calibration must not be judged by the pictures it was fitted on: --folds N fits it on all but one of N parts of the
pictures, measures it on that one, and does so for each. Without, the model's shipped calibration is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import metrics
import numpy as np
import sets
import steps
import tables
from numpy.typing import NDArray

from pictocli import calibration, hub
from pictocli.brain import calibration_file
from pictocli.calibration import Calibration
from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.fitting import fit
from pictocli.protocols import Embedder
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.tagging import embed_prompts
from pictocli.taxonomy import Taxonomy, load

_BATCH = 64
_QUERIES = 1000
_NEAR = 5


@dataclass(frozen=True, slots=True)
class Shipped:
    """A calibration that was there before, and what it is called; made: None without one. said: which, or why none."""

    made: Calibration | None
    said: str
    name: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure a model's search and tags on pictures that are known.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of classes, of pictures, or of packed sets")
    parser.add_argument("--model", default="mini", help="a model's name, folder or hub id (mini)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="CSV or JSONL of the pictures' labels")
    parser.add_argument("--split", choices=sets.SPLITS, default="heldout", help="of packed sets (heldout)")
    parser.add_argument("--folds", type=int, metavar="N", help="calibrate out of N folds (2 for held-out rows, else 0)")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="instead of the model's own")
    parser.add_argument("--taxonomy", type=Path, metavar="FILE", help="instead of the bundled one")
    parser.add_argument("--limit", type=int, metavar="N", help="so many pictures, evenly spaced")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    parser.add_argument("-v", "--verbose", action="store_true", help="a table of every label too")
    options = parser.parse_args(arguments)
    try:
        report = measured(options)
    except PictoError as exc:
        sys.stderr.write(f"error: {exc}\n" + f"\nhint: {exc.hint}\n" * bool(exc.hint))
        return exc.exit_code
    if options.json:
        options.json.write_text(json.dumps(tables.plain(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(tables.shown(report, samples=bool(options.labels or options.verbose), verbose=options.verbose))
    return 0


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Every figure, by name. Raises PictoError."""
    taxonomy = load(options.taxonomy)
    pictures = _pictures(options, taxonomy)
    files = hub.resolve(options.model)
    spec = hub.read_spec(files)
    shipped = _shipped(options.calibration, files, spec, taxonomy)
    from pictocli.siglip import Siglip  # imports torch: 3 s

    model = Siglip(files, spec, options.device)
    all_of_them = len(pictures.places)
    pictures, seen = _look(model, pictures, taxonomy)
    count = options.folds
    if count is None:
        count = 2 if sets.is_packed(options.data) and options.split == "heldout" and not options.labels else 0
    found = _steps(seen, pictures.known, count, shipped)
    return {
        "model": spec.id, "revision": spec.revision, "pictures": len(pictures.places), "of": pictures.said,
        "unread": all_of_them - len(pictures.places), "strange": list(pictures.strange),
        "taxonomy": taxonomy.version, "known": int((pictures.known >= 0).sum()),
        "true": int((pictures.known == 1).sum()), "calibration": found.said,
        "sets": [_told(model, seen, each) for each in pictures.sets],
        "tags": _tags(taxonomy, pictures.known, found.every),
        **_as_tagged(taxonomy, pictures.known, found),
    }  # fmt: skip


def _pictures(options: argparse.Namespace, taxonomy: Taxonomy) -> sets.Pictures:
    """What is to be looked at. Raises NotFoundError or ValidationError."""
    if options.labels:
        found = sets.from_file(options.data, options.labels, taxonomy)
    elif sets.is_packed(options.data):
        found = sets.from_packed(options.data, options.split, taxonomy)
    else:
        found = sets.from_folder(options.data, taxonomy)
    if options.limit:
        found = found.only(metrics.evenly(len(found.places), options.limit))
    if not found.places:
        raise ValidationError(f"there are no pictures in {options.data}")
    return found


def _shipped(file: Path | None, files: hub.ModelFiles, spec: ModelSpec, taxonomy: Taxonomy) -> Shipped:
    """The calibration in `file`; else the one that comes with the model; else the user's. Raises where `file` fails."""
    if file is not None:
        made = calibration.read(file, spec, taxonomy)
        if made is None:
            raise NotFoundError(f"no such file: {file}")
        return Shipped(made, f"{made.rule}, {file.name}", ", as given")
    why = "none"
    for place, name in (
        (files.folder / calibration.FILE, "as shipped"),
        (calibration_file(spec, taxonomy), "your own"),
    ):
        try:
            made = calibration.read(place, spec, taxonomy)
        except ValidationError as exc:
            why = str(exc)
            continue
        if made is not None:
            return Shipped(made, f"{made.rule}, {name}", f", {name}")
    return Shipped(None, why)


def _look(model: Embedder, pictures: sets.Pictures, taxonomy: Taxonomy) -> tuple[sets.Pictures, steps.Seen]:
    """Embed all pictures and prompts; pictures that cannot be decoded are left out of both."""
    sys.stderr.write(f"looking at {len(pictures.places):,} pictures with {model.spec.id}\n")
    vectors, measures, rows = [np.zeros((0, model.spec.dim), np.float32)], [], []
    batch: list[NDArray[np.uint8]] = []
    for row, looked in enumerate(pictures.read(pictures.places, model.spec)):
        if looked is not None:
            rows.append(row)
            batch.append(looked[0])
            measures.append(looked[1])
        if batch and (len(batch) == _BATCH or row == len(pictures.places) - 1):
            vectors.append(model.embed_images(np.stack(batch)))
            batch.clear()
    if not rows:
        raise ValidationError("none of these files is a picture that can be read")
    labels, nulls = embed_prompts(taxonomy, model)
    seen = steps.Seen(taxonomy, model.spec, np.concatenate(vectors), measures, labels, nulls)
    return pictures.only(np.array(rows, np.intp)), seen


def _told(model: Embedder, seen: steps.Seen, told: sets.Told) -> dict[str, Any]:
    """How well a set's classes are told apart by text, and how alike pictures of a class are."""
    vectors = seen.vectors[told.rows]
    row: dict[str, Any] = {"set": told.name, "pictures": len(told.rows), "classes": len(told.classes)}
    apart = len(told.classes) > 1
    texts = model.embed_texts([f"a photo of a {name}" for name in told.classes])
    scores = np.asarray(vectors @ texts.T, np.float64)
    for k in (1, 5):
        row[f"top-{k}"] = metrics.top(scores, told.numbers, k) if apart else float("nan")
    queries = metrics.evenly(len(vectors), _QUERIES)
    row["neighbours"] = metrics.neighbours(vectors, told.numbers, queries, _NEAR) if apart else float("nan")
    return row


@dataclass(frozen=True, slots=True)
class Found:
    """Steps; what picto's own tags are, and which labels may be among them; by which calibration, in words."""

    every: list[steps.Step]
    tagged: steps.Step
    able: NDArray[np.bool_]
    said: str


def _steps(seen: steps.Seen, known: NDArray[np.int8], count: int, shipped: Shipped) -> Found:
    """Every step, calibrated out of `count` folds, or as shipped where there are none."""
    every = np.arange(len(seen.vectors))
    if count > 1 and (known == 1).any():
        fold, logits = metrics.folds(len(every), count), seen.logits
        parts: list[steps.Part] = []
        for each in range(count):
            others = every[fold != each]
            parts.append((every[fold == each], fit(seen.spec, seen.taxonomy, logits[others], known[others])))
        said = f"fitted on {count - 1} of {count} parts of these pictures and measured on the other, in turn (seed 0)"
        more = steps.calibrated(seen, parts)
    elif shipped.made is not None:
        parts, said = [(every, shipped.made)], shipped.said
        more = steps.calibrated(seen, parts, shipped.name)
    else:
        parts = [(every, fit(seen.spec, seen.taxonomy, seen.logits))]
        said, more = f"{shipped.said}, so μ and σ are those of these pictures", []
    free = steps.label_free(seen)
    may = np.logical_or.reduce([steps.able(seen.taxonomy, made if more else None) for _, made in parts])
    found = [steps.raw(seen), free, *steps.standardised(seen, parts), *more]
    return Found(found, replace(more[-1] if more else free, scores=None), may, said)


def _tags(taxonomy: Taxonomy, known: NDArray[np.int8], found: Sequence[steps.Step]) -> list[dict[str, Any]]:
    """A row for every category of which something is known and every step; the last for what is measured in pixels."""
    rows = []
    for category in CATEGORIES:
        mine = steps.columns(taxonomy, category)
        if (known[:, mine] == 1).any():
            rows += [{"category": category, "step": step.name, **_row(step, known, mine)} for step in found]
        mine = steps.columns(taxonomy, category, measured=True)
        if (known[:, mine] == 1).any():
            measured = steps.Step("measured in pixels", found[1].given)
            rows.append({"category": category, "step": measured.name, **_row(measured, known, mine)})
    return rows


def _row(step: steps.Step, known: NDArray[np.int8], mine: Sequence[int]) -> dict[str, Any]:
    """All figures of one step over some labels."""
    given, told = step.given[:, mine], known[:, mine]
    found = metrics.counts(given, told)
    precision, recall, f1 = metrics.micro(found)
    macro = metrics.macro(found)
    row: dict[str, Any] = {
        "precision": precision, "recall": recall, "F1": f1, "macro precision": macro.precision,
        "macro recall": macro.recall, "labels given": macro.given, "labels": macro.labels,
        "tags": float(given.sum(axis=1).mean()), "none": float((~given.any(axis=1)).mean()),
        "pictures given a known label": int((given & (told >= 0)).any(axis=1).sum()),
        "pictures with a true label": int((told == 1).any(axis=1).sum()),
        "AP": float("nan"), "AP labels": 0, "ECE": float("nan"),
    }  # fmt: skip
    if step.scores is not None:
        row["AP"], row["AP labels"] = metrics.mean_average_precision(step.scores[:, mine], told)
        if step.chances:
            # A label that is true of no picture cannot be calibrated: its p is its category's, and it is never given.
            asked = (told >= 0) & (told == 1).any(axis=0)
            row["ECE"] = metrics.calibration_error(step.scores[:, mine][asked], told[asked] == 1)
    return row


def _as_tagged(taxonomy: Taxonomy, known: NDArray[np.int8], found: Found) -> dict[str, Any]:
    """picto's own tags over all categories, pixels and all: of all labels, of those that can be given, and of each."""
    counted = metrics.counts(found.tagged.given, known)
    listed = []
    for at, label in enumerate(taxonomy.labels):
        right, wrong, missed = (int(each[at]) for each in (counted.right, counted.wrong, counted.missed))
        if right + wrong + missed:
            row = {"label": label.id, "category": label.category, "pictures": right + missed, "given": right + wrong}
            listed.append({**row, "right": right, "can be given": bool(found.able[at])})
    groups = {"all labels": np.ones(len(taxonomy.labels), np.bool_), "labels that can be given": found.able}
    rows = {name: _row(found.tagged, known, np.flatnonzero(mine).tolist()) for name, mine in groups.items()}
    return {"as tagged": rows, "tagged by": found.tagged.name, "per label": listed}


if __name__ == "__main__":
    sys.exit(main())
