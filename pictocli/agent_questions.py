"""What an agent may ask, tool by tool: the arguments with their types, ranges and meanings, as JSON Schema has them.

All that an agent knows of picto it reads here. Every list of tools carries these texts: they are kept short.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from pictocli.errors import ValidationError
from pictocli.nearest import MAX_LIMIT

__all__ = [
    "MAX_THUMBNAILS", "Filtered", "Info", "Question", "Search", "Show", "Similar", "Tags", "Taxonomy", "asked",
    "schema",
]  # fmt: skip

MAX_THUMBNAILS = 10
_LIMIT = 50  # results of one answer: a model reads them all
_LAST = MAX_LIMIT - _LIMIT - 1

_FULL = "full adds dataset, folder, size, dates, camera, place, metadata and the score of every tag."
_OFFSET = f"Results to skip: next_offset of the answer before. Pages end after {MAX_LIMIT} results: ask more narrowly."
_IMAGE = "Id of an image, as 17, or its path, as answers give them (report.pdf#page=3 for a page)."


def _several(given: Any) -> Any:
    """A list, where a model has written one as text, or a single value: ["car"] for car."""
    if not isinstance(given, str):
        return [given] if isinstance(given, int) else given
    try:
        read = json.loads(given)
    except (ValueError, RecursionError):  # brackets in brackets
        return [given]
    return read if isinstance(read, list) else [given]


def _labels(given: Any) -> Any:
    """The same, and of car,truck two labels, as the command line takes them."""
    found = _several(given)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return found
    return [part.strip() for each in found for part in each.split(",") if part.strip()]


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Image = Annotated[int, Field(ge=1)] | Text
Labels = Annotated[list[Text], BeforeValidator(_labels), Field(max_length=50)]
Texts = Annotated[list[Text], BeforeValidator(_several), Field(max_length=20)]
Images = Annotated[list[Image], BeforeValidator(_several)]
Detail = Annotated[Literal["ids", "brief", "full"], Field(description=f"How much of each image. {_FULL}")]
Limit = Annotated[int, Field(ge=1, le=_LIMIT, description="Results of this answer.")]
Offset = Annotated[int, Field(ge=0, le=_LAST, description=_OFFSET)]
Small = Annotated[bool, Field(description=f"Add JPEGs of the first {MAX_THUMBNAILS}, some 100 tokens each at 320 px.")]
Width = Annotated[int, Field(ge=64, le=640, description="px.")]


class Question(BaseModel):
    """Arguments of a tool. One that is null or an empty text is as good as left out."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _given(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return {name: each for name, each in found.items() if each is not None and each != ""}


class Filtered(Question):
    objects: Labels = Field([], description="With any of these objects. Labels come from the tool taxonomy.")
    scenes: Labels = Field([], description="And in any of these scenes.")
    attributes: Labels = Field([], description="And with any of these attributes.")
    match: Literal["any", "all"] = Field("any", description="all: with every label that is given.")
    where: Texts = Field(
        [], description="Conditions on metadata, all to be met: price<50, brand=acme, name~shirt, brand in (a, 'b c')."
    )
    after: Text = Field("", description="Taken since 2024, 2024-05 or 2024-05-01, or within the last 30d or 1y.")
    before: Text = Field("", description="Taken before that.")
    camera: Text = Field("", description="Part of the camera's name.")
    near: Text = Field("", description="LAT,LON,KM: taken within so many km of a place, in degrees.")
    dataset: Text = Field("", description="In this dataset only, as info names them.")
    folder: Text = Field("", description="In this folder of the dataset and below.")
    detail: Detail = "brief"
    limit: Limit = 10
    offset: Offset = 0
    thumbnails: Small = False
    thumbnail_width: Width = 320


class Search(Filtered):
    """Find images by what they show, described in English words, best first: "a red car in the snow".

    probability (0-1) is the model's own that the words describe the image. Compare it within one answer only: right
    answers may have .01, and there are always results, so look at thumbnails before you rely on one.
    """

    text: Text = Field("", description="Describe the picture as a caption would, in a few words.")
    images: Images = Field([], max_length=5, description=f"Images to be like, too; results have a score. {_IMAGE}")
    without: Texts = Field([], description="Words that push away what they describe.")
    min_probability: float = Field(0, ge=0, le=1, description="Leave out what is less probable. For text alone.")


class Similar(Filtered):
    """Find images that look like an image of the library, most similar first, without itself.

    similarity is the cosine of their embeddings: 1 the same picture, above .9 nearly so, about .6 the same kind of
    picture; it depends on the model. closer_than is the share of random pairs of the library that are less similar:
    .99 or more is a real likeness. If nothing passes, nearest is the best similarity there is.
    """

    image: Image = Field(description=_IMAGE)
    threshold: float = Field(0.6, ge=0, le=1, description="Least similarity.")


class Tags(Filtered):
    """List images by tags, metadata, date, camera or place; at least one of these is needed.

    Any of the labels of one category, and every category that is given. matched has the score (0-1) of each label asked
    for: how sure the model is. Where it was not sure there is no tag: search finds what tags miss.
    """

    sort: Literal["id", "score"] = Field("id", description="score: the surest first.")


class Show(Question):
    """Everything known of up to 10 images: tags with scores, size, dates, camera, place, metadata, copies."""

    images: Images = Field(min_length=1, max_length=10, description=_IMAGE)
    measures: bool = Field(False, description="Add 40 measures of the pixels, by which attributes are told.")
    thumbnails: Small = False
    thumbnail_width: Width = 320


class Taxonomy(Question):
    """The labels that tags are taken from, by category, each with how many images carry it.

    Other words are no labels: describe them to search instead.
    """

    category: Literal["objects", "scenes", "attributes", "all"] = Field("all", description="One category only.")
    matching: str = Field("", max_length=100, description="Labels with this in their name or an alias: dog.")
    used: bool = Field(True, description="Only labels that some image carries; false lists all, some 8 kB.")


class Info(Question):
    """The library at a glance: images by dataset and kind, the model, the most common tags, the fields of metadata."""


def asked(question: type[Question], arguments: dict[str, Any]) -> Question:
    """The arguments of a call, checked. Raises ValidationError, of the first that is wrong."""
    try:
        return question.model_validate(arguments)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"][:1])) or "arguments"
        known = ", ".join(question.model_fields)
        if first["type"] == "extra_forbidden":
            raise ValidationError(f"there is no argument {name}", f"arguments: {known or 'none'}") from exc
        if first["type"] == "missing":
            raise ValidationError(f"the argument {name} is missing", f"arguments: {known}") from exc
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ValidationError(f"the argument {name} is wrong: {message}", "see the tool's input schema") from exc


def schema(question: type[Question], *, paths: bool = True) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, without what an agent has no use for. paths: whether it may see paths."""
    found: dict[str, Any] = _plain(question.model_json_schema())
    found.pop("description", None)
    own = [*question.__annotations__, *found["properties"]]  # what makes the tool comes first
    properties = {name: found["properties"][name] for name in own if paths or name != "folder"}
    return {**found, "properties": properties}


def _plain(value: Any, *, named: bool = False) -> Any:
    """The same without titles, empty defaults and lengths that no text has. named: keys are names of arguments."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if named or not _idle(name, each)}
        return {name: _plain(each, named=name == "properties") for name, each in kept.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _idle(name: str, value: Any) -> bool:
    return name in ("title", "minLength", "maxLength") or (name == "default" and value in ("", []))
