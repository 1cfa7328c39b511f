"""Fuzz for longer, with new chances every time: `python tests/fuzz/run.py [TARGET…] --minutes 10`.

Each target runs in a process of its own, for so many minutes. What fails is made small and kept in seeds/TARGET, where
the tests replay it from then on. A decoder that crashes ends its process; the file it died of is kept too.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
FOUND = 2  # the exit code of a target's process that has found something, and has lived to tell
sys.path[:0] = [str(HERE), str(HERE.parent)]

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from targets import TARGETS, checked  # noqa: E402
from world import World  # noqa: E402


def keep(name: str, data: bytes) -> Path:
    """Keep an input as a seed."""
    path = SEEDS / name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def place(error: BaseException) -> str:
    """What failed, and where in picto or in its check."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "pictocli" in frame.filename or HERE.name in Path(frame.filename).parts]
    at = ours[-1] if ours else frames[-1]
    return f"{type(error).__name__} in {Path(at.filename).name}:{at.lineno}"


def fuzz(name: str, minutes: float, scratch: Path) -> int:
    """Fuzz one target in this process, and print what came of it. Returns how many faults were found."""
    target, world = TARGETS[name], World(scratch)
    last, count, found = b"", 0, set[str]()
    begun = time.monotonic()
    while time.monotonic() - begun < minutes * 60:

        @seed(random.getrandbits(64))
        @settings(
            max_examples=300, database=None, deadline=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )  # fmt: skip
        @given(target.inputs)
        def attempt(data: bytes) -> None:
            nonlocal last, count
            count += 1
            if time.monotonic() - begun > minutes * 60 and not last:
                return
            (scratch / "now").write_bytes(data)
            faulthandler.dump_traceback_later(120, exit=True)  # a native call that does not come back
            try:
                checked(target, data, world)
            except Exception as exc:
                if place(exc) in found:
                    return
                last = data
                raise
            finally:
                faulthandler.cancel_dump_traceback_later()

        try:
            attempt()
        except Exception as exc:
            found.add(place(exc))
            sys.stdout.write(f"  {place(exc)}: {str(exc)[:200]!r}\n    {keep(name, last)}: {last[:200]!r}\n")
            sys.stdout.flush()
            last = b""
    spent = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = f"{count:,} examples  {count / spent:.1f}/s  peak {peak:,.0f} MB"
    sys.stdout.write(f"{name:<10} {spent / 60:.1f} min  {rate}  found {len(found)}\n")
    return len(found)


def main() -> int:
    """Fuzz the targets that are named, or all, one after the other. The exit code is 1 when something was found."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument(
        "target", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=f"of {', '.join(TARGETS)} [default: all]"
    )
    asked.add_argument("--minutes", type=float, default=10, help="for each target [default: 10]")
    asked.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.here:
        warnings.simplefilter("ignore")
        return FOUND if fuzz(options.target[0], options.minutes, options.here) else 0
    failed = 0
    for name in options.target or TARGETS:
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as said:  # decoders say much
            command = [sys.executable, __file__, name, "--minutes", str(options.minutes), "--here", scratch]
            env = os.environ | {"HF_HUB_OFFLINE": "1", "HOME": scratch, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=env, stderr=said)
            failed += done.returncode != 0
            if done.returncode not in (0, FOUND):
                said.seek(0)
                sys.stdout.write(said.read().decode(errors="replace")[-2000:])
                with contextlib.suppress(FileNotFoundError):
                    data = (Path(scratch) / "now").read_bytes()
                    sys.stdout.write(f"  {name} ended with {done.returncode}: {keep(name, data)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
