from __future__ import annotations

import io
import re
import time

import pytest

from pictocli import progress
from pictocli.progress import Bar, slow


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def frames(self) -> list[str]:
        """Every line that was drawn, in turn."""
        return [frame.strip() for frame in re.split(r"[\r\n]|\x1b\[[KA]", self.getvalue()) if frame.strip()]


def test_a_bar_from_scanning_to_its_end() -> None:
    screen = Screen()
    bar = Bar(stream=screen)
    bar.found(1)
    time.sleep(0.11)
    bar.found(4204)
    bar.done(0, 0)
    for _ in range(2):
        time.sleep(0.11)
        bar.done(1055, 3)
    bar.close()
    frames = screen.frames()
    assert "scanning, 4,204 found" in frames
    shape = r"indexing  [━╸ ]{24}  2,110/4,204  [\d,.]+ files/s  0:0\d left  3 skipped"
    assert re.fullmatch(shape, frames[-1]), frames[-1]
    assert not any("indexing" in frame and "/1 " in frame for frame in frames)


def test_what_has_no_bar_is_said_and_taken_back() -> None:
    screen = Screen()
    bar = Bar(stream=screen)
    bar.doing("loading mini")
    bar.doing("")
    assert screen.getvalue() == "\rloading mini …\x1b[K\r\x1b[K"


@pytest.mark.parametrize(("seconds", "said"), [(0.3, ["reading …"]), (0, [])], ids=["slow", "fast"])
def test_what_is_slow_is_said(seconds: float, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SLOW", 0.1)
    screen, pipe = Screen(), io.StringIO()
    with slow("reading", screen), slow("reading", pipe):
        time.sleep(seconds)
    assert (screen.frames(), pipe.getvalue()) == (said, "")
    assert screen.getvalue().endswith("\r\x1b[K" if said else "")


def test_talk_comes_on_a_line_of_its_own() -> None:
    screen = Screen()
    bar = Bar(stream=screen)
    bar.found(3)
    bar.say("fetching mini 15 MB")
    bar.close()
    assert "fetching mini 15 MB" in screen.frames()


@pytest.mark.parametrize("stream", [io.StringIO(), Screen()], ids=["pipe", "quiet"])
def test_nothing_is_drawn_in_a_pipe_or_when_quiet(stream: io.StringIO) -> None:
    bar = Bar(quiet=isinstance(stream, Screen), stream=stream)
    bar.found(3)
    bar.doing("loading mini")
    bar.doing("")
    bar.done(3, 1)
    bar.close()
    assert stream.getvalue() == ""


def test_a_pipe_still_hears_talk() -> None:
    pipe = io.StringIO()
    Bar(stream=pipe).say("no hub answered: using mini")
    assert pipe.getvalue() == "no hub answered: using mini\n"
