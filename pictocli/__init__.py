"""picto: find pictures by likeness, words and tags, offline, in one SQLite file.

import pictocli

with pictocli.open("photos.db") as library:
    library.index(["./photos"])
    for image in library.by_similarity("beach.jpg", threshold=0.6):
        print(image.similarity, image.path)
"""

from pictocli.errors import (
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
