"""Being stopped at the right moment: what is being stored is stored, and counted, before anything ends.

Ctrl-C, and for the program also the signals that a closing terminal and a machine that shuts down send, all raise
KeyboardInterrupt.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["ending", "held", "interruptible"]

_STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_USUAL = signal.default_int_handler


def interruptible() -> None:
    """Have every signal that asks to stop raise KeyboardInterrupt, but one that is ignored, as under nohup."""
    for stop in _STOPS:
        if signal.getsignal(stop) is signal.SIG_DFL:
            signal.signal(stop, _USUAL)


def ending() -> None:
    """Have nothing interrupt what Python does at its end: what was asked for has been done, or has been stopped."""
    for stop in _STOPS:
        if signal.getsignal(stop) is _USUAL:
            signal.signal(stop, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a first such signal wait for the end of the block, where it raises KeyboardInterrupt; a second stops at once.

    Leaves alone what a program, or another such block, has its own handler for, and does nothing off the main thread,
    where Python delivers no signals.
    """
    mine = []
    if threading.current_thread() is threading.main_thread():
        mine = [stop for stop in _STOPS if signal.getsignal(stop) is _USUAL]
    asked = False

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _USUAL(number, frame)
        asked = True

    for stop in mine:
        signal.signal(stop, wait)
    try:
        yield
    except BaseException as exc:
        if asked:  # so that who goes on after this error sees that he was to stop
            raise exc from KeyboardInterrupt()
        raise
    finally:
        for stop in mine:
            signal.signal(stop, _USUAL)
    if asked:
        raise KeyboardInterrupt
