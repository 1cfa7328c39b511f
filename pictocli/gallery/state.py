"""What the address of a page says of it: what is asked for, in which order, and where the page begins."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pictocli.display import printable
from pictocli.errors import ValidationError
from pictocli.records import CATEGORIES

__all__ = ["ORDERS", "THRESHOLD", "State", "parsed"]

THRESHOLD = 0.6
ORDERS = {"newest": "Newest", "oldest": "Oldest", "id": "Index order", "score": "Best match"}
_SINGLE = ("q", "like", "threshold", "dataset", "folder", "after", "before", "sort", "at", "more")
_GROUPS = (*CATEGORIES, "years")
_LONGEST = 1000  # characters of one value
_MANY = 50  # labels of one category
_LIKE = re.compile(r"[0-9]{1,19}|d[0-9a-f]{24}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One page's address. like: an image's id, or the key of a dropped picture. Each is "" where it is not given."""

    q: str = ""
    like: str = ""
    threshold: float = THRESHOLD
    objects: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    dataset: str = ""
    folder: str = ""
    after: str = ""
    before: str = ""
    sort: str = "newest"
    at: str = ""
    more: str = ""

    @property
    def ranked(self) -> bool:
        """Whether images are in the order of how well they match, words or a picture."""
        return bool(self.q or self.like)

    @property
    def tagged(self) -> bool:
        """Whether labels are asked for."""
        return any(getattr(self, category) for category in CATEGORIES)

    @property
    def asked(self) -> dict[str, Any]:
        """The labels, the dataset and folder and the dates that are asked for, as `Library` takes them."""
        given = {name: getattr(self, name) for name in ("dataset", "folder", "after", "before", *CATEGORIES)}
        return {name: list(value) if name in CATEGORIES else value for name, value in given.items() if value}

    @property
    def narrowed(self) -> bool:
        """Whether anything but words and a picture is asked for."""
        return bool(self.tagged or self.dataset or self.after or self.before)

    def but(self, **changes: Any) -> State:
        """The same with some values changed; the page begins at the beginning, unless `at` is among them."""
        return replace(self, **{"at": "", "more": ""} | changes)

    def without(self, *names: str) -> State:
        """The same without these values."""
        plain = State()
        return self.but(**{name: getattr(plain, name) for name in names})

    def toggled(self, category: str, label: str) -> State:
        """The same with a label asked for, or no longer."""
        held = getattr(self, category)
        rest = tuple(each for each in held if each != label)
        return self.but(**{category: rest if label in held else (*held, label)})

    def hidden(self, *without: str) -> list[tuple[str, str]]:
        """(name, value) of all that is given, but of these, and of where the page begins: for the fields of a form."""
        return [(name, value) for name, value in self.without(*without)._pairs() if name not in ("at", "more")]

    def query(self) -> str:
        """The query string, with its question mark; "" for the plain page."""
        found = urlencode(self._pairs(), errors="surrogateescape")
        return f"?{found}" if found else ""

    def _pairs(self) -> list[tuple[str, str]]:
        found = [(name, str(getattr(self, name))) for name in _SINGLE if getattr(self, name) != getattr(_PLAIN, name)]
        return found + [(category, label) for category in CATEGORIES for label in getattr(self, category)]


_PLAIN = State()


def parsed(query: bytes) -> State:
    """The state that a query string names; what is none of it is passed over. Raises ValidationError."""
    pairs = parse_qsl(query.decode("latin-1"), errors="surrogateescape", max_num_fields=500)
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in (*_SINGLE, *CATEGORIES) and (len(value) > _LONGEST or "\0" in value):
            raise ValidationError(f"the {name} is longer than {_LONGEST:,} characters, or holds a NUL")
        if name in CATEGORIES and value.strip():
            given[name] = (*given.get(name, ()), *(each.strip() for each in value.split(",") if each.strip()))
        elif name in _SINGLE and value.strip():
            given[name] = value if name in ("dataset", "folder") else value.strip()
    for category in CATEGORIES:
        if len(given.get(category, ())) > _MANY:
            raise ValidationError(f"more than {_MANY} {category} are asked for", "leave some of them out")
        given[category] = tuple(dict.fromkeys(given.get(category, ())))
    return State(**_checked(given))


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    if "threshold" in given:
        try:
            given["threshold"] = float(given["threshold"])
        except ValueError as exc:
            raise ValidationError(f"{printable(given['threshold'])} is no threshold", "a number from 0 to 1") from exc
        if not 0 <= given["threshold"] <= 1:  # NaN is not, either
            raise ValidationError(f"threshold must lie between 0 and 1, not {given['threshold']}")
    if given.get("sort", "newest") not in ORDERS:
        raise ValidationError(f"there is no order {printable(given['sort'])}", f"orders: {', '.join(ORDERS)}")
    if "like" in given and not _LIKE.fullmatch(given["like"]):
        raise ValidationError(f"{printable(given['like'])} is no image's id", "ids are whole numbers")
    if given.get("more") not in (None, *_GROUPS):
        del given["more"]
    if "folder" in given and "dataset" not in given:
        raise ValidationError("a folder lies in a dataset", "name the dataset, too")
    return given
