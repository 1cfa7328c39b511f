"""What the gallery sends and takes besides pages: small pictures, files, styles, dropped pictures, selections."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from pictocli.display import printable
from pictocli.errors import DamagedError, NotFoundError, PictoError, TakenError, UnreadableError, ValidationError
from pictocli.gallery import files
from pictocli.gallery.asked import Asked
from pictocli.gallery.dropped import LARGEST
from pictocli.gallery.pages import Pages

__all__ = ["Sending", "id_of", "told"]

_MOST = 10_000  # images in a selection
_BODY = 1_000_000  # bytes of a selection
_STATUS = ((NotFoundError, 404), (ValidationError, 400), (UnreadableError, 404), (TakenError, 503))
_log = logging.getLogger(__name__)
S = TypeVar("S", bound="Sending")
_Endpoint = Callable[[S, Request], Awaitable[Response]]


def told(endpoint: _Endpoint[S]) -> _Endpoint[S]:
    """An endpoint whose errors become pages: one sentence and its remedy, never a traceback."""

    @functools.wraps(endpoint)
    async def answered(self: S, request: Request) -> Response:
        try:
            return await endpoint(self, request)
        except PictoError as exc:
            return self.pages.failed(exc, next((code for kind, code in _STATUS if isinstance(exc, kind)), 500))
        except (HTTPException, ClientDisconnect):
            raise
        except Exception as exc:
            _log.error("unexpected %s at %s: %s", type(exc).__name__, request.url.path, exc)
            _log.debug("", exc_info=exc)
            fault = PictoError(f"unexpected {type(exc).__name__}", "this is a fault of picto's: please report it")
            return self.pages.failed(fault, 500)

    return answered


class Sending:
    """Answers requests for anything but pages."""

    def __init__(self, asked: Asked, pages: Pages) -> None:
        self.asked, self.pages = asked, pages

    # -- pictures and files -----------------------------------------------------------------------------------------

    @told
    async def thumbnail(self, request: Request) -> Response:
        """A small picture; a grey one where none can be made."""
        image_id, width = id_of(request), request.query_params.get("w", "480")
        if not re.fullmatch("[0-9]{1,5}", width, re.ASCII):
            raise ValidationError("that is no width", "w=480 is 480 px")
        try:
            found = await self.asked.pictures.ask(lambda library: files.small(library, image_id, int(width)))
        except (DamagedError, UnreadableError):
            return Response(files.PLACEHOLDER, 404, {"cache-control": "no-store"}, "image/png")
        kept = "private, max-age=31536000, immutable" if "v" in request.query_params else "private, no-cache"
        headers = {"etag": found.etag, "cache-control": kept}
        if found.etag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(found.jpeg, headers=headers, media_type="image/jpeg")

    @told
    async def original(self, request: Request) -> Response:
        """A file of the index, to be saved."""
        image_id = id_of(request)
        found = await self.asked.pictures.ask(lambda library: files.original(library.show(image_id)))
        return FileResponse(found.path, filename=found.name, media_type="application/octet-stream")

    @told
    async def picture(self, request: Request) -> Response:
        """A dropped picture, made small."""
        return Response(self.asked.dropped.get(request.path_params["key"]).jpeg, media_type="image/jpeg")

    @told
    async def static(self, request: Request) -> Response:
        """A style or a script."""
        found = self.pages.file(request.path_params["name"], request.query_params.get("v"))
        if found is None:
            raise HTTPException(404)
        return found

    async def favicon(self, _: Request) -> Response:
        """There is none at this address; pages name theirs."""
        return Response(status_code=204)

    async def status(self, _: Request) -> Response:
        """Whether words can be searched for at once."""
        state, message = self.asked.model
        return JSONResponse({"model": state, "message": message or None})

    # -- what is sent -----------------------------------------------------------------------------------------------

    async def look(self, request: Request) -> Response:
        """Take a picture to find more like it."""
        try:
            async with self.asked.looks:  # each holds its file and its pixels
                data = await _body(request, LARGEST)
                if not await self.asked.images():
                    raise TakenError("this library holds no images yet", "picto index FOLDER fills it")
                key = await run_in_threadpool(self.asked.dropped.put, data)
        except PictoError as exc:
            code = {UnreadableError: 415, ValidationError: 413, TakenError: 409}.get(type(exc), 500)
            return JSONResponse({"error": str(exc), "hint": exc.hint}, code)
        return JSONResponse({"like": key, "url": f"/?like={key}"})

    @told
    async def paths(self, request: Request) -> Response:
        """The full paths of images, to be pasted; apart from them, spelled out, those that a shell would not take."""
        ids = _ids(await _body(request, _BODY))
        images = await self.asked.pictures.ask(lambda library: files.named(library, ids))
        found = [(image.path, files.unpasteable(image.path)) for image in images]
        left = [{"path": printable(path), "has": odd} for path, odd in found if odd]
        return JSONResponse({"paths": [path for path, odd in found if not odd], "left_out": left})

    @told
    async def download(self, request: Request) -> Response:
        """The files of images as a zip."""
        ids = _ids(await _body(request, _BODY))
        images = await self.asked.pictures.ask(lambda library: files.named(library, ids))
        headers = {"content-disposition": 'attachment; filename="picto.zip"', "cache-control": "no-store"}
        return StreamingResponse(files.zipped(images), headers=headers, media_type="application/zip")


def id_of(request: Request) -> int:
    """The id in the address. Raises NotFoundError for what cannot be one."""
    text = request.path_params["id"]
    if not re.fullmatch("[0-9]{1,18}", text, re.ASCII):
        raise NotFoundError("there is no such page")
    return int(text)


async def _body(request: Request, most: int) -> bytes:
    """What was sent. Raises ValidationError when it is longer than `most` bytes."""
    found = bytearray()
    async for block in request.stream():
        found += block
        if len(found) > most:
            raise ValidationError(f"that is larger than {most // 1_000_000} MB", "send something smaller")
    return bytes(found)


def _ids(body: bytes) -> list[int]:
    """The images of a selection, as JSON or as a form sends them. Raises ValidationError."""
    hint = 'send {"ids": [1, 2]} or ids=1,2'
    try:
        text = body.decode("ascii")
        if text.lstrip().startswith("{"):
            ids = json.loads(text)["ids"]
            if not isinstance(ids, list) or any(type(each) is not int for each in ids):  # True is an int, too
                raise ValueError
        else:
            ids = [int(each) for each in ",".join(parse_qs(text)["ids"]).split(",")]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise ValidationError("that is no selection of images", hint) from exc
    ids = list(dict.fromkeys(ids))
    if not 0 < len(ids) <= _MOST:
        raise ValidationError(f"a selection is of 1 to {_MOST:,} images", hint)
    return ids
