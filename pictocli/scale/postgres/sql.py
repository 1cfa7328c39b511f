"""SQLite's SQL as PostgreSQL takes it. Each statement is translated once, token by token, and no value is looked at.

What SQLite has as functions PostgreSQL gets as functions of the library's schema, see `functions`. Here is
what is left: other words for the same, values in brackets that are lists, conflicts, and names.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pictocli.fields import value
from pictocli.scale.postgres.calls import calls, path_literal
from pictocli.scale.postgres.tables import COLUMNS, IDS, KEYS, RENAMED
from pictocli.scale.postgres.tokens import arguments, closing, is_name, is_param, is_text, statements, tokens

__all__ = ["Statement", "index_name", "translated"]

_LONGEST = 63  # bytes of a name that PostgreSQL keeps
_FIELD = tokens(value("@", "#"))
_WORDS = frozenset(
    ("AND", "OR", "WHERE", "NOT", "SELECT", "ON", "WHEN", "THEN", "ELSE", "CASE", "LIMIT", "BY", "SET", "IN", "(", ",",
     "=", "<", ">", "<=", ">=", "<>", "||", "+", "-", "*", "/", "%")
)  # fmt: skip
_AFTER_TABLE = frozenset((")", ",", "WHERE", "ORDER", "GROUP", "LIMIT", "UNION", "JOIN", "LEFT", "CROSS", "ON"))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as PostgreSQL takes it.

    verb: its first word, in capitals. takes: what is bound as $1, $2 …: a number from 0, or a name. writes: it changes
    what others see. table: that it inserts into, "" for others. returns_id: an id is returned, that was not asked for.
    """

    sql: str
    verb: str
    takes: tuple[int | str, ...]
    writes: bool
    table: str
    returns_id: bool


def translated(sql: str, schema: str) -> list[Statement]:
    """The statements of some SQL. schema: the one that the library lies in.

    "SELECT ifnull(max(id), 0) FROM file WHERE size IS NOT ?" becomes
    "SELECT coalesce ( max ( id ) , 0 ) FROM file WHERE size IS DISTINCT FROM $1".
    """
    return [_statement(found, schema) for found in statements(tokens(sql))]


def index_name(name: str) -> str:
    """The name of an index as PostgreSQL can keep it: a long one ends in its digest."""
    if len(name.encode()) <= _LONGEST:
        return name
    return name.encode()[:30].decode(errors="ignore") + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def _statement(found: list[str], schema: str) -> Statement:
    verb = found[0].upper()
    if verb in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA"):
        return Statement(" ".join(found), verb, (), False, "", False)
    found = _fields(found)
    found = calls(found)
    found = _words(found)
    found = _names(found, schema)
    found = _rowids(found)
    found = _aliases(found)
    table, returns_id = "", False
    if verb == "INSERT":
        table = found[found.index("INTO") + 1].strip('"')
        found = _conflicts(found, table)
        returns_id = table in IDS and "RETURNING" not in found
        found += ["RETURNING", "id"] if returns_id else []
    elif verb in ("SELECT", "WITH"):
        found = _distinct(found)
    elif verb in ("CREATE", "DROP"):
        found = _definition(found)
    writes = verb not in ("SELECT", "WITH") and "pg_temp" not in found[:6] and "TEMP" not in found[:2]
    takes: list[int | str] = []
    for at, word in enumerate(found):
        if is_param(word):
            takes.append(int(word[1:]) - 1 if word[0] == "?" else word[1:])
            found[at] = f"${len(takes)}"
    return Statement(" ".join(found), verb, tuple(takes), writes, table, returns_id)


def _fields(found: list[str]) -> list[str]:
    """A field of metadata as it is compared, which `fields.value` spells out for SQLite, as the function for it."""
    made, at = list[str](), 0
    while at < len(found):
        match = _field_at(found, at) if found[at] == "CASE" else None
        if match is None:
            made.append(found[at])
            at += 1
            continue
        column, path, at = match
        made += ["field_value", "(", *column, ",", path_literal(path) if is_text(path) else path, ")"]
        if at < len(found) and found[at] in ("<", ">=") and found[at + 1] == "''":  # the first of all texts
            made += [found[at], "'\\x02'::bytea"]
            at += 2
    return made


def _field_at(found: list[str], at: int) -> tuple[list[str], str, int] | None:
    """(column, path, the index behind it) of a field that begins at `at`."""
    if found[at + 1 : at + 3] != ["json_type", "("]:
        return None
    (column, path), _ = arguments(found, at + 2)
    start = at
    for wanted in _FIELD:
        if wanted == "@":
            if found[at : at + len(column)] != column:
                return None
            at += len(column)
            continue
        if wanted == "#":
            same = is_param(found[at]) if is_param(path[0]) else [found[at]] == path
        else:
            same = found[at] == wanted
        if not same:
            return None
        at += 1
    return column, found[start + found[start:at].index(path[0])], at


def _words(found: list[str]) -> list[str]:
    """Words and signs that PostgreSQL spells otherwise, or has not."""
    made, at = list[str](), 0
    while at < len(found):
        word, after = found[at], found[at + 1 : at + 3]
        before = made[-1] if made else ""
        at += 1
        if word == "NOT" and after[:1] == ["INDEXED"]:
            at += 1
        elif word == "INDEXED" and after[:1] == ["BY"]:
            at += 2
        elif word == "CROSS" and after[:1] == ["JOIN"]:
            pass  # it tells SQLite in which order to join
        elif word == "+" and before.upper() in _WORDS:
            pass  # it keeps SQLite from an index
        elif word == "IS":
            skip = after[:1] == ["NOT"]
            other = after[skip : skip + 1]
            if other[0] in ("NULL", "TRUE", "FALSE"):
                made += ["::text", "IS"] if is_param(before) else ["IS"]
            else:
                made += ["IS", "DISTINCT", "FROM"] if skip else ["IS", "NOT", "DISTINCT", "FROM"]
                at += skip
        elif word == "GLOB":
            negated = before == "NOT"
            if negated:
                made.pop()
            made += ["!~" if negated else "~", _regex(after[0])]
            at += 1
        elif word[0] in "xX" and word[1:2] == "'":
            made.append(f"'\\x{word[2:-1]}'::bytea")
        elif word[0].isdigit() and not word.isdigit():
            made.append(f"{word}::float8")
        else:
            made.append(word)
    return made


