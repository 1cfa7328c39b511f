from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pictocli.errors import ValidationError
from pictocli.records import CATEGORIES, Label, ModelSpec
from pictocli.rules import compile_rule
from pictocli.tagging import Tagger, embed_prompts, label_logits, uncalibrated
from pictocli.taxonomy import Group, Taxonomy, load, prompts

FILLERS = 30  # labels at 0 in every category, so that one that stands out has z' of 5


def spec(dim: int, scale: float = 1.0, bias: float = 0.0) -> ModelSpec:
    return ModelSpec("test", "0", dim, 64, "bilinear", 64, scale, bias)


def small(**changes: Any) -> Taxonomy:
    """Three categories of named labels and fillers; dark, bright, blue and red are measured."""
    names = {
        "objects": ["dog", "cat", "car"],
        "scenes": ["indoor", "outdoor", "beach", "forest", "kitchen"],
        "attributes": ["dark", "bright", "red", "blue", "cozy", "tidy", "messy"],
    }
    labels = [
        Label(category, name, f"a {name}")
        for category, own in names.items()
        for name in [*own, *(f"{category}-{index}" for index in range(FILLERS))]
    ]
    parts: dict[str, Any] = {
        "version": "t",
        "hash": "0" * 64,
        "null_prompts": ("a photo.", "an image."),
        "labels": tuple(labels),
        "templates": dict.fromkeys(CATEGORIES, ("a photo of {}.", "{}")),
        "groups": (
            Group("setting", "scenes", ("indoor", "outdoor")),
            Group("tidiness", "attributes", ("tidy", "messy")),
            Group("brightness", "attributes", ("dark", "bright")),
            Group("red", "attributes", ("blue",)),  # a group named as a label elsewhere must not shut it out
        ),
        "implies": {"beach": ("outdoor",), "forest": ("outdoor",), "kitchen": ("indoor",)},
        "rules": {
            "dark": "luma_mean < 0.3",
            "bright": "luma_p99 > 0.9",
            "red": "hue_share_red > 0.2",
            "blue": "hue_share_blue > 0.2",
        },
    }
    return Taxonomy(**(parts | changes))


