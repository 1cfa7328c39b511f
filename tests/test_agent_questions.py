"""What agents write as arguments, and what it is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from pictocli.agent_questions import Info, Question, Search, Show, Similar, Tags, Taxonomy, asked, schema
from pictocli.errors import ValidationError


@pytest.mark.parametrize(
    ("question", "given", "name", "taken"),
    [
        (Tags, {"objects": ["car", "dog"]}, "objects", ["car", "dog"]),
        (Tags, {"objects": "car"}, "objects", ["car"]),
        (Tags, {"objects": "car, dog,"}, "objects", ["car", "dog"]),
        (Tags, {"objects": '["car", "dog"]'}, "objects", ["car", "dog"]),
        (Tags, {"objects": "[car"}, "objects", ["[car"]),
        (Tags, {"objects": "[" * 1000}, "objects", ["[" * 1000]),
        (Tags, {"where": "brand in (a, b)"}, "where", ["brand in (a, b)"]),
        (Tags, {"where": '["price<5", "brand=a"]'}, "where", ["price<5", "brand=a"]),
        (Tags, {"where": "null"}, "where", ["null"]),
        (Tags, {"camera": None}, "camera", ""),
        (Tags, {"after": ""}, "after", ""),
        (Tags, {"limit": "7"}, "limit", 7),
        (Similar, {"image": 17}, "image", 17),
        (Similar, {"image": "17"}, "image", "17"),
        (Similar, {"image": "a,b.jpg"}, "image", "a,b.jpg"),
        (Show, {"images": 17}, "images", [17]),
        (Show, {"images": "a,b.jpg"}, "images", ["a,b.jpg"]),
        (Show, {"images": "[17, 18]"}, "images", [17, 18]),
        (Search, {"text": "[1]"}, "text", "[1]"),
        (Taxonomy, {}, "category", "all"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_taken(question: type[Question], given: dict[str, Any], name: str, taken: Any) -> None:
    assert getattr(asked(question, given), name) == taken


@pytest.mark.parametrize(
    ("question", "given", "told"),
    [
        (Similar, {"image": 0}, "the argument image is wrong: input should be greater than or equal to 1"),
        (Similar, {"image": 1.5}, "the argument image is wrong: "),
        (Similar, {"image": {"id": 1}}, "the argument image is wrong: "),
        (Similar, {"image": 1, "threshold": float("nan")}, "the argument threshold is wrong: "),
        (Similar, {"image": "a" * 1001}, "the argument image is wrong: "),
        (Show, {"images": []}, "the argument images is wrong: list should have at least 1 item"),
        (Show, {"images": list(range(1, 12))}, "the argument images is wrong: list should have at most 10 items"),
        (Tags, {"objects": {"car": 1}}, "the argument objects is wrong: input should be a valid list"),
        (Tags, {"objects": ["car", None]}, "the argument objects is wrong: "),
        (Tags, {"limit": 0}, "the argument limit is wrong: input should be greater than or equal to 1"),
        (Tags, {"offset": 450}, "the argument offset is wrong: input should be less than or equal to 449"),
        (Tags, {"objects": "[" * 200_000}, "the argument objects is wrong: string should have at most 1000 characters"),
        (Show, {"images": "[" * 200_000}, "the argument images is wrong: "),
        (Info, {"verbose": True}, "there is no argument verbose"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_refused(question: type[Question], given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        asked(question, given)
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)
    assert raised.value.hint


def test_a_schema_says_what_an_agent_needs() -> None:
    assert schema(Taxonomy) == {
        "additionalProperties": False,
        "properties": {
            "category": {
                "default": "all", "description": "One category only.",
                "enum": ["objects", "scenes", "attributes", "all"], "type": "string",
            },
            "matching": {"description": "Labels with this in their name or an alias: dog.", "type": "string"},
            "used": {
                "default": True, "type": "boolean",
                "description": "Only labels that some image carries; false lists all, some 8 kB.",
            },
        },
        "type": "object",
    }  # fmt: skip
    assert schema(Info) == {"additionalProperties": False, "properties": {}, "type": "object"}
    assert list(schema(Search)["properties"])[:4] == ["text", "images", "without", "min_probability"]
    assert "folder" in schema(Tags)["properties"]
    assert "folder" not in schema(Tags, paths=False)["properties"]
