"""The closed list of tags: labels, prompts, exclusive groups and pixel rules, read from `taxonomy.toml`.

No numpy: `picto tags` resolves labels from here. A taxonomy of one's own has the same form, which the bundled one's
header explains; [groups] and one or two of [objects], [scenes] and [attributes] may be left out, and are empty then.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictocli.errors import NotFoundError, ValidationError
from pictocli.records import CATEGORIES, Label
from pictocli.rules import compile_rule
from pictocli.toml_lines import FaultError, Place, read_table, read_text, read_texts

__all__ = ["Group", "Taxonomy", "kept", "load", "parse", "prompts", "read"]

_SCHEMA = 1
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MOST_BYTES = 10_000_000  # the bundled file has 90,000; a picture or a log named by mistake is refused unread
_MOST_LABELS = 4_000  # their votes alone are a square of 128 MB
_NAMED = "objects, scenes and attributes"


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
    in file order. templates: category → prompts with one "{}", none for a category that is left out. implies: label
    id → ids of its category that an accepted label speaks for. rules: attribute id → rule text, for labels that are
    measured and never guessed.
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

    def judged(self, category: str) -> list[int]:
        """The rows in `labels` of a category's labels that the model judges: all but those measured in pixels."""
        rows = enumerate(self.labels)
        return [row for row, label in rows if label.category == category and label.id not in self.rules]

    @property
    def prompts_hash(self) -> str:
        """A sha256, hex, of exactly what decides the embeddings of prompts, and so a calibration.

        These are the null prompts, the templates of each category, and category, id and phrase of every label, in
        order, with which of them the model judges. It stays when a comment, an alias, a group, a vote or the text of a
        rule changes.
        """
        judged = [(each.category, each.id, each.phrase, each.id not in self.rules) for each in self.labels]
        asked = {"labels": judged, "null_prompts": self.null_prompts, "templates": dict(self.templates)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(path: Path | None = None) -> Taxonomy:
    """Read and check a taxonomy, the bundled one unless path says otherwise. About 20 ms.

    Raises NotFoundError without the file, ValidationError as `parse` does.
    """
    path = path or Path(__file__).with_name("taxonomy.toml")
    return parse(read(path), path.name)


def read(path: Path) -> bytes:
    """The bytes of a taxonomy, and one more than `parse` takes where there are too many. Raises NotFoundError."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as exc:
        raise NotFoundError(f"the taxonomy {path} cannot be read: {exc.strerror}") from exc


def kept(own: str | None) -> Taxonomy:
    """The labels of a library: its own list, as it keeps the text of it, else the bundled ones. Raises as `parse`."""
    return parse(own.encode(), "kept in the library") if own else load()


def parse(content: bytes, name: str) -> Taxonomy:
    """Check the bytes of a taxonomy. name: what messages call it.

    Raises ValidationError naming the first thing that is wrong, and its line where it has one.
    """
    if len(content) > _MOST_BYTES:
        raise ValidationError(f"the taxonomy {name} is larger than {_MOST_BYTES // 1_000_000} MB")
    try:
        text = content.decode("utf-8-sig")  # Windows' editors begin a file with a byte order mark
        document = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ValidationError(f"the taxonomy {name} is not UTF-8 text (at line {line})") from exc
    except RecursionError as exc:
        raise ValidationError(f"the taxonomy {name} is not valid TOML: its brackets are nested too deeply") from exc
    except ValueError as exc:  # also a number of more than 4300 digits
        raise ValidationError(f"the taxonomy {name} is not valid TOML: {exc}") from exc
    try:
        return _taxonomy(document, hashlib.sha256(content).hexdigest())
    except FaultError as exc:
        raise ValidationError(f"the taxonomy {name} is wrong{exc.at(text)}") from exc


def prompts(taxonomy: Taxonomy, label: Label) -> list[str]:
    """The label's phrase in every template of its category; an embedder still canonicalises them."""
    return [template.replace("{}", label.phrase) for template in taxonomy.templates[label.category]]


@dataclass(frozen=True, slots=True)
class _Row:
    """A label as it is written. place: where."""

    category: str
    place: Place
    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.fields["id"])


def _taxonomy(document: Mapping[str, Any], digest: str) -> Taxonomy:
    if document.get("schema", _SCHEMA) != _SCHEMA:
        raise FaultError(f"its schema is {document['schema']!r}, and this picto reads {_SCHEMA}", ("schema",))
    tables = _tables(document)
    if "schema" not in document:
        raise FaultError(f"it has no schema, and this picto reads {_SCHEMA}")
    rows = [row for category, table in tables.items() for row in _rows(table, category)]
    if len(rows) > _MOST_LABELS:
        raise FaultError(f"it has more than {_MOST_LABELS:,} labels", rows[_MOST_LABELS].place)
    labels = tuple(_label(row) for row in rows)
    by_id = _by_id(rows)
    _check_aliases(rows, labels)
    rules = dict(_rules(rows))
    templates = dict.fromkeys(CATEGORIES, ()) | {name: _templates(table, name) for name, table in tables.items()}
    return Taxonomy(
        version=read_text(document, "version", "the file"),
        hash=digest,
        null_prompts=read_texts(document, "null_prompts", "the file"),
        labels=labels,
        templates=templates,
        groups=tuple(_groups(read_table(document, "groups") if "groups" in document else {}, by_id, rules)),
        implies=dict(_implies(by_id)),
        rules=rules,
    )