def _regex(pattern: str) -> str:
    """A literal pattern of GLOB as one of PostgreSQL's regular expressions."""
    inner = pattern[1:-1]
    made = re.sub(r"\[[^\]]*\]|[*?]|[^\w\[\]]", _part_of_regex, inner)
    return f"'^{made}$'"


def _part_of_regex(match: re.Match[str]) -> str:
    part = match.group()
    return {"*": ".*", "?": "."}.get(part, part if part[0] == "[" or part == "''" else "\\" + part)


def _names(found: list[str], schema: str) -> list[str]:
    """Names of schemas, tables and indexes, and IN with a table's name."""
    made, at = list[str](), 0
    while at < len(found):
        word, before = found[at], made[-1] if made else ""
        dotted = found[at + 1 : at + 2] == ["."]
        if word == "temp" and dotted:
            word = "pg_temp"
        elif word == "main" and dotted:
            word = '"' + schema.replace('"', '""') + '"'
        elif word[0] == '"' and before != ".":
            word = '"' + index_name(word[1:-1].replace('""', '"')).replace('"', '""') + '"'
        elif word in RENAMED and (before in ("FROM", "INTO", "UPDATE", "JOIN", ".")):
            word = RENAMED[word]
        if before == "IN" and is_name(word):
            made += ["(", "SELECT", "id", "FROM", word, *found[at + 1 : at + 3 if dotted else at + 1], ")"]
            at += 2 * dotted
        else:
            made.append(word)
        at += 1
    return made


def _rowids(found: list[str]) -> list[str]:
    """`rowid` as the column that it stands for: the key of the table that the nearest FROM names."""
    if "rowid" not in found:
        return found
    made = list(found)
    for at, word in enumerate(found):
        if word == "rowid":
            start = max((i for i in range(at) if found[i] in ("SELECT", "DELETE")), default=0)
            near = found.index("FROM", start)
            key = KEYS.get(found[near + 1], ())
            made[at] = key[0] if len(key) == 1 and key[0].endswith("id") else "rowid"
    return made


def _aliases(found: list[str]) -> list[str]:
    """A name for each query that stands where a table does: before version 16 there must be one."""
    made = list(found)
    for at in reversed(range(len(found) - 2)):
        if found[at] in ("FROM", "JOIN") and found[at + 1 : at + 3] == ["(", "SELECT"]:
            end = closing(made, at + 1) + 1
            if end == len(made) or made[end] in _AFTER_TABLE:
                made[end:end] = ["AS", f"q{at}"]
    return made


def _distinct(found: list[str]) -> list[str]:
    """SELECT DISTINCT in an order that is not selected, as an order of what is distinct. The rows are called `l`."""
    if found[:2] != ["SELECT", "DISTINCT"]:
        return found
    depth = 0
    for at, word in enumerate(found):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word == "ORDER" and found[at + 2] == "(":
            return ["SELECT", "*", "FROM", "(", *found[:at], ")", "AS", "l", *found[at:]]
    return found


def _definition(found: list[str]) -> list[str]:
    """CREATE and DROP: types of temporary tables, and views that others are made of."""
    if found[0] == "DROP":
        return [*found, "CASCADE"] if found[1] == "VIEW" else found
    return ["bigint" if word in ("INTEGER", "INT") else word for word in found]


def _conflicts(found: list[str], table: str) -> list[str]:
    """INSERT OR IGNORE, INSERT OR REPLACE, and what an upsert sets."""
    if found[1] == "OR":
        rule, found = found[2], ["INSERT", *found[3:]]
        if rule == "IGNORE":
            return [*found, "ON", "CONFLICT", "DO", "NOTHING"]
        replaced = ", ".join(f"{each} = excluded.{each}" for each in COLUMNS[table] if each not in KEYS[table])
        return [*found, "ON", "CONFLICT", f"({', '.join(KEYS[table])})", "DO", "UPDATE", "SET", replaced]
    if "DO" not in found:
        return found
    at, columns = found.index("SET", found.index("DO")) + 1, COLUMNS[table]
    end = found.index("RETURNING") if "RETURNING" in found else len(found)
    parts, _ = arguments(["(", *found[at:end], ")"], 0)
    put = _put(found, table)
    sets: list[str] = []
    for target, *rest in parts:  # a column of the row that is there, where SQLite takes its bare name for that
        named = [f"{table}.{each}" if each in columns else put.get(each, each) for each in rest]
        sets += [*([","] if sets else []), target, *named]
    return [*found[:at], *sets, *found[end:]]


def _put(found: list[str], table: str) -> dict[str, str]:
    """What is bound as the value of a column, as the column of the row that is put: it is sent once, not twice."""
    values, _ = arguments(found, found.index("VALUES") + 1)
    at = found.index("INTO") + 2
    columns = [name for (name,) in arguments(found, at)[0]] if found[at] == "(" else COLUMNS[table]
    return {value[0]: f"excluded.{name}" for name, value in zip(columns, values, strict=False) if is_param(value[0])}
