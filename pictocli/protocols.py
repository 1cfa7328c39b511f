"""What indexing and searching are handed: an embedder, a database, a place to report progress. Read this page first.

Data flows one way: `scan` finds files, `decode` turns each into model input and measures, an `Embedder` turns model
input into vectors, `tagging` turns vectors and measures into tags, `sqlite` keeps it all, a transaction a batch.

A library is a `Database` that an `Engine` opens: a SQLite file, a PostgreSQL server, Lance tables. All of them take
the same SQL, which is SQLite's, of the same tables; an engine for which that is no mother tongue translates it. Only
finding the nearest is each engine's own: see `Neighbours`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from pictocli.records import HostWork, ModelSpec
from pictocli.reports import CompactReport

if TYPE_CHECKING:  # numpy costs 60 ms: queries on indexed images never load it
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Calls", "Database", "Embedder", "Engine", "Neighbours", "NoProgress", "Passing", "Progress", "Rows", "Runner",
    "TextEmbedder",
]  # fmt: skip

Passing = tuple[str, Sequence[Any]]
"""A query for the `image_id` of all images that pass, which may name one twice, and the values that it takes."""


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


class Calls(Protocol):
    """Processes that make calls, as `workers.Workers` has them on this machine.

    count: of processes; machines: on which they are. limit: seconds that a call may take.
    """

    limit: float

    @property
    def count(self) -> int: ...

    @property
    def machines(self) -> int: ...

    def submit(self, call: Callable[..., Any], *args: Any) -> Any:
        """Queue a call of a module-level function; what comes back is for `result`."""

    def result(self, job: Any) -> Any:
        """Wait for a call. Raises what it raised, CrashedError when it killed its process twice, LateError."""

    def close(self) -> None:
        """End the processes, whatever they do."""


class Runner(Protocol):
    """Machines that decode and embed in place of this one. Results are as those of one, in the order asked for.

    redone: pages that were decoded or embedded once more, as a machine went away with them.
    """

    @property
    def redone(self) -> int: ...

    def needs(self, folders: Sequence[str]) -> None:
        """Folders that every machine must see: what is asked for next raises PictoError when one does not."""

    def calls(self, limit: float) -> Calls:
        """What decodes; its first `submit` starts it."""

    def embedder(self, spec: ModelSpec) -> Embedder:
        """The model `spec`, on all of them. Raises PictoError when one does not have it."""

    def hosts(self) -> list[HostWork]:
        """What each machine has done."""

    def close(self) -> None:
        """End all that was begun."""


class Rows(Protocol):
    """What a statement gives, row by row; a row is a tuple."""

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    @property
    def get(self) -> Any:
        """The first row, or its only value when it has one; None when there is none. Reads no further."""


class Neighbours(Protocol):
    """Finds the nearest by an index of the engine's own, in place of picto's 1-bit codes."""

    def serves(self, images: int) -> bool:
        """Whether the index is there, and sooner done than comparing so many images."""

    def nearest(
        self, vector: bytes, limit: int, folders: Sequence[int] | None, passing: Passing | None, *, without: int,
        exact: bool,
    ) -> list[tuple[int, float]]:  # fmt: skip
        """The `limit` images nearest to `vector` (float32 bytes, L2-normalised), as (image id, cosine), nearest first.

        Of those in these folders (None: all) that pass (None: all do; else `folders` is among what `passing` asks),
        but for the id `without`. exact: compare with every one of them, in float32. Ties go by id.
        """

    def build(self) -> None:
        """Bring the index up to date with what has been written, where it pays; make it, where it now does."""


class Database(Protocol):
    """One open connection to a library. Values are None, int, float, str and bytes; errors are the engine's own.

    filename: of the file that it lies in, "" for none. engine: what runs its statements, for a person. neighbours: None
    where the nearest are found by 1-bit codes. writable: whether it was opened to write. `BEGIN IMMEDIATE` waits until
    no other connection writes, and lets none.
    """

    neighbours: Neighbours | None

    @property
    def filename(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def in_transaction(self) -> bool: ...

    @property
    def writable(self) -> bool: ...

    def execute(self, statements: str, bindings: Sequence[Any] | Mapping[str, Any] | None = None) -> Rows:
        """Run a statement of SQLite's SQL. Values are bound as ?, ?1 or :name."""

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[Any]]) -> Rows:
        """Run a statement once for each, in their order, and return the rows that it gave, in that order, too."""

    def changes(self) -> int:
        """Rows that the last INSERT, UPDATE or DELETE changed, without those of triggers."""

    def total_changes(self) -> int:
        """Rows that have been changed since the connection was opened."""

    def last_insert_rowid(self) -> int:
        """The id of the last row that was inserted."""

    def version(self) -> int:
        """A number that is another one once another connection has changed the database."""

    def has_index(self, name: str) -> bool:
        """Whether there is an index of this name on the images."""

    def indexes(self) -> list[str]:
        """The names of all indexes on the images."""

    def thumbnail_head(self, content_id: int, size: int) -> bytes:
        """The first bytes of a stored thumbnail."""

    def without_triggers(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Put some triggers aside for a block, within the caller's transaction: what they keep in step, it does."""

    def tidy(self) -> None:
        """Put all that was written where it belongs, and close."""

    def close(self) -> None:
        """Close the connection, and undo what is not committed."""


class Engine(Protocol):
    """Opens the libraries of one kind, by their names."""

    def connect(self, name: str, *, create: bool = False, readonly: bool = False, page_size: int = 16384) -> Database:
        """Open a library, making or migrating it where asked to write.

        Raises StoreError when there is none and `create` is off, when it is none of picto's, is newer than this
        program, or cannot be opened.
        """

    def claimed(self, name: str, roots: Mapping[int, str] | None = None) -> AbstractContextManager[None]:
        """Be the only process to change these roots (id → path) of a library, or any of it, in this block.

        Raises TakenError that names the process that does already. A process that dies leaves no claim behind.
        """

    def translated(self, name: str) -> AbstractContextManager[None]:
        """Turn the engine's own errors into a StoreError that a person can act on."""

    def exists(self, name: str) -> bool:
        """Whether there is a library, no empty place. What cannot be looked at is there: opening it says why not."""

    def full(self, name: str) -> str:
        """The name in full, whatever the working directory is."""

    def shown(self, name: str) -> str:
        """The name as it may be told: without a password."""

    def identity(self, name: str) -> object:
        """Which library lies there: another one once it was replaced. None where it is seen that there is none."""

    def size(self, name: str) -> int:
        """Bytes that the library takes."""

    def compact(self, name: str, *, dry_run: bool, older_than: float, progress: Progress) -> CompactReport:
        """Clear up what commits leave, see `Library.compact`. ValidationError where nothing is left."""


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
