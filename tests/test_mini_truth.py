"""The hand-made table of what holds for the classes of the training pictures, and its reader."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import pictocli.taxonomy
from pictocli.errors import NotFoundError, ValidationError
from pictocli.mini import captions
from pictocli.mini.truth import FILE, Table, model_labels, read_table, read_truth
from pictocli.taxonomy import Taxonomy, load

DATA = Path(__file__).parents[2] / "shared" / "mini-data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the training data is not beside this checkout")
SETS = {name.partition("-train")[0] if name.startswith("tiny") else name for name in captions.DATA_SETS}

TAXONOMY = """
schema = 1
version = "t.1"
null_prompts = ["a photo."]

[groups.setting]
category = "scenes"
mode = "at-most-one"
labels = ["indoor", "outdoor"]

[objects]
templates = ["{}"]
labels = [{ id = "dog", phrase = "a dog" }, { id = "cat", phrase = "a cat" }, { id = "car", phrase = "a car" }]

[scenes]
templates = ["{}"]
labels = [
  { id = "indoor", phrase = "indoors", group = "setting" },
  { id = "outdoor", phrase = "outdoors", group = "setting" },
  { id = "beach", phrase = "a beach", implies = ["outdoor"] },
]

[attributes]
templates = ["{}"]
labels = [
  { id = "dark", phrase = "dark", measured = "pixels", rule = "luma_mean < 0.25" },
  { id = "cozy", phrase = "cozy", measured = "model" },
]
"""
HEAD = '[anywhere]\nmaybe = ["cozy"]\n[sets]\npet = ["cat"]\nhome = ["@pet", "indoor", "outdoor"]\n[tiny-imagenet]\n'


@pytest.fixture
def small(tmp_path: Path) -> Taxonomy:
    path = tmp_path / "taxonomy.toml"
    path.write_text(TAXONOMY, encoding="utf-8")
    return load(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class tables with a class of Tiny ImageNet and one of CIFAR-10."""
    row = {"hypernyms": ["animal"], "scenes": []}
    (tmp_path / "classes.json").write_text(json.dumps([{"names": ["poodle", "dog"], "group": "animal", **row}]))
    (tmp_path / "extra-classes.json").write_text(json.dumps({"cifar10-train": [{"names": ["cat"], **row}]}))
    return tmp_path


@cache
def shipped() -> Table:
    return read_table(load())


