"""The database as a whole: its model, its labels, its datasets, roots and folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pictocli import stored
from pictocli.errors import ModelMismatchError, StoreError, ValidationError
from pictocli.protocols import Database
from pictocli.records import ModelSpec, Pairs, Recall
from pictocli.schema import from_db, to_db, transaction

__all__ = ["EXACT_BELOW", "Catalog", "at_least", "encoded", "mismatch"]

EXACT_BELOW = 20_000  # images in scope; below, comparing with every one is as fast as 1-bit codes


def at_least(bits: int) -> int:
    """How many images 1-bit codes choose to be compared, unless a library was found to need more.

    4,000 hold .9998 of the threshold set of a million images at 768 bits; shorter codes need more.
    """
    return max(4000, 4000 * 768 // bits)


def mismatch(held: ModelSpec, other: str) -> ModelMismatchError:
    """The error that a database of `held` does not mix with the model `other`, or with another revision of its own."""
    what = f"another revision of {other}" if other == held.id else other
    return ModelMismatchError(
        f"the database holds embeddings of {held.id}, not of {what}",
        f"picto reembed --model {other} moves the whole library, --db names another database",
    )


def encoded(spec: ModelSpec) -> str:
    """A model as `meta` keeps it; `Catalog.spec` reads it back."""
    return json.dumps({name: getattr(spec, name) for name in ModelSpec.__slots__})


class Catalog:
    """What one open database is about, apart from the images in it."""

    def __init__(self, db: Database) -> None:
        self.db = db

    # -- the database as a whole ------------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """The value kept under `key`, or None."""
        return self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    def set_meta(self, key: str, value: Any) -> None:
        """Keep `value` under `key`."""
        self.db.execute("INSERT INTO meta VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2", (key, value))

    def spec(self, key: str = "model") -> ModelSpec | None:
        """The model whose embeddings the database holds, or None before the first one."""
        text = self.meta(key)
        return None if text is None else stored.model(text)

    def require_model(self, spec: ModelSpec) -> None:
        """Make `spec` the database's model if it has none; ModelMismatchError when it has another."""
        held = self.spec()
        if held is None:
            self.set_meta("model", encoded(spec))
        elif (held.id, held.revision) != (spec.id, spec.revision):
            raise mismatch(held, spec.id)

    def pairs(self) -> Pairs | None:
        """How similar random pairs of contents are; None when that was not measured, or in another model's space."""
        text, spec = self.meta("pairs"), self.spec()
        if text is None or spec is None:
            return None
        model, revision, kept = stored.pairs(text)
        return kept if (model, revision) == (spec.id, spec.revision) else None

    def keep_pairs(self, pairs: Pairs | None) -> None:
        """Keep what was measured of the database's model, or forget it."""
        spec = self.spec()
        kept = None
        if pairs is not None and spec is not None:
            fields = {name: getattr(pairs, name) for name in Pairs.__slots__}
            kept = json.dumps({"model": spec.id, "revision": spec.revision} | fields)
        self.set_meta("pairs", kept)

    def recall(self) -> Recall | None:
        """What the last check of the fast path found; None before the first one."""
        text = self.meta("recall")
        return None if text is None else stored.recall(text)

    def keep_recall(self, recall: Recall | None) -> None:
        """Keep what a check found, for all later questions, or forget it."""
        kept = None if recall is None else {name: getattr(recall, name) for name in Recall.__slots__}
        self.set_meta("recall", kept and json.dumps(kept))

    def put_taxonomy(self, labels: Iterable[tuple[int, str, str, Sequence[str]]], digest: str) -> None:
        """Store (category, label, phrase, aliases) rows, so that queries resolve labels without reading TOML.

        Labels of an earlier taxonomy lose their phrase, and stay while an image carries them.
        """
        with transaction(self.db):
            self.db.execute("DELETE FROM tag_alias")
            self.db.execute("UPDATE tag SET phrase = NULL")
            for category, name, phrase, aliases in labels:
                self.db.execute(
                    "INSERT INTO tag(category, name, phrase) VALUES(?1, ?2, ?3)"
                    " ON CONFLICT(category, name) DO UPDATE SET phrase = ?3",
                    (category, name, phrase),
                )
                tag_id = self.db.execute("SELECT id FROM tag WHERE category = ? AND name = ?", (category, name)).get
                for alias in aliases:
                    self.db.execute("INSERT OR IGNORE INTO tag_alias VALUES(?, ?, ?)", (category, alias, tag_id))
            self.set_meta("taxonomy", digest)
            self.drop_labels()

    def drop_labels(self) -> None:
        """Forget the labels of earlier taxonomies that no image carries any more."""
        self.db.execute("DELETE FROM tag WHERE phrase IS NULL AND n = 0")

    def vector(self, name: str) -> bytes | None:
        """A named float32 blob: "mean", or a model's "labels …" and "nulls …"."""
        found: bytes | None = self.db.execute("SELECT v FROM vector WHERE name = ?", (name,)).get
        return found

    def put_vector(self, name: str, blob: bytes) -> None:
        """Keep a named float32 blob."""
        self.db.execute("INSERT INTO vector VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET v = ?2", (name, blob))

    def text_embedding(self, text: str) -> bytes | None:
        """The kept embedding of a canonical text, float32 bytes."""
        found: bytes | None = self.db.execute("SELECT v FROM text_embedding WHERE text = ?", (text,)).get
        return found

    def keep_text(self, text: str, blob: bytes, spec: ModelSpec) -> None:
        """Keep the embedding of a canonical text, unless the library has moved into another space than `spec`'s."""
        with transaction(self.db):
            held = self.spec()
            if held is not None and (held.id, held.revision) == (spec.id, spec.revision):
                self.db.execute("INSERT OR REPLACE INTO text_embedding VALUES(?, ?)", (text, blob))

    def count_files(self) -> int:
        """Files that hold images."""
        return int(self.db.execute("SELECT count(*) FROM file WHERE pages > 0").get)

    def count_contents(self) -> int:
        """Pictures that differ; copies share one."""
        return int(self.db.execute("SELECT count(*) FROM embedding").get)

    def count_images(self) -> int:
        """Images, pages and copies too."""
        return int(self.db.execute("SELECT count(*) FROM image").get)

    # -- where files lie --------------------------------------------------------------------------------------------

    def root_of(self, path: str, new: Iterable[str] = ()) -> tuple[int | None, str] | None:
        """(id, path) of the root that is `path` or holds it. new: roots still to be made, which have no id."""
        for root_id, root in [*self.roots(), *((None, each) for each in new)]:
            if path == root or path.startswith(root.rstrip("/") + "/"):
                return root_id, root
        return None

    def roots(self) -> list[tuple[int, str]]:
        """Every root's (id, path)."""
        return [(row[0], from_db(row[1])) for row in self.db.execute("SELECT id, path FROM root ORDER BY id")]

    def root_to_be(self, path: str, dataset: str | None, name: str, new: Mapping[str, str]) -> int | None:
        """The id of the root `path`, or None when it is a new one that may be made, in the dataset `name`.

        dataset: the name that the user asked for. new: roots still to be made, with their datasets' names.
        Raises ValidationError when the root lies in, or holds, another one, when it is in another dataset already, or
        when a second folder would share a dataset's name without being told to.
        """
        for root_id, root in [*self.roots(), *((None, each) for each in new)]:
            if root == path:
                if root_id is not None:
                    self.check_dataset(root_id, path, dataset)
                return root_id
            if path.startswith(root.rstrip("/") + "/"):
                raise ValidationError(f"{path} lies inside {root}, which is indexed already", f"picto index {root}")
            if root.startswith(path.rstrip("/") + "/"):
                raise ValidationError(
                    f"{path} holds {root}, which is indexed already", "index the folders beside it, one by one"
                )
        taken = name in new.values() or self.db.execute("SELECT 1 FROM dataset WHERE name = ?", (name,)).get
        if dataset is None and taken:
            raise ValidationError(
                f"a dataset named {name} exists already, for another folder",
                f"--dataset NAME gives this one its own name, --dataset {name} adds it to that one",
            )
        return None

    def add_root(self, path: str, name: str) -> int:
        """Make the root `path` in the dataset `name`, and return its id."""
        with transaction(self.db):
            self.db.execute("INSERT OR IGNORE INTO dataset(name) VALUES(?)", (name,))
            self.db.execute(
                "INSERT INTO root(dataset_id, path) SELECT id, ? FROM dataset WHERE name = ?", (to_db(path), name)
            )
            return self.db.last_insert_rowid()

    def require_roots(self, roots: Mapping[int, str]) -> None:
        """Raise StoreError unless these (id → path) are still roots, at these places."""
        held = dict(self.roots())
        for root_id, path in roots.items():
            if held.get(root_id) != path:
                raise StoreError(f"{path} has just been moved or removed in the library", "run the same command again")

    def check_dataset(self, root_id: int, path: str, dataset: str | None) -> None:
        """Raise ValidationError when the user asked for another dataset than the root's."""
        held = self.db.execute(
            "SELECT d.name FROM root r JOIN dataset d ON d.id = r.dataset_id WHERE r.id = ?", (root_id,)
        ).get
        if dataset is not None and dataset != held:
            raise ValidationError(
                f"{path} is indexed already, as dataset {held}", f"leave --dataset out, or say {held}"
            )

    def folder_id(self, root_id: int, path: str, *, create: bool = True) -> int | None:
        """The id of the folder `path` (relative, "" for the root itself), made when asked."""
        key = (root_id, to_db(path))
        found: int | None = self.db.execute("SELECT id FROM folder WHERE root_id = ? AND path = ?", key).get
        if found is None and create:
            with transaction(self.db):
                self.db.execute("INSERT OR IGNORE INTO folder(root_id, path) VALUES(?, ?)", key)
            found = self.db.execute("SELECT id FROM folder WHERE root_id = ? AND path = ?", key).get
        return found

    def validators(self, folder_id: int) -> dict[str, str]:
        """What servers said of the files in one folder, by name: ETags and dates."""
        rows = self.db.execute(
            "SELECT f.name, v.etag FROM file f JOIN validator v ON v.file_id = f.id WHERE f.folder_id = ?", (folder_id,)
        )
        return {from_db(name): etag for name, etag in rows}

    def validators_of(self, places: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
        """What servers said of the files at (root, folder, name), as far as they are finished."""
        found = {
            place: self.db.execute(
                "SELECT v.etag FROM validator v JOIN file f ON f.id = v.file_id JOIN folder d ON d.id = f.folder_id"
                " JOIN root r ON r.id = d.root_id WHERE r.path = ? AND d.path = ? AND f.name = ?"
                " AND f.size IS NOT NULL",
                tuple(map(to_db, place)),
            ).get
            for place in places
        }
        return {place: etag for place, etag in found.items() if etag}

    def put_validator(self, file_id: int, validator: str) -> None:
        """Keep what a server said of a file; "" forgets it."""
        self.db.execute("DELETE FROM validator WHERE file_id = ?", (file_id,))
        if validator:
            self.db.execute("INSERT INTO validator VALUES(?, ?)", (file_id, validator))
