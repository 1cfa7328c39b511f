"""One process at a time changes a root: the second is told which one does."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pictures import scene
from program import PICTO, environment, run

import pictocli
from pictocli.claims import claimed
from pictocli.errors import StoreError

ROOTS = {1: "/photos", 2: "/scans"}


class Holder:
    """Another process that claims roots, or all, of the library at `path` until it is told to stop."""

    def __init__(self, path: Path, roots: Mapping[int, str] | None) -> None:
        code = (
            f"from pictocli.claims import claimed\nwith claimed({str(path)!r}, {roots!r}):\n"
            "    print('claimed', flush=True)\n    input()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"claimed\n"

    def stop(self) -> None:
        self.process.communicate(b"\n")


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    found: list[Holder] = []
    yield found
    for holder in found:
        holder.process.kill()
        holder.process.communicate()


@pytest.mark.parametrize(
    ("theirs", "mine", "taken"),
    [
        ({1: "/photos"}, {1: "/photos"}, "/photos is being indexed by process {}"),
        ({1: "/photos"}, {2: "/scans"}, None),
        (ROOTS, {2: "/scans"}, "/scans is being indexed by process {}"),
        ({2: "/scans"}, ROOTS, "/scans is being indexed by process {}"),
        ({2: "/scans"}, None, "{path} is being indexed by process {}"),
        (None, {2: "/scans"}, "/scans is being changed by process {}"),
        (None, None, "{path} is being changed by process {}"),
        ({900: "/far"}, {900: "/far"}, "/far is being indexed by process {}"),
    ],
    ids=["same", "another", "one of theirs", "one of mine", "all of one", "one of all", "all", "far"],
)
def test_what_is_claimed_is_refused_to_others(
    theirs: Mapping[int, str] | None,
    mine: Mapping[int, str] | None,
    taken: str | None,
    tmp_path: Path,
    holders: list[Holder],
) -> None:
    path = tmp_path / "a.db"
    holders.append(Holder(path, theirs))
    if taken is None:
        with claimed(str(path), mine):
            pass
    else:
        with pytest.raises(StoreError) as error, claimed(str(path), mine):
            pytest.fail("both have it")
        assert str(error.value) == taken.format(holders[0].process.pid, path=path)
    assert (tmp_path / "a.db-claims").exists()
    holders[0].stop()
    assert list(tmp_path.iterdir()) == []
    with claimed(str(path), mine):
        assert stat.S_IMODE((tmp_path / "a.db-claims").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_leaves_its_claim_to_the_next(tmp_path: Path, holders: list[Holder]) -> None:
    holders.append(Holder(tmp_path / "a.db", ROOTS))
    holders[0].process.kill()
    holders[0].process.wait()
    with claimed(str(tmp_path / "a.db"), ROOTS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_library_is_that_library(tmp_path: Path, holders: list[Holder]) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "link.db").symlink_to("a.db")
    holders.append(Holder(tmp_path / "a.db", ROOTS))
    with pytest.raises(StoreError), claimed(str(tmp_path / "link.db"), ROOTS):
        pytest.fail("both have it")


def test_many_that_come_and_go_are_never_two(tmp_path: Path) -> None:
    """The last one removes the file of claims, which the next may just have opened."""
    code = (
        "import os, sys\nfrom pictocli.claims import claimed\nfrom pictocli.errors import StoreError\n"
        "had = 0\n"
        "for _ in range(400):\n"
        "    try:\n"
        f"        with claimed({str(tmp_path / 'a.db')!r}, {{1: 'r'}}):\n"
        f"            os.mkdir({str(tmp_path / 'mine')!r})\n"
        f"            os.rmdir({str(tmp_path / 'mine')!r})\n"
        "            had += 1\n"
        "    except StoreError:\n"
        "        pass\n"
        "print(had)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    found = [process.communicate() for process in running]
    assert [err for _, err in found] == [b""] * 4
    assert sum(int(out) for out, _ in found) > 10  # on a busy machine most find it taken
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def busy(tmp_path: Path, model: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """An index run that has stopped in the middle, its library, and its root."""
    root, path = tmp_path / "photos", tmp_path / "a.db"
    root.mkdir()
    for seed in range(40):
        scene(seed).save(root / f"{seed:02}.png")
    command = [PICTO, "index", root, "--db", path, "--model", model, "--workers", "0", "--batch-size", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment())
    with pictocli.open(path) as library:
        while True:
            try:
                if library.info().images > 2:
                    break
            except pictocli.PictoError:  # there is none yet
                library.close()
            assert process.poll() is None
    process.send_signal(signal.SIGSTOP)
    yield process, path, root
    process.kill()
    process.wait()


def test_a_second_indexer_of_the_same_root_is_told_who_is_first(
    busy: tuple[subprocess.Popen[bytes], Path, Path], tmp_path: Path
) -> None:
    process, path, root = busy
    other = tmp_path / "scans"
    other.mkdir()
    scene(50).save(other / "a.png")
    ran = run("index", root, "--db", path)
    assert (ran.code, ran.out) == (3, b"")
    assert ran.err.startswith(f"error: {root} is being indexed by process {process.pid}\n\nhint: wait")
    for changing in (["retag"], ["reembed", "--model", "mini"]):
        ran = run(*changing, "--db", path)
        assert ran.code == 3
        assert f"error: {path} is being indexed by process {process.pid}\n" in ran.err
    ran = run("index", other, "--db", path, "--workers", "0")
    assert ran.code == 0
    assert "Indexed 1 image" in ran.err
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    ran = run("index", root, "--db", path)
    assert ran.code == 0
    assert "40 unchanged" in ran.err
    assert not [name for name in os.listdir(tmp_path) if "claims" in name]
