"""The closed list of tags: labels, prompts, exclusive groups and pixel rules, read from `taxonomy.toml`.

No numpy: `picto tags` resolves labels from here. A taxonomy of one's own has the same form; its header explains it.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictocli.errors import NotFoundError, ValidationError
from pictocli.records import CATEGORIES, Label
from pictocli.rules import compile_rule

__all__ = ["Group", "Taxonomy", "load", "prompts"]

_SCHEMA = 1
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Group:
    """Labels of one category of which an image carries one at most."""

    name: str
    category: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """A checked taxonomy.

    version: the file's own word. hash: sha256 of its bytes, hex. labels: objects, then scenes, then attributes, each
    in file order. templates: category → prompts with one "{}". implies: label id → ids of its category that an
    accepted label speaks for. rules: attribute id → rule text, for labels that are measured and never guessed.
    """

    version: str
    hash: str
    null_prompts: tuple[str, ...]
    labels: tuple[Label, ...]
    templates: Mapping[str, tuple[str, ...]]
    groups: tuple[Group, ...]
    implies: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, str]

    def of(self, category: str) -> tuple[Label, ...]:
        """The labels of one category, in file order."""
        return tuple(label for label in self.labels if label.category == category)


def load(path: Path | None = None) -> Taxonomy:
    """Read and check a taxonomy, the bundled one unless path says otherwise. About 20 ms.

    Raises NotFoundError without the file, ValidationError naming the first thing that is wrong in it.
    """
    path = path or Path(__file__).with_name("taxonomy.toml")
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode("utf-8"))
    except OSError as exc:
        raise NotFoundError(f"the taxonomy {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ValidationError(f"the taxonomy {path.name} is not valid TOML: {exc}") from exc
    try:
        return _taxonomy(document, hashlib.sha256(content).hexdigest())
    except ValidationError as exc:
        raise ValidationError(f"the taxonomy {path.name} is wrong: {exc}") from exc


def prompts(taxonomy: Taxonomy, label: Label) -> list[str]:
    """The label's phrase in every template of its category; an embedder still canonicalises them."""
    return [template.replace("{}", label.phrase) for template in taxonomy.templates[label.category]]


def _taxonomy(document: Mapping[str, Any], digest: str) -> Taxonomy:
    if document.get("schema") != _SCHEMA:
        raise ValidationError(f"its schema is {document.get('schema')!r}, and this picto reads {_SCHEMA}")
    tables = {category: _table(document, category) for category in CATEGORIES}
    rows = [(category, row) for category in CATEGORIES for row in _rows(tables[category], category)]
    labels = tuple(_label(category, row) for category, row in rows)
    category_of = _categories(labels)
    _check_aliases(labels)
    rules = dict(_rules(rows))
    return Taxonomy(
        version=_text(document, "version", "the file"),
        hash=digest,
        null_prompts=_texts(document, "null_prompts", "the file"),
        labels=labels,
        templates={category: _templates(tables[category], category) for category in CATEGORIES},
        groups=tuple(_groups(_table(document, "groups"), rows, category_of, rules)),
        implies=dict(_implies(rows, category_of)),
        rules=rules,
    )


def _label(category: str, row: Mapping[str, Any]) -> Label:
    name = _text(row, "id", f"a label of {category}")
    if not _ID.fullmatch(name):
        raise ValidationError(f"the id {name!r} is not lower-case words joined by hyphens")
    aliases = _texts(row, "aliases", f"the label {name!r}") if row.get("aliases") else ()
    return Label(category, name, _text(row, "phrase", f"the label {name!r}"), aliases)


def _categories(labels: Iterable[Label]) -> dict[str, str]:
    """Label id → category. Ids are unique over the whole file: `picto tags` asks without a category."""
    category_of: dict[str, str] = {}
    for label in labels:
        if label.id in category_of:
            raise ValidationError(f"the id {label.id!r} stands twice, in {category_of[label.id]} and {label.category}")
        category_of[label.id] = label.category
    return category_of


def _check_aliases(labels: Iterable[Label]) -> None:
    owners = {(label.category, label.id): label.id for label in labels}
    for label in labels:
        for alias in label.aliases:
            owner = owners.setdefault((label.category, alias), label.id)
            if owner != label.id or alias == label.id:
                raise ValidationError(
                    f"the alias {alias!r} of {label.id!r} already names {owner!r} in {label.category}"
                )


def _rules(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    for category, row in rows:
        measured, rule = row.get("measured", "model"), row.get("rule")
        if measured not in ("model", "pixels") or (measured == "pixels" and category != "attributes"):
            raise ValidationError(f"the label {row['id']!r} of {category} cannot be measured by {measured!r}")
        if (measured == "pixels") != isinstance(rule, str):
            raise ValidationError(f"the label {row['id']!r} needs a rule if, and only if, it is measured in pixels")
        if isinstance(rule, str):
            try:
                compile_rule(rule)
            except ValidationError as exc:
                raise ValidationError(f"of the label {row['id']!r}, {exc}") from exc
            yield row["id"], rule


def _groups(
    table: Mapping[str, Any],
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    category_of: Mapping[str, str],
    rules: Mapping[str, str],
) -> Iterator[Group]:
    seen: dict[str, str] = {}
    for name in table:
        row = _table(table, name)
        group = Group(name, _text(row, "category", f"the group {name!r}"), _texts(row, "labels", f"the group {name!r}"))
        if row.get("mode") != "at-most-one":
            raise ValidationError(f"the group {name!r} has the mode {row.get('mode')!r}, not 'at-most-one'")
        for label in group.labels:
            if category_of.get(label) != group.category:
                raise ValidationError(f"the group {name!r} names {label!r}, which is no label of {group.category}")
            if label in seen:
                raise ValidationError(f"the label {label!r} is in two groups, {seen[label]!r} and {name!r}")
            seen[label] = name
        if len({label in rules for label in group.labels}) > 1:
            raise ValidationError(f"the group {name!r} mixes measured labels with guessed ones")
        yield group
    for _, row in rows:
        if "group" in row and seen.get(row["id"]) != row["group"]:
            raise ValidationError(f"the label {row['id']!r} claims the group {row['group']!r}, which does not list it")


def _implies(
    rows: Iterable[tuple[str, Mapping[str, Any]]], category_of: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for category, row in rows:
        if "implies" in row:
            implied = _texts(row, "implies", f"the label {row['id']!r}")
            for label in implied:
                if category_of.get(label) != category:
                    raise ValidationError(f"the label {row['id']!r} implies {label!r}, which is no label of {category}")
            yield row["id"], implied


def _templates(table: Mapping[str, Any], category: str) -> tuple[str, ...]:
    templates = _texts(table, "templates", category)
    for template in templates:
        if template.count("{}") != 1:
            raise ValidationError(f"the template {template!r} of {category} must hold '{{}}' once")
    return templates


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name)
    if not isinstance(table, dict):
        raise ValidationError(f"it has no table {name!r}")
    return table


def _rows(table: Mapping[str, Any], category: str) -> list[dict[str, Any]]:
    rows = table.get("labels")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValidationError(f"{category} has no list of labels")
    return rows


def _text(row: Mapping[str, Any], key: str, owner: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValidationError(f"{owner} has no {key}")
    return value


def _texts(row: Mapping[str, Any], key: str, owner: str) -> tuple[str, ...]:
    values = row.get(key)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        raise ValidationError(f"{owner} has no list of texts {key!r}")
    return tuple(values)