def tagged(
    logits: Mapping[str, float],
    measures: Mapping[str, float] | None = None,
    *,
    taxonomy: Taxonomy | None = None,
    others: float = 0.0,
    baseline: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Tags of one image whose labels have those logits: every label vector is an axis of its own."""
    taxonomy = taxonomy or small()
    ids = [label.id for label in taxonomy.labels]
    assert set(logits) <= set(ids)
    axes = np.eye(len(ids) + 1, dtype=np.float32)
    embedding = np.array([*(logits.get(name, others) for name in ids), baseline], np.float32)
    tagger = Tagger(taxonomy, spec(len(ids) + 1), axes[:-1], axes[-1:])
    return tagger.tag(embedding[None], [measures or {}])[0]


# ---- The whole rule against a slow one ----


def slow_verdict(category: str, logits: dict[str, float], baseline: float) -> tuple[dict[str, float], set[str]]:
    mean = statistics.fmean(logits.values())
    sd = math.sqrt(statistics.fmean((logit - mean) ** 2 for logit in logits.values()))
    cut = 2.5 if category == "objects" else 2.0
    z = {name: (logit - mean) / max(sd, 0.5) for name, logit in logits.items()}
    accepted = {
        name
        for name, logit in logits.items()
        if z[name] >= cut and logit - baseline >= 1 and 1 / (1 + math.exp(-logit)) >= 1e-6
    }
    return {name: 1 / (1 + math.exp(-1.5 * (z[name] - cut))) for name in logits}, accepted


def slow_tags(
    taxonomy: Taxonomy, logits: dict[str, float], baseline: float, measures: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for category, cap in (("objects", 12), ("scenes", 5), ("attributes", 10)):
        own = {label.id: logits[label.id] for label in taxonomy.of(category) if label.id not in taxonomy.rules}
        _, accepted = slow_verdict(category, own, baseline)
        for implied in {other for name in accepted for other in taxonomy.implies.get(name, ())}:
            own[implied] += 0.5
        scores, accepted = slow_verdict(category, own, baseline)
        for group in taxonomy.groups:
            members = sorted((own[name], name) for name in group.labels if name in own)
            if members:
                accepted -= {name for _, name in members[:-1]}
                if members[-1][0] - members[-2][0] < 0.5:
                    accepted.discard(members[-1][1])
        best = sorted(accepted, key=lambda name: -scores[name])[:cap]
        found[category] = {name: round(scores[name], 4) for name in best}
    pixel: dict[str, float] = {}
    taken: set[str] = set()
    for name, rule in taxonomy.rules.items():
        rivals = next((group.name for group in taxonomy.groups if name in group.labels), f"only {name}")
        if rivals not in taken and compile_rule(rule).matches(measures):
            taken.add(rivals)
            pixel[name] = 1.0
    found["attributes"] = pixel | found["attributes"]
    return found


def test_a_batch_is_tagged_as_the_slow_rule_tags_each() -> None:
    taxonomy, random = load(), np.random.default_rng(3)
    ids = [label.id for label in taxonomy.labels]
    logits = random.normal(-9, 1.5, (24, len(ids))) + random.exponential(0.8, (24, len(ids)))
    vectors = np.linalg.qr(random.normal(size=(640, 640)))[0].astype(np.float32)
    baselines = random.normal(-9, 1, (24, 2))
    embeddings = ((np.hstack([logits, baselines]) + 12) / 100 @ vectors[: len(ids) + 2]).astype(np.float32)
    measures = [{"luma_mean": light, "luma_p95": light, "aspect": light * 4} for light in random.uniform(0, 1, 24)]
    tagger = Tagger(taxonomy, spec(640, 100.0, -12.0), vectors[: len(ids)], vectors[len(ids) : len(ids) + 2])

    found = tagger.tag(embeddings, measures)

    for image, tags in enumerate(found):
        own = dict(zip(ids, logits[image].tolist(), strict=True))
        expected = slow_tags(taxonomy, own, float(baselines[image].mean()), measures[image])
        assert list(tags) == list(CATEGORIES)
        for category in CATEGORIES:
            assert list(tags[category]) == list(expected[category])
            assert tags[category] == pytest.approx(expected[category], abs=2e-4)
    assert sum(len(tags[category]) for tags in found for category in CATEGORIES) > 100  # the test tests something
    assert tagger.tag(embeddings[5:6], measures[5:6]) == found[5:6]


# ---- Its parts ----


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_score_is_a_half_at_the_cut(category: str) -> None:
    cut = 2.5 if category == "objects" else 2.0
    # k labels at 0 and one at h: z' of the one is √k whatever h is; 2.5 and 2.0 lie on either side of √5 and √6.
    heights = {k: uncalibrated(category, np.array([[10.0] + [0.0] * k]), np.zeros(1)) for k in (3, 4, 5, 6, 7)}
    for k, (scores, accepted) in heights.items():
        assert bool(accepted[0, 0]) is (math.sqrt(k) >= cut)
        assert scores[0, 0] == pytest.approx(1 / (1 + math.exp(-1.5 * (math.sqrt(k) - cut))))
    exactly, accepted = uncalibrated("scenes", np.array([[10.0, 0, 0, 0, 0]]), np.zeros(1))
    assert exactly[0, 0] == pytest.approx(0.5)
    assert not accepted[0, 1:].any()


@pytest.mark.parametrize(
    ("logits", "others", "baseline"),
    [
        pytest.param({}, -7.0, -7.0, id="all-equal"),
        pytest.param({}, -7.0, -12.0, id="all-equal-and-over-the-null-prompts"),
        pytest.param({"dog": -6.98, "beach": -6.98, "cozy": -6.98}, -7.0, -12.0, id="spread-of-a-hundredth"),
        pytest.param({"dog": 0.9, "beach": 0.9, "cozy": 0.9}, 0.0, 0.0, id="under-one-logit-over-the-null-prompts"),
        pytest.param({"dog": -14.0, "beach": -14.0, "cozy": -14.0}, -20.0, -20.0, id="absurd-probability"),
        pytest.param({"dark": 50.0, "red": 50.0}, 0.0, 0.0, id="measured-labels-are-not-guessed"),
    ],
)
def test_no_model_tag(logits: dict[str, float], others: float, baseline: float) -> None:
    assert tagged(logits, others=others, baseline=baseline) == {category: {} for category in CATEGORIES}


@pytest.mark.parametrize(
    ("logits", "category", "expected"),
    [
        pytest.param({"dog": 5.0}, "objects", ["dog"], id="one-that-stands-out"),
        pytest.param({"cat": 7.0, "dog": 8.0}, "objects", ["dog", "cat"], id="strongest-first"),
        pytest.param({"dog": -13.0}, "objects", ["dog"], id="just-not-absurd"),
        pytest.param({"indoor": 6.0, "outdoor": 5.4}, "scenes", ["indoor"], id="group-with-a-margin"),
        pytest.param({"indoor": 6.0, "outdoor": 5.6}, "scenes", [], id="group-without-a-margin"),
        pytest.param({"indoor": 6.0, "outdoor": 6.0}, "scenes", [], id="group-in-a-tie"),
        pytest.param({"tidy": 3.0, "messy": 6.0}, "attributes", ["messy"], id="second-of-a-group"),
        pytest.param({"beach": 9.0, "indoor": 6.0, "outdoor": 6.0}, "scenes", ["beach", "outdoor"], id="vote-decides"),
        pytest.param(
            {"beach": 9.0, "forest": 9.0, "outdoor": 6.0, "indoor": 6.2},
            "scenes",
            ["beach", "forest"],
            id="two-votes-count-as-one",
        ),
        pytest.param(
            {"beach": 9.0, "kitchen": 8.0, "outdoor": 6.0, "indoor": 6.0},
            "scenes",
            ["beach", "kitchen"],
            id="opposite-votes",
        ),
        pytest.param({"beach": 2.0, "forest": 9.0}, "scenes", ["forest"], id="a-vote-alone-accepts-nothing"),
    ],
)
def test_model_tags(logits: dict[str, float], category: str, expected: list[str]) -> None:
    others, baseline = (-20.0, -20.0) if min(logits.values()) < 0 else (0.0, 0.0)
    found = tagged(logits, others=others, baseline=baseline)
    assert list(found[category]) == expected
    assert all(0.5 <= score <= 1 and score == round(score, 4) for score in found[category].values())
    assert list(found[category].values()) == sorted(found[category].values(), reverse=True)


@pytest.mark.parametrize(("category", "cap"), [("objects", 12), ("scenes", 5), ("attributes", 10)])
def test_caps_keep_the_strongest(category: str, cap: int) -> None:
    taxonomy = load()
    names = [label.id for label in taxonomy.of(category) if label.id not in taxonomy.rules]
    grouped = {name for group in taxonomy.groups for name in group.labels}
    free = [name for name in names if name not in grouped and name not in taxonomy.implies][:15]
    found = tagged({name: 9.0 + 0.1 * rank for rank, name in enumerate(free)}, taxonomy=taxonomy)
    assert list(found[category]) == free[::-1][:cap]


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        pytest.param({"luma_mean": 0.1}, ["dark"], id="one"),
        pytest.param({"hue_share_red": 0.5, "hue_share_blue": 0.5}, ["red", "blue"], id="taxonomy-order"),
        pytest.param({"luma_mean": 0.1, "luma_p99": 0.95}, ["dark"], id="first-of-an-exclusive-group"),
        pytest.param({}, [], id="nothing-measured"),
    ],
)
def test_pixel_tags_come_first_and_are_certain(measures: dict[str, float], expected: list[str]) -> None:
    found = tagged({"cozy": 9.0}, measures)["attributes"]
    assert list(found) == [*expected, "cozy"]
    assert [found[name] for name in expected] == [1.0] * len(expected)


def test_pixel_tags_stand_outside_the_cap() -> None:
    fillers = {f"attributes-{index}": 9.0 + 0.1 * index for index in range(7)} | {"cozy": 10.0, "tidy": 10.5}
    taxonomy = small(labels=(*small().labels, *(Label("attributes", f"more-{i}", "x") for i in range(60))))
    logits = fillers | {"more-0": 11.0, "more-1": 11.0, "more-2": 11.0}
    found = tagged(logits, {"luma_mean": 0.1, "hue_share_red": 0.9}, taxonomy=taxonomy)["attributes"]
    assert len(found) == 12
    assert list(found)[:2] == ["dark", "red"]


def test_another_acceptance_takes_the_place_of_the_uncalibrated_one() -> None:
    def everything(
        category: str, logits: NDArray[np.float64], baseline: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        return np.full(logits.shape, 0.25), logits > baseline[:, None]

    axes = np.eye(len(small().labels) + 1, dtype=np.float32)
    tagger = Tagger(small(), spec(len(axes)), axes[:-1], axes[-1:], everything)
    embedding = np.zeros((1, len(axes)), np.float32)
    embedding[0, :2] = 0.1
    assert tagger.tag(embedding, [{}])[0] == {"objects": {"dog": 0.25, "cat": 0.25}, "scenes": {}, "attributes": {}}


@pytest.mark.parametrize(
    ("images", "labels", "dim"),
    [(1, 5, 8), (16, 700, 256), (16, 700, 1152), (3000, 9, 200), (16, 0, 256), (0, 700, 256)],
    ids=["one product", "eleven", "fifty", "too large to part", "no label", "no image"],
)
def test_logits_are_the_same_however_the_product_is_parted(images: int, labels: int, dim: int) -> None:
    random = np.random.default_rng(4)
    pictures, vectors = (random.normal(size=(n, dim)).astype(np.float32) for n in (images, labels))
    found = label_logits(spec(dim, 3.0, -1.0), pictures, vectors)
    assert found.shape == (images, labels)
    np.testing.assert_allclose(found, 3 * (pictures.astype(float) @ vectors.astype(float).T) - 1, atol=1e-11)


def test_a_category_of_measured_labels_only_needs_no_model() -> None:
    labels = tuple(label for label in small().labels if label.category != "attributes" or label.id in small().rules)
    taxonomy = small(labels=labels, groups=())
    assert tagged({"dog": 5.0}, {"luma_mean": 0.1}, taxonomy=taxonomy)["attributes"] == {"dark": 1.0}


def test_no_images_give_no_tags() -> None:
    axes = np.eye(len(small().labels) + 1, dtype=np.float32)
    assert Tagger(small(), spec(len(axes)), axes[:-1], axes[-1:]).tag(axes[:0], []) == []


@pytest.mark.parametrize(
    ("labels", "nulls", "sentence"),
    [
        pytest.param((3, 8), (2, 8), "label vectors have the shape (3, 8), and (105, 8) is needed", id="labels"),
        pytest.param((105, 9), (2, 8), "label vectors have the shape (105, 9), and (105, 8) is needed", id="dim"),
        pytest.param((105, 8), (2, 9), "null vectors have the shape (2, 9), and (2, 8) is needed", id="null-dim"),
        pytest.param((105, 8), (0, 8), "null vectors have the shape (0, 8), and (1, 8) is needed", id="no-nulls"),
    ],
)
def test_vectors_of_another_shape_are_refused(labels: tuple[int, int], nulls: tuple[int, int], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Tagger(small(), spec(8), np.zeros(labels, np.float32), np.zeros(nulls, np.float32))
    assert str(caught.value) == sentence


def test_as_many_measures_as_embeddings_are_needed() -> None:
    tagger = Tagger(small(), spec(8), np.zeros((105, 8), np.float32), np.zeros((2, 8), np.float32))
    with pytest.raises(ValidationError) as caught:
        tagger.tag(np.zeros((2, 8), np.float32), [{}])
    assert str(caught.value) == "embeddings have the shape (2, 8), and (1, 8) is needed"


# ---- Prompts ----


class Letters:
    """Embeds a text by its letter counts, and remembers what it was asked."""

    def __init__(self) -> None:
        self.spec = spec(26, 50.0, -3.0)
        self.asked: list[list[str]] = []

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        counts = np.array([[text.lower().count(chr(97 + letter)) for letter in range(26)] for text in texts], float)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


def test_prompts_are_embedded_once_in_batches() -> None:
    taxonomy = small(
        labels=(Label("objects", "dog", "a dog"), Label("scenes", "kennel", "a dog")),
        null_prompts=("a photo.", "a dog"),
    )
    embedder = Letters()
    label_vectors, null_vectors = embed_prompts(taxonomy, embedder, batch_size=2)
    assert embedder.asked == [["a photo.", "a dog"], ["a photo of a dog."]]
    assert label_vectors.shape == null_vectors.shape == (2, 26)
    assert label_vectors.dtype == null_vectors.dtype == np.float32
    np.testing.assert_array_equal(null_vectors, Letters().embed_texts(["a photo.", "a dog"]))


def test_a_label_vector_gives_the_mean_of_its_prompts_logits() -> None:
    taxonomy, embedder = load(), Letters()
    label_vectors, _ = embed_prompts(taxonomy, embedder)
    image = embedder.embed_texts(["a very unlikely zebra crossing"])[0]
    for index in (0, 199, 200, 599):
        per_prompt = 50.0 * embedder.embed_texts(prompts(taxonomy, taxonomy.labels[index])) @ image - 3.0
        assert 50.0 * label_vectors[index] @ image - 3.0 == pytest.approx(per_prompt.mean(), abs=1e-4)
    assert np.linalg.norm(label_vectors, axis=1).min() < 0.99  # a mean of unit vectors, not one itself
