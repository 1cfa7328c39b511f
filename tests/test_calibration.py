"""A calibration's file, what it refuses, and the tags it gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictocli import calibration
from pictocli.calibration import Calibrated, Calibration, Constants, identity, standardised
from pictocli.errors import ValidationError
from pictocli.fitting import average_precision, fit, platt, threshold, wilson
from pictocli.records import ModelSpec
from pictocli.taxonomy import Taxonomy, load, parse

SPEC = ModelSpec("mini", "abc", 8, 64, "bicubic", 32, 10.0, -5.0)
SMALL = b"""
schema = 1
version = "t"
null_prompts = ["a photo."]
[objects]
templates = ["a photo of {}."]
labels = [
  { id = "cat", phrase = "a cat", aliases = ["kitty"] },
  { id = "dog", phrase = "a dog" },
  { id = "owl", phrase = "an owl" },
]
[attributes]
templates = ["{}"]
labels = [
  { id = "dark", phrase = "dark", measured = "pixels", rule = "luma_mean < 0.2" },
  { id = "furry", phrase = "furry" },
]
"""


@pytest.fixture
def taxonomy() -> Taxonomy:
    return parse(SMALL, "small.toml")


def made(taxonomy: Taxonomy, fitted: bool = True, **labels: Constants) -> Calibration:
    given = {name: Constants(0, 1, 1, 0, None, 0, "category") for name in ("cat", "dog", "owl", "furry")} | labels
    return Calibration(identity(SPEC, taxonomy), "label", 50, fitted, given)


# -- the file -----


def test_a_calibration_comes_back_as_it_was_written(tmp_path: Path, taxonomy: Taxonomy) -> None:
    one = made(taxonomy, cat=Constants(-3.25, 1.5, 2.0, -0.125, 0.75, 31, "label"))
    calibration.write(tmp_path / "deep" / "c.json", one)
    assert calibration.read(tmp_path / "deep" / "c.json", SPEC, taxonomy) == one
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["c.json"]
    assert calibration.read(tmp_path / "none.json", SPEC, taxonomy) is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({"id": "other"}, "another model", id="model"),
        pytest.param({"revision": "abd"}, "another revision", id="revision"),
        pytest.param({"resample": "bilinear"}, "another preprocessing", id="preprocessing"),
        pytest.param({"image_size": 65}, "another preprocessing", id="size"),
    ],
)
def test_one_of_another_model_is_refused(spec: dict[str, Any], said: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    calibration.write(tmp_path / "c.json", made(taxonomy))
    with pytest.raises(ValidationError, match=said):
        calibration.read(tmp_path / "c.json", replace(SPEC, **spec), taxonomy)


def test_one_of_other_prompts_is_refused_and_a_changed_pixel_rule_is_no_other_prompt(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    calibration.write(tmp_path / "c.json", made(taxonomy))
    assert calibration.read(tmp_path / "c.json", SPEC, parse(SMALL.replace(b"< 0.2", b"< 0.3"), "x")) is not None
    with pytest.raises(ValidationError, match="another taxonomy"):
        calibration.read(tmp_path / "c.json", SPEC, parse(SMALL.replace(b"a cat", b"one cat"), "x"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: found.pop("labels"), id="no labels"),
        pytest.param(lambda found: found["labels"].pop("cat"), id="a label short"),
        pytest.param(lambda found: found["labels"].update(cow=found["labels"]["cat"]), id="a label too many"),
        pytest.param(lambda found: found["labels"]["cat"].__setitem__(0, None), id="no mean"),
        pytest.param(lambda found: found["labels"]["cat"].__setitem__(1, float("nan")), id="not a number"),
        pytest.param(lambda found: found["labels"]["cat"].__setitem__(4, 1.5), id="a threshold above 1"),
        pytest.param(lambda found: found["labels"].update(cat=[1, 2, 3, 4, 5, 6, 7, 8]), id="too many constants"),
        pytest.param(lambda found: found["labels"].update(cat="x"), id="no list"),
        pytest.param(lambda found: found.update(score="other"), id="unknown score"),
        pytest.param(lambda found: found.update(schema=2), id="newer schema"),
        pytest.param(lambda found: found.update(identity=None), id="no identity"),
    ],
)
def test_a_damaged_one_is_refused(change: Any, tmp_path: Path, taxonomy: Taxonomy) -> None:
    calibration.write(tmp_path / "c.json", made(taxonomy))
    found = json.loads((tmp_path / "c.json").read_text())
    change(found)
    (tmp_path / "c.json").write_text(json.dumps(found))
    with pytest.raises(ValidationError) as caught:
        calibration.read(tmp_path / "c.json", SPEC, taxonomy)
    assert caught.value.hint == "picto calibrate makes a new one"


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe"])
def test_what_is_no_calibration_is_refused(content: bytes, tmp_path: Path, taxonomy: Taxonomy) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ValidationError):
        calibration.read(tmp_path / "c.json", SPEC, taxonomy)


# -- the tags -----


def test_a_label_fires_from_its_threshold_on_and_one_without_never_does(taxonomy: Taxonomy) -> None:
    accept = Calibrated(
        made(taxonomy, cat=Constants(2, 4, 2, -1, 0.5, 30, "label"), dog=Constants(0, 1, 1, 0, None)), taxonomy
    )
    logits = np.array([[4.0, 9.0, 9.0], [3.99, 9.0, 9.0]])  # z of cat: .5, a little less; p: .5, a little less
    p, accepted = accept("objects", logits, np.zeros(2))
    assert accepted.tolist() == [[True, False, False], [False, False, False]]
    assert p[0, 0] == pytest.approx(0.5)


def test_an_absurd_probability_is_never_accepted(taxonomy: Taxonomy) -> None:
    accept = Calibrated(made(taxonomy, cat=Constants(-20, 1, 1, 0, 0.5, 30, "label")), taxonomy)
    assert accept("objects", np.array([[-13.8, 0, 0]]), np.zeros(1))[1][0, 0]
    assert not accept("objects", np.array([[-13.9, 0, 0]]), np.zeros(1))[1][0, 0]


def test_measured_labels_are_not_among_the_columns(taxonomy: Taxonomy) -> None:
    accept = Calibrated(made(taxonomy, furry=Constants(0, 1, 1, 0, 0.5, 30, "label")), taxonomy)
    assert accept("attributes", np.array([[1.0]]), np.zeros(1))[1].tolist() == [[True]]


def test_without_known_labels_the_spread_of_each_label_counts(taxonomy: Taxonomy) -> None:
    """Background statistics alone: what is usual for a label does not fire, wherever its logits lie."""
    usual = {name: Constants(mean, 2.0) for name, mean in (("cat", -9.0), ("dog", -3.0), ("owl", -6.0), ("furry", 0.0))}
    accept = Calibrated(made(taxonomy, fitted=False, **usual), taxonomy)
    _, accepted = accept("objects", np.array([[-9.0, -3.0, -6.0]]), np.zeros(1))
    assert not accepted.any()


def test_z_within_a_picture_has_mean_0_and_spread_1_unless_all_are_alike() -> None:
    x = standardised(np.array([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]]))
    assert x[0].mean() == pytest.approx(0)
    assert x[0].std() == pytest.approx(1)
    assert x[1].tolist() == [0, 0, 0]


# -- the fit -----


@pytest.mark.parametrize(
    ("right", "given", "z", "bound"),
    [
        pytest.param(20, 20, 1.96, 0.8389, id="twenty of twenty"),
        pytest.param(19, 20, 1.96, 0.7639, id="one wrong"),
        pytest.param(81, 100, 1.96, 0.7222, id="eighty one of a hundred"),
        pytest.param(0, 10, 1.96, 0.0, id="none"),
        pytest.param(20, 20, 1.645, 20 / (20 + 1.645**2), id="twenty of twenty, from below alone"),
    ],
)
def test_wilsons_bound_as_tables_have_it(right: int, given: int, z: float, bound: float) -> None:
    assert wilson(np.array([float(right)]), np.array([float(given)]), z)[0] == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize(
    ("p", "true", "tau"),
    [
        pytest.param([0.9] * 20, [1] * 20, 0.9, id="twenty right"),
        pytest.param([0.9] * 19, [1] * 19, None, id="too few"),
        pytest.param([0.9] * 20, [1] * 19 + [0], 0.9, id="one wrong of twenty"),
        pytest.param([0.9] * 20, [1] * 18 + [0] * 2, None, id="two wrong of twenty"),
        pytest.param([0.9] * 30 + [0.85], [1] * 30 + [0], 0.85, id="the lowest that is reliable"),
        pytest.param([0.9] * 30 + [0.85] * 40, [1] * 30 + [1, 0] * 20, 0.9, id="equal values are given together"),
        pytest.param([0.9] * 30 + [0.69], [1] * 31, 0.9, id="never what is less likely than seven in ten"),
        pytest.param([0.1] * 5, [0] * 5, None, id="nothing right"),
    ],
)
def test_the_threshold_is_the_lowest_reliable_one(p: list[float], true: list[int], tau: float | None) -> None:
    assert threshold(np.array(p), np.array(true, bool)) == tau


def test_platt_finds_the_logistic_curve_that_the_labels_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 20_000)
    true = rng.random(20_000) < 1 / (1 + np.exp(-(1.7 * x - 2.5)))
    assert platt(x, true) == pytest.approx((1.7, -2.5), abs=0.1)


def test_few_pictures_leave_a_label_near_its_category() -> None:
    x = np.array([5.0, -1.0, -1.0])
    true = np.array([True, False, False])
    alpha, beta = platt(x, true, (1.7, -2.5))
    assert abs(alpha - 1.7) < 0.6
    assert abs(beta + 2.5) < 0.3
    many = platt(np.tile(x + 3, 400), np.tile(true, 400), (1.7, -2.5))
    assert many[1] < -4


def test_average_precision_by_hand() -> None:
    """Ranks 1 and 3 are right: (1/1 + 2/3) / 2."""
    assert average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])) == pytest.approx(5 / 6)


def drawn(taxonomy: Taxonomy, n: int = 600) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Logits of n pictures: a cat in each third one and well told, an owl in each fifth and not told at all."""
    rng = np.random.default_rng(1)
    logits = rng.normal(-8, 1, (n, len(taxonomy.labels)))
    known = np.full(logits.shape, -1, np.int8)
    known[:, 0] = np.arange(n) % 3 == 0
    known[:, 2] = np.arange(n) % 5 == 0
    logits[:, 0] += 6 * (known[:, 0] == 1)
    return logits, known


