"""The gallery's addresses, and what is answered at each."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pictocli.databases import shown
from pictocli.display import printable
from pictocli.errors import PictoError
from pictocli.gallery import counts, detail, words
from pictocli.gallery.asked import Asked
from pictocli.gallery.cells import cell, name_of, ratio, thumbnail
from pictocli.gallery.guard import Guard
from pictocli.gallery.listing import Listing, ranks
from pictocli.gallery.pages import Pages
from pictocli.gallery.sending import Sending, id_of, told
from pictocli.gallery.state import State, parsed

__all__ = ["Site", "site"]


def site(path: str | os.PathLike[str] | None, hosts: Collection[str], token: str | None) -> Guard:
    """The application, as `pictocli.gallery.app` describes it."""
    asked = Asked(path)
    return Site(asked, Pages(asked.key)).application(hosts, token or secrets.token_urlsafe(32))


class Site(Sending):
    """Answers requests."""

    def application(self, hosts: Collection[str], token: str) -> Guard:
        """All of it, behind its guard."""

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await self.asked.begin()
            yield
            await self.asked.end()

        gets = {
            "/": self.page, "/page": self.cells, "/facets": self.facets, "/image/{id}": self.image,
            "/image/{id}/panel": self.panel, "/thumbnail/{id}": self.thumbnail, "/original/{id}": self.original,
            "/dropped/{key}": self.picture, "/static/{name}": self.static, "/status": self.status,
            "/favicon.ico": self.favicon,
        }  # fmt: skip
        posts = {"/look": self.look, "/paths": self.paths, "/download": self.download}
        routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in gets.items()]
        routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()]
        made = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: self._refused})
        made.router.redirect_slashes = False
        return Guard(made, hosts, token, self.asked.total, self.pages.refused)

    async def _refused(self, _: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        words = {404: ("there is no such page", None), 405: ("that cannot be done here", None)}
        message, hint = words.get(exc.status_code, (exc.detail, None))
        return self.pages.failed(PictoError(message, hint), exc.status_code)

    # -- pages ------------------------------------------------------------------------------------------------------

    @told
    async def page(self, request: Request) -> Response:
        """The page of a list."""
        state = parsed(request.scope["query_string"])
        return await self._page(state, await self._counted(state) if self.asked.ready and not state.ranked else None)

    @told
    async def cells(self, request: Request) -> Response:
        """The images of a page alone."""
        state = parsed(request.scope["query_string"])
        return self.pages.answer("_cells.html", **await self._cells(state, await self.asked.listing(state)))

    @told
    async def facets(self, request: Request) -> Response:
        """The counts beside a list; with them the whole page, for browsers without JavaScript."""
        state = parsed(request.scope["query_string"])
        counted = await self._counted(state)
        if "x-fragment" in request.headers:
            return self.pages.answer("_facets.html", state=state, facets=counted)
        return await self._page(state, counted)

    @told
    async def image(self, request: Request) -> Response:
        """One image."""
        template = "_detail.html" if "x-fragment" in request.headers else "detail.html"
        return await self._image(request, template)

    @told
    async def panel(self, request: Request) -> Response:
        """One image, for a part of a page."""
        return await self._image(request, "_detail.html")

    async def _page(self, state: State, counted: dict[str, Any] | None) -> Response:
        reference = await self._reference(state)
        listing, images = await self.asked.listing(state), await self.asked.images()
        return self.pages.answer(
            "page.html", state=state, title=words.title(state), summary=words.summary(state, listing, images),
            total=listing.total, chips=words.chips(state), clear=words.clear(state), reference=reference,
            empty=words.nothing(state, listing, images), facets=counted, facets_url=f"/facets{state.query()}",
            start="/" + state.but().query() if listing.at else None, sorts=words.sorts(state),
            library=printable(os.path.basename(shown(self.asked.path))), **await self._cells(state, listing),
        )  # fmt: skip

    async def _counted(self, state: State) -> dict[str, Any]:
        found, note = await self.asked.facets(state)
        answer = await self.asked.answer(state) if state.ranked else None
        return counts.shown(state, found, answer, note)

    async def _reference(self, state: State) -> dict[str, Any] | None:
        """The picture that images are to be like."""
        if not state.like:
            return None
        url = "/" + state.without("like", "threshold").query()
        if state.like.startswith("d"):
            picture = self.asked.dropped.get(state.like)
            return {
                "id": None, "name": "Your picture", "thumbnail": f"/dropped/{state.like}",
                "ratio": ratio(picture.width, picture.height),
                "href": None, "url": url,
            }  # fmt: skip
        image = await self.asked.detail(int(state.like))
        return {
            "id": image.image_id, "name": name_of(image), "thumbnail": thumbnail(image, 480),
            "ratio": ratio(image.width, image.height),
            "href": f"/image/{image.image_id}{state.but().query()}", "url": url,
        }  # fmt: skip

    async def _image(self, request: Request, template: str) -> Response:
        state, image_id = parsed(request.scope["query_string"]), id_of(request)
        image = await self.asked.detail(image_id)
        reference = await self.asked.detail(int(state.like)) if state.like.isdigit() else None
        answer = await self.asked.answer(state) if ranks(state) else None
        place, document = await self.asked.place(state, image_id), await self.asked.document(image_id)
        seen = await self._checked(lambda: detail.shown(image, state, place, document, answer, reference))
        return self.pages.answer(template, state=state, image=seen)

    async def _cells(self, state: State, listing: Listing) -> dict[str, Any]:
        return await self._checked(lambda: _cells(state, listing))

    async def _checked(self, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What looks whether files are there, in a thread: a disk that sleeps keeps nothing else waiting."""
        async with self.asked.checks:
            return await run_in_threadpool(made)


def _cells(state: State, listing: Listing) -> dict[str, Any]:
    def links(name: str, cursor: str | None) -> dict[str, str | None]:
        query = None if cursor is None else state.but(at=cursor).query()
        return {
            name: None if query is None else f"/{query}",
            f"{name}_page": None if query is None else f"/page{query}",
        }

    shown = [cell(image, cursor, state) for image, cursor in zip(listing.results, listing.cursors, strict=True)]
    return {"cells": shown, **links("next", listing.next), **links("previous", listing.previous)}
