"""The commands that ask for images by a picture or by tags: similar, tags."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from pictocli.display import closer, counted
from pictocli.errors import PictoError, ValidationError
from pictocli.options import (
    UNSCOPED,
    After,
    Attributes,
    Before,
    Camera,
    Device,
    Everywhere,
    Exact,
    Folder,
    Form,
    Format,
    Html,
    Limit,
    Match,
    Matching,
    Near,
    Objects,
    OnDevice,
    Open,
    PdfPassword,
    Preview,
    PreviewAs,
    Print0,
    Scenes,
    Sort,
    ThisDataset,
    Where,
    asked,
    condition,
    given,
    having,
    inside,
    looked_at,
    secret,
    share,
)
from pictocli.presenting import Sheet
from pictocli.previewing import with_pictures
from pictocli.records import Answer, Scope, SimilarImage, TaggedImage
from pictocli.references import ImageLike
from pictocli.terminal import Terminal

__all__ = ["similar", "tags"]


def similar(
    ctx: typer.Context,
    image: Annotated[
        str | None,
        typer.Argument(metavar="[IMG]", help="A path, report.pdf#page=3, id:123, or - for image bytes on stdin."),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="T", help="Least cosine similarity, 0 to 1.")
    ] = 0.6,
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
    everywhere: Everywhere = False,
    exact: Exact = False,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read many IMGs from stdin, one a line (with -0: by NUL).")
    ] = False,
    form: Form = None,
    print0: Print0 = False,
    preview: Preview = False,
    preview_as: PreviewAs = None,
    html: Html = None,
    show: Open = False,
    device: OnDevice = Device.auto,
    pdf_password: PdfPassword = None,
) -> int:
    """Images like this one, most similar first.

    An indexed image looks in its own dataset and folder; any other looks everywhere. "closer than 99.3%" says that
    99.3% of random pairs of the library are less similar. --objects, --scenes, --attributes, --where, --after,
    --before, --camera and --near leave only such images to look at, as in picto tags.

    \b
    Examples:
      picto similar beach.jpg
      picto similar beach.jpg --preview --limit 5
      picto similar report.pdf#page=3 --folder / --threshold 0.8
      picto similar beach.jpg --objects car,truck --scenes outdoor --everywhere
      picto similar -0 beach.jpg | xargs -0 ls -l
      find new -name '*.jpg' | picto similar --stdin --format jsonl
      picto similar beach.jpg --html beaches.html --open
    """
    terminal: Terminal = ctx.obj
    if stdin == (image is not None):
        raise ValidationError("one IMG is needed, or --stdin", "picto similar beach.jpg")
    if stdin and (show or html is not None):
        raise ValidationError("a page shows what one IMG is like", "picto similar IMG --html FILE, for each of them")
    library = terminal.library()
    sheet = Sheet(terminal, library, html, show, form, print0)
    terminal = with_pictures(terminal, library, preview, preview_as)
    labels, filters = asked(objects, scenes, attributes), given(where, after, before, camera, near)
    tagged, opened = having(labels, match, filters), secret(pdf_password)

    def ask(reference: ImageLike) -> Answer:
        return library.similar(
            reference, **labels, match=match.value, threshold=threshold, limit=limit, dataset=dataset, folder=folder,
            everywhere=everywhere, exact=exact, device=device.value, pdf_password=opened, **filters,
        )  # fmt: skip

    if stdin:
        return _many(terminal, ask, _lines(print0), form, tagged)
    assert image is not None
    reference = sys.stdin.buffer.read() if image == "-" else image
    answer = ask(reference)
    terminal.rows(answer.results, SimilarImage, sheet.form)
    nearest = "" if answer.nearest is None else f", nearest {answer.nearest:.2f}"
    unusual = "" if answer.closer_than is None else f", {closer(answer.closer_than)}"
    terminal.answer(
        answer,
        f"{share(answer)}{tagged} at {threshold:.2f} or above{unusual}",
        f"nothing{tagged} at {threshold:.2f} or above among {looked_at(answer)}{nearest}{unusual}",
        wider="--everywhere shows them",
        limit=limit,
    )
    terminal.comparison(answer, tagged)
    about = f"{tagged}, at {threshold:.2f} or above"
    sheet.put(answer, about=about, references=[reference], limit=limit, pdf_password=opened)
    return 0 if answer.results else 1


def _many(
    terminal: Terminal, ask: Callable[[str], Answer], references: Iterator[str], given: Format | None, tagged: str
) -> int:
    """Answer many references as they come; one that fails is told and passed over, and the exit code says so."""
    form = terminal.form(given, False, many=True)
    found: list[SimilarImage] = []
    named: list[str] = []
    failed: list[PictoError] = []
    count = nearby = 0
    for count, reference in enumerate(references, 1):  # noqa: B007 - how many there were is told at the end
        try:
            answer = ask(reference)
        except PictoError as exc:
            if str(exc) not in map(str, failed):  # what is wrong with all of them is told once
                terminal.error(exc)
            failed.append(exc)
            continue
        nearby += len(answer.results)
        if form in ("csv", "json"):  # these have one header, one list
            found += answer.results  # type: ignore[arg-type]
            named += [reference] * len(answer.results)
        else:
            terminal.rows(answer.results, SimilarImage, form, [reference] * len(answer.results))
    worst = max((exc.exit_code for exc in failed), default=0)
    if failed and len(failed) == count:
        return worst
    if form in ("csv", "json"):
        terminal.rows(found, SimilarImage, form, named)
    if not nearby and not worst:
        terminal.talk(f"nothing{tagged} near enough to {counted(count, 'reference')}")
    return worst or (0 if nearby else 1)


def _lines(nul: bool) -> Iterator[str]:
    """References on standard input: lines, each as it comes, or ended by NUL."""
    stdin = sys.stdin.buffer
    parts = stdin.read().split(b"\0") if nul else (line.removesuffix(b"\n") for line in stdin)
    return (os.fsdecode(part) for part in parts if part)


def tags(
    ctx: typer.Context,
    objects: Objects = None,
    scenes: Scenes = None,
    attributes: Attributes = None,
    match: Matching = Match.any,
    where: Where = None,
    after: After = None,
    before: Before = None,
    camera: Camera = None,
    near: Near = None,
    sort: Annotated[Sort, typer.Option("--sort", help="By image id, or the surest first.")] = Sort.id,
    limit: Limit = 50,
    folder: Folder = None,
    dataset: ThisDataset = None,
    form: Form = None,
    print0: Print0 = False,
    preview: Preview = False,
    preview_as: PreviewAs = None,
    html: Html = None,
    show: Open = False,
) -> int:
    """Images by their tags, metadata, date, camera and place.

    OR within a category of tags, AND across categories and all else; --match all makes it AND within too.

    \b
    EXPR is FIELD OP VALUE, OP one of = != < <= > >= ~ (contains),
    or FIELD in (VALUE, VALUE), or FIELD alone (it has a value).
    A field within another is brand.name; what has blanks stands in
    quotes. 'discount=null' finds where it is missing.

    A picture without a date is taken to be as old as its file. --before 2024-06 ends with May.

    \b
    Examples:
      picto tags --where 'price<50' --where 'brand in (acme, "b & c")'
      picto tags --objects dog --after 2024-05 --before 2024-06 --camera canon
      picto tags --near 48.21,16.37,5 --after 1y
      picto tags --objects car,truck --scenes outdoor
      picto tags --attributes blurry -0 | xargs -0 -I{} echo {}
      picto tags --objects dog --match all --format json | jq '.[].path'
      picto tags --objects dog --html dogs.html
    """
    terminal: Terminal = ctx.obj
    labels, filters = asked(objects, scenes, attributes), given(where, after, before, camera, near)
    library = terminal.library()
    sheet = Sheet(terminal, library, html, show, form, print0)
    terminal = with_pictures(terminal, library, preview, preview_as)
    answer = library.tagged(
        **labels, match=match.value, sort=sort.value, dataset=dataset, folder=folder, limit=limit, **filters
    )
    terminal.rows(answer.results, TaggedImage, sheet.form)
    wanted = condition(labels, match, filters)
    scope = "" if answer.scope == Scope() else f" {inside(answer.scope)}"
    found = f"{len(answer.results):,}{scope} {'matches' if len(answer.results) == 1 else 'match'} {wanted}"
    nothing = f"nothing matches {wanted} among {looked_at(answer)}"
    terminal.answer(answer, found, nothing, wider=UNSCOPED, limit=limit)
    sheet.put(answer, about=having(labels, match, filters), limit=limit)
    return 0 if answer.results else 1