def test_a_fit_gives_what_can_be_told_and_withholds_the_rest(taxonomy: Taxonomy, tmp_path: Path) -> None:
    logits, known = drawn(taxonomy)
    fitted = fit(SPEC, taxonomy, logits, known)
    assert fitted.labels["cat"].tau is not None
    assert fitted.labels["cat"].n == 200
    assert fitted.labels["owl"].tau is None  # not reliable
    assert fitted.labels["dog"].tau is None
    assert fitted.labels["dog"].source == "category"
    calibration.write(tmp_path / "c.json", fitted)
    accept = Calibrated(calibration.read(tmp_path / "c.json", SPEC, taxonomy) or fitted, taxonomy)
    p, accepted = accept("objects", logits[:, :3], np.zeros(len(logits)))
    true = known[:, 0] == 1
    assert (accepted[:, 0] & true).sum() >= 0.95 * true.sum()
    assert wilson(np.array([float((accepted[:, 0] & true).sum())]), np.array([float(accepted[:, 0].sum())]))[0] >= 0.8
    assert abs(p[:, 0].mean() - true.mean()) < 0.03  # a probability means what it says


def test_a_fit_without_labels_knows_the_background_only(taxonomy: Taxonomy) -> None:
    logits, _ = drawn(taxonomy)
    fitted = fit(SPEC, taxonomy, logits)
    assert not fitted.fitted
    assert fitted.labels["dog"] == Constants(
        pytest.approx(logits[:, 1].mean(), abs=1e-5), pytest.approx(logits[:, 1].std(), abs=1e-5)
    )
    assert fitted.rule == "standardised on 600 pictures"


# -- the bundled one -----


def test_minis_own_calibration_holds_for_its_weights_and_taxonomy() -> None:
    from pictocli import hub

    files = hub.resolve("mini")
    found = calibration.read(files.folder / calibration.FILE, hub.read_spec(files), load())
    assert found is not None
    assert found.fitted
    able = {name: each for name, each in found.labels.items() if each.tau is not None}
    assert len(able) >= 40  # 60 is the goal, which its card reports on
    assert all(each.tau >= 0.69 and each.n >= 20 and each.source == "label" for each in able.values())