def write(folder: Path, text: str) -> Path:
    path = folder / "truth.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param("{ }", None, id="empty-row"),
        pytest.param('{ yes = ["dog"] }', {"dog": 1, "cozy": -1}, id="what-holds-anywhere"),
        pytest.param('{ yes = ["dog"], no = ["cozy"] }', {"dog": 1}, id="no-beats-anywhere"),
        pytest.param('{ maybe = ["@home"], no = ["@pet"] }', {"indoor": -1, "outdoor": -1, "cozy": -1}, id="sets"),
        pytest.param('{ yes = ["@pet"], maybe = ["@home"], no = ["outdoor"] }', {"cat": 1, "indoor": -1, "cozy": -1},
                     id="yes-beats-a-set"),
        pytest.param('{ yes = ["outdoor"], maybe = ["@home"] }', {"outdoor": 1, "cat": -1, "cozy": -1}, id="rivals"),
        pytest.param('{ yes = ["beach"], maybe = ["outdoor"] }', {"beach": 1, "outdoor": -1, "cozy": -1}, id="implied"),
    ],
)  # fmt: skip
def test_a_row_says_true_false_or_unknown(
    tmp_path: Path, small: Taxonomy, row: str, expected: dict[str, int] | None
) -> None:
    path = write(tmp_path, f'{HEAD}"poodle" = {row}\n')
    if expected is None:
        with pytest.raises(ValidationError):
            read_table(small, path)
    else:
        assert read_table(small, path) == {("tiny-imagenet", "poodle"): expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('"poodle" = { yes = ["wolf"] }', "the class 'poodle' of tiny-imagenet names 'wolf'", id="label"),
        pytest.param('"poodle" = { maybe = ["dark"] }', "'dark', which is measured in pixels", id="pixels"),
        pytest.param('"poodle" = { maybe = ["@zoo"] }', "the set '@zoo'", id="set"),
        pytest.param('"poodle" = { yes = ["dog"], maybe = ["dog"] }', "'dog' in both yes and maybe", id="yes-maybe"),
        pytest.param('"poodle" = { yes = ["dog"], no = ["dog"] }', "'dog' in both yes and no", id="yes-no"),
        pytest.param('"poodle" = { no = ["dog"], maybe = ["dog"] }', "'dog' in both no and maybe", id="no-maybe"),
        pytest.param('"poodle" = { yes = ["indoor", "outdoor"] }', "which exclude each other", id="rivals"),
        pytest.param('"poodle" = { yes = ["indoor"], maybe = ["outdoor"] }', "which 'indoor' excludes", id="ruled-out"),
        pytest.param('"poodle" = { yes = ["beach"] }', "'beach' but not 'outdoor'", id="implied-but-false"),
        pytest.param('"poodle" = { sure = ["dog"] }', "not a table of some of yes, maybe and no", id="field"),
        pytest.param('"poodle" = ["dog"]', "not a table of some of yes, maybe and no", id="no-row"),
        pytest.param('"poodle" = { yes = "dog" }', "'yes' is no list of texts", id="no-list"),
        pytest.param('"poodle" = {', "is not valid TOML", id="no-toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, small: Taxonomy, text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read_table(small, write(tmp_path, HEAD + text + "\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("cats = 3", "'cats' is no table", id="data-set"),
        pytest.param('[sets]\none = ["@two"]\ntwo = ["cat"]', "the set 'one' names the set '@two'", id="set-before"),
        pytest.param('[sets]\none = ["dark"]', "the set 'one' names 'dark'", id="set-of-pixels"),
        pytest.param('[anywhere]\nmaybe = ["wolf"]', r"\[anywhere\] names 'wolf'", id="anywhere"),
    ],
)
def test_what_is_wrong_around_the_rows_is_named(tmp_path: Path, small: Taxonomy, text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read_table(small, write(tmp_path, text + "\n"))


def test_a_missing_table_is_not_found(tmp_path: Path, small: Taxonomy) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.toml"):
        read_table(small, tmp_path / "nowhere.toml")


def test_the_matrix_follows_classes_and_taxonomy(data: Path, small: Taxonomy) -> None:
    path = write(data, HEAD + '"poodle" = { yes = ["dog"] }\n[cifar10-train]\n"cat" = { yes = ["cat", "indoor"] }\n')
    ids, truth = read_truth(data, small, path)
    assert ids == ["dog", "cat", "car", "indoor", "outdoor", "beach", "cozy"]
    assert truth.dtype == np.int8
    assert truth.tolist() == [[1, 0, 0, 0, 0, 0, -1], [0, 1, 0, 1, 0, 0, -1]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param('"poodle" = { yes = ["dog"] }', "no row for the class 'cat' of cifar10-train", id="no-row"),
        pytest.param(
            '"poodle" = { yes = ["dog"] }\n"pug" = { yes = ["dog"] }\n[cifar10-train]\n"cat" = { yes = ["cat"] }',
            "the class 'pug' of tiny-imagenet, which the data lacks",
            id="unknown-class",
        ),
    ],
)
def test_the_classes_must_be_those_of_the_data(data: Path, small: Taxonomy, rows: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read_truth(data, small, write(data, HEAD + rows + "\n"))


def test_the_shipped_table_fits_the_taxonomy() -> None:
    """As far as it can be told without the data: every set, 200 classes of the first, no line too long to read."""
    assert {data_set for data_set, _ in shipped()} == SETS
    assert sum(data_set == "tiny-imagenet" for data_set, _ in shipped()) == 200
    assert max(map(len, FILE.read_text(encoding="utf-8").splitlines())) <= 120
    used = FILE.read_text(encoding="utf-8")
    assert [name for name in tomllib.loads(used)["sets"] if f'"@{name}"' not in used] == []


def test_enough_labels_can_be_measured() -> None:
    """Sixty are wanted; a label that is false of few classes tells nothing when it fires."""
    rows, ids = list(shipped().values()), model_labels(load())
    true = {label for row in rows for label, value in row.items() if value == 1}
    assert len(true) >= 115
    assert {label for label in true if sum(label not in row for row in rows) < 20} == set()
    assert np.mean([row.get(label, 0) == -1 for row in rows for label in ids]) < 0.35


@pytest.mark.parametrize(
    ("data_set", "name", "true", "false"),
    [
        ("tiny-imagenet", "golden retriever", "dog furry", "bear pizza airplane ice-rink"),
        ("tiny-imagenet", "persian cat", "cat furry fluffy", "dog ocean mountain truck"),
        ("tiny-imagenet", "monarch butterfly", "butterfly insect", "bird person car kitchen ocean"),
        ("tiny-imagenet", "king penguin", "bird penguin", "dog car kitchen"),
        ("tiny-imagenet", "espresso", "coffee cup", "car dog tree beach forest furry"),
        ("tiny-imagenet", "pizza", "pizza food-photo cooked", "outdoor tree car bird"),
        ("tiny-imagenet", "convertible", "car", "airplane kitchen furry pizza"),
        ("tiny-imagenet", "school bus", "bus", "boat kitchen insect"),
        ("tiny-imagenet", "gondola", "boat outdoor", "indoor kitchen airplane"),
        ("tiny-imagenet", "barn", "barn building rural outdoor", "indoor urban suburban downtown boat"),
        ("tiny-imagenet", "lighthouse", "lighthouse tower outdoor", "indoor kitchen pizza"),
        ("tiny-imagenet", "alps", "mountain outdoor landscape", "indoor kitchen boat"),
        ("tiny-imagenet", "jellyfish", "underwater swimming", "tree car building street"),
        ("tiny-imagenet", "refrigerator", "refrigerator indoor", "outdoor mountain car"),
        ("cifar10-train", "horse", "horse", "airplane boat kitchen"),
        ("cifar10-train", "ship", "boat outdoor", "kitchen cat furry"),
        ("natural-images-train", "person", "person face portrait headshot", "car kitchen cat"),
        ("natural-images-train", "motorcycle", "motorcycle", "boat kitchen furry"),
        ("gtsrb-train", "traffic sign", "sign", "person dog kitchen"),
        ("intel-scenes-train", "forest", "forest tree outdoor", "indoor kitchen skyline"),
        ("intel-scenes-train", "street", "street building outdoor", "indoor furry bedroom"),
        ("scene15-train", "bedroom", "bedroom bed indoor", "outdoor street beach car"),
        ("scene15-train", "suburb", "house suburban outdoor", "urban indoor ocean"),
        ("sun8-train", "ice skating", "ice-rink indoor", "beach forest kitchen"),
    ],
    ids=lambda value: value.replace(" ", "-"),
)
def test_what_is_certain(data_set: str, name: str, true: str, false: str) -> None:
    row = shipped()[data_set, name]
    assert {label: row.get(label, 0) for label in true.split()} == dict.fromkeys(true.split(), 1)
    assert {label: row.get(label, 0) for label in false.split()} == dict.fromkeys(false.split(), 0)


@needs_data
def test_every_class_of_the_data_has_its_row() -> None:
    ids, truth = read_truth(DATA, load())
    assert truth.shape == (248, len(ids))
    assert set(np.unique(truth)) == {-1, 0, 1}


@needs_data
def test_training_learns_labels_from_the_table_and_words_from_the_classes() -> None:
    from pictocli.mini.train import Captions

    classes = captions.read_classes(DATA)
    concepts = captions.read_concepts(classes, Path(pictocli.taxonomy.__file__).with_name("taxonomy.toml"))
    ids, truth = read_truth(DATA, load())
    learnt = Captions(classes, concepts, (ids, truth), Tokenizer(WordLevel()), "cpu").truth.numpy()
    kind = {name: [i for i, k in enumerate(concepts) if k.kind == name] for name in ("class", "word", "label")}
    assert {concepts[i].label for i in kind["label"]} == set(ids) - set(captions.COLOURS)
    told = truth[:, [ids.index(concepts[i].label) for i in kind["label"]]]
    assert (learnt[:, kind["label"]] == np.where(told < 0, -2, told)).all()  # -2: left out of the loss
    assert (np.diag(learnt[:, kind["class"]]) == 1).all()
    for i in kind["word"]:
        assert (learnt[:, i] == 1).tolist() == [concepts[i].label in c.words for c in classes]


@pytest.mark.parametrize(
    ("of", "word", "held"),
    [
        ("egyptian cat", "cat", 1),
        ("egyptian cat", "vehicle", 0),
        ("egyptian cat", "person", -1),  # vague: someone may hold it
        ("street", "vehicle", -1),  # a scene may contain it
    ],
)
@needs_data
def test_truth_of_words(of: str, word: str, held: int) -> None:
    classes = captions.read_classes(DATA)
    concepts = captions.read_concepts(classes, Path(pictocli.taxonomy.__file__).with_name("taxonomy.toml"))
    concept = next(k for k in concepts if k.kind == "word" and k.label == word)
    assert captions.truth(next(c for c in classes if of in c.names), concept) == held
