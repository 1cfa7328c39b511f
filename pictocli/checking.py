"""`picto info --check`: everything that can be told to be wrong with a database, without changing it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apsw

from pictocli import databases
from pictocli.begun import require_finished
from pictocli.catalog import Catalog
from pictocli.consistency import AGAIN, CODES, LABELS, MEND, RULES, TEXTS, Rule
from pictocli.damage import Damage
from pictocli.databases import is_file, translated
from pictocli.display import printable
from pictocli.errors import DamagedError, PictoError
from pictocli.migrations import MIGRATIONS, alteration
from pictocli.protocols import Database, NoProgress, Progress
from pictocli.records import CATEGORIES
from pictocli.schema import connect
from pictocli.soundness import bad_json, bad_named_vectors, bad_texts, bad_vectors, is_right, mean_of, width
from pictocli.taxonomy import kept

__all__ = ["BROKEN", "METAS", "UNREAD", "check", "check_file", "damage_in"]

_STRANGE, _PAGES, UNREAD = "tables that are not picto's", "pages that SQLite finds damaged", "parts that cannot be read"
BROKEN = (_STRANGE, _PAGES, UNREAD)
"""What of `Damage.what` cannot be mended in its place."""

_MESSAGES = 100  # of SQLite's own check: one bad page can give thousands
_NAMES = ("structure", "references", "rows", "text", "tags", "model", "embeddings", "codes", "labels")


def check_file(path: str, progress: Progress) -> list[Damage]:
    """Check the library at `path`. Raises StoreError when it is none, or nothing of it can be read."""
    if not is_file(path):
        with translated(path):
            server = databases.connect(path, readonly=True)
            try:
                return check(server, progress)
            finally:
                server.close()
    log = path + "-wal"
    logged = os.path.exists(log) and os.path.getsize(log) > 0
    with translated(path):
        db = connect(path, readonly=True, trusting=True)
        if logged:  # what a killed writer left stays where it is: closing would write it into a file perhaps damaged
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        try:
            with contextlib.suppress(apsw.Error, UnicodeDecodeError):  # which the check tells of
                require_finished(db, path)
            return check(db, progress)
        finally:
            db.close()


def damage_in(path: str) -> DamagedError | None:
    """What is wrong with the database at `path`, as the error to raise for it; None when nothing is."""
    try:
        found = check_file(path, NoProgress())
    except PictoError as exc:
        return DamagedError(str(exc))
    if not found:
        return None
    first = found[0]
    example = f", such as {first.example}" if first.example else ""
    return DamagedError(f"{databases.shown(path)} is damaged: {first.what}{example}")


def check(db: Database, progress: Progress) -> list[Damage]:
    """Everything that is wrong, one kind of damage each. Where a part cannot be read, that is said, and others are."""
    started, found, unread = time.monotonic(), list[Damage](), dict[str, str]()
    parts: Sequence[Callable[[Database], Iterator[Damage]]] = (
        _structure, _references, _rows, _texts, _tags, _meta, _vectors, _codes, _labels,
    )  # fmt: skip
    names: Sequence[str] = _NAMES
    if not isinstance(db, apsw.Connection):  # a server's own tables and references are its own care
        parts, names = parts[2:], names[2:]
    within = db.in_transaction
    if not within:
        db.execute("BEGIN")
    try:
        for name, part in zip(names, parts, strict=True):
            if time.monotonic() - started > 1:
                progress.doing(f"checking {name}")
            try:
                found += part(db)
            except (apsw.Error, UnicodeDecodeError, DamagedError) as exc:
                unread[name] = str(exc)
    finally:
        progress.doing("")
        if not within:
            db.execute("ROLLBACK")
    if unread:
        told = printable("; ".join(f"{name}: {why}" for name, why in unread.items()))
        found.append(Damage(what=UNREAD, count=len(unread), example=told, derived=False, remedy=MEND))
    return found


def _indexes_only(messages: Sequence[str]) -> bool:
    """Whether all that SQLite complains of is indexes, which it can build anew."""
    kinds = (
        "missing from index",
        "wrong # of entries in index",
        "non-unique entry in index",
        "values differ from index",
    )
    return all(any(kind in message for kind in kinds) for message in messages)


def _structure(db: Database) -> Iterator[Damage]:
    wrong = alteration(db, MIGRATIONS)
    if wrong is not None:
        yield Damage(what=_STRANGE, count=1, example=wrong, derived=False, remedy=MEND)
    messages = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({int(_MESSAGES)})")]
    if messages != ["ok"]:
        derived = _indexes_only(messages)
        what = "indexes that do not agree with their tables" if derived else _PAGES
        yield Damage(what=what, count=len(messages), example=printable(messages[0]), derived=derived, remedy=MEND)


def _references(db: Database) -> Iterator[Damage]:
    broken: dict[tuple[str, str], list[Any]] = {}
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        broken.setdefault((table, parent), []).append(row)
    for (table, parent), rows in broken.items():
        example = None if rows[0] is None else f"{table} {rows[0]}"
        derived = table not in ("root", "folder", "file", "image")
        remedy = MEND if derived else AGAIN
        what = f"rows of {table} whose {parent} is gone"
        yield Damage(what=what, count=len(rows), example=example, derived=derived, remedy=remedy)


def _broken(db: Database, rules: Sequence[Rule], **bound: Any) -> Iterator[Damage]:
    for what, derived, remedy, sql in rules:
        count, example = db.execute(
            f"SELECT count(*), min(x) FROM (SELECT NULL x WHERE FALSE UNION ALL {sql})", bound
        ).get
        if count:
            yield Damage(what=what, count=count, example=example, derived=derived, remedy=remedy)


def _rows(db: Database) -> Iterator[Damage]:
    yield from _broken(db, RULES)


def _texts(db: Database) -> Iterator[Damage]:
    for table, column in TEXTS:
        bad = bad_texts(db, table, column)
        if bad:
            what = f"texts in {table}.{column} that are no UTF-8"
            example = printable(bad[0][:60].decode(errors="surrogateescape"))
            yield Damage(what=what, count=len(bad), example=example, derived=False, remedy=MEND)


def _tags(db: Database) -> Iterator[Damage]:
    """JSON columns one by one, and the table of tags against them."""
    for table, column, remedy in (
        *(("image", name, "picto repair, then picto retag") for name in CATEGORIES),
        ("image", "metadata", "picto repair, then picto index --metadata FILE"),
        ("content", "measures", AGAIN),
    ):
        bad = bad_json(db, table, column)
        if bad:
            what, example = f"{column} that are not as picto writes them", f"{table} {bad[0]}"
            yield Damage(what=what, count=len(bad), example=example, derived=False, remedy=remedy)
    labels, unlisted, example, listed = db.execute(LABELS).get
    if unlisted:
        what = "tags of images that are not listed under their label"
        yield Damage(what=what, count=unlisted, example=f"image {example}", derived=True, remedy=MEND)
    if listed > labels - (unlisted or 0):
        what, count = "images listed under a label that they do not carry", listed - labels + (unlisted or 0)
        yield Damage(what=what, count=count, example=None, derived=True, remedy=MEND)


def _meta(db: Database) -> Iterator[Damage]:
    """What `meta` says of the database as a whole, entry by entry."""
    for key, (read, remedy) in METAS.items():
        if not is_right(db, key):
            yield Damage(
                what=f"what it says of its {read}", count=1, example=key, derived=key in _DERIVED, remedy=remedy
            )


METAS = {
    "model": ("model", "picto repair, then picto index --model with the model it had: all is embedded again"),
    "staged_model": ("next model", "picto repair, then picto reembed"),
    "pairs": ("random pairs", MEND),
    "recall": ("recall", MEND),
    "taxonomy": ("labels", MEND),
    "tag_rule": ("tag rule", "picto repair, then picto retag"),
    "own_taxonomy": ("own labels", "picto repair, then picto retag --taxonomy FILE"),
    "index_fields": ("indexed fields", "picto repair, then picto index --index-field"),
}
"""Entries of `meta` → what they are about, and the remedy when they are damaged."""

_DERIVED = ("pairs", "recall", "taxonomy")


def _vectors(db: Database) -> Iterator[Damage]:
    dim, staged = width(db), width(db, "staged_model")
    tables = (
        ("embedding", dim, AGAIN),
        ("staged", staged, "picto repair, then picto reembed"),
        ("text_embedding", dim, MEND),
    )
    for table, size, remedy in tables:
        bad = bad_vectors(db, table, size)
        if bad:
            what, derived = f"rows of {table} that are no vectors of unit length", table == "text_embedding"
            yield Damage(what=what, count=len(bad), example=f"row {bad[0]}", derived=derived, remedy=remedy)
    bad_names = bad_named_vectors(db)
    if bad_names:
        what, example = "vectors of the labels, or the mean of all, that are none", printable(bad_names[0])
        yield Damage(what=what, count=len(bad_names), example=example, derived=True, remedy=MEND)


def _codes(db: Database) -> Iterator[Damage]:
    mean = mean_of(db)
    yield from _broken(db, CODES if mean is not None else CODES[1:], mean=mean)


def _labels(db: Database) -> Iterator[Damage]:
    """Labels and aliases against the taxonomy, where it is one that this version knows."""
    catalog = Catalog(db)
    if not is_right(db, "own_taxonomy"):
        return
    taxonomy = kept(catalog.meta("own_taxonomy"))
    if catalog.meta("taxonomy") != taxonomy.hash:
        return
    named = {(CATEGORIES.index(each.category), each.id, each.phrase) for each in taxonomy.labels}
    called = {(CATEGORIES.index(each.category), alias) for each in taxonomy.labels for alias in each.aliases}
    held = set(db.execute("SELECT category, name, phrase FROM tag WHERE phrase IS NOT NULL").fetchall())
    aliases = set(db.execute("SELECT category, alias FROM tag_alias").fetchall())
    wrong = [*(named ^ held), *(called ^ aliases)]
    if wrong:
        what, example = "labels and aliases that are not the taxonomy's", printable(min(str(row[1]) for row in wrong))
        yield Damage(what=what, count=len(wrong), example=example, derived=True, remedy=MEND)
