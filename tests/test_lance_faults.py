"""Libraries of Lance tables when things go wrong: writers at once, writers that are killed, buckets that refuse.

S3 is moto's server on loopback. PICTO_CONTRACT=all runs longer forms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import s3fs
import writers
from pictures import scene
from program import Ran, environment, run
from servers import AWS, fill, s3_server, unused_port
from stores import lance_s3

import pictocli
from pictocli.databases import connect, size
from pictocli.errors import StoreError
from pictocli.queries import Queries
from pictocli.scale.lance import store as lance_store
from pictocli.scale.lance.place import place_of
from pictocli.schema import transaction

LONG = os.environ.get("PICTO_CONTRACT") == "all"
PICTURES = 60 if LONG else 8  # in a folder; a batch is 4
ROUNDS = 3 if LONG else 1
SPOTS = [("tables", "folder"), ("swap", "folder"), ("after", "folder"), ("swap", "bucket")]
if LONG:
    SPOTS = [(spot, where) for where in ("folder", "bucket") for spot in writers.SPOTS]
KEPT_BY_CONTENT = ("embedding", "thumbnail", "input")


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """(name of a library, the environment that leads there)."""
    with lance_s3() as found:
        yield found


@pytest.fixture
def in_bucket(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a library of this test's own, in a bucket that this process and those it starts can use."""
    name, env = bucket
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    return f"{name}/{tmp_path.name}"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Four folders of pictures, no two of which are alike."""
    made = [tmp_path / f"folder{number}" for number in range(4)]
    for number, folder in enumerate(made):
        folder.mkdir()
        for at in range(PICTURES):
            scene(1000 * number + at, 32, 24).save(folder / f"{at:03}.png")
    return made


def begin(name: str, folder: Path, log: Path, *spot: str | int) -> subprocess.Popen[bytes]:
    """Start a program that indexes a folder; see `writers`."""
    command = [sys.executable, writers.__file__, name, folder, log, *map(str, spot)]
    paths = os.pathsep.join([str(Path(pictocli.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, env=environment(PYTHONPATH=paths), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip


def finish(writer: subprocess.Popen[bytes]) -> bytes:
    """Wait until it is done, as it should be; what it wrote."""
    out, err = writer.communicate(timeout=240)
    assert writer.returncode == 0, err.decode()
    return out


def whole(name: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """See that a library holds these pictures, each once, in its tables as in a new working copy and in the old one."""
    seen = []
    for cache in (None, str(tmp_path / "another cache")):
        if cache is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", cache)
        with pictocli.open(name) as library:
            assert library.check() == []
            seen.append(sorted((image.path, image.image_id) for image in library.export()))
        assert [path for path, _ in seen[-1]] == sorted(map(str, pictures))
    assert seen[0] == seen[1]
    with closing(connect(name, readonly=True)) as db:
        rows: Any = db
        images = rows.dataset("image").to_table(columns=["id", "content_id"])
        assert Counter(images["id"].to_pylist()) == Counter(image_id for _, image_id in seen[0])
        for table in KEPT_BY_CONTENT:
            contents = rows.dataset(table).to_table(columns=["content_id"])["content_id"].to_pylist()
            assert Counter(contents) == Counter(images["content_id"].to_pylist())


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


# -- several at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_four_writers_lose_and_double_nothing(
    round_: int, in_bucket: str, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once into a library in a bucket that none of them has made yet; meanwhile it is read."""
    log = tmp_path / "log"
    running = [begin(in_bucket, folder, log) for folder in folders]
    counts = [0]
    while any(writer.poll() is None for writer in running):
        if counts[-1] or pictocli.databases.exists(in_bucket):
            counts.append(consistent(in_bucket))
        time.sleep(0.5)
    assert [finish(writer) for writer in running] == [f"{PICTURES} 0 0\n".encode()] * 4
    assert counts == sorted(counts)
    assert Counter(Counter(lines(log)).values()) == Counter({1: 4 * PICTURES}), "each was embedded, and once"
    whole(in_bucket, [each for folder in folders for each in folder.iterdir()], monkeypatch, tmp_path)


