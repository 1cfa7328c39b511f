"""Ctrl-C waits for the end of what is being stored, once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pictocli.interrupts import ending, held, interruptible

STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _pythons_own_handler() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore Ctrl-C."""
    before = {stop: signal.getsignal(stop) for stop in STOPS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stop in STOPS[1:]:
        signal.signal(stop, signal.SIG_DFL)
    yield
    for stop, handler in before.items():
        signal.signal(stop, handler)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_one_waits_for_the_end_of_the_block(stop: signal.Signals) -> None:
    done = []
    interruptible()

    @held()
    def work() -> None:
        os.kill(os.getpid(), stop)
        with held():
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    assert {signal.getsignal(each) for each in STOPS} == {signal.default_int_handler}


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interruptible()
    with held():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_any_two_of_them_stop_at_once() -> None:
    interruptible()
    done = []

    @held()
    def work() -> None:
        ctrl_c()
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("too late")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == []


def test_a_second_one_stops_at_once() -> None:
    done = []

    @held()
    def work() -> None:
        ctrl_c()
        ctrl_c()
        done.append("too late")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_goes_first() -> None:
    @held()
    def work() -> None:
        ctrl_c()
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        work()


def test_a_programs_own_handler_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with held():
            ctrl_c()
            assert seen == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_off_the_main_thread_it_does_nothing() -> None:
    done = []

    def work() -> None:
        with held():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


def test_nothing_interrupts_the_end() -> None:
    """A second Ctrl-C while Python ended printed a traceback of what had been done long before."""
    interruptible()
    ending()
    for stop in STOPS:
        os.kill(os.getpid(), stop)
    assert {signal.getsignal(stop) for stop in STOPS} == {signal.SIG_IGN}


def test_a_programs_own_handler_stays_to_the_end() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    interruptible()
    ending()
    os.kill(os.getpid(), signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def test_an_error_tells_that_one_was_waiting() -> None:
    """Whoever goes on after it would not stop otherwise."""

    @held()
    def work() -> None:
        ctrl_c()
        raise OSError("gone")

    with pytest.raises(OSError, match="gone") as failed:
        work()
    assert isinstance(failed.value.__cause__, KeyboardInterrupt)
