"""Resolves what users call a label to the taxonomy's own: exact, alias, plural, else the nearest are named."""

from __future__ import annotations

from collections.abc import Sequence

from pictocli.errors import ValidationError
from pictocli.queries import Queries
from pictocli.records import CATEGORIES
from pictocli.selection import Condition

__all__ = ["carrying", "forms", "resolve_labels"]


def resolve_labels(
    queries: Queries,
    objects: Sequence[str] | None,
    scenes: Sequence[str] | None,
    attributes: Sequence[str] | None,
    match: str,
) -> tuple[list[list[int]], list[tuple[str, str]]]:
    """Tag ids by group, of which an image must carry one of each, and the (category, label) pairs they stand for.

    match: with "all" each label is a group of its own, else each category is one. Raises ValidationError when no label
    is given, and for an unknown one, naming the nearest.
    """
    groups: list[list[int]] = []
    names: list[tuple[str, str]] = []
    for category, given in zip(CATEGORIES, (objects, scenes, attributes), strict=True):
        found = [_resolve(queries, CATEGORIES.index(category), name) for name in given or ()]
        names += [(category, label) for _, label in found]
        if match == "all":
            groups += [[tag_id] for tag_id, _ in found]
        elif found:
            groups.append([tag_id for tag_id, _ in found])
    if not groups:
        raise ValidationError(
            "no tag given",
            "name one with --objects, --scenes or --attributes, or ask by --where, --after, --before, --camera, --near",
        )
    return groups, names


def carrying(
    queries: Queries,
    objects: Sequence[str] | None,
    scenes: Sequence[str] | None,
    attributes: Sequence[str] | None,
    match: str,
) -> list[Condition]:
    """The conditions of carrying these labels, as `resolve_labels` takes and refuses them; none when all are None."""
    if objects is None and scenes is None and attributes is None:
        return []
    return queries.carrying(resolve_labels(queries, objects, scenes, attributes, match)[0])


def forms(name: str) -> list[str]:
    """The spellings to try: as the taxonomy writes, then without a plural ending."""
    plain = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    return [plain] + [plain[: -len(end)] for end in ("s", "es") if plain.endswith(end)]


def _resolve(queries: Queries, category: int, name: str) -> tuple[int, str]:
    for form in forms(name):
        found = queries.label_id(category, form)
        if found:
            return found
    raise ValidationError(f"unknown label {name} in {CATEGORIES[category]}", _nearest(queries, category, name))


def _nearest(queries: Queries, category: int, name: str) -> str:
    """A hint that names the category the label is in, or the labels it may have been meant for."""
    for other in range(len(CATEGORIES)):
        for form in forms(name):
            found = queries.label_id(other, form)
            if found:
                return f"{found[1]} is one of the {CATEGORIES[other]}: --{CATEGORIES[other]} {found[1]}"
    import difflib  # 4 ms that only a mistake pays

    spellings = queries.spellings(category)
    close = difflib.get_close_matches(forms(name)[0], spellings, n=4, cutoff=0.6)
    labels = list(dict.fromkeys(spellings[spelling] for spelling in close))[:3]
    return f"nearest: {', '.join(labels)}" if labels else f"picto taxonomy --category {CATEGORIES[category]} lists all"
