"""picto as users get it: a wheel and an sdist of the tracked files, and an environment that the wheel is installed in.

Its dependencies are those of the running environment, by links: to install torch again takes minutes. picto is not
among them, so what runs is what the wheel holds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["ROOT", "built", "clean_environment", "dependencies", "linked", "run", "source", "tracked"]

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Standard output of a program, which is not to fail. It finds no picto but the one that is installed."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PICTO_DB")}
    done = subprocess.run(
        command, cwd=cwd, env=variables | dict(env or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked() -> list[str]:
    """Every file that belongs to the project, relative to its root. Skips the test where git does not say."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (ROOT / name).is_file())


def source(folder: Path) -> Path:
    """A copy of the tracked files, less tests: a build leaves files behind, which the next one would take up."""
    for name in tracked():
        if not name.startswith((".", "tests/", "sample_images/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(folder: Path, into: Path, *kinds: str) -> None:
    """Build what is published of a source folder, by the installed setuptools. kinds: --wheel, --sdist; else both."""
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", into, cwd=folder)


def dependencies(folder: Path) -> Path:
    """A folder with links to all that is installed in the running environment, but picto."""
    folder.mkdir()
    for name in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for each in Path(name).iterdir():
            if not each.name.startswith(("pictocli", "__editable__", "__pycache__")) and each.suffix != ".pth":
                (folder / each.name).symlink_to(each)
    return folder


def linked(site: Path, others: Path) -> None:
    """Have the packages of the folder `others` found, after those of a folder that Python looks into for such lines."""
    site.mkdir(parents=True, exist_ok=True)
    (site / "dependencies.pth").write_text(f"{others}\n")


def clean_environment(folder: Path, wheel: Path) -> Path:
    """A new virtual environment with this wheel. Returns its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    python = folder / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", "--no-compile",
        wheel, cwd=wheel.parent,
    )  # fmt: skip
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    linked(Path(site), dependencies(folder / "dependencies"))
    return python.parent
