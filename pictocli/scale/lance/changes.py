"""What a transaction has changed in the working copy, as the tables are told of it."""

from __future__ import annotations

from typing import Any

import apsw

from pictocli.scale.lance.store import Changes
from pictocli.scale.lance.tables import TABLES

__all__ = ["begun", "changes_in"]


def begun(db: apsw.Connection) -> apsw.Session:
    """Take down from now on what changes in the tables of a working copy. The caller closes it."""
    session = apsw.Session(db, "main")
    for name in TABLES:
        session.attach(name)
    return session


def changes_in(db: apsw.Connection, session: apsw.Session) -> dict[str, Changes]:
    """What has changed, by tables. A table that is left empty has lost every row."""
    run: Any = apsw.Connection.execute  # and nothing that a connection of ours makes of it
    found: dict[str, Changes] = {}
    each: Any = apsw.Changeset.iter(session.changeset())
    for change in each:
        table, changes = TABLES[change.name], found.setdefault(change.name, Changes())
        if change.op == "INSERT":
            changes.inserted.append(change.new)
        elif change.op == "DELETE":
            assert changes.removed is not None
            changes.removed.append(table.key_of(change.old))
        else:
            where = " AND ".join(f"{name} = ?" for name in table.key)
            key = table.key_of(change.old)
            changes.updated.append(run(db, f"SELECT * FROM main.{table.name} WHERE {where}", key).fetchone())  # noqa: S608 - our names
    for name, changes in found.items():
        changes.inserted.sort(key=TABLES[name].key_of)  # they come in no order, and are read in that of ids
        if changes.removed and run(db, f"SELECT NOT EXISTS (SELECT 1 FROM main.{name})").get:  # noqa: S608 - our names
            changes.removed = None
    return found
