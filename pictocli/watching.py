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
from pictocli.candidates import IndexOptions
from pictocli.databases import connect, is_file, shown, translated
from pictocli.errors import AwayError, NotFoundError, PictoError, TakenError, ValidationError, check_range
from pictocli.filling import index, index_with
from pictocli.following import QUIET, Batch
from pictocli.forgetting import Forgetting
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

_STEP, _DEBOUNCE, _WAKE = 50, 250, 200  # ms: of quiet that end a group of events, its longest, and between looks
_MANY = 4096  # events at once, a quarter of what inotify queues: some may have been lost, so the roots are walked
_LONGEST = 30  # s between two looks for a server that is away
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
        self.batch = Batch(path, self.trail, model, self.options, progress, self.stop)
        self._not_before, self._pause, self._told, self._away = 0.0, 0.0, "", False

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
        try:
            with translated(self.path):
                db = connect(self.path)
                if self._away:
                    self.progress.say(f"the server of {shown(self.path)} is back")
                self._away = False
                try:
                    self.batch.run(Forgetting(db), now)
                finally:
                    db.tidy()
        except TakenError as exc:
            if str(exc) != self._told:
                self.progress.say(f"{exc}: waiting for it")
            self._told, self._not_before = str(exc), now + 1
            return []
        except AwayError as exc:
            if _stopped(exc):
                raise
            self._wait_for_server(exc)
            return []
        self._told, self._pause = "", 0.0
        return self.batch.told()

    def _wait_for_server(self, exc: AwayError) -> None:
        """Try again after a while, longer each time, and look for all that happened until then."""
        if not self._away:
            self.progress.say(f"{exc}: waiting for it to come back")
        self._away, self._pause = True, min(2 * self._pause or 1, _LONGEST)
        self._not_before = time.monotonic() + self._pause
        for root in self.presence.here:
            self.trail.note(root)


def _stopped(exc: BaseException | None) -> bool:
    """Whether somebody asked to stop while this error came about: who waited on would not have heard it."""
    while exc is not None and not isinstance(exc, KeyboardInterrupt):
        exc = exc.__cause__ or exc.__context__
    return exc is not None
