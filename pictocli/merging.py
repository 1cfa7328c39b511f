"""The default store's half of `picto merge`: takes over what another library knows, in batches that may be repeated.

What this library has finished stays as it is; what it lacks is taken. So a merge that was stopped goes on where it was.
The other library is a second connection that only reads: no statement of ours ever sees both files.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pictocli.errors import ModelMismatchError, StoreError, ValidationError
from pictocli.forgetting import Forgetting
from pictocli.interrupts import held
from pictocli.protocols import Database, Progress
from pictocli.records import CATEGORIES
from pictocli.reports import MergeReport
from pictocli.schema import from_db, transaction
from pictocli.sqlite import FileRow

__all__ = ["Merging"]

_BATCH = 500  # files a transaction
_BESIDE = ("embedding", "thumbnail", "capture", "input", "fingerprint")  # tables with a row a content, or none
_THEN = ", then "  # between the rules of a library whose tags were made by several, as `Brain` has it


class _Target(NamedTuple):
    """Where a root of the other library goes: into a root of this one, below `prefix`. root_id: None when it is new."""

    root_id: int | None
    root: str
    prefix: str
    dataset: str


class Merging(Forgetting):
    """A store that takes over what another one knows."""

    def __init__(self, db: Database, other: Database) -> None:
        super().__init__(db)
        self.other = Forgetting(other)
        self.kept = self.waiting = self.images = self.files_taken = self.contents_taken = 0

    def require_same_model(self, path: str) -> None:
        """Raise ModelMismatchError unless both hold embeddings of one model; StoreError when the other holds none."""
        theirs, ours = self.other.spec(), self.spec()
        if theirs is None:
            raise StoreError(f"{path} holds no images yet", "there is nothing to merge")
        if ours is None:
            return
        if (ours.id, ours.revision) != (theirs.id, theirs.revision):
            what = theirs.id if theirs.id != ours.id else f"another revision of {ours.id}"
            hint = f"picto reembed --model {ours.id} --db {path} moves it into the same space"
            raise ModelMismatchError(f"{path} holds embeddings of {what}, this library of {ours.id}", hint)

    def targets(self, path: str) -> dict[int, _Target]:
        """Root id of the other library → where its files go. Raises ValidationError when one holds a root of ours."""
        datasets = dict(self.other.db.execute("SELECT r.id, d.name FROM root r JOIN dataset d ON d.id = r.dataset_id"))
        found = {}
        for theirs, root in self.other.roots():
            name, target = str(datasets[theirs]), None
            for ours, mine in self.roots():
                base = mine.rstrip("/") + "/"
                if (root + "/").startswith(base):
                    target = _Target(ours, mine, (root + "/")[len(base) :].rstrip("/"), name)
                elif mine.startswith(root.rstrip("/") + "/"):
                    raise ValidationError(
                        f"{root} of {path} holds {mine}, a root of this library",
                        "merge the other way: this library into that one",
                    )
            found[theirs] = target or _Target(None, root, "", name)
        return found

    def rules(self) -> tuple[str, str] | None:
        """(ours, theirs), what made the tags, when these are different."""
        ours, theirs = self.meta("tag_rule"), self.other.meta("tag_rule")
        same = ours is None or theirs is None or ours == theirs
        return None if same else (ours, theirs)

    def take_over(self, path: str, progress: Progress, *, dry_run: bool) -> MergeReport:
        """Take all that is lacking. Ctrl-C ends it after a batch, and the report says so."""
        started, interrupted, rules, labels = time.perf_counter(), False, self.rules(), self._other_labels()
        targets = self.targets(path)
        before = (len(self.roots()), self._count_datasets())
        new_roots = sum(target.root_id is None for target in targets.values())
        names = {target.dataset for target in targets.values() if target.root_id is None}
        new_datasets = sum(not self._has_dataset(name) for name in names)
        try:
            if not dry_run:
                targets = self._begin(targets)
            for batch in self._batches(targets, progress, create=not dry_run):
                self._take(batch, dry_run=dry_run)
                progress.done(len(batch), 0)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            progress.close()
        if not dry_run:
            new_roots, new_datasets = len(self.roots()) - before[0], self._count_datasets() - before[1]
        return MergeReport(
            other=path, images=self.images, files=self.files_taken, contents=self.contents_taken, kept=self.kept,
            waiting=self.waiting, roots=new_roots, datasets=new_datasets, rules=rules, labels=labels,
            interrupted=interrupted, dry_run=dry_run, seconds=time.perf_counter() - started,
        )  # fmt: skip

    def _other_labels(self) -> bool:
        """Whether the other library has another list of labels."""
        ours, theirs = self.meta("taxonomy"), self.other.meta("taxonomy")
        return ours is not None and theirs is not None and ours != theirs

    def _count_datasets(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM dataset").get)

    def _has_dataset(self, name: str) -> bool:
        return bool(self.db.execute("SELECT 1 FROM dataset WHERE name = ?", (name,)).get)

    @held()
    def _begin(self, targets: Mapping[int, _Target]) -> dict[int, _Target]:
        """What the library as a whole takes over, and its new roots, in one transaction."""
        made = dict(targets)
        with transaction(self.db):
            spec = self.other.spec()
            assert spec is not None
            self.require_model(spec)
            theirs, ours = self.other.meta("tag_rule"), self.meta("tag_rule")
            if theirs is not None and theirs not in (ours or "").split(_THEN):
                self.set_meta("tag_rule", theirs if ours is None else ours + _THEN + theirs)
            for root_id, target in targets.items():
                if target.root_id is None:
                    made[root_id] = target._replace(root_id=self.add_root(target.root, target.dataset))
        return made

    def _batches(
        self, targets: Mapping[int, _Target], progress: Progress, *, create: bool
    ) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Files to take, as (our folder's id, their row), some at a time. create: the folders they need are made."""
        progress.found(int(self.other.db.execute("SELECT count(*) FROM file").get))
        batch: list[tuple[int, dict[str, Any]]] = []
        for place in self.other.places(None):
            target = targets[place.root_id]
            folder = "/".join(part for part in (target.prefix, place.folder) if part)
            rows = self._lacking(place.folder_id, target, folder, progress)
            if not rows:
                continue
            folder_id = -1
            if create and target.root_id is not None:
                folder_id = self.folder_id(target.root_id, folder) or -1
            for row in rows:
                batch.append((folder_id, row))
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _lacking(self, theirs: int, target: _Target, folder: str, progress: Progress) -> list[dict[str, Any]]:
        """The files of one of their folders that we have not, or have not finished."""
        ours = None if target.root_id is None else self.folder_id(target.root_id, folder, create=False)
        known = {} if ours is None else self.known(ours)
        found = []
        columns = ("id", "name", "kind", "size", "mtime_ns", "hash", "pages", "dpi", "reason", "wanted")
        for row in self.other.db.execute(
            "SELECT f.id, f.name, f.kind, f.size, f.mtime_ns, f.hash, f.pages, f.dpi, f.reason, p.pages FROM file f"
            " LEFT JOIN page_range p ON p.file_id = f.id WHERE f.folder_id = ? ORDER BY f.id",
            (theirs,),
        ):
            file = dict(zip(columns, row, strict=True))
            mine = known.get(from_db(file["name"]))
            if mine is not None and mine.size is not None:
                self.kept += 1
                progress.done(1, 0)
            elif file["size"] is None:
                self.waiting += 1
                progress.done(1, 0)
            else:
                found.append(file)
        return found

    @held()
    def _take(self, batch: list[tuple[int, dict[str, Any]]], *, dry_run: bool) -> None:
        """Take these files with all that belongs to them, in one transaction."""
        images = self.other.images_of([file["id"] for _, file in batch])
        if dry_run:
            self.files_taken += len(batch)
            self.images += sum(len(images.get(file["id"], ())) for _, file in batch)
            return
        counts = (self.files_taken, self.images, self.contents_taken)
        try:
            with transaction(self.db):
                mean = self.vector("mean")
                for folder_id, file in batch:
                    self._take_file(folder_id, file, images.get(file["id"], []), mean)
        except BaseException:
            self.files_taken, self.images, self.contents_taken = counts
            raise

    def _take_file(
        self, folder_id: int, file: dict[str, Any], images: list[tuple[int, int, int]], mean: bytes | None
    ) -> None:
        fields = {name: value for name, value in file.items() if name != "id"}
        row = FileRow(folder_id=folder_id, **(fields | {"name": from_db(file["name"])}))
        file_id = self._put_files({row: True})[row]
        for image_id, page, content_id in images:
            objects, scenes, attributes, metadata, url, indexed_at = self.other.db.execute(
                "SELECT objects, scenes, attributes, metadata, thumbnail_url, indexed_at FROM image WHERE id = ?",
                (image_id,),
            ).fetchall()[0]
            ours, new = self._take_content(content_id)
            tags = (
                dict(zip(CATEGORIES, [json.loads(str(text)) for text in (objects, scenes, attributes)], strict=True))
                if new
                else None
            )
            self._put_images([(file_id, folder_id, page, ours, tags)], mean)
            self.db.execute(
                "UPDATE image SET metadata = ifnull(metadata, ?), thumbnail_url = ifnull(thumbnail_url, ?),"
                " indexed_at = ? WHERE file_id = ? AND page = ?",
                (metadata, url, indexed_at, file_id, page),
            )
            self.contents_taken += new
        self._drop_other_pages({file_id: {page for _, page, _ in images}})
        for (etag,) in self.other.db.execute("SELECT etag FROM validator WHERE file_id = ?", (file["id"],)):
            self.db.execute("INSERT OR REPLACE INTO validator VALUES(?, ?)", (file_id, etag))
        self.files_taken += 1
        self.images += len(images)

    def _take_content(self, theirs: int) -> tuple[int, bool]:
        """The id of a content here, with all that either library has of it, and whether its embedding was taken."""
        row = self.other.db.execute(
            "SELECT hash, page, dpi, width, height, measures, processing_time_ms FROM content WHERE id = ?", (theirs,)
        ).fetchall()[0]
        stored = self.db.execute(
            "INSERT INTO content(hash, page, dpi, width, height, measures, processing_time_ms)"
            " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(hash, page, dpi) DO UPDATE SET width = width RETURNING id",
            row,
        )
        ours = int(stored.get)
        new = self.db.execute("SELECT 1 FROM embedding WHERE content_id = ?", (ours,)).get is None
        for table in _BESIDE:
            for beside in self.other.db.execute(f"SELECT * FROM {table} WHERE content_id = ?", (theirs,)):
                marks = ", ".join("?" * len(beside))
                self.db.execute(f"INSERT OR IGNORE INTO {table} VALUES({marks})", (ours, *beside[1:]))
        return ours, new
