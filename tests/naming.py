"""Names of test cases that are the same in every process: two that run side by side must collect the same tests."""

from __future__ import annotations

from typing import Any

__all__ = ["named"]


def named(value: Any) -> str:
    """A value as text, sets in order."""
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(named, value))) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{named(key)}: {named(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(named, value)) + "]"
    return str(value)
