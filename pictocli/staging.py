"""The default store's half of re-embedding: a second space that gathers beside the first, and the swap."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pictocli.catalog import encoded
from pictocli.records import ModelSpec
from pictocli.retagging import Tag, retag
from pictocli.schema import from_db, transaction
from pictocli.sqlite import SqliteStore
from pictocli.urls import joined

__all__ = ["Staging"]


class Staging(SqliteStore):
    """A store whose library is being moved into another model's space."""

    def begin_staging(self, spec: ModelSpec) -> None:
        """Get ready to stage embeddings of `spec`; what was staged for another model is dropped."""
        wanted = encoded(spec)
        if self.meta("staged_model") != wanted:
            with transaction(self.db):
                self.db.execute("DELETE FROM staged")
                self.set_meta("staged_model", wanted)

    def unstaged(self) -> list[tuple[int, int, int, bytes, str, str]]:
        """(content id, page, dpi, hash, kind, full path) of all that has no staged embedding yet.

        Of several copies the one that exists is named, if any does.
        """
        rows = self.db.execute(
            "SELECT c.id, c.page, c.dpi, c.hash, f.kind, r.path, o.path, f.name FROM content c"
            " JOIN image i ON i.content_id = c.id JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = f.folder_id"
            " JOIN root r ON r.id = o.root_id"
            " WHERE NOT EXISTS (SELECT 1 FROM staged s WHERE s.content_id = c.id) ORDER BY c.id, i.id"
        )
        found: dict[int, tuple[int, int, int, bytes, str, str]] = {}
        for content_id, page, dpi, digest, kind, *parts in rows:
            path = joined(*(from_db(part) for part in parts))
            if content_id not in found or not os.path.exists(found[content_id][5]):
                found[content_id] = (content_id, page, dpi, digest, kind, path)
        return list(found.values())

    def stage(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep (content id, embedding) rows for the swap."""
        with transaction(self.db):
            self.db.executemany("INSERT OR REPLACE INTO staged VALUES(?, ?)", rows)

    def swap_staged(self, tag: Tag, rule: str) -> None:
        """Make the staged space the library's own, with tags by `rule`, in one transaction."""
        with transaction(self.db):
            self.db.execute("DELETE FROM embedding")
            self.db.execute("INSERT INTO embedding SELECT content_id, v FROM staged")
            for emptied in ("staged", "text_embedding", "code"):
                self.db.execute(f"DELETE FROM {emptied}")  # noqa: S608 - three names of ours
            self.set_meta("model", self.meta("staged_model"))
            spec = self.spec()
            assert spec is not None
            new = f" {spec.id} {spec.revision} "  # in the names of this model's prompts
            self.db.execute("DELETE FROM vector WHERE instr(name, ?) = 0", (new,))
            self.set_meta("staged_model", None)
            self.keep_pairs(None)  # measured in the old space
            self.keep_recall(None)
            retag(self.db, tag, lambda _: None)
            self.set_meta("tag_rule", rule)
