"""Worker processes: one that dies takes nothing with it but the job that killed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from pictocli.errors import PictoError
from pictocli.workers import CrashedError, LateError, Workers, alive, default_workers


def double(value: int) -> int:
    return value * 2


def sleepily(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value * 2


def die(seconds: float = 0.0) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(3)


def fail() -> None:
    raise LookupError("no such thing")


def once(marker: str) -> int:
    """Dies the first time it is called, as when another process took all the memory."""
    if not Path(marker).exists():
        Path(marker).touch()
        die()
    return 7


def process() -> int:
    return os.getpid()


def has_torch() -> bool:
    return "torch" in sys.modules


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(2)
    yield pool
    pool.close()


@pytest.mark.parametrize("deadly", [die, leave])
def test_a_job_that_kills_its_worker_is_the_only_one_lost(deadly: object, workers: Workers) -> None:
    jobs = [workers.submit(deadly if n in (3, 9) else double, *([] if n in (3, 9) else [n])) for n in range(12)]
    found = []
    for job in jobs:
        try:
            found.append(workers.result(job))
        except CrashedError:
            found.append("crashed")
    assert found == ["crashed" if n in (3, 9) else 2 * n for n in range(12)]


def test_a_job_that_is_tried_again_shares_its_fate_with_no_other(workers: Workers) -> None:
    """The second killer was submitted after the first one's pool had died, and dies while the innocent runs again."""
    first, innocent = workers.submit(die), workers.submit(sleepily, 21, 0.6)
    with pytest.raises(CrashedError):
        workers.result(first)
    second = workers.submit(die, 0.2)
    assert workers.result(innocent) == 42
    with pytest.raises(CrashedError):
        workers.result(second)


def test_a_job_is_given_a_second_chance(workers: Workers, tmp_path: Path) -> None:
    assert workers.result(workers.submit(once, str(tmp_path / "marker"))) == 7


def stop() -> None:
    """As a decoder that has gone wrong, or a read from a share that has stalled."""
    os.kill(os.getpid(), signal.SIGSTOP)


def busily(seconds: float) -> int:
    """Takes long, and says so."""
    for _ in range(10):
        time.sleep(seconds / 10)
        alive()
    return 5


@pytest.mark.parametrize(("hanging", "args"), [(stop, ()), (time.sleep, (60,))], ids=["stopped", "asleep"])
def test_a_job_that_hangs_is_ended_and_is_the_only_one_lost(hanging: Any, args: tuple[int, ...]) -> None:
    pool = Workers(2, limit=2.0)
    started = time.monotonic()
    jobs = [pool.submit(hanging, *args) if n == 3 else pool.submit(double, n) for n in range(8)]
    for n, job in enumerate(jobs):
        if n == 3:
            with pytest.raises(LateError):
                pool.result(job)
        else:
            assert pool.result(job) == 2 * n
    assert 2 <= time.monotonic() - started < 30
    assert pool.result(pool.submit(double, 9)) == 18
    pool.close()


def test_a_job_that_says_it_is_alive_may_take_longer() -> None:
    pool = Workers(1, limit=2.0)
    assert pool.result(pool.submit(busily, 4.0)) == 5
    assert pool.result(pool.submit(double, 1)) == 2
    pool.close()
    alive()  # nobody listens here


def test_closing_ends_what_is_still_running() -> None:
    pool = Workers(2)
    pids = [pool.result(pool.submit(process)) for _ in range(8)]
    pool.submit(time.sleep, 60)
    pool.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(map(not_dead, pids)):
        time.sleep(0.05)
    assert not [pid for pid in pids if not_dead(pid)]


def not_dead(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_what_a_job_raises_comes_out(workers: Workers) -> None:
    with pytest.raises(LookupError, match="no such thing"):
        workers.result(workers.submit(fail))
    assert workers.result(workers.submit(double, 4)) == 8


def test_jobs_run_elsewhere_and_without_torch(workers: Workers) -> None:
    """Forking after torch has started its threads deadlocks: a worker comes from a process that never loaded it."""
    import torch  # noqa: F401 - as it is when indexing

    assert workers.result(workers.submit(process)) != os.getpid()
    assert workers.result(workers.submit(has_torch)) is False


def test_without_workers_a_job_runs_here_when_its_result_is_asked_for(tmp_path: Path) -> None:
    pool, marker = Workers(0), tmp_path / "marker"
    job = pool.submit(marker.write_text, "x")
    assert not marker.exists()
    assert pool.result(job) == 1
    assert pool.result(pool.submit(process)) == os.getpid()


def test_closing_twice_and_going_on_after_it(workers: Workers) -> None:
    assert workers.result(workers.submit(double, 1)) == 2
    workers.close()
    workers.close()
    assert workers.result(workers.submit(double, 2)) == 4


def test_workers_end_with_a_parent_that_is_killed() -> None:
    code = (
        "import os, signal, sys; from pictocli.workers import Workers; pool = Workers(1)\n"
        "print(pool.result(pool.submit(os.getpid)), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    worker = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker waits for ever")


def blocked_signals() -> set[signal.Signals]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))  # type: ignore[arg-type]


def test_ctrl_c_is_not_heard_by_workers_from_their_first_moment(workers: Workers) -> None:
    """One that came while a worker was starting killed it with a traceback, before it could ignore the signal."""
    before = blocked_signals()
    assert signal.SIGINT in workers.result(workers.submit(blocked_signals))
    assert blocked_signals() == before


def test_where_no_process_can_be_started_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to a server that could not start broke, which was taken for a closed standard output: exit 0."""

    def start(self: BaseProcess) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(BaseProcess, "start", start)
    pool = Workers(2)
    with pytest.raises(PictoError, match="cannot start a decoding process") as error:
        pool.submit(double, 2)
    assert error.value.hint == "--workers 0 decodes without any"
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a server that makes processes listens on a socket")
def test_a_path_too_long_for_a_socket_is_said_with_its_remedy(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    code = (
        "from pictocli.errors import PictoError; from pictocli.workers import Workers\n"
        "try: Workers(1).submit(abs, 1)\nexcept PictoError as exc: print(exc.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(deep)}, capture_output=True)
    assert done.stdout == b"name a folder with a shorter path in TMPDIR; --workers 0 decodes without any\n", done.stderr


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_script_without_a_main_guard(tmp_path: Path, photos: Path, model: str, way: str) -> None:
    """Its workers do not run it again; nor do they look for a script that came on standard input."""
    code = (
        f"import pictocli\nprint('started', flush=True)\nwith pictocli.open({str(tmp_path / 'x.db')!r}) as library:\n"
        f"    report = library.index([{str(photos)!r}], model={model!r}, workers=2, device='cpu')\n"
        "print(report.indexed, report.skipped)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script)] if way == "file" else [sys.executable, "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("started\n18 []\n", "")


def test_one_worker_a_usable_core() -> None:
    assert default_workers() >= 1
