"""Tables with pictures: each image's beside what there is to say of it, one image's above it."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from PIL import Image as Picture
from rich.console import Console
from rich.text import Text

from pictocli.cells import how, local, scored
from pictocli.display import bar, closer, crop, printable, size_of
from pictocli.errors import PictoError
from pictocli.graphics import blocks, fitted, iterm, kitty, sixel
from pictocli.grouped import Group
from pictocli.interrupts import held
from pictocli.probing import Canvas, probed
from pictocli.records import CATEGORIES, Image, ImageDetail, SimilarImage, TaggedImage
from pictocli.sizes import thumbnail_size
from pictocli.stored_jpegs import stored_jpeg
from pictocli.tables import Page

__all__ = ["PreviewPage"]

_LEAST = 60  # columns: a terminal with fewer has no room for pictures beside a text
_BESIDE = {60: (12, 5), 100: (16, 7), 160: (24, 10)}  # columns of a terminal, and the cells of a picture in its list
_ABOVE = (60, 20)  # cells of a picture that stands alone, at most
_GAP = 2  # cells between a picture and its text
_GREY = (128, 128, 128)  # instead of a picture that cannot be made; seen on black and on white
_SHARP, _WIDEST = 160, 4096  # px of a JPEG: a narrower one has blurred colours, a wider one is not made
# After Ctrl-C: the terminal's driver drops what is still on its way, so that any code may have been cut in two. End it,
# then kitty's series of chunks, then the colours, and go where nothing is drawn.
_BROKEN = "\x1b\\\x1b_Gm=0,q=2;\x1b\\\x1b[0m\x1b[999B\n", "\x1b\\\x1b[0m\n"
_FINE = 20, 40  # px of a cell whose size a terminal that scales pictures by itself does not tell


class PreviewPage(Page):
    """Tables on one terminal, with pictures.

    thumbnail: an image's id and a width in px → a JPEG, or PictoError. protocol: None is what the terminal can.
    failed: why images have a grey box for a picture, a reason each.
    """

    def __init__(self, console: Console, thumbnail: Callable[[int, int], bytes], protocol: str | None = None) -> None:
        super().__init__(console)
        self._thumbnail, self._protocol = thumbnail, protocol
        self._canvas: Canvas | None = None
        self.failed: list[PictoError] = []

    # -- pages ------------------------------------------------------------------------------------------------------

    def similar(self, images: Sequence[SimilarImage]) -> None:
        """Score, path, tags and what else is known, beside each picture; a table where there is no room."""
        if self._roomy():
            self._list((image, self._scores(image)) for image in images)
        else:
            super().similar(images)

    def tagged(self, images: Sequence[TaggedImage]) -> None:
        """The labels that matched, path, other tags and what else is known, beside each picture."""
        if self._roomy():
            self._list((image, Text(self._spelled(scored(image.matched)), "bold")) for image in images)
        else:
            super().tagged(images)

    def groups(self, groups: Sequence[Group]) -> None:
        """Group, what each image is in it, path, its size in px and bytes, beside each picture."""
        if not self._roomy():
            super().groups(groups)
            return
        self._list(
            (image, Text(f"group {group.group}  ", "dim").append(f"{how(image)}  ", "bold").append(size_of(image.size)))
            for group in groups
            for image in group.images
        )

    def detail(self, image: ImageDetail) -> None:
        """The picture, as large as fits, above everything known of it."""
        columns, rows = min(_ABOVE[0], self._console.width - 1), min(_ABOVE[1], self._console.height - 2)
        if columns > 0 and rows > 0:
            with self._drawing() as canvas:
                self._draw(canvas, image, (columns, rows), [])
        super().detail(image)

    # -- an image's text --------------------------------------------------------------------------------------------

    def _scores(self, image: SimilarImage) -> Text:
        if image.parts is not None:
            text = Text(f"{image.score or 0:+.2f}", "bold")
            for name, cosine in image.parts.items():
                text.append(f"  {self._spelled(printable(os.path.basename(name) or name))} {cosine:+.3f}", "dim")
            return text
        main = image.similarity if image.probability is None else image.probability
        text = Text(f"{main:.3f}  ", "bold").append(bar(main, unicode=self._unicode), "green")
        if image.probability is not None:
            text.append(f"  cosine {image.similarity:+.3f}", "dim")
        return text.append("" if image.closer_than is None else f"  {closer(image.closer_than)}", "dim")

    def _texts(self, image: Image, first: Text, width: int) -> list[Text]:
        """What stands beside a picture, in at most `width` cells: `first`, path, tags, id, size, date and dataset."""
        first.truncate(width, overflow="crop")
        first.rstrip()
        matched = image.matched if isinstance(image, TaggedImage) else {}
        tags = {name: score for category in CATEGORIES for name, score in image.scores.get(category, {}).items()}
        guessed = {name: score for name, score in tags.items() if name not in matched and score < 1}
        certain = [printable(name) for name, score in tags.items() if name not in matched and score >= 1]
        others = "  ".join([*([scored(guessed)] if guessed else []), *certain])
        rest = f"id:{image.image_id}  {image.width}×{image.height}  {local(image.modified)[:10]}  "
        told = [(others, "default"), (rest + printable(image.dataset), "dim")]
        lines = [Text(crop(self._spelled(text), width, self._mark), style) for text, style in told if text]
        return [*([first] if first else []), self._path(image, width), *lines]

    # -- drawing ----------------------------------------------------------------------------------------------------

    def _roomy(self) -> bool:
        return self._console.width >= _LEAST

    def _list(self, images: Iterable[tuple[Image, Text]]) -> None:
        """Images, each as its picture comes, with the first line of its text."""
        box = _BESIDE[max(least for least in _BESIDE if least <= self._console.width)]
        room = self._console.width - box[0] - _GAP
        with self._drawing() as canvas:
            for image, first in images:
                self._draw(canvas, image, box, self._texts(image, first, room))

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[Canvas]:
        """What the terminal can draw, asked for once; it is left as it was, come what may."""
        with contextlib.ExitStack() as stack:
            if self._canvas is None:
                streams = sys.stdin.fileno(), self._console.file.fileno()
                self._canvas = stack.enter_context(probed(*streams, os.environ, self._protocol))
            try:
                yield self._canvas
            except KeyboardInterrupt:
                self._put(_BROKEN[self._canvas.protocol == "blocks"])
                raise

    def _draw(self, canvas: Canvas, image: Image, box: tuple[int, int], texts: Sequence[Text]) -> None:
        """A picture that fills what it can of `box` cells, texts right of it, a blank line below both."""
        picture = self._picture(canvas, image, box)
        lines = [self._rendered(text) for text in texts]
        if canvas.protocol == "blocks":
            self._put(self._lined(picture, canvas, box[0] + _GAP, lines))
        else:
            self._put(self._overlaid(picture, canvas, box, lines))

    def _lined(self, picture: Picture.Image, canvas: Canvas, indent: int, lines: Sequence[str]) -> str:
        """A picture in blocks: whole lines, which any terminal scrolls as it does text."""
        left = blocks(picture, canvas.colours, unicode=self._unicode)
        text = ""
        for at in range(max(len(left), len(lines))):
            text += left[at] if at < len(left) else ""
            if at < len(lines):
                text += " " * (indent - (picture.width if at < len(left) else 0)) + lines[at]
            text += "\n"
        return text + "\n"

    def _overlaid(self, picture: Picture.Image, canvas: Canvas, box: tuple[int, int], lines: Sequence[str]) -> str:
        """A picture over lines that are free: they are made first, so that nothing scrolls while it is drawn.

        The cursor goes back to where it was by DECSC and DECRC: terminals differ in where a picture leaves it.
        """
        pixel = self._pixel(canvas)
        columns, rows = picture.width / pixel[0], picture.height / pixel[1]
        taken = max(math.ceil(rows), len(lines)) + 1
        if canvas.protocol == "kitty":
            across = box[0] - columns <= box[1] - rows  # it fills the box from side to side
            code = kitty(picture, columns=round(columns)) if across else kitty(picture, rows=round(rows))
        elif canvas.protocol == "iterm":
            code = iterm(picture, math.ceil(columns), math.ceil(rows))
        else:
            code = sixel(picture)
        beside = "".join(f"\x1b[{box[0] + _GAP}C{line}\n" for line in lines)
        return "\n" * taken + f"\x1b[{taken}A\x1b7{code}\x1b8{beside}" + "\n" * (taken - len(lines))

    def _picture(self, canvas: Canvas, image: Image, box: tuple[int, int]) -> Picture.Image:
        """A picture that fits into `box` cells, in the pixels that they are drawn of; grey where there is none."""
        wide, high = self._pixel(canvas)
        try:
            jpeg = self._thumbnail(image.image_id, min(_WIDEST, max(_SHARP, box[0] * wide)))
            with stored_jpeg(jpeg) as opened:
                picture = opened.convert("RGB")
        except (PictoError, OSError) as exc:  # Pillow's too
            self.failed.append(exc if isinstance(exc, PictoError) else PictoError(f"cannot draw {image.path}"))
            picture = Picture.new("RGB", thumbnail_size(image.width, image.height, 64), _GREY)
        columns, rows = fitted(picture.size, box, canvas.cell[1] / canvas.cell[0])
        size = max(1, round(columns * wide)), max(1, round(rows * high))
        return picture.resize(size, Picture.Resampling.LANCZOS)

    def _pixel(self, canvas: Canvas) -> tuple[int, int]:
        """What a cell is drawn of: so many pixels wide, so many high."""
        if canvas.protocol == "blocks":
            return (1, 2) if self._unicode else (1, 1)
        return canvas.cell if canvas.told or canvas.protocol == "sixel" else _FINE

    def _rendered(self, text: Text) -> str:
        """A line of text as the terminal is told it, without its end."""
        with self._console.capture() as captured:
            self._line(text)
        return captured.get().rstrip("\n")

    def _put(self, text: str) -> None:
        """Write it whole: a code that breaks off would swallow what comes after it."""
        with held():
            self._console.file.write(text)
            self._console.file.flush()
