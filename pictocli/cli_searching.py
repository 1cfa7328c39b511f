"""The command that asks for images by words, by pictures, or by both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from pictocli.combining import AWAY, weighted
from pictocli.display import counted
from pictocli.errors import ValidationError
from pictocli.options import (
    UNSCOPED,
    After,
    Attributes,
    Before,
    Camera,
    Device,
    Exact,
    Folder,
    Form,
    Html,
    Limit,
    Match,
    Matching,
    Near,
    Objects,
    OnDevice,
    Open,
    Preview,
    PreviewAs,
    Print0,
    Scenes,
    ThisDataset,
    Where,
    asked,
    given,
    having,
    looked_at,
    share,
)
from pictocli.presenting import Sheet
from pictocli.previewing import with_pictures
from pictocli.records import SimilarImage
from pictocli.terminal import Terminal

__all__ = ["search"]


def search(
    ctx: typer.Context,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT...]", help="Words that describe the picture; 2:sunset counts twice."),
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="IMG", help="Mix in a picture, such as 0.5:beach.jpg.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--not", metavar="TEXT", help="Push away what matches these words.")
    ] = None,
    min_probability: Annotated[
        float, typer.Option("--min-probability", metavar="P", help="Leave out matches less probable than P, 0 to 1.")
    ] = 0.0,
    objects: Objects = None,
    scenes: Scenes = None,
    attributes: Attributes = None,
    match: Matching = Match.any,
    where: Where = None,
    after: After = None,
    before: Before = None,
    camera: Camera = None,
    near: Near = None,
    limit: Limit = 50,
    folder: Folder = None,
    dataset: ThisDataset = None,
    exact: Exact = False,
    form: Form = None,
    print0: Print0 = False,
    preview: Preview = False,
    preview_as: PreviewAs = None,
    html: Html = None,
    show: Open = False,
    device: OnDevice = Device.auto,
) -> int:
    """Images that match words, best first.

    Cosines between words and images lie on another scale than those between images (true matches near 0.05 to 0.2),
    so results are ranked, not cut; SigLIP's probability stands beside each. --objects, --scenes,
    --attributes, --where, --after, --before, --camera and --near leave only such images to look at, as in picto tags.

    Words, pictures and what --not names are mixed on one scale, each by how its cosines are spread over the library,
    and get a score in standard deviations; --not counts half. A weight stands before a colon: in TEXT it begins a part
    of its own; in --image it is one unless a file has that very name. The pictures given are left out.

    \b
    Examples:
      picto search a red car in the snow
      picto search "red car" --image street.jpg --not people
      picto search 2:sunset 0.5:mountains --image 0.5:id:17
      picto search "sunset over the sea" --limit 10 --dataset holiday
      picto search red --objects car,truck --attributes blurry
      picto search sunset over the sea --html sunsets.html --open
    """
    terminal: Terminal = ctx.obj
    labels, filters = asked(objects, scenes, attributes), given(where, after, before, camera, near)
    if not text and not image:
        raise ValidationError("words or a picture are needed", 'picto search "a red car", or --image IMG')
    library = terminal.library()
    sheet = Sheet(terminal, library, html, show, form, print0)
    terminal = with_pictures(terminal, library, preview, preview_as)
    parts, images = _parts(text or []), [_weighed(each) for each in image or []]
    answer = library.search(
        parts, images=images, without=[weighted(each, AWAY) for each in without or []],
        **labels, match=match.value, limit=limit,
        min_probability=min_probability, dataset=dataset, folder=folder, exact=exact, device=device.value, **filters,
    )  # fmt: skip
    terminal.rows(answer.results, SimilarImage, sheet.form)
    tagged = having(labels, match, filters)
    cut = tagged + (f" at a probability of {min_probability:g} or above" if min_probability else "")
    nearest = "" if answer.nearest is None else f", nearest {answer.nearest:.2g}"
    terminal.answer(
        answer, f"{share(answer)}{cut}", f"nothing{cut} among {looked_at(answer)}{nearest}", wider=UNSCOPED, limit=limit
    )
    terminal.comparison(answer, tagged)
    title = f"{counted(len(answer.results), 'image')} for {_asked(parts, images, without or [])}{cut}"
    sheet.put(answer, title=title, references=[each for _, each in images], limit=limit)
    return 0 if answer.results else 1


def _parts(words: Sequence[str]) -> list[tuple[float, str]]:
    """Words as texts with their weights: a word with a weight begins a text, any other goes on with it."""
    found: list[tuple[float, str]] = []
    for word in words:
        weight, rest = weighted(word)
        if rest != word or not found:
            found.append((weight, rest))
        else:
            found[-1] = found[-1][0], f"{found[-1][1]} {word}"
    return found


def _asked(texts: Sequence[tuple[float, str]], images: Sequence[tuple[float, str]], without: Sequence[str]) -> str:
    """The question in words: 2 × “sunset” and beach.jpg, without “people”."""
    named = [(weight, f"“{text}”") for weight, text in texts]
    named += [(weight, os.path.basename(image) or image) for weight, image in images]
    told = " and ".join(name if weight == 1 else f"{weight:g} × {name}" for weight, name in named)
    return told + "".join(f", without “{weighted(each)[1]}”" for each in without)


def _weighed(image: str) -> tuple[float, str]:
    """A picture and its weight, which a file's own name is not."""
    return (1.0, image) if os.path.lexists(image) else weighted(image)
