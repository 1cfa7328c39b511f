"""Many downloads at once: in order, bounded in number and in bytes, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Site, site, unused_port

from pictocli import downloads
from pictocli.downloads import AT_ONCE, PREFIX, Failed, Fetched, sweep
from pictocli.remote import Access, Remote

QUICK = Access(timeout=2, pause=0.01)
HEAD = b"\xff\xd8\xff" + bytes(2000)


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def wanted(server: Site, count: int, way: str = "tagged", size: int = 1000) -> list[tuple[int, str, str]]:
    for at in range(count):
        server.pages[f"/{at}.jpg"] = HEAD + bytes([at % 256]) * size
        server.ways[f"/{at}.jpg"] = way
    return [(at, f"{server.address}/{at}.jpg", "") for at in range(count)]


def test_they_come_in_order_at_most_32_at_once(server: Site, spool: Path) -> None:
    with Remote(QUICK) as remote:
        for at, (item, outcome) in enumerate(remote.fetched(wanted(server, 200, "slow"))):
            assert isinstance(outcome, Fetched)
            assert (item, Path(outcome.path).read_bytes()) == (at, server.pages[f"/{at}.jpg"])
            outcome.release()
    assert AT_ONCE // 2 < server.most <= AT_ONCE
    assert list(spool.iterdir()) == []


def test_files_that_wait_take_no_more_than_their_room(
    server: Site, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, room = 500_000, 4_000_000
    monkeypatch.setattr(downloads, "ROOM", room)
    most = 0
    with Remote(QUICK) as remote:
        for at, (item, outcome) in enumerate(remote.fetched(wanted(server, 60, size=size))):
            assert isinstance(outcome, Fetched)
            assert (item, outcome.here) == (at, len(HEAD) + size)
            most = max(most, sum(file.stat().st_size for file in spool.glob("*/*")))
            outcome.release()
    assert room // 2 < most <= room + 2 * (len(HEAD) + size)  # the one that is waited for, and the one in hand


def test_a_file_larger_than_the_room_comes_all_the_same(
    server: Site, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ROOM", 1000)
    with Remote(QUICK) as remote:
        found = [outcome for _, outcome in remote.fetched(wanted(server, 5, size=1_000_000))]
    assert [isinstance(outcome, Fetched) for outcome in found] == [True] * 5


def test_a_host_that_is_gone_costs_a_few_tries_not_thousands(server: Site) -> None:
    gone = f"http://127.0.0.1:{unused_port()}"
    files = wanted(server, 4)
    files[1:1] = [(-1, f"{gone}/{at}.jpg", "") for at in range(300)]
    with Remote(Access(timeout=2, pause=0.001)) as remote:
        found = [outcome for _, outcome in remote.fetched(files)]
    assert [isinstance(outcome, Fetched) for outcome in found] == [True] + [False] * 300 + [True] * 3
    reasons = [outcome.reason for outcome in found if isinstance(outcome, Failed)]
    assert reasons[0] == "cannot connect"
    assert reasons[-1] == "not asked for: its host failed three times"
    assert reasons.count("cannot connect") <= AT_ONCE + 3


def test_a_disk_that_fails_is_no_broken_connection(
    server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path / "never-made"))
    with Remote(QUICK) as remote:
        found = [outcome for _, outcome in remote.fetched(wanted(server, 1))]
    assert found == [Failed("cannot be kept here: no such file or directory")]
    assert server.asked["GET", "/0.jpg"] == 1


def test_one_that_stops_early_leaves_nothing(server: Site, spool: Path) -> None:
    with Remote(QUICK) as remote:
        for _, outcome in remote.fetched(wanted(server, 100, "slow")):
            assert isinstance(outcome, Fetched)
            break
    assert list(spool.iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left, mine, odd = (tmp_path / f"{PREFIX}{who}-x" for who in (int(done.stdout), os.getpid(), "someone"))
    for folder in (left, mine, odd):
        folder.mkdir()
        (folder / "00000001.jpg").touch()
    sweep(tmp_path)
    assert (left.exists(), mine.exists(), odd.exists()) == (False, True, True)
