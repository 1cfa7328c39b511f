"""Ctrl-C at the right moment: what is being stored is stored, and counted, before it stops anything."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["held"]


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block, where it raises KeyboardInterrupt; a second one stops at once.

    Does nothing within another such block, beside a program's own handler, or off the main thread, where Python
    delivers no signals.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    asked = False

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            usual(number, frame)
        asked = True

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if asked:
        raise KeyboardInterrupt
