"""The library's answers to what pages ask: lists, places among them, counts. Everything slow is asked in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from pictocli.browsed import FACETS, Browsed, Facets
from pictocli.databases import identity, is_file
from pictocli.errors import NotFoundError, StoreError
from pictocli.gallery.dropped import Dropped
from pictocli.gallery.lanes import Asker, Lane
from pictocli.gallery.listing import STALE, Listing, Neighbours, beside, best, browsed, cut, ranks
from pictocli.gallery.state import State
from pictocli.library import MAX_LIMIT, open_library
from pictocli.records import CATEGORIES, Answer, ImageDetail, Scope
from pictocli.references import ImageLike

__all__ = ["COUNTING", "Asked"]

COUNTING = 0.2  # seconds that counting may take
_KEPT, _LONG = 16, 30.0  # rankings, and seconds for which one is as good as new: all its pages are cut from one
_OF_ALL = "Counted in the whole library, not among the best matches."
_LOOKS, _CHECKS = 2, 8  # pictures that are taken at a time; pages that wait for disks
_FIELDS = {"folders": ("dataset", "folder"), "months": ("after", "before"), **{each: (each,) for each in CATEGORIES}}


class Asked:
    """One library, asked by many pages at once. Raises StoreError when there is none at `path`."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        first = open_library(path)
        self.path = first.path
        self.total = first.browse(
            limit=1
        ).total  # reads all images, so that no page waits for it; says what is wrong with the file
        self._asker = Asker(self.path)
        self.pages, self.counts = Lane([first]), Lane([open_library(self.path)])
        self.asks, self.pictures = Lane([self._asker]), Lane([open_library(self.path) for _ in range(_pictures())])
        self.looks, self.checks = asyncio.Semaphore(_LOOKS), asyncio.Semaphore(_CHECKS)
        self.dropped = Dropped(secrets.token_bytes(16))
        self._answers: OrderedDict[State, tuple[object, float, Answer]] = OrderedDict()
        self._counting: asyncio.Task[Facets] | None = None

    async def begin(self) -> None:
        """Load the model, and read who carries which tags, beside the first pages."""
        threading.Thread(target=self._asker.load, daemon=True).start()
        self._counting = asyncio.create_task(self.counts.ask(lambda library: library.facets(facets=CATEGORIES)))
        self._counting.add_done_callback(lambda task: task.cancelled() or task.exception())  # the next page tells of it

    async def end(self) -> None:
        """Close what is open."""
        for lane in (self.pages, self.counts, self.asks, self.pictures):
            lane.close()

    @property
    def key(self) -> str:
        """Another one for another library, which one server's pages may have at the address of the last one's."""
        path = os.path.realpath(self.path) if is_file(self.path) else self.path
        named = f"{path} {identity(self.path)}".encode("utf-8", "backslashreplace")
        return hashlib.sha256(named).hexdigest()[:12]

    @property
    def model(self) -> tuple[str, str]:
        """Whether words can be embedded: "loading", "ready" or "failed", and why not."""
        return self._asker.state, self._asker.message

    @property
    def ready(self) -> bool:
        """Whether counting would take no time."""
        return self._counting is not None and self._counting.done() and not self.counts.busy

    # -- lists ------------------------------------------------------------------------------------------------------

    async def images(self) -> int:
        """Of the whole library."""
        return (await self.pages.ask(lambda library: library.browse(limit=1, stale=STALE))).total

    async def listing(self, state: State) -> Listing:
        """The images of a page. Raises as `Library`'s questions do."""
        if ranks(state):
            return cut(await self.answer(state), state.at)
        page = await self.pages.ask(lambda library: browsed(library, state))
        return Listing(
            results=page.results, cursors=page.cursors, at=page.at, total=page.total, previous=page.previous,
            next=page.next,
        )  # fmt: skip

    async def answer(self, state: State) -> Answer:
        """A ranking: the last one that was asked for like this, if it is not old and of the file that is there now."""
        key, now = state.but(sort="newest" if state.ranked else state.sort), time.monotonic()
        file = await asyncio.to_thread(identity, self.path)  # before the question: what it answers is no older
        held = self._answers.get(key)
        if held is None or held[0] != file or now - held[1] > _LONG:
            like = self._like(state)
            try:
                held = (file, now, await self.asks.ask(lambda library: best(library, state, like)))
            except StoreError:
                if await self.images():
                    raise
                held = (file, now - _LONG, Answer(results=[], scope=Scope(), considered=0))
            self._answers[key] = held
        self._answers.move_to_end(key)
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return held[2]

    def _like(self, state: State) -> ImageLike | None:
        if state.like.startswith("d"):
            return self.dropped.get(state.like).data
        return int(state.like) if state.like else None

    # -- one image --------------------------------------------------------------------------------------------------

    async def detail(self, image_id: int) -> ImageDetail:
        """Everything known of an image. Raises NotFoundError."""
        return await self.pictures.ask(lambda library: library.show(image_id))

    async def document(self, image_id: int) -> Browsed:
        """The pages around it."""
        return await self.pictures.ask(lambda library: library.pages(image_id))

    async def place(self, state: State, image_id: int) -> Neighbours | None:
        """Where it is among the results; None when it is not."""
        try:
            if ranks(state):
                return beside(await self.answer(state), image_id)
            around = await self.pages.ask(lambda library: browsed(library, state, around=image_id, limit=3))
        except NotFoundError:
            return None
        at = next((at for at, each in enumerate(around.results) if each.image_id == image_id), None)
        if at is None:
            return None
        return Neighbours(
            position=around.at + at, total=around.total, cursor=around.cursors[at],
            previous=around.results[at - 1] if at else None,
            next=around.results[at + 1] if at + 1 < len(around.results) else None,
        )  # fmt: skip

    # -- counts -----------------------------------------------------------------------------------------------------

    async def facets(self, state: State) -> tuple[Facets, str]:
        """The counts beside a list, and what is to be said of them.

        They are those of choosing the label, folder or year: where a picture is asked for and all that are near enough
        are known, of these; else of all images.
        """
        if not ranks(state):
            return await self._counted(state), ""
        answer = await self.answer(state)
        if not state.like or state.q or len(answer.results) >= MAX_LIMIT:
            return await self._counted(state), _OF_ALL if len(answer.results) >= MAX_LIMIT else ""
        counted = {facet: await self._near(state, facet, answer) for facet in FACETS}
        tags = {category: counted[category].tags[category] for category in CATEGORIES if counted[category].tags}
        return Facets(
            total=len(answer.results), tags=tags, folders=counted["folders"].folders, months=counted["months"].months
        ), ""

    async def _near(self, state: State, facet: str, answer: Answer) -> Facets:
        """One facet among the images near enough to a picture, whatever is asked of the facet itself."""
        wider = state.without(*_FIELDS[facet])
        found = answer if wider == state.but() else await self.answer(wider)
        if len(found.results) >= MAX_LIMIT:
            return await self._counted(state, [facet])
        ids = [each.image_id for each in found.results]
        return await self.counts.ask(lambda library: library.facets(among=ids, facets=[facet], stale=STALE))

    async def _counted(self, state: State, facets: Sequence[str] = FACETS) -> Facets:
        return await self.counts.ask(
            lambda library: library.facets(facets=facets, seconds=COUNTING, stale=STALE, **state.asked)
        )


def _pictures() -> int:
    """How many small pictures are looked for at a time: they are made one by one, the stored ones are read."""
    return max(2, min(4, os.cpu_count() or 2))
