"""What the training pictures of the bundled model are called: concepts, what is known of them, and the tokenizer.

A concept is one idea with several wordings: a class of a data set, a broader word (hypernym), a label of
`taxonomy.toml`, or a colour.  `truth` says of each (class, class or broader word) whether it holds: 1 true, 0 false,
-1 not known; of labels, `truth.toml` does.  Everything here becomes canonical text: lower case, no punctuation, single
blanks.
"""

from __future__ import annotations

import json
import random
import string
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pictocli.records import CATEGORIES

__all__ = [
    *("COLOURS", "DATA_SETS", "MAX_TOKENS", "Concept", "PictureClass", "canonical", "read_classes", "read_concepts"),
    *("train_tokenizer", "truth"),
]

MAX_TOKENS = 32
DATA_SETS = (
    *(f"tiny-imagenet-train-{i}" for i in range(4)),
    *("cifar10-train", "natural-images-train", "gtsrb-train", "intel-scenes-train", "scene15-train", "sun8-train"),
)
SCENE_SETS = {"intel-scenes-train", "scene15-train", "sun8-train"}
COLOURS = ("red", "orange-color", "yellow", "green", "teal", "blue", "purple", "pink", "black", "white", "grayscale")

TEMPLATES = (
    *("{a}", "{n}", "{a}", "{n}", "a photo of {a}", "a photo of {a}", "a photo of {n}", "a photo of the {n}"),
    *("a picture of {a}", "a photo containing {a}", "an image of {a}", "a close up of {a}"),
    *("the {n}", "{n} in a photo", "{s}", "{s}", "a photo of {s}"),
)
# Broader words that say too little for "not listed" to mean "not there".
VAGUE = (
    *("accessory", "architecture", "art", "book", "building", "city", "clothing", "computer", "container"),
    *("decoration", "drink", "farm animal", "flower", "furniture", "hardware", "house", "household item", "ice"),
    *("lake", "landscape", "light", "machine", "meal", "medical equipment", "metal", "mountain", "office"),
    *("person", "pet", "plant", "pole", "portrait", "railing", "road", "rock", "roof", "room", "sea", "sea life"),
    *("sign", "sky", "snack", "snow", "sport", "sports equipment", "sports field", "structure", "table", "tool"),
    *("tree", "water", "wild animal"),
)


@dataclass(frozen=True)
class PictureClass:
    """One class of one data set, with the words known to be true of its pictures."""

    data_set: str
    names: tuple[str, ...]
    hypernyms: tuple[str, ...]
    scenes: tuple[str, ...]
    group: str

    @property
    def words(self) -> set[str]:
        return {*self.names, *self.hypernyms, *self.scenes}


@dataclass(frozen=True)
class Concept:
    """One idea: `nouns` go into TEMPLATES, `phrases` are used as they are; `keys` are the words that make it true."""

    kind: str  # class, word, label, colour
    label: str
    nouns: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    keys: frozenset[str] = field(default_factory=frozenset)
    of: PictureClass | None = None

    def caption(self, rng: random.Random) -> str:
        """One wording, drawn at random."""
        if self.phrases and (not self.nouns or rng.random() < 0.7):
            return canonical(rng.choice(self.phrases))
        noun = rng.choice(self.nouns)
        text = rng.choice(TEMPLATES).format(n=noun, a=with_article(noun), s=plural(noun))
        extra = rng.random()
        if self.of and self.of.hypernyms and extra < 0.15:
            text += f" a kind of {rng.choice(self.of.hypernyms)}"
        elif self.of and {"indoor", "outdoor"} & set(self.of.scenes) and extra > 0.9:
            text += " outdoors" if "outdoor" in self.of.scenes else " indoors"
        return canonical(text)


def canonical(text: str) -> str:
    """Lower case, without punctuation, blanks collapsed: the form in which picto hands text to a tokenizer."""
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())


