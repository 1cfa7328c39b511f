"""Servers and writers that die in the middle: nothing is lost, doubled or embedded again, and everybody goes on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forked import picto
from pictures import scene
from program import environment
from stores import PASSWORD, Server, fresh, start
from test_watching import Said, Watching, picture

import pictocli
from pictocli.databases import connect
from pictocli.errors import AwayError, StoreError
from pictocli.forgetting import Forgetting
from pictocli.interrupts import held
from pictocli.sqlite import SqliteStore

COUNT = 20
_PATIENCE = 60  # seconds that a run may take to write its first pictures
MODULES = (
    "pictocli.scale.postgres.engine", "pictocli.siglip", "pictocli.tower",
    "transformers.models.siglip.image_processing_siglip", "transformers.models.siglip.modeling_siglip",
    "transformers.models.siglip.tokenization_siglip",
)  # fmt: skip
POINTS = (
    "SELECT count(*), count(*) FILTER (WHERE p.v = e.v::halfvec) FROM picto.image i"
    " JOIN picto.embedding e ON e.content_id = i.content_id FULL JOIN picto.point p ON p.image_id = i.id"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of 20 pictures, and one of a single picture."""
    base = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(("ours", "theirs", "one")):
        (base / name).mkdir()
        for at in range(1 if name == "one" else COUNT):
            scene(1000 * number + at).save(base / name / f"{at:02}.png")
    return [base / "ours", base / "theirs", base / "one"]


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    made = start()
    yield made
    made.stop()


@pytest.fixture
def server(started: Server) -> Server:
    """A server that a test may kill."""
    if not started.answers():
        started.start()
    return started


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """The program, forked from a process that has imported all that it needs: a run takes a second, and not six."""
    with tempfile.TemporaryDirectory(prefix="picto") as folder, picto(Path(folder), MODULES) as script:
        yield script


@pytest.fixture
def indexing(server: Server, program: Path, model: str) -> Iterator[Callable[[str, Path], Indexing]]:
    """Begins a run of `picto index` in a library, of a folder. None of them outlives the test."""
    begun: list[Indexing] = []

    def begin(name: str, folder: Path) -> Indexing:
        begun.append(Indexing(server, program, name, folder, model))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()


def begun(server: Server, pictures: list[Path], model: str, name: str | None = None) -> str:
    """The name of a library that holds one picture: what is embedded once a library, prompts, is embedded by us."""
    name = name or fresh(server)
    with pictocli.open(name) as library:
        library.index([pictures[2]], model=model, workers=0, device="cpu")
    return name


def _pids(db: psycopg.Connection[Any]) -> set[int]:
    """The processes of picto that are connected to this database, by what they say of themselves."""
    names = db.execute(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'picto %'"
    )
    return {int(name.removeprefix("picto ").partition("@")[0]) for (name,) in names}


