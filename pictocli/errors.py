"""What picto raises on purpose. Each error carries the exit code of the command line.

    PictoError                  3  cannot work
    ├── ValidationError         2  wrong usage: a value outside its range, an unknown label
    │   └── ExpressionError     2  a condition on metadata that does not parse; it marks the place
    ├── NotFoundError           4  no such path, image or dataset
    ├── StoreError              3  the database cannot be read or written
    │   ├── DamagedError        3  the database holds what picto never writes
    │   ├── TakenError          3  another process changes it just now
    │   ├── AwayError           3  its server cannot be reached just now
    │   └── ModelMismatchError  3  the database holds another model's embeddings
    ├── ModelError              3  the model cannot be had, loaded or run
    └── UnreadableError         3  a file that cannot be decoded

Every message is one plain sentence without a full stop; `hint` names the remedy.
"""

from __future__ import annotations

__all__ = [
    "AwayError",
    "DamagedError",
    "ExpressionError",
    "ModelError",
    "ModelMismatchError",
    "NotFoundError",
    "PictoError",
    "StoreError",
    "TakenError",
    "UnreadableError",
    "ValidationError",
    "check_range",
]


class PictoError(Exception):
    """The root of everything picto raises on purpose."""

    exit_code = 3

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ValidationError(PictoError):
    """A value the caller gave is out of range or unknown; nothing was done."""

    exit_code = 2


class ExpressionError(ValidationError):
    """A text does not parse. text: all of it; at: the index of the character where it went wrong, or its length."""

    def __init__(self, text: str, at: int, why: str, hint: str | None = None) -> None:
        super().__init__(f"{text or 'an empty condition'} is no condition on metadata: {why}", hint)
        self.text, self.at = text, at


class NotFoundError(PictoError):
    """The path, image or dataset does not exist."""

    exit_code = 4


class StoreError(PictoError):
    """The database cannot be opened, read or written."""


class DamagedError(StoreError):
    """The database is damaged, or holds what picto would never write."""

    def __init__(
        self, message: str, hint: str = "picto info --check names what is wrong, picto repair mends what can be mended"
    ) -> None:
        super().__init__(message, hint)


class TakenError(StoreError):
    """Another process is changing the database; trying again later helps."""


class AwayError(StoreError):
    """The database's server cannot be reached, or ended the connection; trying again when it is back helps."""


class ModelMismatchError(StoreError):
    """The database holds embeddings of another model or revision; spaces do not mix."""


class ModelError(PictoError):
    """The model's files cannot be found, fetched, loaded or run."""


class UnreadableError(PictoError):
    """A file exists but holds no image that can be decoded."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValidationError unless low ≤ value ≤ high; NaN is not."""
    if not low <= value <= high:
        raise ValidationError(f"{name.replace('_', ' ')} must lie between {low} and {high}, not {value}")
