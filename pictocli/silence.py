"""Keeps decoders quiet: what they would write to standard error is a reason for a refusal, or nothing."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["silence"]

_one = threading.RLock()  # two threads would each take the other's silence for standard error, and leave it behind


@contextmanager
def silence() -> Iterator[None]:
    """No warnings of Python's, and nothing on standard error: libtiff writes there, and cannot be told otherwise."""
    with _one, warnings.catch_warnings(), open(os.devnull, "wb") as nowhere:
        warnings.simplefilter("ignore")
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
