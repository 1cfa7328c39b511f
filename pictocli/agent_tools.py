"""The tools that agents have: each asks a restricted library one question, and tells the answer as JSON.

What a tool returns is a plain dict, and the ids of the images that it tells of, in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pictocli.agent_answers import about, described, listed, vocabulary
from pictocli.agent_questions import Filtered, Info, Question, Search, Show, Similar, Tags, Taxonomy
from pictocli.errors import DamagedError, ModelError, PictoError, StoreError, UnreadableError, ValidationError
from pictocli.filters import Filters
from pictocli.nearest import MAX_LIMIT
from pictocli.records import Answer
from pictocli.restricted import Restricted

__all__ = ["TOOLS", "Agent", "Told", "Tool", "complaint", "withheld"]

Told = tuple[dict[str, Any], list[int]]
_NAMED = {StoreError: "the library", ModelError: "the model", UnreadableError: "the image"}


@dataclass(frozen=True, slots=True)
class Agent:
    """What tools ask, and for whom. paths: whether answers say where files lie. device: where the model runs."""

    library: Restricted
    paths: bool = True
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Tool:
    """question: its arguments, whose docstring says what it does. answers: JSON Schema of what it returns."""

    name: str
    title: str
    question: type[Question]
    ask: Callable[[Agent, Any], Told]
    answers: dict[str, Any]


def withheld(error: PictoError, *, paths: bool) -> bool:
    """Whether an agent is not told what is wrong: it could be with an image that it may not see, or name a path.

    paths: whether the agent may see where files lie.
    """
    return isinstance(error, DamagedError) or (not paths and isinstance(error, tuple(_NAMED)))


def complaint(error: PictoError, *, paths: bool) -> str:
    """An error as an agent is told it: one sentence and its remedy, in the words of the tools."""
    message, hint = str(error), error.hint
    if withheld(error, paths=paths):
        name = next(name for kind, name in _NAMED.items() if isinstance(error, kind))
        plain = hint is not None and not re.search(r"[/\\]", hint)  # it names no path
        message, hint = f"{name} cannot be used", hint if plain else "the standard error of picto mcp says why"
    elif isinstance(error, ValidationError) and hint:
        hint = re.sub(r"^picto taxonomy .*", "the tool taxonomy lists all", hint)
        hint = hint if hint.startswith("picto ") else re.sub(r"(?<![\w-])--(?=[a-z])", "", hint)
    return f"{message} (hint: {hint})" if hint else message


# -- the questions -----------------------------------------------------------------------------------------------------


def _search(agent: Agent, asked: Search) -> Told:
    words: list[str] = [asked.text] if asked.text else []
    if not words and not asked.images:
        raise ValidationError("no words to search for", "give text, or images, or both")
    answer = agent.library.search(
        words, images=[agent.library.found(each) for each in asked.images], without=asked.without,
        min_probability=asked.min_probability, **_common(agent, asked),
    )  # fmt: skip
    return _page(agent, asked, answer)


def _similar(agent: Agent, asked: Similar) -> Told:
    image = agent.library.found(asked.image)
    everywhere = not asked.dataset and not asked.folder
    common = _common(agent, asked)
    return _page(agent, asked, agent.library.similar(image, threshold=asked.threshold, everywhere=everywhere, **common))


def _tags(agent: Agent, asked: Tags) -> Told:
    common = _common(agent, asked)
    del common["device"]
    if not any(common[name] for name in ("objects", "scenes", "attributes")) and not _filters(asked):
        raise ValidationError(
            "no tag given", "objects, scenes, attributes, where, after, before, camera or near names what to list"
        )
    return _page(agent, asked, agent.library.tagged(sort=asked.sort, **common))


def _show(agent: Agent, asked: Show) -> Told:
    details = []
    for image in asked.images:
        found = agent.library.found(image)
        details.append(agent.library.show(found))
    return {"images": [described(each, paths=agent.paths, measures=asked.measures) for each in details]}, [
        each.image_id for each in details
    ]


def _taxonomy(agent: Agent, asked: Taxonomy) -> Told:
    labels = agent.library.labels(None if asked.category == "all" else asked.category)
    return vocabulary(labels, agent.library.info().tags, asked.matching, used=asked.used), []


def _info(agent: Agent, _: Info) -> Told:
    return about(agent.library.info(), agent.library.fields(), paths=agent.paths), []


def _common(agent: Agent, asked: Filtered) -> dict[str, Any]:
    """The arguments that all three questions share, as a library takes them; one result more shows that there are."""
    if asked.folder and not agent.paths:
        raise ValidationError("folders are hidden here", "ask by dataset")
    return {
        "objects": asked.objects or None, "scenes": asked.scenes or None, "attributes": asked.attributes or None,
        "match": asked.match, "dataset": asked.dataset or None, "folder": asked.folder or None,
        "limit": min(MAX_LIMIT, asked.offset + asked.limit + 1), "device": agent.device, **_filters(asked),
    }  # fmt: skip


def _filters(asked: Filtered) -> Filters:
    given: Filters = {
        "where": asked.where, "after": asked.after, "before": asked.before, "camera": asked.camera, "near": asked.near,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value}  # type: ignore[return-value]


def _page(agent: Agent, asked: Filtered, answer: Answer) -> Told:
    told = listed(answer, asked.offset, asked.limit, asked.detail, paths=agent.paths)
    return told, [each["id"] for each in told["results"]]


# -- what they return --------------------------------------------------------------------------------------------------


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


_NUMBER, _WHOLE, _TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}
_COUNTS = {"type": "object", "additionalProperties": _WHOLE}
_WITHOUT = {**_list(_WHOLE), "description": "Ids without a thumbnail: their files are gone, or it would be too much."}


def _results(**scores: Any) -> dict[str, Any]:
    image = _object(id=_WHOLE, path=_TEXT, **scores, tags={"description": "Labels: objects, scenes, attributes."})
    results = _list({**image, "required": ["id"]})
    last = {**_NUMBER, "description": "Of no results: the best there is."}
    found = _object(results=results, next_offset=_WHOLE, searched=_WHOLE, nearest=last, without_thumbnail=_WITHOUT)
    return {**found, "required": ["results"]}


_SHOWN = _object(images=_list({**_object(id=_WHOLE), "required": ["id"]}), without_thumbnail=_WITHOUT)
_KNOWN = _object(
    images=_WHOLE, datasets=_list(_object(name=_TEXT, images=_WHOLE)), tags=_COUNTS, metadata_fields=_list(_TEXT)
)

TOOLS = (
    Tool("search", "Search by words", Search, _search, _results(probability=_NUMBER, score=_NUMBER)),
    Tool("similar", "Similar images", Similar, _similar, _results(similarity=_NUMBER, closer_than=_NUMBER)),
    Tool("tags", "Images by tags", Tags, _tags, _results(matched={"type": "object", "additionalProperties": _NUMBER})),
    Tool("show", "One image", Show, _show, {**_SHOWN, "required": ["images"]}),
    Tool("taxonomy", "Labels", Taxonomy, _taxonomy, _object(objects=_COUNTS, scenes=_COUNTS, attributes=_COUNTS)),
    Tool("info", "The library", Info, _info, {**_KNOWN, "required": ["images"]}),
)
