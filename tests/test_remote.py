"""Indexing buckets and web pages, end to end: what is fetched, what is not again, and what stays when it goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene
from program import PICTO, environment, run
from servers import AWS, Counting, Site, fill, s3_server, site, unused_port

import pictocli
from pictocli.errors import PictoError
from pictocli.records import IndexReport, Skipped

Index = Callable[..., IndexReport]
Rows = Callable[..., list[tuple[Any, ...]]]


def jpeg(seed: int) -> bytes:
    out = io.BytesIO()
    scene(seed, 64, 48).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, Counting]]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(moto: tuple[str, Counting], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """moto's S3, with credentials in the environment; buckets are a test's own."""
    for name, value in (AWS | {"AWS_ENDPOINT_URL": moto[0]}).items():
        monkeypatch.setenv(name, value)
    moto[1].asked.clear()
    yield moto[1]
    moto[1].denied.clear()


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture(autouse=True)
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which is empty again after each test. Its path is short: sockets lie there."""
    folder = Path(tempfile.mkdtemp(prefix="p"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert [each.name for each in folder.iterdir() if each.name.startswith("picto")] == []
    shutil.rmtree(folder)


def got(s3: Counting) -> list[str]:
    """The objects that were sent, in their order of names; listings aside."""
    found = sorted(
        path for (method, path), n in s3.asked.items() for _ in range(n) if method == "GET" and path[1:].count("/")
    )
    s3.asked.clear()
    return found


def paths(tmp_path: Path) -> list[str]:
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.check() == []
        return [image.path for image in library.export()]


def test_a_bucket(s3: Counting, moto: tuple[str, Counting], index: Index, tmp_path: Path) -> None:
    files = {
        "a/1.jpg": jpeg(1),
        "a/b/2.jpg": jpeg(2),
        "a/copy.jpg": jpeg(1),
        "notes.txt": b"hello " * 999,
        "z.jpg": b"x",
    }
    make_pdf(tmp_path / "report.pdf", [5, 6])
    fill(moto[0], "first", files | {"report.pdf": (tmp_path / "report.pdf").read_bytes()})
    s3.asked.clear()
    report = index("s3://first", batch_size=2)
    assert (report.indexed, report.copied, report.downloaded) == (4, 1, 6)
    assert report.skipped == [Skipped("s3://first/z.jpg", "text, not an image")]
    assert got(s3) == sorted(f"/first/{name}" for name in [*files, "report.pdf"])
    assert sorted(paths(tmp_path)) == [
        "s3://first/a/1.jpg", "s3://first/a/b/2.jpg", "s3://first/a/copy.jpg", "s3://first/report.pdf#page=1",
        "s3://first/report.pdf#page=2",
    ]  # fmt: skip

    report = index("s3://first")
    assert (report.indexed, report.unchanged, report.downloaded, len(report.skipped)) == (0, 4, 0, 1)
    assert (got(s3), list(s3.asked)) == ([], [])
    fill(moto[0], "first", {"a/1.jpg": jpeg(9), "new/3.jpg": jpeg(3)})
    s3.asked.clear()
    rehearsed = index("s3://first", dry_run=True)
    assert (rehearsed.indexed, rehearsed.unchanged, rehearsed.asked, got(s3)) == (2, 3, 0, [])
    report = index("s3://first/")
    assert (report.indexed, report.unchanged, got(s3)) == (2, 3, ["/first/a/1.jpg", "/first/new/3.jpg"])
    report = index("s3://first/a/b/2.jpg")  # named alone: asked for, and not sent
    assert (report.unchanged, report.downloaded) == (1, 0)

    with pictocli.open(tmp_path / "library.db") as library:
        shown = library.show("s3://first/report.pdf#page=2")
        assert (shown.filename, shown.folder, shown.dataset, shown.page) == ("report.pdf", "", "first", 2)
        similar = library.similar("s3://first/a/1.jpg", threshold=0, folder="/")
        assert len(similar.results) == 5
        near = library.similar("s3://first/a/b/2.jpg", threshold=0, dataset="first", folder="s3://first/new")
        assert [image.path for image in near.results] == ["s3://first/new/3.jpg"]


def test_pages(web: Site, index: Index, tmp_path: Path, rows: Rows) -> None:
    make_pdf(tmp_path / "report.pdf", [5, 6])
    web.pages = {
        "/a/1.jpg": jpeg(1),
        "/2": jpeg(2),
        "/3.jpg": jpeg(3),
        "/r.pdf": (tmp_path / "report.pdf").read_bytes(),
    }
    web.ways = {"/3.jpg": "plain", "/moved.jpg": "to /a/1.jpg"}
    urls = [web.address + path for path in ("/a/1.jpg", "/2?size=1/2", "/3.jpg", "/r.pdf", "/moved.jpg")]
    report = index(*urls)
    assert (report.indexed, report.copied, report.skipped) == (5, 1, [])
    assert sorted(paths(tmp_path)) == sorted([*urls[:3], f"{urls[3]}#page=1", f"{urls[3]}#page=2", urls[4]])
    assert rows("SELECT name FROM dataset") == [(web.address.removeprefix("http://"),)]
    sent = dict(web.sent)
    report = index(*urls)
    assert (report.indexed, report.unchanged, report.downloaded) == (0, 5, 1)  # of which one has neither ETag nor date
    assert {path: count - sent[path] for path, count in web.sent.items() if count > sent[path]} == {
        "/3.jpg": len(web.pages["/3.jpg"])
    }
    web.pages["/2"] = jpeg(22)
    rehearsed = index(*urls, f"{web.address}/new.jpg", dry_run=True)
    assert (rehearsed.indexed, rehearsed.asked) == (6, 4)
    report = index(*urls, thumbnails=True)  # which are made of the pictures: all must come
    assert (report.indexed, report.updated) == (1, 4)
    assert report.downloaded >= 4  # the fifth shows the same as one of them
    assert rows("SELECT count(*) FROM thumbnail") == [(5,)]
    web.ways["/2"] = "status 404"
    report = index(urls[1], urls[0])
    assert (report.unchanged, report.skipped) == (1, [Skipped(urls[1], "not found (404)")])
    assert len(paths(tmp_path)) == 6  # what is gone stays until picto prune


def test_what_was_no_image_is_remembered_by_its_etag(web: Site, index: Index, tmp_path: Path) -> None:
    web.pages = {"/page.jpg": b"<!doctype html><title>no</title>" * 50, "/ok.jpg": jpeg(1)}
    urls = [f"{web.address}/page.jpg", f"{web.address}/ok.jpg"]
    for downloaded in (2, 0):
        report = index(*urls)
        assert (report.skipped, report.downloaded) == ([Skipped(urls[0], "HTML, not an image")], downloaded)


def test_what_failed_is_tried_again(web: Site, index: Index, tmp_path: Path) -> None:
    web.pages = {"/ok.jpg": jpeg(1), "/later.jpg": jpeg(2)}
    web.ways = {"/later.jpg": "status 403"}
    urls = [f"{web.address}/ok.jpg", f"{web.address}/later.jpg"]
    assert index(*urls).skipped == [Skipped(urls[1], "access denied (403)")]
    web.ways = {}
    report = index(*urls)
    assert (report.indexed, report.unchanged, report.skipped) == (1, 1, [])


def test_a_table_with_images_in_a_column(web: Site, index: Index, tmp_path: Path) -> None:
    web.pages = {f"/{at}.jpg": jpeg(at) for at in range(4)}
    (tmp_path / "here.jpg").write_bytes(jpeg(9))
    products = [
        {"product_id": at, "image": {"url": f"{web.address}/{at % 3}.jpg"}, "metadata": {"brand": f"brand {at}"}}
        for at in range(4)
    ]
    products += [{"product_id": 5, "image": {"url": str(tmp_path / "here.jpg")}}, {"product_id": 6}]
    products += [{"product_id": 7, "image": {"url": str(tmp_path / "gone.jpg")}}]
    (tmp_path / "products.jsonl").write_text("".join(json.dumps(row) + "\n" for row in products))

    def load() -> IndexReport:
        return index(
            listing=tmp_path / "products.jsonl", image_column="image.url", passed=("product_id", "metadata.brand")
        )

    report = load()
    assert (report.indexed, report.empty, report.repeated, report.described) == (4, 1, 1, 4)
    assert report.skipped == [Skipped(str(tmp_path / "gone.jpg"), "no such file")]
    with pictocli.open(tmp_path / "library.db") as library:
        found = {image.filename: image.metadata for image in library.export()}
    assert found == {
        "0.jpg": {"product_id": 3, "brand": "brand 3"}, "1.jpg": {"product_id": 1, "brand": "brand 1"},
        "2.jpg": {"product_id": 2, "brand": "brand 2"}, "here.jpg": {"product_id": 5},
    }  # fmt: skip
    report = load()
    assert (report.indexed, report.unchanged, report.described, report.downloaded) == (0, 4, 0, 0)
    with (tmp_path / "more.csv").open("w") as file:
        csv.writer(file).writerows([["url", "metadata.brand"], [f"{web.address}/1.jpg", "new"]])
    report = index(listing=tmp_path / "more.csv", image_column="url", passed=("metadata.brand",))
    assert (report.unchanged, report.described) == (1, 1)


def test_the_same_bytes_here_and_there_are_copies_not_moves(web: Site, index: Index, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, seed in (("1.jpg", 1), ("2.jpg", 2)):
        (tmp_path / "photos" / name).write_bytes(jpeg(seed))
        web.pages[f"/{name}"] = jpeg(seed)
    index(tmp_path / "photos")
    (tmp_path / "photos/1.jpg").unlink()
    report = index(f"{web.address}/1.jpg", f"{web.address}/2.jpg")
    assert (report.copied, report.moved, report.indexed) == (2, 0, 0)
    (tmp_path / "photos/1.jpg").write_bytes(jpeg(1))
    (tmp_path / "photos/3.jpg").write_bytes(jpeg(2))
    report = index(tmp_path / "photos")
    assert (report.copied, report.moved) == (1, 0)
    assert len(paths(tmp_path)) == 5


def test_reembed_fetches_again(
    web: Site, index: Index, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from checkpoints import save_siglip

    other = str(save_siglip(tmp_path_factory.mktemp("models") / "other"))
    web.pages = {f"/{at}.jpg": jpeg(at) for at in range(3)}
    index(*(f"{web.address}/{at}.jpg" for at in range(3)))
    (Path(other) / "config.json").write_text((Path(other) / "config.json").read_text() + "\n")
    with pictocli.open(tmp_path / "library.db") as library:
        web.ways = {"/1.jpg": "status 404"}
        with pytest.raises(pictocli.PictoError, match=r"1 images cannot be embedded again.*/1.jpg: not found \(404\)"):
            library.reembed(other, workers=0, device="cpu")
        web.ways = {}
        assert library.reembed(other, workers=0, device="cpu").indexed == 1
        assert len(library.similar(f"{web.address}/1.jpg", threshold=0).results) == 2


# -- the program ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("wrong bucket", 4, "error: no such bucket: nobody-has-it\n\nhint: aws s3 ls lists yours\n"),
        ("no credentials", 3, "error: no credentials for s3://plenty\n"),
        ("denied", 3, "error: access to s3://plenty denied (403)\n"),
        ("no such prefix", 4, "error: no such file or folder: s3://plenty/nothing\n"),
        ("404", 4, "error: cannot fetch {web}/404: not found (404)\n"),
        ("403", 3, "error: cannot fetch {web}/403: access denied (403)\n\nhint: passwords are taken from ~/.netrc\n"),
        ("never", 3, "error: cannot fetch {web}/never: no answer within 0.3 s\n"),
        ("nobody", 3, "error: cannot fetch http://127.0.0.1:{port}/a.jpg: cannot connect\n"),
        ("elsewhere", 3,
         "error: cannot fetch {web}/elsewhere: redirected to localhost:{port}, a local address, refused\n"
         "\nhint: --allow-local fetches from local addresses, too\n"),
        ("password", 2, "error: a URL must not hold a user or password, which would be stored: https://h/a.jpg\n"),
        ("no list", 4, "error: no such file: nothing.csv\n"),
        ("no column", 2, "error: products.csv has no column picture\n\nhint: its columns are id, image\n"),
        ("nothing", 2, "error: no PATH given\n"),
        ("no list for its options", 2, "error: these options are for a list\n"),
    ],
)  # fmt: skip
def test_one_sentence_and_nothing_half_written(
    case: str, code: int, said: str, s3: Counting, moto: tuple[str, Counting], web: Site, index: Index, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    port = unused_port()
    web.ways = {
        "/404": "status 404", "/403": "status 403", "/never": "never",
        "/elsewhere": f"to http://localhost:{port}/a.jpg",
    }  # fmt: skip
    (tmp_path / "products.csv").write_text("id,image\n1,a.jpg\n")
    monkeypatch.chdir(tmp_path)
    fill(moto[0], "plenty", {"a/1.jpg": b""})
    if case == "denied":
        s3.denied = {"/plenty"}
    if case == "no credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    given: dict[str, tuple[list[str], dict[str, Any]]] = {
        "wrong bucket": (["s3://nobody-has-it"], {}), "no such prefix": (["s3://plenty/nothing"], {}),
        "no credentials": (["s3://plenty"], {}), "denied": (["s3://plenty"], {}),
        "nobody": ([f"http://127.0.0.1:{port}/a.jpg"], {}), "password": (["https://ada:pw@h/a.jpg"], {}),
        "no list": ([], {"listing": "nothing.csv", "image_column": "image"}), "nothing": ([], {}),
        "no column": ([], {"listing": "products.csv", "image_column": "picture"}),
        "no list for its options": (["photos"], {"passed": ["id"]}),
    }  # fmt: skip
    named, options = given.get(case, ([f"{web.address}/{case}"], {}))
    if case == "no such prefix":  # told as a folder that is not there
        report = index(*named, db=tmp_path / "new.db")
        assert (report.missing, report.indexed) == (named, 0)
    else:
        with pytest.raises(pictocli.PictoError) as caught:
            index(*named, timeout=0.3, db=tmp_path / "new.db", **options)
        told = f"error: {caught.value}\n" + (f"\nhint: {caught.value.hint}\n" if caught.value.hint else "")
        expected = said.format(web=web.address, port=port)
        assert caught.value.exit_code == code
        assert told == expected or told.startswith(f"{expected}\nhint: ")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("new.db")] == []


def test_a_killed_run_goes_on_with_what_it_has_not(
    web: Site, library: pictocli.Library, tmp_path: Path, rows: Rows
) -> None:
    web.pages = {f"/{at:02}.jpg": jpeg(at) for at in range(60)}
    web.ways = {path: "slow" for path in web.pages if path > "/30.jpg"}
    (tmp_path / "list").write_text("".join(f"{web.address}{path}\n" for path in web.pages))
    told = ["index", "--from", str(tmp_path / "list"), "--batch-size", "4", "--workers", "1"]
    env = environment(PICTO_DB=str(tmp_path / "library.db"), OMP_NUM_THREADS="1", PYTHONFAULTHANDLER="1")
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([PICTO, *told], env=env, stderr=said)
    deadline = time.monotonic() + 120
    while len(_stored(rows)) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    late = time.monotonic() >= deadline
    process.send_signal(signal.SIGABRT if late else signal.SIGKILL)  # of one that hangs, where it stands is told
    process.wait()
    stored = _stored(rows)
    assert 8 <= len(stored) < 60, (process.returncode, (tmp_path / "said").read_text())
    web.sent.clear()
    web.ways = {}
    assert library.index(listing=tmp_path / "list", workers=0, device="cpu").skipped == []
    assert {path.removeprefix("/") for path, count in web.sent.items() if count} == {
        path.removeprefix("/") for path in web.pages
    } - stored
    assert len(_stored(rows)) == 60
    assert library.check() == []


def _stored(rows: Rows) -> set[str]:
    """The pages that are in the library, by name."""
    return {
        name
        for (name,) in rows(
            "SELECT f.name FROM file f JOIN folder o ON o.id = f.folder_id JOIN root r ON r.id = o.root_id"
            " WHERE r.path LIKE 'http:%' AND f.size IS NOT NULL"
        )
    }


def test_lists_on_standard_input_and_answers_that_ask_nobody(
    web: Site, library: pictocli.Library, tmp_path: Path
) -> None:
    web.pages = {"/a.jpg": jpeg(1), "/b.jpg": jpeg(2)}
    db = tmp_path / "library.db"
    given = f"{web.address}/a.jpg\0{web.address}/b.jpg\0".encode()
    report = library.index([f"{web.address}/a.jpg", f"{web.address}/b.jpg"], workers=0, device="cpu")
    assert (report.indexed, report.downloaded) == (2, 2)
    ran = run("index", "--from", "-", "-0", "--dry-run", "--db", db, stdin=given + f"{web.address}/c.jpg\0".encode())
    assert ran.err == "Would open 1 new or changed file, ask for 2 known URLs, 0 unchanged\n"
    web.asked.clear()
    program = (
        "import json, sys; from pictocli.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as exc: pass\n"
        "sys.stdout.flush(); sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )
    for asked in (["similar", f"{web.address}/a.jpg", "--threshold", "0"], ["show", f"{web.address}/b.jpg"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "--db", str(db), *asked, "--format", "paths"],
            capture_output=True, text=True, check=True, env=environment(),
        )  # fmt: skip
        assert done.stdout == f"{web.address}/b.jpg\n"
        loaded = {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
        assert not loaded & {"aiohttp", "s3fs", "botocore", "fsspec", "asyncio", "numpy", "torch"}
    assert run("show", f"{web.address}/c.jpg", "--db", db).code == 4
    assert not web.asked
    ran = run("similar", f"{web.address}/c.jpg", "--db", db)
    assert (ran.code, ran.err) == (4, f"error: cannot fetch {web.address}/c.jpg: not found (404)\n")
    web.pages["/c.jpg"] = jpeg(1)
    found = library.similar(f"{web.address}/c.jpg", limit=1, device="cpu").results
    assert [image.path for image in found] == [f"{web.address}/a.jpg"]
    (embedded,) = library.embed([f"{web.address}/c.jpg"], device="cpu")
    assert embedded.path == f"{web.address}/c.jpg"


def test_without_the_extra_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("aiohttp", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "pictocli.web", raising=False)
    monkeypatch.delitem(sys.modules, "pictocli.buckets", raising=False)
    for url in ("https://example.org/a.jpg", "s3://bucket"):
        with pytest.raises(pictocli.PictoError) as caught, pictocli.open(tmp_path / "x.db") as library:
            library.index([url])
        assert "packages that are not installed" in str(caught.value)
        assert caught.value.hint == "pip install 'pictocli[remote]'"
    assert not os.path.exists(tmp_path / "x.db")


def test_keeping_house_of_a_bucket(s3: Counting, moto: tuple[str, Counting], index: Index, tmp_path: Path) -> None:
    """prune asks the server when told to, mv-root follows a bucket, rm takes URLs."""
    make_pdf(tmp_path / "r.pdf", [5, 6])
    files = {f"x/{at}.jpg": jpeg(at) for at in range(9)} | {"x/r.pdf": (tmp_path / "r.pdf").read_bytes()}
    fill(moto[0], "old", files)
    fill(moto[0], "new", {name: body for name, body in files.items() if name != "x/4.jpg"})
    index("s3://old/x")
    with pictocli.open(tmp_path / "library.db") as library:
        moved = library.move_root("s3://old/x", "s3://new/x")
        assert (moved.old, moved.new, moved.files, moved.looked, moved.there) == ("s3://old/x", "s3://new/x", 10, 10, 9)
        passed = library.prune().passed
        assert [(each.path, each.reason) for each in passed] == [
            ("s3://new/x", "not a folder of this machine: --remote asks its server")
        ]
        pruned = library.prune(remote=True)
        assert ([file.path for file in pruned.files], pruned.known, pruned.passed) == (["s3://new/x/4.jpg"], 10, [])
        removed = library.remove(["s3://new/x/r.pdf#page=2", "s3://new/x/1.jpg"])
        assert [file.path for file in removed.files] == ["s3://new/x/1.jpg", "s3://new/x/r.pdf#page=2"]
        s3.denied |= {f"/new/{name}" for name in files}
        unsaid = library.prune(remote=True)
        assert (unsaid.files, unsaid.known, len(unsaid.passed)) == ([], 0, 1)
        s3.denied.clear()
        with pytest.raises(PictoError, match="none of 8 files looked for is in s3://old/y"):
            library.move_root("s3://new/x", "s3://old/y")
    assert len(paths(tmp_path)) == 8
    assert index("s3://new/x").indexed == 1  # page 2 stays away; 1.jpg comes back
