"""Real shells on a pseudo-terminal, as a person uses them: type, press Tab, press Enter.

The shells' `picto` is a script: asked for completions it runs the real program, else it writes down the words that the
shell has made of the line. So what is compared is what the program would have been given.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from program import PICTO, environment

__all__ = ["SHELLS", "ShellSession", "shell"]

SHELLS = ("bash", "zsh", "fish")
_DEADLINE = 90  # seconds: a machine may be busy
_ARGUMENTS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
_SETUP = {
    "bash": 'bind "set bell-style none"; eval "$({picto} completion bash)"',
    "zsh": 'unsetopt beep; autoload -Uz compinit; compinit -D -u; eval "$({picto} completion zsh)"',
    "fish": "set -g fish_greeting; {picto} completion fish | source",
}
_RECORDER = """#!/bin/sh
if [ -n "$_PICTO_COMPLETE" ]; then exec '{picto}' "$@"; fi
printf '%s\\0' "$@" > "$RECORD.part"
mv "$RECORD.part" "$RECORD"
"""


class ShellSession:
    """One interactive shell."""

    def __init__(self, name: str, master: int, record: Path) -> None:
        self.name, self._master, self._record = name, master, record
        self.seen = b""

    def words(self, keys: str) -> list[str]:
        """The words that `picto` is given after these keys ("\\t" is Tab) and Enter."""
        self._record.unlink(missing_ok=True)
        self.send(keys + "\r")
        self.wait(self._record.exists, keys)
        return self._record.read_bytes().decode().split("\0")[:-1]

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Read what the shell shows until `done()`; AssertionError when that takes too long."""
        end = time.monotonic() + _DEADLINE
        while not done():
            assert time.monotonic() < end, f"{what!r}: {self.seen[-2000:].decode(errors='replace')}"
            if select.select([self._master], [], [], 0.02)[0]:
                self.seen += os.read(self._master, 65536)


@contextlib.contextmanager
def shell(name: str, cwd: Path, place: Path, variables: Mapping[str, str]) -> Iterator[ShellSession]:
    """An interactive shell in `cwd` that completes picto. place: an empty folder for what it needs."""
    program = shutil.which(name)
    assert program is not None
    (place / "bin").mkdir()
    recorder = place / "bin" / "picto"
    recorder.write_text(_RECORDER.format(picto=PICTO))
    recorder.chmod(0o755)
    record, ready = place / "record", place / "ready"
    env = environment(RECORD=str(record), PS1="> ", HOME=str(place), TERM="xterm", **variables)
    env["PATH"] = f"{recorder.parent}:{env['PATH']}"
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        [program, *_ARGUMENTS[name]], cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    session = ShellSession(name, master, record)
    try:
        session.send(_SETUP[name].format(picto=PICTO) + f"; : > '{ready}'\r")
        session.wait(ready.exists, "the shell's start")
        yield session
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(master)
