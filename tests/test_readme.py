"""The README is true: its console blocks are run in a terminal on the sample images, and their output is compared.

`python tests/test_readme.py` writes the outputs anew after a change that is meant.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest
from program import drained
from servers import AWS, fill, s3_server

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
COLUMNS = 80
# What differs from run to run, and from machine to machine: times, dates, sizes on disk.
VOLATILE = [
    (re.compile(r"\d+(\.\d+)? m?s\b"), "TIME"),
    (re.compile(r"in \d+:\d\d\b"), "in TIME"),
    (re.compile(r"\(\d+\.\d/s\)"), "(RATE)"),
    (re.compile(r"\d{4}-\d\d-\d\d( |T)?(\d\d:\d\d)?(:\d\dZ)?"), "DATE"),
    (re.compile(r"\d+(\.\d)? [kM]B$"), "SIZE"),
    (re.compile(r"[█▏▎▍▌▋▊▉]+"), "BAR"),
]
NUMBER = re.compile(r"([+-]?\d*\.?\d+)(%?)")
TOLERANCE = {"": 0.02, "%": 1.0}  # cosines in bfloat16 and in float32 differ in their third decimal


def blocks(text: str) -> list[list[tuple[str, str]]]:
    """Each console block as (command, output) pairs."""
    found = []
    for body in BLOCK.findall(text):
        parts = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
        found.append(list(zip(parts[1::2], parts[2::2], strict=True)))
    return found


@contextlib.contextmanager
def cloud(folder: Path) -> Iterator[Mapping[str, str]]:
    """A bucket of S3 on loopback with some of the sample images, and a list of them; the variables that lead there."""
    nature = sorted((folder / "sample_images/nature").iterdir())
    rows = [f"{1001 + at},{'Acme' if at % 2 else 'Best'},s3://holiday-photos/2024/{path.name}" for at, path in
            enumerate(nature)]  # fmt: skip
    (folder / "products.csv").write_text("product_id,brand,image_url\n" + "".join(f"{row}\n" for row in rows))
    with s3_server() as (address, _):
        fill(address, "holiday-photos", {f"2024/{path.name}": path.read_bytes() for path in nature})
        yield AWS | {"AWS_ENDPOINT_URL": address}


def run(command: str, folder: Path, cloud: Mapping[str, str]) -> str:
    """What a terminal of 80 columns shows of a command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    env = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PICTO_DB": "picto.db",
        "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1",
        **cloud,
    }  # fmt: skip
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    (shown,) = drained([ours])
    process.wait()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\]8;[^\x1b]*\x1b\\", "", shown.decode().replace("\r\n", "\n"))
    # a progress bar redraws its line: what stands after the last return is what stays
    return "".join(line.rpartition("\r")[2].rstrip() + "\n" for line in text.split("\n")).strip("\n") + "\n"


def steady(text: str) -> list[list[str]]:
    """The words of each line, without what differs from run to run.

    Of a histogram only its height is kept: one image at a threshold, on another processor, reorders its lines.
    """
    for pattern, name in VOLATILE:
        text = pattern.sub(name, text)
    lines = [line.split() for line in text.strip().splitlines()]
    return [["BAR"] if line[-1:] and line[-1].endswith("%") else line for line in lines]


def same(one: list[list[str]], other: list[list[str]]) -> bool:
    """Whether two outputs agree: words exactly, decimals nearly."""
    if [len(line) for line in one] != [len(line) for line in other]:
        return False
    for left, right in zip(chain(*one), chain(*other), strict=True):
        a, b = NUMBER.fullmatch(left), NUMBER.fullmatch(right)
        if a and b and a[2] == b[2] and ("." in left or a[2]):
            if abs(float(a[1]) - float(b[1])) > TOLERANCE[a[2]]:
                return False
        elif left != right:
            return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "sample_images", made / "sample_images")
    return made


def test_every_console_block_is_true(folder: Path) -> None:
    wrong = []
    with cloud(folder) as variables:
        for command, expected in chain(*blocks(README.read_text())):
            if "jq" in command and shutil.which("jq") is None:
                continue
            shown = run(command, folder, variables)
            if not same(steady(shown), steady(expected)):
                wrong.append(f"$ {command}\n{shown}\n--- the README says\n{expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["run", "tests"])
def test_one_line_sets_up(name: str) -> None:
    """The two lines are there, and each is one line."""
    found = re.search(rf"<!-- setup: {name} -->\n```sh\n(.*?)\n```", README.read_text(), re.DOTALL)
    assert found is not None
    assert "\n" not in found[1]
    assert "-c tests/constraints.txt" in found[1]


def test_pictures_and_links_are_there() -> None:
    text = README.read_text()
    paths = re.findall(r'src="([^"]+)"', text) + re.findall(r"\]\((?!http|#)([^)]+)\)", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def write() -> None:
    """Put today's outputs into the README."""
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(ROOT / "sample_images", folder / "sample_images")

        def renewed(block: re.Match[str]) -> str:
            (pairs,) = blocks(block[0])
            keep = [(command, old) for command, old in pairs if "jq" in command and shutil.which("jq") is None]
            body = "".join(
                f"$ {command}\n{old if (command, old) in keep else run(command, folder, variables)}"
                for command, old in pairs
            )
            return f"```console\n{body}```"

        with cloud(folder) as variables:
            README.write_text(BLOCK.sub(renewed, README.read_text()))


if __name__ == "__main__":
    write()
