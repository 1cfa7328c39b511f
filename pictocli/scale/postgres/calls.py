"""SQLite's functions in a statement: those that PostgreSQL has under another name, or writes in another way."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pictocli.scale.postgres.tokens import arguments, closing, is_param, is_text

__all__ = ["calls", "path_literal", "path_of"]

_JSON = {"json_extract": "json_text", "json_type": "json_kind", "json_tree": "json_atoms"}
_TRUTH = frozenset(["WHERE", "AND", "OR", "NOT", "(", "ON", "WHEN"])  # what a truth stands behind
_COMPARE = frozenset(("=", "<>", "<", ">", "<=", ">="))


def calls(found: Sequence[str]) -> list[str]:
    """The same tokens, with every call of a function as PostgreSQL takes it, the inner ones first."""
    made, at = list[str](), 0
    while at < len(found):
        word = found[at]
        called = word[0].isalpha() and found[at + 1 : at + 2] == ["("]
        if called and word == "IN" and (behind := _listed(found, at + 1)) is not None:
            negated = made[-1] == "NOT"
            if negated:
                made.pop()
            made += ["<>" if negated else "=", "ALL" if negated else "ANY", "(", behind[0], ")"]
            at = behind[1]
            continue
        name = word.lower()
        if not called or name not in _KNOWN:
            made.append(word)
            at += 1
            continue
        parts, at = arguments(found, at + 1)
        called_for = [made[-1] if made else "", *found[at : at + 1]]
        made += _call(name, [calls(part) for part in parts], called_for)
    return made


def _listed(found: Sequence[str], at: int) -> tuple[str, int] | None:
    """(the bound value, the index behind it) of a bracket that reads (SELECT value FROM json_each(?))."""
    end = closing(found, at)
    inner = found[at + 1 : end]
    if list(inner[:5]) == ["SELECT", "value", "FROM", "json_each", "("] and len(inner) == 7 and is_param(inner[5]):
        return inner[5], end + 1
    return None


def _call(name: str, parts: list[list[str]], around: Sequence[str]) -> list[str]:
    """A call with these arguments. around: the tokens before it and behind it."""
    first = parts[0]
    if name in _JSON:
        path = [path_literal(parts[1][0])] if is_text(parts[1][0]) else parts[1]
        return [_JSON[name], "(", *first, ",", *path, ")"]
    if name == "iif":
        return ["(", "CASE", "WHEN", *first, "THEN", *parts[1], "ELSE", *parts[2], "END", ")"]
    if name == "json_each":
        return ["unnest", "(", *first, "::bigint[]", ")", "AS", "given", "(", "value", ")"] if is_param(first[0]) else [
            "json_scores", "(", *first, ")"
        ]  # fmt: skip
    if name == "instr":
        found = ["instr", "(", *first, ",", *parts[1], ")"]
        return ["(", *found, ">", "0", ")"] if around[0] in _TRUTH and around[-1] not in _COMPARE else found
    if name == "cast":
        at = len(first) - 1
        function = {"BLOB": "to_blob", "TEXT": "to_text"}[first[at]]
        return [function, "(", *first[: at - 1], ")"]
    if name == "vec_distance_cosine":
        return ["(", *first, "<=>", *parts[1], ")"]
    if name == "json_group_array":
        return ["json_agg", "(", *first, ")", "::text"]
    if name == "lower":
        return ["lower", "(", "(", *first, ")", "COLLATE", '"C"', ")"]
    if name == "unixepoch":
        return ["local_seconds", "(", *first, ")"]
    if name == "length":  # what is bound is bytes wherever picto asks for its length; a text has no bytes to count
        return ["length", "(", *first, *(["::bytea"] if is_param(first[0]) else []), ")"]
    inner = [word for part in parts for word in (",", *part)][1:]
    return ["coalesce", "(", *inner, ")"]


_KNOWN = frozenset(
    [*_JSON, "iif", "json_each", "instr", "cast", "vec_distance_cosine", "json_group_array", "lower", "unixepoch",
     "ifnull", "length"]
)  # fmt: skip


def path_literal(path: str) -> str:
    """A literal path of SQLite's JSON functions as a literal array of names."""
    return "'" + _array(path_of(path[1:-1].replace("''", "'"))).replace("'", "''") + "'"


def path_of(path: str) -> list[str]:
    """The names of a path: $."brand"."name" or $.id. ValueError for what is none."""
    names, at = list[str](), 1
    while at < len(path):
        if path[at : at + 2] == '."':
            name, end = json.JSONDecoder().raw_decode(path[at + 1 :])
            names.append(name)
            at += 1 + end
        else:
            end = path.find(".", at + 1)
            names.append(path[at + 1 : end if end > 0 else len(path)])
            at = end if end > 0 else len(path)
    return names


def _array(names: Sequence[str]) -> str:
    """Texts as a literal array of PostgreSQL."""
    quoted = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return "{" + ",".join(f'"{name}"' for name in quoted) + "}"
