"""Rules over pixel measures, such as `luma_mean < 0.30 and luma_p95 < 0.75`: read once, then asked per image.

    rule       = comparison, { "and", comparison }
    comparison = metric, op, number  |  number, op, metric  |  number, op, metric, op, number
    op         = "<" | "<=" | ">" | ">="

A rule is text from a taxonomy that a user may have written, so it is tokenized here and never evaluated as Python.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pictocli.errors import ValidationError

__all__ = ["COLOURS", "METRICS", "Comparison", "Rule", "compile_rule"]

# The hues of hue_share_<colour>, named in the order of their angles; pixels.py holds the angles.
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")

# Every number that pixels.measure returns; taxonomy.toml [metrics] defines each.
METRICS = (
    *("luma_mean", "luma_p10", "luma_p50", "luma_p95", "luma_p99", "luma_p99_p1", "luma_rms", "clip_high", "clip_low"),
    *("tile_vol_p97", "noise_sigma", "blockiness", "colorfulness", "chroma_mean", "chroma_p99", "hue_mean", "hue_std"),
    *("lab_b_mean", *(f"hue_share_{colour}" for colour in COLOURS)),
    *("share_brown", "share_black", "share_white", "share_gray", "edge_density", "flip_corr", "corner_center_ratio"),
    *("corner_falloff", "frame_plain", "solid_border_px", "aspect", "max_side", "megapixels"),
)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TOKEN = re.compile(
    r"\s*(?:(?P<op><=|>=|<|>)"
    r"|(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<end>$))"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One `metric op number`; `3 < x` is kept as `x > 3`."""

    metric: str
    op: str
    number: float

    def matches(self, measures: Mapping[str, float]) -> bool:
        """Whether it holds; False where the metric was not measured or is NaN."""
        value = measures.get(self.metric)
        return value is not None and _OPERATORS[self.op](value, self.number)


@dataclass(frozen=True, slots=True)
class Rule:
    """Comparisons that must all hold. text: as written."""

    text: str
    comparisons: tuple[Comparison, ...]

    def matches(self, measures: Mapping[str, float]) -> bool:
        """Whether every comparison holds for measures (metric → value)."""
        return all(comparison.matches(measures) for comparison in self.comparisons)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def compile_rule(text: str) -> Rule:
    """Read a rule. Raises ValidationError, naming the position (1-based character), when it breaks the grammar."""
    tokens = _tokens(text)
    comparisons: list[Comparison] = []
    start = 0
    for index, token in enumerate(tokens):
        if token.kind in ("and", "end"):
            comparisons += _comparison(text, tokens[start:index], token)
            start = index + 1
    return Rule(text, tuple(comparisons))


def _tokens(text: str) -> list[_Token]:
    """Split text; the last token is always of kind "end"."""
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            blanks = len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(text, at + blanks, f"{text[at + blanks :].split()[0]!r} is not part of the rule language")
        kind = str(match.lastgroup)
        word = match[kind]
        tokens.append(_Token("and" if word == "and" else kind, word, match.start(kind)))
        at = match.end()
    return tokens


def _comparison(text: str, tokens: list[_Token], stop: _Token) -> list[Comparison]:
    """Read the tokens between two "and"s; stop is the token after them, where a missing one is reported."""
    kinds = [token.kind for token in tokens]
    forms = (["word", "op", "number"], ["number", "op", "word"], ["number", "op", "word", "op", "number"])
    if kinds not in forms:
        agreeing = max(_common(kinds, form) for form in forms)
        place = (*tokens, stop)[agreeing]
        found = "the rule ends" if place.kind == "end" else f"{place.text!r} stands"
        raise _wrong(text, place.position, f"{found} where a comparison such as 'luma_mean < 0.25' was expected")
    metric = tokens[kinds.index("word")]
    if metric.text not in METRICS:
        raise _wrong(text, metric.position, f"there is no metric {metric.text!r}")
    comparisons = []
    if kinds[0] == "number":
        comparisons.append(Comparison(metric.text, _MIRRORED[tokens[1].text], float(tokens[0].text)))
    if kinds[-1] == "number":
        comparisons.append(Comparison(metric.text, tokens[-2].text, float(tokens[-1].text)))
    if len(comparisons) == 2 and tokens[1].text[0] != tokens[3].text[0]:
        raise _wrong(text, tokens[3].position, "the two signs of a range must point the same way")
    return comparisons


def _common(kinds: list[str], form: list[str]) -> int:
    """How many leading kinds agree with form."""
    agreeing = 0
    for kind, wanted in zip(kinds, form, strict=False):
        if kind != wanted:
            break
        agreeing += 1
    return agreeing


def _wrong(text: str, index: int, why: str) -> ValidationError:
    return ValidationError(f"the rule {text!r} is wrong at position {index + 1}: {why}")
