"""A batch of `picto watch`: what a trail means is done in the library, and told when all of it is.

One that ends in the middle is done again by the next. What of it was stored by then is told all the same, and once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from pictocli.brain import Model, choose
from pictocli.candidates import IndexOptions, Target
from pictocli.databases import claimed, shown
from pictocli.errors import StoreError, TakenError
from pictocli.filling import run
from pictocli.forgetting import Forgetting, Known
from pictocli.keeping import is_gone, too_many
from pictocli.protocols import Progress
from pictocli.reports import Change
from pictocli.trail import Trail

__all__ = ["QUIET", "Batch"]

QUIET = 0.4  # s without a write after which a file counts as whole; a copy over a network pauses for less
_MOST = 500  # files: a line now and then, and others get their turn with the library
_FEW = 20  # files that may go at once whatever their share: a small folder is emptied by hand

_Holding = tuple[Known, list[tuple[int, int, int]]]  # a file, and the id, page and content id of each of its images


class Batch:
    """Does the work of a trail, a batch at a time. stop: set when one was interrupted."""

    def __init__(
        self, path: str, trail: Trail, model: Model, options: IndexOptions, progress: Progress, stop: threading.Event
    ) -> None:
        self.path, self.trail, self.model, self.options, self.progress = path, trail, model, options, progress
        self.stop = stop
        self._changes: list[Change] = []  # that are still to be told
        # Of a batch that ended in the middle: what the library had before, its last file, and what was to be forgotten.
        self._before: dict[str, _Holding | None] = {}
        self._last = 0
        self._going: dict[str, list[Change]] = {}

    def told(self) -> list[Change]:
        """What has changed since this was last asked for."""
        changes, self._changes = self._changes, []
        return changes

    def run(self, store: Forgetting, now: float) -> None:
        """Do what is due now. What could not be done is kept for the next time, whatever is raised."""
        self._follow_model(store)
        self.trail.sort_out(store, now, QUIET)
        targets = self.trail.next_files(_MOST)
        if targets:
            before = self._before
            try:
                self._changes += self._indexed(store, targets)
            except BaseException as exc:
                self.trail.put_back(targets)
                if isinstance(exc, TakenError):  # by somebody who may do the same: that is not ours to tell
                    self._before = before
                raise
        if not self.trail.files and self.trail.gone and self.trail.deletions_over(now, QUIET):
            paths = self.trail.take_gone()
            try:
                self._changes += self._forgotten(store, paths)
            except BaseException:
                self.trail.gone.update(paths)
                raise

    def _follow_model(self, store: Forgetting) -> None:
        """Go on with the library's model, which picto reembed may have changed."""
        spec = store.spec()
        if spec is None:
            raise StoreError(
                f"{shown(self.path)} no longer says which model its embeddings are of", "picto info --check"
            )
        if (spec.id, spec.revision) != (self.model.spec.id, self.model.spec.revision):
            self.progress.say(f"the library holds embeddings of {spec.id} now")
            self.model = choose("auto", spec, self.model.device, self.progress)

    def _indexed(self, store: Forgetting, targets: Sequence[Target]) -> list[Change]:
        """Index these files; what that changed."""
        last = self._last if self._before else store.last_file()
        self._before, self._last = _held(store, targets) | self._before, last
        report = run(store.db, self.path, targets, self.model, self.options, self.progress)
        changes = []
        for path, holding in _held(store, targets).items():
            old = self._before.pop(path)
            if holding is None:
                continue
            known, images = holding
            contents = [content_id for _, _, content_id in old[1]] if old else []
            if contents == [content_id for _, _, content_id in images]:
                continue
            event = "changed" if contents else "moved" if known.file_id <= last and old is None else "new"
            changes += [Change(event=event, path=_paged(path, page), image_id=i) for i, page, _ in images]
        for skipped in report.skipped:
            if skipped.reason != "not an image":
                changes.append(Change(event="skipped", path=skipped.path, reason=skipped.reason))
        if report.interrupted:
            self.stop.set()
        return changes

    def _forgotten(self, store: Forgetting, paths: Sequence[str]) -> list[Change]:
        """Forget what is gone, unless it is so much that a disk may be missing."""
        gone: dict[str, Known] = {}
        for path in paths:
            try:
                if not is_gone(path):
                    continue
            except OSError:
                continue
            known = store.lookup(path)
            if known is not None:
                gone[path] = known
            else:
                self._changes += self._going.pop(path, [])
        with_images = sum(known.images > 0 for known in gone.values())
        everything = store.count_known(list(self.trail.roots))
        if with_images > _FEW and too_many(with_images, everything):
            self.progress.say(
                f"{with_images:,} of {everything:,} files went at once, and stay in the library: picto prune --yes"
                " forgets them"
            )
            return []
        ids = [known.file_id for known in gone.values()]
        images = store.images_of(ids)
        self._going = {
            path: [Change(event="gone", path=_paged(path, page), image_id=image_id) for image_id, page, _ in of]
            for path, known in gone.items()
            if (of := images.get(known.file_id))
        }
        with claimed(self.path, self.trail.roots):
            store.require_roots(self.trail.roots)
            for _ in store.forget(ids):
                pass
            store.drop_empty_folders(list(self.trail.roots))
        going, self._going = self._going, {}
        return [change for each in going.values() for change in each]


def _paged(path: str, page: int) -> str:
    return f"{path}#page={page}" if page else path


def _held(store: Forgetting, targets: Sequence[Target]) -> dict[str, _Holding | None]:
    """Full path → what the library has of each of these files; None of one that it does not know."""
    found: dict[str, Known | None] = {}
    for target in targets:
        assert target.root_id is not None
        folder_id = store.folder_id(target.root_id, target.folder, create=False)
        for name in sorted(target.only or ()):
            path = os.path.join(target.root, target.folder, name)
            found[path] = None if folder_id is None else store.file_at(folder_id, name)
    images = store.images_of([known.file_id for known in found.values() if known])
    return {path: known and (known, images.get(known.file_id, [])) for path, known in found.items()}