def consistent(name: str) -> int:
    """How many images a library holds; all that one transaction sees of it agrees."""
    with closing(connect(name, readonly=True)) as db:
        db.execute("BEGIN")
        images = int(db.execute("SELECT count(*) FROM image").get)
        assert Queries(db).count(None) == images
        assert db.execute("SELECT ifnull(sum(n), 0) FROM tag").get == images
        held = db.execute("SELECT e.v FROM image i JOIN embedding e ON e.content_id = i.content_id").fetchall()
        assert [len(vector) for (vector,) in held] == [writers.SPEC.dim * 4] * images
        if images:
            vector = np.frombuffer(held[0][0], "<f4").tobytes()
            assert len(Queries(db).nearest(vector, None, 1000, exact=True)) == images
        db.execute("ROLLBACK")
    return images


def test_compaction_disturbs_neither_readers_nor_writers(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader goes on with what it saw when it began; a writer writes, and all that was there is there afterwards."""
    name, log = f"lance://{tmp_path / 'library'}", tmp_path / "log"
    for folder in folders[:2]:
        writers.write(name, folder, log)
    with closing(connect(name, readonly=True)) as reader, closing(connect(name)) as other:
        ask = "SELECT content_id, v FROM embedding ORDER BY content_id"
        reader.execute("BEGIN")
        first = reader.execute("SELECT count(*) FROM image").get  # what else it asks for is read when it asks
        writer = begin(name, folders[2], log)
        compacted = 0
        while writer.poll() is None or compacted == 0:
            with pictocli.open(name) as library:
                compacted += library.compact().pieces > 0
        finish(writer)
        held = reader.execute(ask).fetchall()
        assert len(held) == first == 2 * PICTURES
        assert len(Queries(reader).nearest(held[0][1], None, 1000, exact=True)) == first
        assert len(reader.execute("SELECT jpeg FROM thumbnail").fetchall()) == first
        reader.execute("ROLLBACK")
        for connection in (reader, other):
            now = connection.execute(ask).fetchall()
            assert len(now) == 3 * PICTURES
            assert set(held) < set(now)
    whole(name, [each for folder in folders[:3] for each in folder.iterdir()], monkeypatch, tmp_path)
    with pictocli.open(name) as library:
        library.compact(older_than=0)
    whole(name, [each for folder in folders[:3] for each in folder.iterdir()], monkeypatch, tmp_path)


def test_a_prefix_may_have_any_name(in_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a library of its own, of which the tables are found again, and left alone where their head is gone."""
    names = [f"{in_bucket}/{prefix}" for prefix in ("a#b", "a", "a%20b", "a b")]
    for at, name in enumerate(names):
        with closing(connect(name, create=True)) as db, transaction(db):
            db.execute("INSERT INTO meta VALUES('number', ?)", (at,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    for at, name in enumerate(names):
        with closing(connect(name, readonly=True)) as db:
            assert db.execute("SELECT value FROM meta").fetchall() == [(at,)]
        assert 1000 < size(name) < 9000
    alone = size(names[1])
    connect(f"{names[1]}/inner", create=True).close()
    assert size(names[1]) == alone, "without another library that lies below"
    lost = place_of(names[0])
    bucket = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket.rm(unquote(lost.of("head")).removeprefix("s3://"), recursive=True)
    before = size(names[0])
    with pytest.raises(StoreError, match=r"holds tables, but no head\.lance"):
        connect(names[0], create=True)
    assert size(names[0]) == before > 0


# -- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spot", "where"), SPOTS, ids=[" ".join(each) for each in SPOTS])
def test_a_killed_writer_leaves_the_library_whole(
    spot: str, where: str, second_batch: int, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """In a commit, at each of its steps: what was stored stays, the next run does the rest, nothing stored is redone.

    Each spot in a folder; in a bucket the one that matters most. The long form tries all.
    """
    name = request.getfixturevalue("in_bucket") if where == "bucket" else f"lance://{tmp_path / 'library'}"
    writers.write(name, folders[0], tmp_path / "log")
    first, second = tmp_path / "first", tmp_path / "second"
    writer = begin(name, folders[1], first, spot, second_batch)
    writer.communicate(timeout=120)
    assert writer.returncode == -9
    stored = consistent(name) - PICTURES
    assert stored == (8 if spot == "after" else 4), "the first batch is stored; the second one where its commit is done"
    with pictocli.open(name) as library:
        assert library.check() == []
    writers.write(name, folders[1], second)
    again = set(lines(first)) & set(lines(second))
    assert len(again) == len(lines(first)) - stored, "what was not stored is embedded again, and nothing else"
    assert len(set(lines(first) + lines(second))) == PICTURES
    whole(name, [each for folder in folders[:2] for each in folder.iterdir()], monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def second_batch(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Which of the commits of a run that indexes one more folder stores its second batch: others come before it."""
    base, seen = tmp_path_factory.mktemp("rehearsal"), list[bool]()
    for number in (0, 1):
        (base / f"{number}").mkdir()
        for at in range(PICTURES):
            scene(1000 * number + at, 32, 24).save(base / f"{number}" / f"{at:03}.png")

    def write(self: Any, *arguments: Any) -> Any:
        seen.append("image" in arguments[1])
        return real(self, *arguments)

    real = lance_store.Store.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        writers.write(f"lance://{base / 'library'}", base / "0", base / "log")
        patch.setattr(lance_store.Store, "write", write)
        writers.write(f"lance://{base / 'library'}", base / "1", base / "log")
    return [number for number, images in enumerate(seen, 1) if images][1]


def test_a_writer_that_is_stopped_gives_way(tmp_path: Path, folders: list[Path]) -> None:
    """One that was killed with the lease in its hand is not waited for."""
    name = f"lance://{tmp_path / 'library'}"
    writers.write(name, folders[0], tmp_path / "log")
    writer = begin(name, folders[1], tmp_path / "log", "before", 1)
    writer.communicate(timeout=120)
    started = time.monotonic()
    with closing(connect(name)) as db, transaction(db):
        db.execute("DELETE FROM image WHERE id = 1")
    assert time.monotonic() - started < 5
    assert consistent(name) == PICTURES - 1


# -- buckets that refuse ---------------------------------------------------------------------------------------------


class _Closed(set[str]):
    """The paths of a bucket whose owner lets nobody in."""

    def __contains__(self, path: object) -> bool:
        return str(path).startswith("/closed")


REFUSALS = {
    "no bucket": ("nowhere", "there is no bucket nowhere", "make it, or name another one with --db"),
    "no rights": ("closed", "the bucket closed does not let this account in", "its owner must allow this account"),
    "no credentials": ("pictures", "there are no credentials for the bucket pictures", "set AWS_ACCESS_KEY_ID"),
    "nobody there": ("pictures", "object storage does not answer for lance+s3://pictures/library", "check the network"),
}
ASKED = [(each, "info") for each in REFUSALS] + [(each, "index . --model mini") for each in ("no bucket", "no rights")]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Ran, float]]:
    """What picto says to each of ASKED, and after how many seconds: Lance tries again, so that all are run at once."""
    base = tmp_path_factory.mktemp("refused")
    scene(1, 32, 24).save(base / "picture.png")
    nobody = f"http://127.0.0.1:{unused_port()}"

    def ask(asked: tuple[str, str]) -> tuple[Ran, float]:
        refusal, command = asked
        place = nobody if refusal == "nobody there" else address
        env = {"AWS_ENDPOINT_URL": place, "AWS_ENDPOINT": place, "AWS_ALLOW_HTTP": "true"}
        for variable in AWS:
            if refusal != "no credentials" or variable not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                env[variable] = AWS[variable]
        started = time.monotonic()
        done = run("--db", f"lance+s3://{REFUSALS[refusal][0]}/library", *command.split(), cwd=base, env=env)
        return done, time.monotonic() - started

    with (
        pytest.MonkeyPatch.context() as patch,
        s3_server() as (address, counting),
        ThreadPoolExecutor(len(ASKED)) as pool,
    ):
        for variable in [each for each in os.environ if each.startswith("AWS_")]:
            patch.delenv(variable)
        fill(address, "closed", {})
        counting.denied = _Closed()
        return dict(zip(ASKED, pool.map(ask, ASKED), strict=True))


@pytest.mark.xdist_group("refusals")
@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_a_bucket_that_refuses_is_told_in_a_sentence(asked: tuple[str, str], refused: Any) -> None:
    done, seconds = refused[asked]
    _, sentence, hint = REFUSALS[asked[0]]
    assert done.code == 3, done.err
    assert f"error: {sentence}" in done.err
    assert f"hint: {hint}" in done.err
    assert len(done.err.split("\n\n")) == 2, "a sentence, and what to do"
    assert seconds < 60, "Lance itself would go on for minutes"
