"""The evaluation: its metrics against tables worked by hand, its program on small data, and the README's figures.

The last re-computes the bundled model's figures on a part of the data it was reported on, where that data is at hand.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import coco, metrics, sets

from pictocli.labelled import known_labels
from pictocli.records import CATEGORIES
from pictocli.taxonomy import load

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SAMPLES = ROOT / "sample_images"
PROGRAM = TESTS / "evaluation" / "evaluate.py"
DATA = ROOT.parent / "shared" / "mini-data"


# --- metrics


@pytest.mark.parametrize(
    ("scores", "true", "expected"),
    [
        pytest.param([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2, id="one slip"),
        pytest.param([0.9, 0.8, 0.1], [1, 1, 0], 1.0, id="perfect"),
        pytest.param([0.9, 0.8, 0.1], [0, 0, 1], 1 / 3, id="last"),
        pytest.param([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4, id="all tied, true first"),
        pytest.param([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1], 1 / 4, id="all tied, true last"),
        pytest.param([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 1], (1 + 2 / 3 + 3 / 4) / 3, id="a tie within"),
    ],
)
def test_average_precision(scores: list[float], true: list[int], expected: float) -> None:
    assert metrics.average_precision(np.array(scores), np.array(true, bool)) == pytest.approx(expected)


def test_average_precision_of_nothing_true() -> None:
    assert math.isnan(metrics.average_precision(np.array([0.5, 0.1]), np.array([False, False])))


def test_top_k() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.2, 0.2, 0.2]])
    numbers = np.array([0, 1, 2, 0])
    assert metrics.top(scores, numbers, 1) == pytest.approx(1 / 4)
    assert metrics.top(scores, numbers, 2) == pytest.approx(2 / 4)  # a tie counts against the right class
    assert metrics.top(scores, numbers, 3) == pytest.approx(1.0)


def test_neighbours() -> None:
    """On a circle: 0° and 10° of one class, 20° and 90° of another."""
    angles = np.deg2rad([0, 10, 20, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    numbers = np.array([0, 0, 1, 1])
    # the nearest of 0°: 10° right; of 10°: 0° or 20° (equally far: take 10.1°); of 20°: 10° wrong; of 90°: 20° right
    vectors[1] = [np.cos(np.deg2rad(9.9)), np.sin(np.deg2rad(9.9))]
    assert metrics.neighbours(vectors, numbers, np.arange(4), 1) == pytest.approx(3 / 4)
    # of two: 0° → 10°, 20°: 1; 10° → 0°, 20°: 1; 20° → 10°, 0°: 0; 90° → 20°, 10°: 1
    assert metrics.neighbours(vectors, numbers, np.arange(4), 2) == pytest.approx(3 / 8)
    assert metrics.neighbours(vectors, numbers, np.array([2]), 1) == 0
    assert metrics.neighbours(vectors, numbers, np.arange(4), 9) == pytest.approx(1 / 3)  # never itself


GIVEN = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0]], bool)
KNOWN = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, -1, 0, 0], [-1, 1, -1, 0]], np.int8)


def test_counts() -> None:
    found = metrics.counts(GIVEN, KNOWN)
    assert found.right.tolist() == [1, 0, 0, 0]
    assert found.wrong.tolist() == [1, 1, 0, 2]
    assert found.missed.tolist() == [1, 2, 2, 0]


def test_micro() -> None:
    """1 right, 4 wrong, 5 missed."""
    precision, recall, f1 = metrics.micro(metrics.counts(GIVEN, KNOWN))
    assert (precision, recall) == (pytest.approx(1 / 5), pytest.approx(1 / 6))
    assert f1 == pytest.approx(2 / (5 + 6))


def test_micro_of_nothing_given() -> None:
    precision, recall, f1 = metrics.micro(metrics.counts(np.zeros_like(GIVEN), KNOWN))
    assert math.isnan(precision)
    assert (recall, f1) == (0, 0)


def test_macro() -> None:
    """Over the three labels with a true picture: precision ½, 0, and 0 of the one never given; recall ½, 0, 0."""
    found = metrics.macro(metrics.counts(GIVEN, KNOWN))
    assert (found.precision, found.recall) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert (found.given, found.labels) == (2, 3)


def test_mean_average_precision_takes_labels_with_enough_pictures() -> None:
    scores = np.array([[0.9, 0.1, 0.9], [0.8, 0.2, 0.8], [0.7, 0.9, 0.7], [0.6, 0.3, 0.1]])
    known = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1], [-1, 0, 1]], np.int8)
    # (1 + 2/3) / 2 without the unknown row; the second's true ones come third and fourth; nothing is false of the third
    expected = ((1 + 2 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2
    assert metrics.mean_average_precision(scores, known, enough=2) == pytest.approx((expected, 2))
    assert math.isnan(metrics.mean_average_precision(scores, known, enough=3)[0])


def test_calibration_error() -> None:
    """Two of fifteen bins are used: .9, .9 of which one is true, and .1, .1, .1, .1 of which one is."""
    p = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.001])
    true = np.array([1, 0, 1, 0, 0, 0, 1], bool)
    assert metrics.calibration_error(p, true) == pytest.approx((2 * 0.4 + 4 * 0.15) / 6)  # .001 is left out


def test_calibration_error_of_what_is_exact() -> None:
    assert metrics.calibration_error(np.array([0.5, 0.5, 1.0]), np.array([True, False, True])) == 0
    assert math.isnan(metrics.calibration_error(np.array([0.001]), np.array([True])))


def test_evenly() -> None:
    assert metrics.evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert metrics.evenly(3, 5).tolist() == [0, 1, 2]
    assert len(set(metrics.evenly(5000, 1000).tolist())) == 1000


def test_halves_are_the_same_every_time() -> None:
    folds = metrics.folds(11, 2)
    assert sorted(np.bincount(folds).tolist()) == [5, 6]
    assert folds.tolist() == metrics.folds(11, 2).tolist()


# --- sets


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """DATA/label/*.jpg: two folders that are labels (one by an alias), one that is not, and a picture of no class."""
    folder = tmp_path / "classes"
    for name, sources in {
        "cat": ["animals/cat-chelsea.jpg", "animals/cat-playing-with-yarn.jpg"],
        "Automobile": ["vehicles/red-car.jpg", "vehicles/parked-cars.jpg"],
        "gizmo": ["food/blackberries.jpg"],
    }.items():
        (folder / name).mkdir(parents=True)
        for source in sources:
            shutil.copy(SAMPLES / source, folder / name)
    shutil.copy(SAMPLES / "nature/ocean-wave.jpg", folder)
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


def test_folders_are_classes_and_labels(classes: Path) -> None:
    taxonomy = load()
    found = sets.from_folder(classes, taxonomy)
    column = {label.id: at for at, label in enumerate(taxonomy.labels)}
    (told,) = found.sets
    assert told.classes == ("Automobile", "cat", "gizmo")
    assert [Path(found.places[row][0]).name for row in told.rows[told.numbers == 2]] == ["blackberries.jpg"]
    place = {Path(path).name: row for row, (path, _, _) in enumerate(found.places)}
    assert found.known[place["cat-chelsea.jpg"], [column["cat"], column["car"]]].tolist() == [1, 0]
    assert found.known[place["red-car.jpg"], [column["cat"], column["car"]]].tolist() == [0, 1]
    for name in ("blackberries.jpg", "ocean-wave.jpg"):
        assert (found.known[place[name]] == -1).all()
    asked = {column["cat"], column["car"]}
    assert (found.known[:, [c for c in range(len(column)) if c not in asked]] == -1).all()


def test_a_part_keeps_what_is_known_of_it(classes: Path) -> None:
    found = sets.from_folder(classes, load())
    rows = np.array([row for row, place in enumerate(found.places) if "cat-" in place[0] or "blackb" in place[0]])
    part = found.only(rows)
    assert [place[0] for place in part.places] == [found.places[row][0] for row in rows]
    (told,) = part.sets
    assert [told.classes[number] for number in told.numbers] == ["cat", "cat", "gizmo"]
    assert (part.known == found.known[rows]).all()


def test_pages_of_documents_are_pictures_of_a_file() -> None:
    found = sets.from_file(SAMPLES, TESTS / "sample_labels.csv", load())
    assert len(found.places) == 62
    assert found.sets == ()
    assert (found.known >= 0).any(axis=1).all()


@pytest.fixture
def tiny_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as that of the training data, 20 pictures of two classes a set, of which rows 9 and 19 are held out."""
    import io

    from pictures import scene

    from pictocli.mini import captions

    monkeypatch.setattr(captions, "DATA_SETS", ("tiny-imagenet-train-0", "other-train"))
    monkeypatch.setattr(sets, "DATA_SETS", captions.DATA_SETS)
    for name in ("tiny-imagenet-train-0", "other-train", "tiny-imagenet-val"):
        files = []
        for seed in range(20):
            out = io.BytesIO()
            scene(seed, 40, 30).save(out, "WEBP", lossless=True)
            files.append(np.frombuffer(out.getvalue(), np.uint8))
        offset = np.cumsum([0, *map(len, files)])
        np.savez(tmp_path / f"{name}.npz", webp=np.concatenate(files), offset=offset, label=np.arange(20) // 10)
    row: dict[str, Any] = {"hypernyms": ["animal"], "scenes": [], "group": "animal"}
    tables = [{"names": ["egyptian cat"], **row}, {"names": ["goldfish"], **row}]
    (tmp_path / "classes.json").write_text(json.dumps(tables))
    (tmp_path / "extra-classes.json").write_text(json.dumps({"other-train": tables}))
    return tmp_path


@pytest.mark.parametrize(
    ("split", "told", "rows"),
    [
        pytest.param("val", ["tiny-imagenet-val"], list(range(20)), id="validation"),
        pytest.param("heldout", ["tiny-imagenet", "other-train"], [9, 19, 9, 19], id="held out"),
    ],
)
def test_packed_sets(
    tiny_sets: Path, monkeypatch: pytest.MonkeyPatch, split: str, told: list[str], rows: list[int]
) -> None:
    from pictures import scene

    from pictocli import hub

    taxonomy = load()
    table = np.full((4, len(taxonomy.labels)), -1, np.int8)
    table[:, :3] = [[1, 0, -1], [0, 1, -1], [1, 1, 0], [0, 0, 1]]
    monkeypatch.setattr(sets, "known_of_classes", lambda *_: table)
    found = sets.from_packed(tiny_sets, split, taxonomy)
    assert [each.name for each in found.sets] == told
    assert [row for _, _, row in found.places] == rows
    assert found.sets[-1].classes == ("egyptian cat", "goldfish")
    assert found.known[-1, :4].tolist() == ([0, 1, -1, -1] if split == "val" else [0, 0, 1, -1])
    spec = hub.read_spec(hub.resolve("mini"))
    first = next(iter(found.read(found.places, spec)))
    assert first is not None
    size = (spec.image_size, spec.image_size)
    expected = np.asarray(scene(rows[0], 40, 30).resize(size, 3))
    assert np.abs(first[0].astype(int) - expected).max() <= 0


def test_coco_as_a_file_of_labels(tmp_path: Path) -> None:
    told = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 89, "name": "hair drier"}],
        "annotations": [
            {"image_id": 7, "category_id": 89},
            {"image_id": 7, "category_id": 1},
            {"image_id": 7, "category_id": 1},
        ],
    }
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(told))
    with (tmp_path / "coco.csv").open("w", encoding="utf-8") as out:
        coco.write_labels(annotations, out)
    assert (tmp_path / "coco.csv").read_text() == "filename,objects\na.jpg,hair drier|person\nb.jpg,\n"
    taxonomy = load()
    places = [(str(tmp_path), str(tmp_path / name)) for name in ("a.jpg", "b.jpg")]
    known, strange = known_labels(str(tmp_path / "coco.csv"), taxonomy, places)
    column = {label.id: at for at, label in enumerate(taxonomy.labels)}
    assert known[:, [column["hair-dryer"], column["person"]]].tolist() == [[1, 1], [0, 0]]
    assert strange == []


# --- the program


def evaluated(folder: Path, *arguments: str | Path) -> tuple[str, Any]:
    """What the program prints, and the figures it writes."""
    figures = folder / "figures.json"
    command = [sys.executable, str(PROGRAM), *map(str, arguments), "--model", "mini", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(figures.read_text())


def table_rows(text: str) -> dict[str, list[str]]:
    """The rows of the markdown tables in a text: the names that begin a row → its other cells."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
    named: dict[str, list[str]] = {}
    for cells in rows:
        head = 2 if cells[0] in CATEGORIES else 1
        named.setdefault(" ".join(cells[:head]), cells[head:])
    return named


def test_a_folder_of_classes(tmp_path: Path, classes: Path) -> None:
    shown, figures = evaluated(tmp_path, classes)
    (told,) = figures["sets"]
    assert (told["set"], told["pictures"], told["classes"]) == ("classes", 5, 3)
    assert 0 <= told["top-1"] <= told["top-5"] == 1  # five guesses among three classes
    assert 0 <= told["neighbours"] <= 1
    assert table_rows(shown)["classes"][:2] == ["5", "3"]
    assert "1 of 7 files cannot be read" in shown
    objects = {row["step"]: row for row in figures["tags"] if row["category"] == "objects"}
    assert objects["raw p ≥ .5"]["labels"] == 2
    assert "scenes" not in {row["category"] for row in figures["tags"]}  # nothing is known of them


def test_the_samples(tmp_path: Path) -> None:
    labels = TESTS / "sample_labels.csv"
    shown, figures = evaluated(tmp_path, SAMPLES, "--labels", labels, "-v")
    assert figures["sets"] == []
    assert {row["category"] for row in figures["tags"]} == set(CATEGORIES)
    every, able = (figures["as tagged"][name] for name in ("all labels", "labels that can be given"))
    assert every["labels"] >= able["labels"] > 0
    assert 0 < every["recall"] <= 1
    assert every["macro recall"] <= able["macro recall"]
    assert "landscape-orientation" in table_rows(shown)
    given = [row for row in figures["per label"] if row["pictures"] and row["given"]]
    assert len(given) >= 45
    assert np.mean([row["right"] / row["given"] for row in given]) >= 0.9
    assert np.mean([row["right"] / row["pictures"] for row in given]) >= 0.5
    assert able["macro recall"] >= 0.5
    # by hand, from the program's own per-label table
    listed = [row for row in figures["per label"] if row["pictures"]]
    assert len(listed) == every["labels"]
    assert every["macro recall"] == pytest.approx(np.mean([row["right"] / row["pictures"] for row in listed]))
    shares = [row["right"] / row["given"] if row["given"] else 0 for row in listed]
    assert every["macro precision"] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["nowhere"], "no such folder: nowhere", id="no data"),
        pytest.param([str(SAMPLES), "--model", "nowhere"], "there is no model or folder nowhere", id="no model"),
        pytest.param(
            [str(SAMPLES), "--calibration", "nowhere.json"], "no such file: nowhere.json", id="no calibration"
        ),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in (3, 4)
    assert done.stderr.startswith(f"error: {said}")
    assert done.stdout == ""


# --- the README's figures

MARKER = "<!-- evaluation: mini -->"
SAMPLE = 1000


def reported() -> tuple[str, dict[str, list[str]]]:
    """The README's report on the bundled model, from its marker to the next heading or comment, and its rows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert MARKER in text, f"the README has no {MARKER}: paste what {PROGRAM.name} prints for the validation pictures"
    block = re.split(r"^(?:#|<!--)", text.partition(MARKER)[2], flags=re.MULTILINE)[0]
    return block, table_rows(block)


def near(told: float, found: float, n: float) -> bool:
    """Within three standard errors of a share of n, and half of the last digit told."""
    return abs(told - found) <= 3 * math.sqrt(max(told * (1 - told), 1 / n) / n) + 0.0005


def test_the_readme_reports_on_the_weights_that_are_shipped() -> None:
    from pictocli import hub

    block, _ = reported()
    assert f"mini {hub.resolve('mini').revision}" in block


def test_the_readmes_figures_hold_on_a_part_of_the_data(tmp_path: Path) -> None:
    """Every fifth validation picture; the reported figures are of all of them."""
    if not DATA.is_dir():
        pytest.skip("the pictures that mini is measured on are not beside this checkout")
    _, told = reported()
    assert "objects calibrated tags, as shipped" in told
    _, figures = evaluated(tmp_path, DATA, "--split", "val", "--limit", str(SAMPLE))
    (found,) = figures["sets"]
    pictures, classes, top1, top5 = told["tiny-imagenet-val"][:4]
    assert (int(pictures.replace(",", "")), int(classes)) == (5000, found["classes"])
    assert near(float(top1), found["top-1"], SAMPLE)
    assert near(float(top5), found["top-5"], SAMPLE)
    wrong = []
    for row in figures["tags"]:
        if row["step"] not in ("raw p ≥ .5", "label-free tags", "calibrated tags, as shipped"):
            continue
        precision, recall = told[f"{row['category']} {row['step']}"][:2]
        given, true = row["pictures given a known label"], row["pictures with a true label"]
        for name, share, n in (("precision", precision, given), ("recall", recall, true)):
            if n >= 30 and not near(float(share), row[name], n):
                wrong.append(f"{row['category']} {name}: {row[name]:.3f} of {n} pictures, and the README says {share}")
    assert not wrong, "\n".join(wrong)
