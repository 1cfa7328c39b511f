"""What indexing and searching are handed: an embedder, and a place to report progress. Read this page first.

Data flows one way: `scan` finds files, `decode` turns each into model input and measures, an `Embedder` turns model
input into vectors, `tagging` turns vectors and measures into tags, `sqlite` keeps it all, a transaction a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from pictocli.records import ModelSpec

if TYPE_CHECKING:  # numpy costs 60 ms: queries on indexed images never load it
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "NoProgress", "Progress", "TextEmbedder"]


class TextEmbedder(Protocol):
    """Turns words into points of a space."""

    spec: ModelSpec

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts, canonicalised here (lower case, no punctuation). Returns float32 [n, dim], L2-normalised."""


class Embedder(TextEmbedder, Protocol):
    """Turns pictures and words into points of one space.

    batch_size: how many pictures it takes best at a time, as far as it knows by now. asynchronous: whether it goes on
    with what has begun while its caller does something else.
    """

    batch_size: int
    asynchronous: bool

    def warm_up(self) -> None:
        """Load what embeds pictures, and run it once: the next batch takes no longer than those after it."""

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed n upright RGB pictures.

        pixels: uint8 [n, image_size, image_size, 3]. Returns float32 [n, dim], L2-normalised, all finite.
        Raises ModelError when the model yields a non-finite value even in float32.
        """

    def begin_images(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin to embed pictures; calling what this returns waits for them. Both are as `embed_images` else."""


class Progress(Protocol):
    """Told what is going on; draws it, or does not."""

    def found(self, files: int) -> None:
        """So many files need work, so far."""

    def done(self, files: int, skipped: int) -> None:
        """So many files have been finished since the last call, and so many skipped in all."""

    def doing(self, what: str) -> None:
        """Something that takes seconds and has no bar, such as loading a model; "" when it is over."""

    def say(self, message: str) -> None:
        """One line of talk for a person."""

    def close(self) -> None:
        """Stop drawing."""


class NoProgress:
    """Draws nothing."""

    def found(self, files: int) -> None: ...

    def done(self, files: int, skipped: int) -> None: ...

    def doing(self, what: str) -> None: ...

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...
