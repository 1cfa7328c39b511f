"""`picto` as a program, without the time that a program takes to start: forked from a process that has imported it.

`picto` on the path is then a script that hands its arguments, environment, working folder and streams to that process,
which forks; the child runs the command line as the installed program does, and the script ends with its exit code.

    python forked.py SOCKET MODULE…
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pictocli

__all__ = ["picto"]

_STREAMS = 3
_SCRIPT = """#!{python} -ISE
import json, os, socket, sys
told = json.dumps([sys.argv, dict(os.environ), os.getcwd()], ensure_ascii=True).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(told).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(told)
    code = server.recv(1)
sys.exit(code[0] if code else 255)
"""
_LARGE = {"agent_tools", "agents", "openvino_vision", "siglip", "tower"}  # torch, MCP: forking it all takes long
PATIENCE = 60  # s that imports may take on a busy machine


@contextlib.contextmanager
def picto(folder: Path, modules: Sequence[str] = ()) -> Iterator[Path]:
    """The path of a script `picto` in a new folder below `folder`, which works in this block.

    modules: what else is imported beforehand. The socket lies in `folder`, whose path must be short.
    """
    address, place = folder / "socket", folder / "bin"
    place.mkdir()
    script = place / "picto"
    script.write_text(_SCRIPT.format(python=sys.executable, address=str(address)))
    script.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address), *modules], stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + PATIENCE
        while not address.exists():
            assert server.poll() is None, "it does not start"
            assert time.monotonic() < until
            time.sleep(0.02)
        yield script
    finally:
        server.kill()
        server.communicate()


def _serve(address: str) -> None:
    """Answer until the process that has started us is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for our children
    part = address + ".part"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(part)
        listening.listen(64)
        os.rename(part, address)
        while True:
            asking, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(asking)
            asking.close()


def _answer(asking: socket.socket) -> None:
    """Run one command in this process, and end with it."""
    code = 255
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        size, streams, _, _ = socket.recv_fds(asking, 8, _STREAMS)
        told = b""
        while len(told) < int.from_bytes(size, "big"):
            told += asking.recv(1 << 16)
        arguments, environment, folder = json.loads(told)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(folder)
        sys.path[:0] = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each not in sys.path]
        code = _run(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            asking.sendall(bytes([code & 255]))
        os._exit(code & 255)


def _run(arguments: Sequence[str]) -> int:
    """The command line's exit code, as the installed program gives it."""
    import atexit

    from pictocli.cli import main

    sys.argv = list(arguments)
    code: Any = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return 0 if code is None else int(code)


if __name__ == "__main__":
    ours = [path.stem for path in Path(pictocli.__file__).parent.glob("[a-z]*.py")]
    with warnings.catch_warnings(action="ignore"):
        for module in (*(f"pictocli.{name}" for name in ours if name not in _LARGE), *sys.argv[2:]):
            importlib.import_module(module)
    gc.freeze()  # what is shared stays so
    _serve(sys.argv[1])
