"""`picto watch`: follows folders, and keeps the library as they are, one batch at a time.

What is told by the operating system is only where to look: what lies there then, and what the library knows, say what
is to be done. So nothing is lost when a folder is told and its files are not, or when more happens than can be told.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import watchfiles

from pictocli.brain import Model, choose, taxonomy_of
from pictocli.candidates import IndexOptions, Target
from pictocli.databases import claimed, connect, is_file, shown, translated
from pictocli.errors import NotFoundError, PictoError, StoreError, TakenError, ValidationError, check_range
from pictocli.filling import index, index_with, run
from pictocli.forgetting import Forgetting, Known
from pictocli.keeping import is_gone, too_many
from pictocli.opening import held_model
from pictocli.protocols import Progress
from pictocli.records import IndexReport
from pictocli.reports import Change
from pictocli.sources import Sources
from pictocli.trail import Presence, Trail
from pictocli.workers import Workers

if TYPE_CHECKING:
    from pictocli.settings import IndexSettings

__all__ = ["watch"]

QUIET = 0.4  # s without a write after which a file counts as whole; a copy over a network pauses for less
_STEP, _DEBOUNCE, _WAKE = 50, 250, 200  # ms: of quiet that end a group of events, its longest, and between looks
_BATCH = 500  # files: a line now and then, and others get their turn with the library
_MANY = 4096  # events at once, a quarter of what inotify queues: some may have been lost, so the roots are walked
_FEW = 20  # files that may go at once whatever their share: a small folder is emptied by hand
# What editors, browsers and sync programs call a file that they have not finished, or its backup.
TEMPORARY = ("*~", "*.tmp", "*.temp", "*.part", "*.partial", "*.crdownload", "*.download", "*.swp", "*.swx", "4913")


def watch(
    path: str, paths: Sequence[str], progress: Progress, *, caught_up: Callable[[IndexReport], None],
    stop: threading.Event | None = None, poll: float | None = None, **options: Unpack[IndexSettings],
) -> Iterator[list[Change]]:  # fmt: skip
    """Index `paths` into the database at `path`, then follow them; see `Library.watch`."""
    check_range("poll", 1 if poll is None else poll, 0.1, 86_400)
    for each in paths:
        if not os.path.isdir(each):
            if os.path.exists(each):
                raise ValidationError(f"{each} is a file, and folders are watched", "name its folder, and --include")
            raise NotFoundError(f"no such folder: {each}")
    made: list[_Watcher] = []

    def catch_up(
        path: str, sources: Sources, dataset: str | None, name: str, device: str, options: IndexOptions,
        progress: Progress,
    ) -> IndexReport:  # fmt: skip
        model = choose(name, held_model(path), device, progress)
        rules = replace(options.rules, exclude=(*options.rules.exclude, *TEMPORARY))
        options = replace(options, rules=rules)
        report = index_with(path, sources, dataset, model, options, progress)
        if not report.interrupted:
            made.append(_Watcher(path, paths, model, options, progress, stop or threading.Event(), poll))
            made[0].warm_up()
        return report

    report = index(path, paths, progress, follow_up=catch_up, **options)
    caught_up(report)
    try:
        for watcher in made:
            yield from watcher.batches()
    except KeyboardInterrupt:  # the way to end it
        return


class _Watcher:
    """Follows roots of one library with one model, which is loaded once."""

    def __init__(
        self, path: str, paths: Sequence[str], model: Model, options: IndexOptions, progress: Progress,
        stop: threading.Event, poll: float | None,
    ) -> None:  # fmt: skip
        self.path, self.model, self.progress, self.stop, self.poll = path, model, progress, stop, poll
        self.options = replace(options, force=False, named=None)  # everything again: the first time only
        with translated(path):
            db = connect(path, readonly=True)
            named = {os.path.realpath(each) for each in paths}
            self.roots = {root_id: root for root_id, root in Forgetting(db).roots() if root in named}
            db.close()
        self.presence = Presence(list(self.roots.values()))
        self.trail = Trail(self.roots, self.options, os.path.realpath(path) if is_file(path) else path)
        self._not_before, self._told = 0.0, ""

    def warm_up(self) -> None:
        """Load what the first batch would wait for: the model, the labels' prompts, a process that decodes."""
        with translated(self.path):
            db = connect(self.path)
            store = Forgetting(db)
            self.model.tagger(store, taxonomy_of(store))
            db.tidy()
        _ = self.model.warm_embedder
        if self.options.workers:
            workers = Workers(1)
            workers.result(workers.submit(os.getpid))
            workers.close()

    def batches(self) -> Iterator[list[Change]]:
        """The changes of each batch, when there are any, until `stop` is set."""
        while not self.stop.is_set():
            here = self._here()
            if not here:
                self.stop.wait(1)
                continue
            for root in here:
                self.trail.note(root)  # what happened before it was watched
            for seen in self._events(here):
                self._note(seen, here)
                changes = self._due()
                if changes:
                    yield changes
                if self._here() != here:
                    break

    def _events(self, roots: Sequence[str]) -> Iterator[set[str]]:
        """The paths that were changed since the last look, an empty set when none was."""
        polling: dict[str, Any] = {}
        if self.poll is not None:
            polling = {"force_polling": True, "poll_delay_ms": int(self.poll * 1000)}
        try:
            for changes in watchfiles.watch(
                *roots, watch_filter=None, debounce=_DEBOUNCE, step=_STEP, rust_timeout=_WAKE, yield_on_timeout=True,
                stop_event=self.stop, ignore_permission_denied=True, **polling,
            ):  # fmt: skip
                yield {path for _, path in changes}
        except FileNotFoundError:
            return  # it went away as it was to be watched; `_here` says so
        except (OSError, RuntimeError) as exc:
            if "decode path" in str(exc):  # a name that is no UTF-8 ends it: the walk at the next start finds the file
                self.stop.wait(1)
                return
            hint = "--poll 5 needs no such watches; a larger fs.inotify.max_user_watches allows more"
            raise PictoError(f"cannot watch {', '.join(roots)}: {exc}", hint) from exc

    def _here(self) -> list[str]:
        """The roots that are there; of the others it is said once that they are waited for, and their rows stay."""
        went, came = self.presence.look()
        for root in went:
            self.trail.drop(root)
            self.progress.say(f"{root} is not there: waiting for it to come back")
        for root in came:
            self.progress.say(f"{root} is back")
        return self.presence.here

    def _note(self, seen: set[str], here: Sequence[str]) -> None:
        wait = 0.0 if self.poll is None else self.poll  # until the next look says whether it is still written to
        for path in seen:
            self.trail.note(path, wait)
        if len(seen) > _MANY:
            for root in here:
                self.trail.note(root, wait)

    # -- a batch ----------------------------------------------------------------------------------------------------

    def _due(self) -> list[Change]:
        """Do what is due, if anything is; what became of it."""
        now = time.monotonic()
        if now < self._not_before or not self.trail.ripe(now, QUIET):
            return []
        changes: list[Change] = []
        try:
            with translated(self.path):
                db = connect(self.path)
                try:
                    changes = self._batch(Forgetting(db), now)
                finally:
                    db.tidy()
        except TakenError as exc:
            if str(exc) != self._told:
                self.progress.say(f"{exc}: waiting for it")
            self._told, self._not_before = str(exc), now + 1
            return []
        self._told = ""
        return changes

    def _batch(self, store: Forgetting, now: float) -> list[Change]:
        self._follow_model(store)
        self.trail.sort_out(store, now, QUIET)
        targets = self.trail.next_files(_BATCH)
        changes: list[Change] = []
        if targets:
            try:
                changes = self._indexed(store, targets)
            except BaseException:
                self.trail.put_back(targets)
                raise
        if not self.trail.files and self.trail.gone and self.trail.deletions_over(now, QUIET):
            changes += self._forgotten(store)
        return changes

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
        before, last = _held(store, targets), store.last_file()
        report = run(store.db, self.path, targets, self.model, self.options, self.progress)
        changes = []
        for path, (known, images) in _held(store, targets).items():
            old = before.get(path)
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

    def _forgotten(self, store: Forgetting) -> list[Change]:
        """Forget what is gone, unless it is so much that a disk may be missing."""
        gone: dict[str, Known] = {}
        for path in self.trail.take_gone():
            try:
                known = store.lookup(path) if is_gone(path) else None
            except OSError:
                continue
            if known is not None:
                gone[path] = known
        with_images = sum(known.images > 0 for known in gone.values())
        everything = store.count_known(list(self.roots))
        if with_images > _FEW and too_many(with_images, everything):
            self.progress.say(
                f"{with_images:,} of {everything:,} files went at once, and stay in the library: picto prune --yes"
                " forgets them"
            )
            return []
        ids = [known.file_id for known in gone.values()]
        images = store.images_of(ids)
        changes = [
            Change(event="gone", path=_paged(path, page), image_id=image_id)
            for path, known in gone.items()
            for image_id, page, _ in images.get(known.file_id, [])
        ]
        try:
            with claimed(self.path, self.roots):
                store.require_roots(self.roots)
                for _ in store.forget(ids):
                    pass
                store.drop_empty_folders(list(self.roots))
        except TakenError:
            self.trail.gone.update(gone)
            raise
        return changes


def _held(store: Forgetting, targets: Sequence[Target]) -> dict[str, tuple[Known, list[tuple[int, int, int]]]]:
    """Full path → what the library has of each of these files that it knows."""
    found: dict[str, Known] = {}
    for target in targets:
        assert target.root_id is not None
        folder_id = store.folder_id(target.root_id, target.folder, create=False)
        for name in sorted(target.only or ()):
            known = None if folder_id is None else store.file_at(folder_id, name)
            if known is not None:
                found[os.path.join(target.root, target.folder, name)] = known
    images = store.images_of([known.file_id for known in found.values()])
    return {path: (known, images.get(known.file_id, [])) for path, known in found.items()}


def _paged(path: str, page: int) -> str:
    return f"{path}#page={page}" if page else path
