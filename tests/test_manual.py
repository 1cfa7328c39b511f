"""The manual page: made of the command line, sound roff, and the one that is installed.

`python tests/test_manual.py` writes pictocli/shell/picto.1 anew after a change of the command line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from program import environment, run

import pictocli

PAGE = Path(pictocli.__file__).with_name("shell") / "picto.1"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the program prints."""
    done = run("man")
    assert (done.code, done.err) == (0, "")
    path = tmp_path_factory.mktemp("man") / "picto.1"
    path.write_bytes(done.out)
    return path


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        assert not os.environ.get("CI"), f"{program} is missing"
        pytest.skip(f"{program} is not installed")
    return found


def test_the_installed_page_is_the_one_that_is_made(page: Path) -> None:
    assert PAGE.read_bytes() == page.read_bytes(), "python tests/test_manual.py writes it anew"


def test_groff_finds_nothing_wrong(page: Path) -> None:
    done = subprocess.run([needed("groff"), "-man", "-ww", "-Tutf8", "-Kutf8", page], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def shown(page: Path) -> str:
    env = environment(MANWIDTH="100", MANPAGER="cat", MAN_KEEP_FORMATTING="")
    done = subprocess.run([needed("man"), "--warnings", "-l", page], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(".\b|\x1b\\[[0-9;]*m", "", done.stdout)


def test_man_shows_every_command_and_what_its_help_says(page: Path) -> None:
    words = " ".join(shown(page).replace("‐\n", "").split())
    words = re.sub(r"‐ ", "", words)
    listed = re.findall(r"^  ([a-z-]+) ", run("--help").out.decode().partition("Commands:")[2], re.MULTILINE)
    assert len(listed) > 20
    for name in listed:
        assert f"picto {name} [OPTIONS]" in words
    for text in (
        "--threshold T Least cosine similarity, 0 to 1. [default: 0.6]",
        "-0, --print0 Print paths only, each ended by a NUL, for xargs -0.",
        "--pdf-pages 1-5,9,20- Only these pages of each PDF.",
        "IMG A path, report.pdf#page=3, id:123, or - for bytes on stdin.",
        r"find . -name '*.jpg' -print0 | picto index --from - -0 --dataset found",
        "'discount=null' finds where it is missing.",
        "130 Interrupted.",
        "PICTO_CONFIG The file of the user's own defaults.",
    ):
        assert text in words


def test_a_configuration_changes_no_manual(page: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[similar]\nthreshold = 0.9\n")
    assert run("man", env={"PICTO_CONFIG": f"{tmp_path}/config.toml"}).out == page.read_bytes()


if __name__ == "__main__":
    PAGE.write_bytes(run("man").out)