class Indexing:
    """A run of `picto index`, one picture a batch, stopped after the first few were written."""

    def __init__(self, server: Server, program: Path, name: str, folder: Path, model: str) -> None:
        self.server, self.database = server, name.rpartition("/")[2].partition("?")[0]
        self.command = [
            program, "index", str(folder), "--db", name, "--model", model, "--device", "cpu", "--workers", "0",
        ]  # fmt: skip
        with psycopg.connect(server.dsn(self.database), autocommit=True) as watching:
            before = _pids(watching)
            started = watching.execute("SELECT count(*) FROM picto.embedding").fetchone()
            self.process = subprocess.Popen(
                [*self.command, "--batch-size", "1"], stderr=subprocess.PIPE, env=environment()
            )
            until = time.monotonic() + _PATIENCE
            while watching.execute("SELECT count(*) - %s < 3 FROM picto.embedding", started).fetchone() == (True,):
                assert self.process.poll() is None, self.process.communicate()
                assert time.monotonic() < until
                time.sleep(0.005)
            (self.pid,) = _pids(watching) - before
            os.kill(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.communicate()

    def between(self) -> Indexing:
        """Let it go on until it is stopped outside of its transactions, within which nobody else could write."""
        under_way = (
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'picto {self.pid}@%'"
            " AND (xact_start IS NOT NULL OR state = 'active')"
        )
        until = time.monotonic() + _PATIENCE
        while self.rows(under_way) != [(0,)]:
            assert time.monotonic() < until
            os.kill(self.pid, signal.SIGCONT)
            time.sleep(0.001)
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(0.02)
        assert self.process.poll() is None
        return self

    def rows(self, statement: str) -> list[Any]:
        """What the server says."""
        return self.server.execute(statement, self.database)

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it said, when it has been told to go on."""
        os.kill(self.pid, signal.SIGCONT)
        said = self.process.communicate()[1].decode()
        assert "Traceback" not in said, said
        return self.process.returncode, said

    def resumed(self) -> None:
        """Run the same command again, and see that it did what was left and nothing else."""
        kept = "SELECT content_id, xmin::text FROM picto.embedding ORDER BY 1"
        before = self.rows(kept)
        assert 4 <= len(before) < COUNT
        ran = subprocess.run(self.command, capture_output=True, text=True, env=environment(), check=False)
        assert ran.returncode == 0, ran.stderr
        found = re.search(r"Indexed (\d+) image", ran.stderr)
        assert found, ran.stderr
        assert (
            COUNT + 1 - len(before) <= int(found[1]) <= COUNT + 2 - len(before)
        )  # one whose file was still to be ended
        after = self.rows(kept)
        assert [row for row in after if row in before] == before  # not as much as written again
        assert len(after) == COUNT + 1
        counts = "SELECT (SELECT count(*) FROM picto.file WHERE size IS NOT NULL), (SELECT count(*) FROM picto.image)"
        assert self.rows(f"{counts}, (SELECT sum(images)::bigint FROM picto.folder)") == [(COUNT + 1,) * 3]
        assert self.rows(POINTS) == [(COUNT + 1,) * 2]


def test_a_server_that_is_killed_ends_an_index_run_clearly_and_the_next_one_completes_it(
    server: Server, pictures: list[Path], model: str, indexing: Callable[[str, Path], Indexing]
) -> None:
    name = fresh(server)
    database = name.rpartition("/")[2]
    server.execute("CREATE EXTENSION vector", database)
    server.execute(f"GRANT ALL ON DATABASE {database} TO guarded")
    guarded = begun(server, pictures, model, server.dsn(database, "guarded", PASSWORD))
    run = indexing(guarded, pictures[0])
    server.kill()
    code, said = run.ended()
    assert code == 3
    assert re.search(r"^error: .*(connection|server).*", said, re.MULTILINE), said
    assert len(re.findall("^error: ", said, re.MULTILINE)) == 1
    assert re.search(r"^hint: .+", said, re.MULTILINE), said
    assert PASSWORD not in said
    server.start()
    run.resumed()


def test_an_index_run_that_is_killed_is_completed_by_the_next_one(
    server: Server, pictures: list[Path], model: str, indexing: Callable[[str, Path], Indexing]
) -> None:
    run = indexing(begun(server, pictures, model), pictures[0])
    run.kill()
    run.resumed()


def test_two_who_index_different_folders_at_once_both_complete(
    server: Server, pictures: list[Path], model: str, indexing: Callable[[str, Path], Indexing]
) -> None:
    name = begun(server, pictures, model)
    first = indexing(name, pictures[0]).between()
    second = indexing(name, pictures[1]).between()  # while the first holds its root
    assert first.process.poll() is None
    ends = [first.ended(), second.ended()]
    assert [code for code, _ in ends] == [0, 0], ends
    assert first.rows(POINTS) == [(2 * COUNT + 1,) * 2]
    assert first.rows("SELECT d.name, count(DISTINCT i.id) FROM picto.image i JOIN picto.folder o ON o.id = i.folder_id"
                      " JOIN picto.root r ON r.id = o.root_id JOIN picto.dataset d ON d.id = r.dataset_id"
                      " GROUP BY 1 ORDER BY 1") == [("one", 1), ("ours", COUNT), ("theirs", COUNT)]  # fmt: skip
    with pictocli.open(name) as library:
        assert library.check() == []


def test_when_a_replica_takes_over_clients_go_on(server: Server, pictures: list[Path], model: str) -> None:
    base = fresh(server)
    options: dict[str, Any] = {"model": model, "workers": 0, "device": "cpu"}
    with pictocli.open(base) as library:
        library.index([pictures[0]], **options)
    replica = server.replica()
    try:
        replica.follows(server)
        both = base.replace(server.place, f"{server.place},{replica.place}")
        with pictocli.open(f"{both}?target_session_attrs=read-write") as library:
            before = library.by_similarity(1, 0, 10)
            assert len(before) == 10
            with pictocli.open(base.replace(server.place, replica.place)) as reading:
                assert reading.by_similarity(1, 0, 10) == before
            server.kill()
            with pytest.raises(StoreError) as nobody:  # the replica does not take writes yet
                library.by_similarity(1, 0, 10)
            assert str(nobody.value)
            began = time.monotonic()
            replica.promote()
            assert library.by_similarity(1, 0, 10) == before
            assert time.monotonic() - began < 5
            report = library.index([pictures[1]], **options)
            assert (report.indexed, report.skipped) == (COUNT, [])
            assert library.info().images == 2 * COUNT
    finally:
        replica.stop()


def test_a_reader_goes_on_after_the_server_has_started_again(server: Server, pictures: list[Path], model: str) -> None:
    name = fresh(server)
    with pictocli.open(name) as library:
        library.index([pictures[0]], model=model, workers=0, device="cpu")
    with pictocli.open(name) as library:
        before = library.by_similarity(1, 0, 10)
        server.kill()
        server.start()
        assert library.by_similarity(1, 0, 10) == before


def test_an_index_that_was_being_made_when_the_server_died_is_made_again(server: Server) -> None:
    from test_postgres import INDEXES, fill

    name = fresh(server)
    db: Any = connect(name, create=True)
    fill(db)
    db.close()
    database = name.rpartition("/")[2]
    with psycopg.connect(name) as holding:  # the build waits for who looks at the table since before it began
        holding.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holding.execute("SELECT count(*) FROM picto.point")
        code = (
            "from pictocli.databases import connect\nfrom pictocli.scale.postgres import points as postgres_points\n"
            f"postgres_points.EXACT_BELOW = 1000\nconnect({name!r}).neighbours.build()\n"
        )
        building = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        until = time.monotonic() + _PATIENCE
        while not server.execute(INDEXES, database):
            assert time.monotonic() < until
            time.sleep(0.02)
        server.kill()
        with contextlib.suppress(psycopg.Error):
            holding.rollback()
    assert building.wait() != 0
    server.start()
    assert [valid for *_, valid in server.execute(INDEXES, database)] == [False]


# -- watch ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(server: Server, pictures: list[Path], model: str, tmp_path: Path) -> Iterator[Watching]:
    """A folder of 20 pictures that is being watched, one picture a batch of the model's."""
    shutil.copytree(pictures[0], tmp_path / "w")
    seen = Watching(fresh(server), tmp_path / "w", model=model, batch_size=1)
    yield seen
    seen.end()


def added(seen: Watching, *names: str) -> None:
    """Put pictures into the folder at once."""
    beside = seen.root.with_name("beside")
    beside.mkdir()
    for at, name in enumerate(names):
        picture(beside / name, 7000 + at)
    beside.rename(seen.root / "more")


def told_of_the_server(seen: Watching) -> list[str]:
    return [line for line in seen.said.lines if "waiting for it to come back" in line or line.endswith(" is back")]


def test_watch_waits_for_a_server_that_is_away_and_catches_up(server: Server, watched: Watching) -> None:
    server.kill()
    added(watched, "a.png")
    watched.heard("waiting for it to come back")
    (watched.root / "00.png").unlink()
    time.sleep(1.5)  # it tries again, and says nothing of it
    assert len(told_of_the_server(watched)) == 1
    server.start()
    watched.expect("new more/a.png", "gone 00.png")
    assert len(told_of_the_server(watched)) == 2
    name = watched.library.path
    assert watched.said.lines[-1] == f"the server of {name} is back"
    assert server.execute("SELECT count(*) FROM picto.image", name) == [(COUNT,)]
    picture(watched.root / "after.png", 7100)
    watched.expect("new after.png")


def test_watch_does_a_batch_again_that_lost_its_server(
    server: Server, watched: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, forget, died = SqliteStore.write, Forgetting.forget, list[str]()

    def writes(store: SqliteStore, *rows: Any) -> None:
        write(store, *rows)
        if not died:
            died.append("after the first of three was stored")
            server.kill()

    def forgets(store: Forgetting, files: Any) -> Iterator[int]:
        yield from forget(store, files)
        if len(died) == 1:
            died.append("after a file was forgotten")
            server.kill()

    monkeypatch.setattr(SqliteStore, "write", writes)
    monkeypatch.setattr(Forgetting, "forget", forgets)
    added(watched, "a.png", "b.png", "c.png")
    watched.heard("waiting for it to come back")
    server.start()
    watched.expect("new more/a.png", "new more/b.png", "new more/c.png")
    (watched.root / "00.png").unlink()
    until = time.monotonic() + _PATIENCE
    while len(told_of_the_server(watched)) < 3:
        assert time.monotonic() < until, watched.said.lines
        time.sleep(0.02)
    server.start()
    watched.expect("gone 00.png")
    name = watched.library.path
    assert server.execute("SELECT count(*), count(DISTINCT content_id) FROM picto.image", name) == [(COUNT + 2,) * 2]
    with pictocli.open(name) as library:
        assert library.check() == []


def test_watch_ends_where_waiting_would_not_help(
    server: Server, pictures: list[Path], model: str, tmp_path: Path
) -> None:
    shutil.copytree(pictures[2], tmp_path / "w")
    seen = Watching(fresh(server), tmp_path / "w", model=model)
    server.execute(f"DROP DATABASE {seen.library.path.rpartition('/')[2]} WITH (FORCE)")
    added(seen, "a.png")
    seen.thread.join(_PATIENCE)
    (failed,) = seen.failed
    assert "there is no database" in str(failed)
    assert told_of_the_server(seen) == []


class Stopping(Said):
    """Presses Ctrl-C a moment after it is said that the server is waited for."""

    def say(self, message: str) -> None:
        super().say(message)
        if "waiting for it" in message:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("when", ["waiting", "storing"])
def test_ctrl_c_ends_a_watch_whose_server_is_away(
    when: str, server: Server, pictures: list[Path], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, and while it stores what the server no longer takes."""
    root, said = tmp_path / "w", Stopping()
    shutil.copytree(pictures[2], root)

    def caught_up(_: object) -> None:
        picture(root / "new.png", 7200)
        if when == "waiting":
            server.kill()
        else:
            monkeypatch.setattr(SqliteStore, "write", writes)

    def writes(*_: Any) -> None:
        with held():
            os.kill(os.getpid(), signal.SIGINT)
            raise AwayError("the server is away")

    library = pictocli.open(fresh(server), progress=said)
    batches = library.watch([root], caught_up=caught_up, model=model, device="cpu", workers=0)
    with pytest.raises(AwayError) if when == "storing" else contextlib.nullcontext():
        assert list(batches) == []
    assert len(said.lines) == (when == "waiting")
