from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pictocli.taxonomy
from pictocli.errors import NotFoundError, ValidationError
from pictocli.records import CATEGORIES, Label
from pictocli.taxonomy import Group, load, parse, prompts
from pictocli.toml_lines import Place, find_lines

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


def said(content: str | bytes) -> str:
    """What `parse` has against a file."""
    with pytest.raises(ValidationError) as caught:
        parse(content.encode() if isinstance(content, str) else content, "own.toml")
    return str(caught.value)


NO_LINE = None

FAULTS = {
    # name: (old, new, line, sentence)
    "schema": ("schema = 1", "schema = 2", 2, "its schema is 2, and this picto reads 1"),
    "no-schema": ("schema = 1", "", NO_LINE, "it has no schema, and this picto reads 1"),
    "version": ('version = "t.1"', "version = 3", 3, "the file has no version"),
    "no-version": ('version = "t.1"', "", NO_LINE, "the file has no version"),
    "null-prompts": ('["a photo."]', "[]", 4, "the file has no list of texts 'null_prompts'"),
    "null-prompt": ('["a photo."]', '["a photo.",\n3]', 5, "the file has no list of texts 'null_prompts'"),
    "misspelt-category": (
        "[scenes]", "[scene]", 18, "the table 'scene' has labels, and is none of objects, scenes and attributes",
    ),
    "category-form": ("[scenes]", "[[scenes]]", 18, "it has no table 'scenes'"),
    "no-labels": ("labels = [\n  { id = \"dog\"", "names = [\n  { id = \"dog\"", 11, "objects has no list of labels"),
    "label-form": (
        '{ id = "cat", phrase = "a cat", aliases = ["kitten"] }', '"cat"', 15, "a label of objects is no table",
    ),
    "same-id": ('id = "cat"', 'id = "beach"', 23, "the id 'beach' stands twice, in objects and scenes (see line 15)"),
    "id-form": ('id = "cat"', 'id = "Big Cat"', 15, "the id 'Big Cat' is not lower-case words joined by hyphens"),
    "no-id": ('id = "cat", ', "", 15, "a label of objects has no id"),
    "no-phrase": ('phrase = "a cat"', 'phrase = " "', 15, "the label 'cat' has no phrase"),
    "alias-of-two": (
        '"kitten"', '"hound"', 15, "the alias 'hound' of 'cat' already names 'dog' in objects (see line 14)",
    ),
    "alias-is-id": ('"kitten"', '"dog"', 15, "the alias 'dog' of 'cat' already names 'dog' in objects (see line 14)"),
    "alias-is-a-later-id": (
        '"hound"', '"cat"', 14, "the alias 'cat' of 'dog' already names 'cat' in objects (see line 15)",
    ),
    "alias-itself": ('"kitten"', '"cat"', 15, "the alias 'cat' of 'cat' already names 'cat' in objects"),
    "alias-form": ('"kitten"', "7", 15, "the label 'cat' has no list of texts 'aliases'"),
    "template": ('"a scene showing {}."', '"a scene."', 19, "the template 'a scene.' of scenes must hold '{}' once"),
    "no-templates": ('templates = ["a scene showing {}."]', "", 18, "scenes has no list of texts 'templates'"),
    "group-of-another-category": (
        'labels = ["indoor", "outdoor"]', 'labels = ["indoor",\n"dog"]', 10,
        "the group 'setting' names 'dog', which is no label of scenes",
    ),
    "group-of-no-category": (
        'category = "scenes"', 'category = "scene"', 7,
        "the group 'setting' is of 'scene', which is none of objects, scenes and attributes",
    ),
    "group-without-category": ('category = "scenes"', "", 6, "the group 'setting' has no category"),
    "group-without-its-label": (
        'labels = ["indoor", "outdoor"]', 'labels = ["outdoor"]', 21,
        "the label 'indoor' claims the group 'setting', which does not list it",
    ),
    "two-groups": (
        "[objects]", '[groups.air]\ncategory = "scenes"\nmode = "at-most-one"\nlabels = ["outdoor"]\n[objects]', 14,
        "the label 'outdoor' is in two groups, 'setting' and 'air' (see line 9)",
    ),
    "mixed-group": (
        "[objects]",
        '[groups.mood]\ncategory = "attributes"\nmode = "at-most-one"\nlabels = ["dark", "cozy"]\n[objects]', 14,
        "the group 'mood' mixes measured labels with guessed ones",
    ),
    "mode": ('mode = "at-most-one"', 'mode = "some"', 8, "the group 'setting' has the mode 'some', not 'at-most-one'"),
    "implies-another-category": (
        'implies = ["outdoor"]', 'implies = ["dog"]', 23,
        "the label 'beach' implies 'dog', which is no label of scenes",
    ),
    "rule": (
        "luma_mean < 0.25", "luma_men < 0.25", 29,
        "of the label 'dark', the rule 'luma_men < 0.25' is wrong at position 1: there is no metric 'luma_men'",
    ),
    "no-rule": (
        ', rule = "luma_mean < 0.25"', "", 29,
        "the label 'dark' needs a rule if, and only if, it is measured in pixels",
    ),
    "rule-for-the-model": (
        'measured = "pixels"', 'measured = "model"', 29,
        "the label 'dark' needs a rule if, and only if, it is measured in pixels",
    ),
    "measured": (
        'measured = "model"', 'measured = "nose"', 30, "the label 'cozy' of attributes cannot be measured by 'nose'",
    ),
    "measured-object": (
        'phrase = "a cat"', 'phrase = "a cat", measured = "pixels", rule = "aspect > 1"', 15,
        "the label 'cat' of objects cannot be measured by 'pixels'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(("old", "new", "line", "sentence"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_said_and_where(old: str, new: str, line: int | None, sentence: str, newline: str) -> None:
    assert old in SMALL
    at = f" at line {line}" if line else ""
    assert said(SMALL.replace(old, new, 1).replace("\n", newline)) == f"the taxonomy own.toml is wrong{at}: {sentence}"


def test_a_file_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        load(write(tmp_path, SMALL.replace("kitten", "hound")))
    assert str(caught.value).startswith("the taxonomy own.toml is wrong at line 15: the alias 'hound' of 'cat'")


def test_the_second_of_two_is_where_the_file_has_it(tmp_path: Path) -> None:
    """Though objects are read before scenes, in whatever order they stand."""
    head, objects, rest = SMALL.partition("[objects]")
    objects, scenes, rest = (objects + rest).partition("[scenes]")
    text = head + scenes + rest + objects.replace('"cat"', '"indoor"')
    lines = [number for number, line in enumerate(text.split("\n"), 1) if 'id = "indoor"' in line]
    assert said(text) == (
        f"the taxonomy own.toml is wrong at line {lines[1]}:"
        f" the id 'indoor' stands twice, in objects and scenes (see line {lines[0]})"
    )


# The same faults as users may spell them; "(!)" in a comment marks the line to be named.
HEAD = 'schema = 1\nversion = "t"\nnull_prompts = ["a photo."]\n'
SPELLINGS = {
    "tables": (
        """
# 'auto' is an alias; so it is in { id = "truck", aliases = ["auto"] }
[objects]
templates = ["{}"]

[[objects.labels]]
id = "car"
phrase = "auto"

[[objects.labels]]
id = "truck"
phrase = "a truck"
aliases = ["auto"]

[[objects.labels]]
id = "taxi"
phrase = "a taxi"
note = "auto"
aliases = [
  "cab",
  # "auto",
  "auto",  # (!)
]
""",
        "the alias 'auto' of 'taxi' already names 'truck' in objects (see line 16)",
    ),
    "single-quotes": (
        """
objects.templates = ['{}']
objects.labels = [ { id = 'car', phrase = 'a "car"', aliases = ['auto', "it's"] },
  # { id = 'van' }
  { id = 'van', phrase = "a van # not a comment", aliases = [ 'bus', 'auto' ] }, # (!)
  { id = 'bus', phrase = 'a bus' } ]
""",
        "the alias 'bus' of 'van' already names 'bus' in objects (see line 9)",
    ),
    "long-strings": (
        '''
[scenes]
templates = ["""
a scene \\
   with {}""", \'\'\'
{} [scenes]
labels = [ { id = "beach" } ]\'\'\']
note = """a quote " or two "" and
one at the end""""
labels = [
  { id = "beach", phrase = """
a beach \\""" """, aliases = ["shore"] },
  { id = "coast", phrase = "a coast", aliases = [ # comment [ "shore",
    'sea',

    'shore', # (!)
  ] },
]
''',
        "the alias 'shore' of 'coast' already names 'beach' in scenes (see line 15)",
    ),
    "one-line": (
        """
[objects]
templates = ["{}"]
labels = [{ id = "cat", phrase = "a cat" }, { id = "cat", phrase = "a cat" }] # (!)
""",
        "the id 'cat' stands twice in objects",
    ),
    "quoted-keys": (
        """
["objects"]
"templates" = ["{}"]
[['objects' . "lab\\u0065ls"]]
id = "cat"
phrase = "a cat"
[[objects.labels]]
"id" = "dog"
'phrase' = ""  # (!)
""",
        "the label 'dog' has no phrase",
    ),
    "missing-key-of-a-table": (
        """
[[objects.labels]]
id = "cat"
phrase = "a cat"
[[objects.labels]] # (!)
id = "dog"
[objects]
templates = ["{}"]
""",
        "the label 'dog' has no phrase",
    ),
    "missing-key-of-a-category": (
        """
[[objects.labels]]
id = "cat"
phrase = "a cat"
[[objects.labels]]
id = "dog"
phrase = "a dog"
[objects] # (!)
""",
        "objects has no list of texts 'templates'",
    ),
    "dotted-group": (
        """
groups.pets.category = "objects"
groups.pets.mode = "at-most-one"
groups.pets.labels = ["cat",
  "cow",  # (!)
]
objects = { templates = ["{}"], labels = [{ id = "cat", phrase = "a cat" }] }
""",
        "the group 'pets' names 'cow', which is no label of objects",
    ),
    "group-in-a-line": (
        """
[objects]
templates = ["{}"]
labels = [{ id = "cat", phrase = "a cat" }]
[groups]
'all pets' = { category = "objects", mode = 'one', labels = ["cat"] } # (!)
""",
        "the group 'all pets' has the mode 'one', not 'at-most-one'",
    ),
    "other-values": (
        """
made = 2026-01-02 03:04:05.6
by = { on = 2026-01-02, at = 03:04:05, how = [[1, -2.5e3], [0xFF], [{ a.b = [true] }], [inf]] }
[objects]
"" = 1
templates = ["{}"]
labels = [
  { id = "cat", since = 2026-01-02 03:04:05Z, phrase = "a cat" },
  { id = "dog", since = 2026-01-02T03:04:05+01:00, implies = ["cow"], phrase = "a dog" }, # (!)
]
""",
        "the label 'dog' implies 'cow', which is no label of objects",
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(("body", "sentence"), SPELLINGS.values(), ids=SPELLINGS)
def test_the_line_is_right_however_it_is_spelt(body: str, sentence: str, newline: str) -> None:
    text = HEAD + body
    [line] = [number for number, each in enumerate(text.split("\n"), 1) if "(!)" in each]
    assert said(text.replace("\n", newline)) == f"the taxonomy own.toml is wrong at line {line}: {sentence}"


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield place, value
    for key, each in inner or ():
        yield from leaves(each, (*place, key))


def test_every_text_of_the_bundled_taxonomy_stands_where_it_is_said_to() -> None:
    text = BUNDLED.read_text("utf-8")
    found = [(place, value) for place, value in leaves(tomllib.loads(text)) if isinstance(value, str)]
    lines = find_lines(text, *(place for place, _ in found))
    written = text.split("\n")
    assert len(found) > 3000
    assert [value for (_, value), line in zip(found, lines, strict=True) if value not in written[(line or 0) - 1]] == []


def document(seed: int) -> str:
    """A random TOML text, each number of which is that of its line."""
    pick = random.Random(seed)  # noqa: S311 - no secret
    names = (f"k{number}" for number in range(10**6))
    forms = ("{}", '"{}"', "'{}'", '"\\u006b.{}"', "'[{}] # = \"'", '"\\"{}\\\\"')

    def key() -> str:
        return pick.choice((".", " . ")).join(
            pick.choice(forms).format(next(names)) for _ in range(pick.choice((1, 1, 2)))
        )

    def text() -> str:
        quote = pick.choice(('"', "'"))
        pieces = ("\n", "a", "#", " ] ", "''.", '"".', "= ", "[b]", *(('\\"', "\\\\") if quote == '"' else "\\"))
        return 3 * quote + "".join(pick.choice(pieces) for _ in range(6)) + "." + pick.choice((3, 4, 5)) * quote

    def value(depth: int) -> str:
        form = pick.randrange(6 if depth < 4 else 2)
        if form == 1:
            return pick.choice(('"# ]"', "'\\'", '"\\\\"', "1979-05-27 07:32:00", "true", text()))
        if form in (2, 3):
            gap = pick.choice((" ", "\n", ' # [ " \' """\n'))
            return "[" + "".join(f"{gap}{value(depth + 1)}{gap}," for _ in range(pick.randrange(4))) + gap + "]"
        if form == 4:
            return "{ " + ", ".join(f"{key()} = {value(depth + 1)}" for _ in range(pick.randrange(4))) + " }"
        return "@"

    parts, arrays = [], [next(names)]
    for _ in range(25):
        form = pick.randrange(6)
        if form == 0:
            parts.append(f"[{key()}] # [")
        elif form == 1:
            arrays.append(pick.choice((next(names), f"{pick.choice(arrays)}.{next(names)}")))
            parts.append(f"[[ {arrays[-1]} ]]")
        elif form == 2 and f"[[ {arrays[-1]} ]]" in parts:
            parts.append(f"[[{arrays[-1]}]]")
        else:
            parts.append(f"{key()} = {value(0)}" + pick.choice(("", " # = @", "\n\n")))
    return "\n".join(line.replace("@", str(number)) for number, line in enumerate("\n".join(parts).split("\n"), 1))


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_lines_agree_with_tomllib(start: int) -> None:
    numbers = 0
    for seed in range(start, start + 100):
        text = document(seed)
        found = [(place, value) for place, value in leaves(tomllib.loads(text)) if type(value) is int]
        assert find_lines(text, *(place for place, _ in found)) == [value for _, value in found]
        numbers += len(found)
    assert numbers > 1000


def test_a_place_that_is_not_there_is_its_owners() -> None:
    text = "a = [\n  1,\n  [2],\n]\n[b.c]\n"
    places: list[Place] = [("a", 1, 7), ("a", 9), ("b", "x"), ("b", "c", "d", "e"), ("d",), ()]
    assert find_lines(text, *places) == [3, 1, 5, 5, None, None]


def test_no_toml_is_said() -> None:
    assert said("schema = ,\n").startswith("the taxonomy own.toml is not valid TOML: Invalid value (at line 1, column")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "is wrong: it has no table of labels: none of objects, scenes and attributes", id="empty"),
        pytest.param(
            HEAD.encode(), "is wrong: it has no table of labels: none of objects, scenes and attributes", id="bare"
        ),
        pytest.param(b"\xff\xfea", "is not UTF-8 text (at line 1)", id="utf-16"),
        pytest.param(b"# a\n# b\n# caf\xe9\n", "is not UTF-8 text (at line 3)", id="latin-1"),
        pytest.param(b"\xef\xbb\xbf# a\n# caf\xe9\n", "is not UTF-8 text (at line 2)", id="latin-1-after-a-mark"),
        pytest.param(b"#" * 10_000_001, "is larger than 10 MB", id="large"),
        pytest.param(b"a = " + b"[" * 5000, "is not valid TOML: its brackets are nested too deeply", id="deep"),
        pytest.param(
            f"{HEAD}[scenes]\nlabels = []\n".encode(),
            "is wrong at line 5: scenes has no list of labels",
            id="no-labels",
        ),
        pytest.param(b"objects = 3\n", "is wrong at line 1: it has no table 'objects'", id="no-table"),
    ],
)
def test_no_taxonomy_is_said(content: bytes, sentence: str) -> None:
    assert said(content) == f"the taxonomy own.toml {sentence}"


def many(count: int) -> bytes:
    rows = "".join(f'{{ id = "a{number}", phrase = "a" }},\n' for number in range(count))
    return f'{HEAD}[objects]\ntemplates = ["{{}}"]\nlabels = [\n{rows}]\n'.encode()


def test_4_000_labels_are_the_most() -> None:
    assert len(parse(many(4_000), "own.toml").labels) == 4_000
    assert said(many(4_001)) == "the taxonomy own.toml is wrong at line 4007: it has more than 4,000 labels"


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    with path.open("wb") as file:
        file.truncate(20_000_000)
    with pytest.raises(ValidationError, match=r"^the taxonomy own\.toml is larger than 10 MB$"):
        load(path)


def test_a_mark_of_utf8_is_no_fault() -> None:
    assert parse(b"\xef\xbb\xbf" + SMALL.encode(), "own.toml").labels == parse(SMALL.encode(), "own.toml").labels


@pytest.mark.parametrize("missing", CATEGORIES)
def test_a_category_may_be_left_out(missing: str) -> None:
    text = HEAD + "".join(
        f'[{category}]\ntemplates = ["{{}}"]\nlabels = [{{ id = "x-{category}", phrase = "x" }}]\n'
        for category in CATEGORIES
        if category != missing
    )
    taxonomy = parse(text.encode(), "own.toml")
    assert taxonomy.of(missing) == ()
    assert taxonomy.templates[missing] == ()
    assert [label.category for label in taxonomy.labels] == [each for each in CATEGORIES if each != missing]
    assert taxonomy.groups == ()


def test_what_was_kept_is_read_as_the_file_was(tmp_path: Path) -> None:
    assert parse(SMALL.encode(), "kept") == load(write(tmp_path, SMALL))
    assert parse(BUNDLED.read_bytes(), "kept") == load()


def test_the_bundled_taxonomy_is_read_without_looking_for_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("pictocli.toml_lines.find_lines")
    load()


DOG = '  { id = "dog", phrase = "a dog", aliases = ["puppy", "hound"] },\n'
CAT = '  { id = "cat", phrase = "a cat", aliases = ["kitten"] },\n'


def without_scenes(text: str) -> str:
    groups, objects, scenes, rest = (text.index(f"[{name}") for name in ("groups", "objects", "scenes", "attributes"))
    return text[:groups] + text[objects:scenes] + text[rest:]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param(lambda text: text.replace('"a photo."', '"an image."'), False, id="null-prompt"),
        pytest.param(lambda text: text.replace('"a cat"', '"a small cat"'), False, id="phrase"),
        pytest.param(lambda text: text.replace('id = "cat"', 'id = "lion"'), False, id="id"),
        pytest.param(lambda text: text.replace('["a scene showing {}."]', '["{}"]'), False, id="template"),
        pytest.param(lambda text: text.replace(DOG + CAT, CAT + DOG), False, id="order"),
        pytest.param(
            lambda text: text.replace(', measured = "pixels", rule = "luma_mean < 0.25"', ""), False, id="judged-now"
        ),
        pytest.param(without_scenes, False, id="no-scenes"),
        pytest.param(lambda text: text + "# a comment\n", True, id="comment"),
        pytest.param(lambda text: text.replace("kitten", "pussy-cat"), True, id="alias"),
        pytest.param(lambda text: text.replace("0.25", "0.20"), True, id="rule"),
        pytest.param(lambda text: text.replace("a dark photo", "a photo at night"), False, id="phrase-of-a-rule"),
        pytest.param(lambda text: text.replace("setting", "place"), True, id="group"),
        pytest.param(lambda text: text.replace(', implies = ["outdoor"]', ""), True, id="implies"),
        pytest.param(lambda text: text.replace("t.1", "t.2"), True, id="version"),
    ],
)
def test_the_prompts_hash_tells_what_a_model_is_asked(change: Callable[[str], str], same: bool) -> None:
    before, after = (parse(text.encode(), "own.toml") for text in (SMALL, change(SMALL)))
    assert before.hash != after.hash
    assert (before.prompts_hash == after.prompts_hash) is same
    assert len(bytes.fromhex(before.prompts_hash)) == 32


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"the taxonomy {tmp_path / 'none.toml'} cannot be read: No such file or directory"


def test_reading_it_needs_no_numpy() -> None:
    code = "import sys, pictocli.taxonomy as t; t.load(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=BUNDLED.parents[1], check=False).returncode == 0
