from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

import pictocli.rules
from pictocli.errors import ValidationError
from pictocli.rules import COLOURS, METRICS, Comparison, compile_rule

TAXONOMY = Path(pictocli.rules.__file__).with_name("taxonomy.toml")


def test_metrics_are_those_that_the_taxonomy_defines() -> None:
    defined = set(tomllib.loads(TAXONOMY.read_text("utf-8"))["metrics"])
    assert set(METRICS) == defined - {"hue_share_red"} | {f"hue_share_{colour}" for colour in COLOURS}
    assert len(METRICS) == len(set(METRICS))


@pytest.mark.parametrize(
    ("text", "measures", "expected"),
    [
        pytest.param("luma_mean < 0.25", {"luma_mean": 0.2}, True, id="less"),
        pytest.param("luma_mean < 0.25", {"luma_mean": 0.25}, False, id="less-at-the-bound"),
        pytest.param("luma_mean <= 0.25", {"luma_mean": 0.25}, True, id="at-most-at-the-bound"),
        pytest.param("megapixels >= 12", {"megapixels": 12.0}, True, id="at-least-at-the-bound"),
        pytest.param("megapixels > 12", {"megapixels": 12.0}, False, id="more-at-the-bound"),
        pytest.param("lab_b_mean < -6", {"lab_b_mean": -6.5}, True, id="negative-number"),
        pytest.param("lab_b_mean<-6", {"lab_b_mean": -6.5}, True, id="no-blanks"),
        pytest.param("luma_rms > +.28e0", {"luma_rms": 0.3}, True, id="number-forms"),
        pytest.param("0.25 > luma_mean", {"luma_mean": 0.2}, True, id="number-first"),
        pytest.param("0.95 <= aspect <= 1.05", {"aspect": 0.95}, True, id="range-includes-its-end"),
        pytest.param("0.95 <= aspect <= 1.05", {"aspect": 1.06}, False, id="above-the-range"),
        pytest.param("50 > hue_mean > 20", {"hue_mean": 20.0}, False, id="falling-range-excludes-its-end"),
        pytest.param("luma_mean < 0.3 and luma_p95 < 0.75", {"luma_mean": 0.2, "luma_p95": 0.8}, False, id="and-one"),
        pytest.param("luma_mean < 0.3 and luma_p95 < 0.75", {"luma_mean": 0.2, "luma_p95": 0.7}, True, id="and-both"),
        pytest.param(" luma_mean\n< 0.3\tand 0<aspect<2 ", {"luma_mean": 0.2, "aspect": 1.0}, True, id="any-blanks"),
        pytest.param("luma_mean < 0.25", {}, False, id="not-measured"),
        pytest.param("luma_mean < 0.25", {"luma_mean": math.nan}, False, id="nan"),
    ],
)
def test_matches(text: str, measures: dict[str, float], expected: bool) -> None:
    rule = compile_rule(text)
    assert rule.matches(measures) is expected
    assert rule.text == text


def test_a_range_becomes_two_comparisons() -> None:
    assert compile_rule("20 < hue_mean <= 50").comparisons == (
        Comparison("hue_mean", ">", 20.0),
        Comparison("hue_mean", "<=", 50.0),
    )


COMPARISON = "where a comparison such as 'luma_mean < 0.25' was expected"


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        pytest.param("", 1, f"the rule ends {COMPARISON}", id="empty"),
        pytest.param("   ", 4, f"the rule ends {COMPARISON}", id="blank"),
        pytest.param("luma_men < 3", 1, "there is no metric 'luma_men'", id="unknown-metric"),
        pytest.param("1 < aspect and 2 < spin < 3", 20, "there is no metric 'spin'", id="unknown-metric-later"),
        pytest.param("aspect", 7, f"the rule ends {COMPARISON}", id="no-comparison"),
        pytest.param("aspect <", 9, f"the rule ends {COMPARISON}", id="no-number"),
        pytest.param("aspect < luma_mean", 10, f"'luma_mean' stands {COMPARISON}", id="two-metrics"),
        pytest.param("aspect 3", 8, f"'3' stands {COMPARISON}", id="no-sign"),
        pytest.param("aspect < 3 and", 15, f"the rule ends {COMPARISON}", id="and-nothing"),
        pytest.param("and aspect < 3", 1, f"'and' stands {COMPARISON}", id="and-first"),
        pytest.param("aspect < 3 aspect > 1", 12, f"'aspect' stands {COMPARISON}", id="no-and"),
        pytest.param("aspect < 3 < 4", 12, f"'<' stands {COMPARISON}", id="number-last-twice"),
        pytest.param("1 < aspect > 3", 12, "the two signs of a range must point the same way", id="signs-differ"),
        pytest.param("aspect == 1", 8, "'==' is not part of the rule language", id="equals"),
        pytest.param("aspect < 1.2.3", 10, "'1.2.3' is not part of the rule language", id="two-points"),
        pytest.param("aspect < 3px", 10, "'3px' is not part of the rule language", id="unit"),
        pytest.param("aspect < 3 or aspect > 4", 12, f"'or' stands {COMPARISON}", id="or"),
        pytest.param("aspect.__class__ < 1", 7, "'.__class__' is not part of the rule language", id="attribute"),
        pytest.param("__import__('os')", 11, "\"('os')\" is not part of the rule language", id="call"),
    ],
)
def test_nonsense_is_refused_at_its_place(text: str, position: int, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        compile_rule(text)
    assert str(caught.value) == f"the rule {text!r} is wrong at position {position}: {why}"
