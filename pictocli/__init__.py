"""picto: find pictures by likeness, words and tags, offline, in one SQLite file.

    >>> import pictocli
    >>> with pictocli.open("nature.db") as library:
    ...     report = library.index(["sample_images/nature"], model="mini")
    ...     found = library.by_similarity("sample_images/nature/mountain-trail.jpg", threshold=0.9)
    >>> report.indexed, [image.filename for image in found]
    (12, ['mountain-trail-edited.jpg'])

`pictocli.open` gives a `Library`, in which all begins: `index` and `watch` fill it; `by_similarity`, `by_text` and
`by_tag` answer with lists of images, and `similar`, `search` and `tagged` with more choices, and with what is to be
told beside the images; `show`, `thumbnail`, `browse` and `info` look at what is there; `page`, `map` and `plot` draw
it; `export` hands it on. The methods are those of the command line, where `picto COMMAND --help` has more examples.
`help(pictocli.Library)` has them all.

What they return is plain values: of `pictocli.records` (`Image`, `SimilarImage`, `IndexReport`, …),
`pictocli.reports`, `pictocli.grouped`, `pictocli.browsed`, `pictocli.figures` and `pictocli.damage`. What goes into
`**options` and `**filters` stands in `pictocli.settings` and `pictocli.filters`, with types. All that is raised on
purpose is a `PictoError` with a `hint`; `pictocli.errors` draws their tree.

    >>> with pictocli.open("nature.db") as library:
    ...     try:
    ...         library.by_tag(objects=["truk"])
    ...     except pictocli.ValidationError as error:
    ...         print(error, "-", error.hint)
    unknown label truk in objects - nearest: truck

A `Library` is for one thread at a time. It waits for the disk and the processor, so asynchronous code calls it in a
thread: `await asyncio.to_thread(library.by_text, "a dog")`. Threads that ask at the same time open one each; they may
open the same file, also while another program writes to it.
"""

from pictocli.errors import (
    AwayError,
    DamagedError,
    ModelError,
    ModelMismatchError,
    NotFoundError,
    PictoError,
    StoreError,
    TakenError,
    UnreadableError,
    ValidationError,
)
from pictocli.library import Library
from pictocli.library import open_library as open  # noqa: A004 - as tarfile and wave have it: pictocli.open()

__all__ = [
    "AwayError",
    "DamagedError",
    "Library",
    "ModelError",
    "ModelMismatchError",
    "NotFoundError",
    "PictoError",
    "StoreError",
    "TakenError",
    "UnreadableError",
    "ValidationError",
    "open",
]

__version__ = "0.1.0"