def with_article(noun: str) -> str:
    """'cat' -> 'a cat', 'owl' -> 'an owl'; plurals and stuff get an article too, which a bag of words forgives."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def plural(noun: str) -> str:
    """'cat' -> 'cats', 'butterfly' -> 'butterflies'."""
    if noun == "person":
        return "people"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def read_classes(data: Path) -> list[PictureClass]:
    """All classes, Tiny ImageNet's 200 first, then those of the other sets in the order of DATA_SETS."""
    rows = [("tiny-imagenet", row) for row in json.loads((data / "classes.json").read_text())]
    extra = json.loads((data / "extra-classes.json").read_text())
    rows += [(name, row) for name in DATA_SETS if name in extra for row in extra[name]]
    return [
        PictureClass(name, tuple(r["names"]), tuple(r["hypernyms"]), tuple(r["scenes"]), group_of(name, r))
        for name, r in rows
    ]


def group_of(data_set: str, row: dict[str, list[str]]) -> str:
    if "group" in row:
        return str(row["group"])
    if data_set in SCENE_SETS:
        return "scene"
    return next((g for g in ("animal", "vehicle", "food") if g in row["hypernyms"]), "object")


def read_concepts(classes: list[PictureClass], taxonomy: Path) -> list[Concept]:
    """The classes' own concepts, in their order; then broader words, the labels that a model judges, and colours."""
    concepts = [Concept("class", c.names[0], c.names, (), frozenset(c.names), c) for c in classes]
    words = sorted({w for c in classes for w in c.hypernyms})
    concepts += [Concept("word", w, (w,), (), frozenset({w})) for w in words]
    table = tomllib.loads(taxonomy.read_text())
    colours = []
    for category in CATEGORIES:
        for row in table[category]["labels"]:
            phrases = tuple(t.format(row["phrase"]) for t in table[category]["templates"])
            if row["id"] in COLOURS:
                word = row["id"].split("-")[0]
                phrases += (word, f"something {word}", f"a {word} thing", f"{word} colour")
                colours.append(Concept("colour", row["id"], (), phrases))
            elif "rule" not in row:
                nouns = (row["id"].replace("-", " "),) if category != "attributes" else ()
                concepts.append(Concept("label", row["id"], nouns, phrases))
    return concepts + sorted(colours, key=lambda c: COLOURS.index(c.label))


def truth(c: PictureClass, k: Concept) -> int:
    """1: the class or broader word holds for the class's pictures; 0: it does not; -1: not known."""
    if k.keys & c.words:
        return 1
    if k.kind == "class" and k.of is not None:
        return truth_of_class(c, k.of)
    return -1 if k.kind != "word" or k.label in VAGUE or c.group == "scene" else 0


def truth_of_class(c: PictureClass, of: PictureClass) -> int:
    if c.data_set == of.data_set:
        return 0
    if set(c.names) & set(of.hypernyms) or of.group == "scene":
        settings = {"indoor", "outdoor"} & {*c.scenes, *of.scenes}
        return 0 if of.group == "scene" and len(settings) == 2 else -1
    if of.names[0] in {"person", "flower", "traffic sign"} or c.names[0] in {"person", "flower"}:
        return -1
    if c.group == "scene":
        return 0 if of.group in {"animal", "food", "clothing"} else -1
    return 0 if c.group != of.group else (-1 if set(c.hypernyms) & set(of.hypernyms) - {c.group, "pet"} else 0)


def train_tokenizer(concepts: list[Concept], taxonomy: Path, size: int = 3000) -> Tokenizer:
    """A lower-casing word-piece tokenizer over the captions, the taxonomy and single letters; [PAD] is 0."""
    rng = random.Random(0)
    lines = [k.caption(rng) for k in concepts for _ in range(8)] + [n for k in concepts for n in k.nouns]
    for category in CATEGORIES:
        for row in tomllib.loads(taxonomy.read_text())[category]["labels"]:
            lines += [canonical(t.replace("-", " ")) for t in (row["id"], row["phrase"], *row["aliases"])]
    letters = string.ascii_lowercase + string.digits
    lines += ["".join(rng.choice(letters) for _ in range(6)) for _ in range(400)]  # so that every letter has a piece
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]"], initial_alphabet=list(letters), show_progress=False
    )
    tokenizer.train_from_iterator(lines * 3, trainer)
    return tokenizer
