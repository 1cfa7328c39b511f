"""The grammar of --where: what each text means, and where each that means nothing goes wrong."""

from __future__ import annotations

import pytest

from pictocli.errors import ExpressionError, ValidationError
from pictocli.expressions import Comparison, looks_like_number, parse, parse_field
from pictocli.fields import field_shown


@pytest.mark.parametrize(
    ("text", "field", "operator", "values"),
    [
        ("price", ("price",), "has", ()),
        ("price<50", ("price",), "<", (50,)),
        (" price  <=  50 ", ("price",), "<=", (50,)),
        ("price>-.5e3", ("price",), ">", (-500.0,)),
        ("price>=+7.", ("price",), ">=", (7.0,)),
        ("price=007", ("price",), "=", (7,)),
        ("price!=1", ("price",), "!=", (1,)),
        ("id=12345678901234567890", ("id",), "=", (12345678901234567890.0,)),
        (
            f"id in ({2**63 - 1}, {2**63}, -{2**63}, -{2**63 + 1})",
            ("id",),
            "=",
            (2**63 - 1, float(2**63), -(2**63), -float(2**63 + 1)),
        ),
        ("id=" + "0" * 5000 + "7", ("id",), "=", (7.0,)),
        ("id='" + "9" * 5000 + "'", ("id",), "=", ("9" * 5000,)),
        ("brand=acme", ("brand",), "=", ("acme",)),
        ("brand='b & c'", ("brand",), "=", ("b & c",)),
        ('brand="it\'s"', ("brand",), "=", ("it's",)),
        (r'brand="a\"b\\c\d"', ("brand",), "=", (r'a"b\c\d',)),
        ("code='007'", ("code",), "=", ("007",)),
        ("brand=''", ("brand",), "=", ("",)),
        ("flag=true", ("flag",), "=", (True,)),
        ("flag!=FALSE", ("flag",), "!=", (False,)),
        ("flag=null", ("flag",), "=", (None,)),
        ("flag='null'", ("flag",), "=", ("null",)),
        ("name~shirt", ("name",), "~", ("shirt",)),
        ("name~007", ("name",), "~", ("007",)),
        ("name~true", ("name",), "~", ("true",)),
        ("day>=2024-05-01", ("day",), ">=", ("2024-05-01",)),
        ("url=https://x.org/a?b=c&d", ("url",), "=", ("https://x.org/a?b=c&d",)),
        ("brand.name=x", ("brand", "name"), "=", ("x",)),
        ("'unit price'.\"a.b\"<5", ("unit price", "a.b"), "<", (5,)),
        ("$<5", ("$",), "<", (5,)),
        ("''=1", ("",), "=", (1,)),
        ("product-id_2=1", ("product-id_2",), "=", (1,)),
        ("größe=ja", ("größe",), "=", ("ja",)),
        ("brand in (acme, 'b, c', 5,null)", ("brand",), "=", ("acme", "b, c", 5, None)),
        ("brand IN(acme)", ("brand",), "=", ("acme",)),
        ("in=5", ("in",), "=", (5,)),
        ("in in (5)", ("in",), "=", (5,)),
        ("a=1_000", ("a",), "=", ("1_000",)),
        ("a=0x10", ("a",), "=", ("0x10",)),
        ("a=nan", ("a",), "=", ("nan",)),
        ("a=-", ("a",), "=", ("-",)),
    ],
)
def test_what_parses(text: str, field: tuple[str, ...], operator: str, values: tuple[object, ...]) -> None:
    found = parse(text)
    assert found == Comparison(text, field, operator, values)  # type: ignore[arg-type]
    assert list(map(type, found.values)) == list(map(type, values))


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("", 0, "the name of a field is missing here"),
        ("  ", 2, "the name of a field is missing here"),
        ("<5", 0, "the name of a field is missing here"),
        (".a=5", 0, "the name of a field is missing here"),
        ("a.=5", 2, "the name of a field is missing here"),
        ("a..b=5", 2, "the name of a field is missing here"),
        ("(a)=5", 0, "the name of a field is missing here"),
        ("price<", 6, "a value is missing here"),
        ("price < ", 8, "a value is missing here"),
        ("price=(5)", 6, "a value is missing here"),
        ("price==5", 6, "a value cannot begin with ="),
        ("price=<5", 6, "a value cannot begin with <"),
        ("price<>5", 6, "a value cannot begin with >"),
        ("price!5", 5, "an operator is missing here"),
        ("price 5", 6, "an operator is missing here"),
        ("price<5 and stock>2", 8, "this does not belong here"),
        ("city=New York", 9, "this does not belong here"),
        ("brand=a'b'", 7, "this does not belong here"),
        ("brand='acme", 6, "this quote is not closed"),
        ("brand=\"acme'", 6, "this quote is not closed"),
        (r"brand='acme\'", 6, "this quote is not closed"),
        ("'brand=acme", 0, "this quote is not closed"),
        ("price<true", 6, "< compares numbers and texts only"),
        ("price >= null", 9, ">= compares numbers and texts only"),
        ("price=1e999", 6, "too large a number"),
        ("price in 5", 9, "a list in brackets is missing here"),
        ("price in", 8, "a list in brackets is missing here"),
        ("price in ()", 10, "a value is missing here"),
        ("price in (5,)", 12, "a value is missing here"),
        ("price in (5 6)", 12, "a comma or ) is missing here"),
        ("price in (5", 11, "a comma or ) is missing here"),
        ("price in (5) 6", 13, "this does not belong here"),
        ("a=\udcff", 2, "this is no UTF-8"),
        (".".join("a" * 102), 201, "more than 100 names within each other"),
        ("a" * 10_001, 40, "it is longer than 10,000 characters"),
    ],
)
def test_what_does_not_parse_is_marked(text: str, at: int, why: str) -> None:
    with pytest.raises(ExpressionError) as told:
        parse(text)
    assert isinstance(told.value, ValidationError)
    assert told.value.at == at
    assert str(told.value).endswith(f" is no condition on metadata: {why}")
    assert told.value.exit_code == 2
    assert 0 <= at <= len(told.value.text)


@pytest.mark.parametrize(
    "field", [("a",), ("a", "b"), ("a.b",), ("a b", "c"), ("it's",), ('"',), ("",), ("\\",), ("é",)]
)
def test_a_field_is_shown_as_it_is_written(field: tuple[str, ...]) -> None:
    assert parse_field(field_shown(field)) == field


@pytest.mark.parametrize("text", ["a b", "a=1", "a.", "'a"])
def test_no_field(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_field(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("5", True), (" -5.5e3\n", True), (".5", True), ("5.", True), ("", False), ("5 5", False), ("0x5", False),
     ("inf", False), ("5e", False), ("\u0665", False), (".", False), ("\xa05", False)],
)  # fmt: skip
def test_texts_that_look_like_numbers_are_those_that_sqlite_takes_for_numbers(text: str, is_one: bool) -> None:
    from pictocli.schema import memory

    assert looks_like_number(text) is is_one
    assert bool(memory().execute("SELECT ?1 = CAST(?1 AS NUMERIC)", (text,)).get) is is_one