def _tables(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Category → table, of the categories that are there."""
    for name, table in document.items():
        if name not in (*CATEGORIES, "groups") and isinstance(table, dict) and "labels" in table:
            raise FaultError(f"the table {name!r} has labels, and is none of {_NAMED}", (name,))
    tables = {category: read_table(document, category) for category in CATEGORIES if category in document}
    if not tables:
        raise FaultError(f"it has no table of labels: none of {_NAMED}")
    return tables


def _rows(table: Mapping[str, Any], category: str) -> Iterator[_Row]:
    rows = table.get("labels")
    if not isinstance(rows, list) or not rows:
        raise FaultError(f"{category} has no list of labels", (category, "labels"))
    for number, fields in enumerate(rows):
        row = _Row(category, (category, "labels", number), fields)
        if not isinstance(fields, dict):
            raise FaultError(f"a label of {category} is no table", row.place)
        yield row


def _label(row: _Row) -> Label:
    name = read_text(row.fields, "id", f"a label of {row.category}", row.place)
    if not _ID.fullmatch(name):
        raise FaultError(f"the id {name!r} is not lower-case words joined by hyphens", (*row.place, "id"))
    owner = f"the label {name!r}"
    aliases = read_texts(row.fields, "aliases", owner, row.place) if row.fields.get("aliases") else ()
    return Label(row.category, name, read_text(row.fields, "phrase", owner, row.place), aliases)


def _by_id(rows: Iterable[_Row]) -> dict[str, _Row]:
    """Label id → row. Ids are unique over the whole file: `picto tags` asks without a category."""
    found: dict[str, _Row] = {}
    for row in rows:
        first = found.setdefault(row.id, row)
        if first is not row:
            where = f" in {row.category}"
            if first.category != row.category:
                where = f", in {first.category} and {row.category}"
            message = f"the id {row.id!r} stands twice{where}"
            raise FaultError(message, (*row.place, "id"), (*first.place, "id"), either=True)
    return found


def _check_aliases(rows: Sequence[_Row], labels: Iterable[Label]) -> None:
    owners = {(row.category, row.id): (row.id, (*row.place, "id")) for row in rows}
    for row, label in zip(rows, labels, strict=True):
        for number, alias in enumerate(label.aliases):
            place = (*row.place, "aliases", number)
            owner, other = owners.setdefault((row.category, alias), (row.id, place))
            if owner != row.id or alias == row.id:
                message = f"the alias {alias!r} of {row.id!r} already names {owner!r} in {row.category}"
                raise FaultError(message, place, other)


def _rules(rows: Iterable[_Row]) -> Iterator[tuple[str, str]]:
    for row in rows:
        measured, rule = row.fields.get("measured", "model"), row.fields.get("rule")
        if measured not in ("model", "pixels") or (measured == "pixels" and row.category != "attributes"):
            message = f"the label {row.id!r} of {row.category} cannot be measured by {measured!r}"
            raise FaultError(message, (*row.place, "measured"))
        if (measured == "pixels") != isinstance(rule, str):
            message = f"the label {row.id!r} needs a rule if, and only if, it is measured in pixels"
            raise FaultError(message, (*row.place, "measured" if rule is None else "rule"))
        if isinstance(rule, str):
            try:
                compile_rule(rule)
            except ValidationError as exc:
                raise FaultError(f"of the label {row.id!r}, {exc}", (*row.place, "rule")) from exc
            yield row.id, rule


def _groups(table: Mapping[str, Any], rows: Mapping[str, _Row], rules: Mapping[str, str]) -> Iterator[Group]:
    seen: dict[str, tuple[str, Place]] = {}
    for name in table:
        place = ("groups", name)
        group = _group(read_table(table, name, ("groups",)), name, place)
        for number, label in enumerate(group.labels):
            here = (*place, "labels", number)
            if label not in rows or rows[label].category != group.category:
                raise FaultError(f"the group {name!r} names {label!r}, which is no label of {group.category}", here)
            if label in seen:
                other, there = seen[label]
                message = f"the label {label!r} is in two groups, {other!r} and {name!r}"
                raise FaultError(message, here, there, either=True)
            seen[label] = (name, here)
        if len({label in rules for label in group.labels}) > 1:
            raise FaultError(f"the group {name!r} mixes measured labels with guessed ones", (*place, "labels"))
        yield group
    for row in rows.values():
        claimed = row.fields.get("group")
        if claimed is not None and (row.id not in seen or seen[row.id][0] != claimed):
            message = f"the label {row.id!r} claims the group {claimed!r}, which does not list it"
            raise FaultError(message, (*row.place, "group"))


def _group(fields: Mapping[str, Any], name: str, place: Place) -> Group:
    owner = f"the group {name!r}"
    group = Group(name, read_text(fields, "category", owner, place), read_texts(fields, "labels", owner, place))
    if group.category not in CATEGORIES:
        raise FaultError(f"{owner} is of {group.category!r}, which is none of {_NAMED}", (*place, "category"))
    if fields.get("mode") != "at-most-one":
        raise FaultError(f"{owner} has the mode {fields.get('mode')!r}, not 'at-most-one'", (*place, "mode"))
    return group


def _implies(rows: Mapping[str, _Row]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, row in rows.items():
        if "implies" in row.fields:
            implied = read_texts(row.fields, "implies", f"the label {name!r}", row.place)
            for number, label in enumerate(implied):
                if label not in rows or rows[label].category != row.category:
                    message = f"the label {name!r} implies {label!r}, which is no label of {row.category}"
                    raise FaultError(message, (*row.place, "implies", number))
            yield name, implied


def _templates(table: Mapping[str, Any], category: str) -> tuple[str, ...]:
    templates = read_texts(table, "templates", category, (category,))
    for number, template in enumerate(templates):
        if template.count("{}") != 1:
            message = f"the template {template!r} of {category} must hold '{{}}' once"
            raise FaultError(message, (category, "templates", number))
    return templates
