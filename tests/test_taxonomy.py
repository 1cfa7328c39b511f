from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import pictocli.taxonomy
from pictocli.errors import NotFoundError, ValidationError
from pictocli.records import CATEGORIES, Label
from pictocli.taxonomy import Group, load, prompts

BUNDLED = Path(pictocli.taxonomy.__file__).with_name("taxonomy.toml")

SMALL = """
schema = 1
version = "t.1"
null_prompts = ["a photo."]

[groups.setting]
category = "scenes"
mode = "at-most-one"
labels = ["indoor", "outdoor"]

[objects]
templates = ["a photo of {}.", "{}"]
labels = [
  { id = "dog", phrase = "a dog", aliases = ["puppy", "hound"] },
  { id = "cat", phrase = "a cat", aliases = ["kitten"] },
]

[scenes]
templates = ["a scene showing {}."]
labels = [
  { id = "indoor", phrase = "an indoor scene", group = "setting" },
  { id = "outdoor", phrase = "an outdoor scene", group = "setting" },
  { id = "beach", phrase = "a beach", implies = ["outdoor"] },
]

[attributes]
templates = ["{}"]
labels = [
  { id = "dark", phrase = "a dark photo", measured = "pixels", rule = "luma_mean < 0.25" },
  { id = "cozy", phrase = "a cozy place", measured = "model" },
]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_bundled_taxonomy_has_the_numbers_it_claims() -> None:
    taxonomy = load()
    assert Counter(label.category for label in taxonomy.labels) == dict.fromkeys(CATEGORIES, 200)
    assert [len(taxonomy.of(category)) for category in CATEGORIES] == [200, 200, 200]
    assert len({label.id for label in taxonomy.labels}) == 600
    assert len(taxonomy.rules) == 44
    assert len(taxonomy.groups) == 19
    assert len(taxonomy.implies) == 178
    assert taxonomy.version == "2026.1"
    assert taxonomy.hash == hashlib.sha256(BUNDLED.read_bytes()).hexdigest()


def test_the_bundled_labels_come_in_file_order_with_their_prompts() -> None:
    taxonomy = load()
    person = Label("objects", "person", "a person", ("human", "people", "man", "woman", "pedestrian"))
    assert taxonomy.labels[0] == person
    assert prompts(taxonomy, person) == ["a photo of a person.", "a photo containing a person.", "a person"]
    assert taxonomy.of("scenes")[0].id == "indoor"
    assert taxonomy.implies["urban"] == ("outdoor",)
    assert taxonomy.groups[0] == Group("setting", "scenes", ("indoor", "outdoor"))
    assert next(iter(taxonomy.rules)) == "blurry"


def test_one_of_your_own_is_read_whole(tmp_path: Path) -> None:
    taxonomy = load(write(tmp_path, SMALL))
    assert [label.id for label in taxonomy.labels] == ["dog", "cat", "indoor", "outdoor", "beach", "dark", "cozy"]
    assert taxonomy.labels[2].aliases == ()
    assert taxonomy.rules == {"dark": "luma_mean < 0.25"}
    assert taxonomy.implies == {"beach": ("outdoor",)}
    assert taxonomy.null_prompts == ("a photo.",)
    assert taxonomy.templates["objects"] == ("a photo of {}.", "{}")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        pytest.param("schema = 1", "schema = 2", "its schema is 2, and this picto reads 1", id="schema"),
        pytest.param('version = "t.1"', "version = 3", "the file has no version", id="version"),
        pytest.param('["a photo."]', "[]", "the file has no list of texts 'null_prompts'", id="null-prompts"),
        pytest.param("[scenes]", "[places]", "it has no table 'scenes'", id="no-category"),
        pytest.param('id = "cat"', 'id = "beach"', "the id 'beach' stands twice, in objects and scenes", id="same-id"),
        pytest.param(
            'id = "cat"', 'id = "Big Cat"', "the id 'Big Cat' is not lower-case words joined by hyphens", id="id-form"
        ),
        pytest.param('id = "cat", ', "", "a label of objects has no id", id="no-id"),
        pytest.param('phrase = "a cat"', 'phrase = " "', "the label 'cat' has no phrase", id="no-phrase"),
        pytest.param(
            '"kitten"', '"hound"', "the alias 'hound' of 'cat' already names 'dog' in objects", id="alias-of-two"
        ),
        pytest.param('"kitten"', '"dog"', "the alias 'dog' of 'cat' already names 'dog' in objects", id="alias-is-id"),
        pytest.param('"kitten"', '"cat"', "the alias 'cat' of 'cat' already names 'cat' in objects", id="alias-itself"),
        pytest.param('"kitten"', "7", "the label 'cat' has no list of texts 'aliases'", id="alias-form"),
        pytest.param(
            '"a scene showing {}."',
            '"a scene."',
            "the template 'a scene.' of scenes must hold '{}' once",
            id="template",
        ),
        pytest.param(
            'labels = ["indoor", "outdoor"]',
            'labels = ["indoor", "dog"]',
            "the group 'setting' names 'dog', which is no label of scenes",
            id="group-of-another-category",
        ),
        pytest.param(
            'labels = ["indoor", "outdoor"]',
            'labels = ["outdoor"]',
            "the label 'indoor' claims the group 'setting', which does not list it",
            id="group-without-its-label",
        ),
        pytest.param(
            "[objects]",
            '[groups.air]\ncategory = "scenes"\nmode = "at-most-one"\nlabels = ["outdoor"]\n[objects]',
            "the label 'outdoor' is in two groups, 'setting' and 'air'",
            id="two-groups",
        ),
        pytest.param(
            "[objects]",
            '[groups.mood]\ncategory = "attributes"\nmode = "at-most-one"\nlabels = ["dark", "cozy"]\n[objects]',
            "the group 'mood' mixes measured labels with guessed ones",
            id="mixed-group",
        ),
        pytest.param(
            'mode = "at-most-one"',
            'mode = "some"',
            "the group 'setting' has the mode 'some', not 'at-most-one'",
            id="mode",
        ),
        pytest.param(
            'implies = ["outdoor"]',
            'implies = ["dog"]',
            "the label 'beach' implies 'dog', which is no label of scenes",
            id="implies-another-category",
        ),
        pytest.param(
            "luma_mean < 0.25",
            "luma_men < 0.25",
            "of the label 'dark', the rule 'luma_men < 0.25' is wrong at position 1: there is no metric 'luma_men'",
            id="rule",
        ),
        pytest.param(
            ', rule = "luma_mean < 0.25"',
            "",
            "the label 'dark' needs a rule if, and only if, it is measured in pixels",
            id="no-rule",
        ),
        pytest.param(
            'measured = "pixels"',
            'measured = "model"',
            "the label 'dark' needs a rule if, and only if, it is measured in pixels",
            id="rule-for-the-model",
        ),
        pytest.param(
            'measured = "model"',
            'measured = "nose"',
            "the label 'cozy' of attributes cannot be measured by 'nose'",
            id="measured",
        ),
        pytest.param(
            'phrase = "a cat"',
            'phrase = "a cat", measured = "pixels", rule = "aspect > 1"',
            "the label 'cat' of objects cannot be measured by 'pixels'",
            id="measured-object",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in SMALL
    with pytest.raises(ValidationError) as caught:
        load(write(tmp_path, SMALL.replace(old, new, 1)))
    assert str(caught.value) == f"the taxonomy own.toml is wrong: {sentence}"


def test_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"^the taxonomy own\.toml is not valid TOML: .*line 1"):
        load(write(tmp_path, "schema = ,\n"))


def test_no_utf8_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValidationError, match=r"^the taxonomy own\.toml is not valid TOML: 'utf-8' codec"):
        load(path)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"the taxonomy {tmp_path / 'none.toml'} cannot be read: No such file or directory"


def test_reading_it_needs_no_numpy() -> None:
    code = "import sys, pictocli.taxonomy as t; t.load(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=BUNDLED.parents[1], check=False).returncode == 0
