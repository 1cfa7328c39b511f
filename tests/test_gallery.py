"""The gallery's answers, asked as a browser asks them: lists, pictures, counts, selections, and what goes wrong."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import apsw
import pytest
from libraries import clustered, make
from pictures import scene
from PIL import Image
from program import HOLIDAY, ODD, make_world
from starlette.testclient import TestClient

import pictocli
from pictocli import gallery
from pictocli.brain import put_labels
from pictocli.display import printable
from pictocli.gallery import asked, dropped, sending
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

HOST = "127.0.0.1:8000"


@contextmanager
def opened(path: str | Path) -> Iterator[TestClient]:
    """A browser that has opened the printed address."""
    app = gallery.app(path, hosts=[HOST], token="T")  # noqa: S106 - a test's
    with TestClient(app, base_url=f"http://{HOST}", headers={"sec-fetch-site": "same-origin"}) as client:
        assert client.get("/?token=T").status_code == 200
        yield client


class Seen(HTMLParser):
    """What a page holds: its tags with their attributes, its ids of images, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def ids(self) -> list[int]:
        """Of the images in the list."""
        return [int(each["data-id"]) for tag, each in self.tags if tag == "li" and "data-id" in each]

    def link(self, rel: str) -> str | None:
        return next((each["href"] for tag, each in self.tags if tag == "a" and each.get("rel") == rel), None)

    @property
    def heading(self) -> str:
        return " ".join(self.text.split())


def seen(client: TestClient, path: str, code: int = 200) -> Seen:
    answer = client.get(path)
    assert answer.status_code == code, (path, Seen(answer.text).heading[:300])
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Seen(answer.text)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    """Datasets holiday, of five images, and odd, of nine with odd names; not to be changed."""
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(scope="module")
def client(world: Path) -> Iterator[TestClient]:
    with opened(world / "picto.db") as client:
        yield client


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """1,234 images in 25 folders, all of them alike, with objects; their files are not there."""
    path = tmp_path_factory.mktemp("many") / "many.db"
    names = [["car"] * (at % 3 == 0) + ["dog"] * (at % 2 == 0) + ["tree"] * (at % 50 == 7) for at in range(1234)]
    db = make(path, clustered(1234, 24, 1, 0.1), names)
    put_labels(SqliteStore(db), load())
    SqliteStore(db).build_codes()
    db.close()
    with opened(path) as client:
        yield client


# -- lists -----


@pytest.mark.parametrize(
    ("query", "total"),
    [("", 1234), ("?sort=oldest", 1234), ("?sort=id", 1234), ("?objects=car", 412), ("?objects=car&objects=tree", 429),
     ("?dataset=r&folder=f03", 50), ("?like=7&threshold=0", 500), ("?like=7&threshold=0&objects=car", 411),
     ("?objects=car&sort=score", 412), ("?objects=dog&sort=score", 500)],
    ids=str,
)  # fmt: skip
def test_next_leads_to_the_last_image_and_previous_back(query: str, total: int, many: TestClient) -> None:
    page, pages = seen(many, f"/{query}"), list[list[int]]()
    while True:
        pages.append(page.ids)
        link = page.link("next")
        if link is None:
            break
        page = seen(many, link)
        assert Seen(many.get(link.replace("/?", "/page?")).text).ids == page.ids
    assert [len(each) for each in pages[:-1]] == [100] * (len(pages) - 1)
    ids = [image_id for each in pages for image_id in each]
    assert len(ids) == len(set(ids)) == total
    back = page.link("prev")
    assert (seen(many, back).ids if back else None) == (pages[-2] if len(pages) > 1 else None)


def test_lists_are_those_that_the_library_answers(world: Path, client: TestClient) -> None:
    with pictocli.open(world / "picto.db") as library:
        asked: dict[str, Any] = {
            "/?like=1": library.similar(1, everywhere=True), "/?like=1&threshold=0.2": library.similar(
                1, everywhere=True, threshold=0.2),
            "/?like=1&dataset=holiday&folder=crete": library.similar(1, dataset="holiday", folder="crete"),
            "/?q=a%20red%20car": library.search("a red car", limit=500),
            "/?q=sand&dataset=odd": library.search("sand", dataset="odd", limit=500),
            "/?q=sand&like=2": library.search("sand", images=[2], limit=500),
            "/?objects=car&sort=score": library.tagged(["car"], sort="score"),
            "/?objects=car,person&scenes=outdoor&sort=id": library.tagged(["car", "person"], ["outdoor"]),
            "/?like=5&scenes=beach&threshold=0": library.similar(5, scenes=["beach"], threshold=0, everywhere=True),
        }  # fmt: skip
    for path, answer in asked.items():
        assert seen(client, path).ids == [each.image_id for each in answer.results] != [], path


def test_words_that_nobody_has_asked_for(world: Path, tmp_path: Path) -> None:
    shutil.copy(world / "picto.db", tmp_path / "picto.db")
    with opened(tmp_path / "picto.db") as client:
        assert len(seen(client, "/?q=something+new").ids) == 14
        assert client.get("/status").json() == {"model": "ready", "message": None}


def test_an_image_knows_its_place_among_the_results(client: TestClient) -> None:
    for query in ("", "?like=1&threshold=0.5", "?q=sand", "?objects=car&sort=oldest"):
        ids = seen(client, f"/{query}").ids
        for at, image_id in enumerate(ids):
            for path in (f"/image/{image_id}{query}", f"/image/{image_id}/panel{query}"):
                page = seen(client, path)
                beside = [page.link("prev"), page.link("next")]
                expected = [ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None]
                assert [int(re.findall(r"/image/(\d+)", each)[0]) if each else None for each in beside] == expected
                assert f"{at + 1} of {len(ids)}" in page.heading
    elsewhere = seen(client, "/image/5?like=1&threshold=0.5")  # not among them
    assert (elsewhere.link("prev"), elsewhere.link("next")) == (None, None)


def test_why_this_match(client: TestClient) -> None:
    assert "Why this match" not in seen(client, "/image/2").text
    like = seen(client, "/image/2?like=1").heading
    assert "cosine similarity0.941" in like.replace(" 0", "0")
    assert "In common: beach, outdoor" in like
    words = seen(client, "/image/5?q=a%20red%20car").heading
    assert "probability" in words
    both = seen(client, "/image/3?q=sand&like=2").heading
    assert "standard deviations above the library's mean" in both
    assert "cosine with sand" in both
    assert "cosine with id:2" in both


def test_the_pages_of_a_document(client: TestClient) -> None:
    page = seen(client, "/image/3")
    assert {each["href"] for tag, each in page.tags if tag == "a" and "/image/" in each.get("href", "")} >= {
        "/image/3", "/image/4"
    }  # fmt: skip
    assert "postcards-from-grandmother-and-aunt-ida.pdf p. 1" in page.text


# -- counts -----


@pytest.mark.parametrize(
    "query",
    ["", "?objects=car", "?scenes=outdoor&objects=person&objects=car", "?dataset=odd", "?dataset=holiday&folder=crete",
     "?after=2019&before=2020", "?q=sand&objects=car", "?like=1&threshold=0.5", "?like=1&threshold=0.2&objects=car",
     "?like=2&threshold=0.3&dataset=odd&objects=car", "?objects=car&sort=score"],
    ids=str,
)  # fmt: skip
def test_a_count_is_the_number_of_images_that_its_link_leads_to(query: str, client: TestClient) -> None:
    """Of what is not chosen yet, alone in its group: more of a group widen it."""
    html = client.get(f"/facets{query}", headers={"x-fragment": "1"}).text
    links = re.findall(
        r'<a[^>]*href="(/[^"]*)"[^>]*>\s*<span class="name">[^<]*</span><span class="count">([\d,]+)', html
    )
    chosen = set(re.findall(r"(objects|scenes|attributes)=", query))
    tried = 0
    for link, count in links:
        link = link.replace("&amp;", "&")
        groups = [each for each in ("objects", "scenes", "attributes") if each in chosen and each in link]
        grown = [each for each in groups if link.count(f"{each}=") != query.count(f"{each}=")]
        current = 'aria-current="true"' in html and link.count("=") < query.count("=")
        if not grown and not current:
            assert len(seen(client, link).ids) == int(count), link
            tried += 1
    assert tried >= 2


def test_counts_of_a_large_ranking_are_of_the_whole_library(many: TestClient) -> None:
    html = many.get("/facets?like=7&threshold=0", headers={"x-fragment": "1"}).text
    assert "Counted in the whole library, not among the best matches." in html
    assert ">617<" in html


def test_more_of_a_group(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    labels = [label.id for label in load().of("objects")][:30]
    db = make(path, clustered(40, 24, 1), [labels[: at + 1] for at in range(30)])
    put_labels(SqliteStore(db), load())
    db.close()
    with opened(path) as client:
        some = client.get("/facets", headers={"x-fragment": "1"}).text
        every = client.get("/facets?more=objects", headers={"x-fragment": "1"}).text
    listed = [len(re.findall(r'href="/\?objects=', text)) for text in (some, every)]
    assert listed == [10, 30]
    assert "20 more" in some


# -- pictures and files -----


def test_small_pictures(world: Path, client: TestClient) -> None:
    page = seen(client, "/")
    sources = [each["src"] for tag, each in page.tags if tag == "img"]
    assert len(sources) == 14
    for source in sources:
        answer = client.get(source)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = client.get(source, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/thumbnail/1").headers["cache-control"] == "private, no-cache"
    with Image.open(io.BytesIO(client.get("/thumbnail/3?w=321").content)) as image:  # a page is drawn as wide as asked
        assert image.width == 480
    assert client.get("/thumbnail/3?w=99999").status_code == 200


def test_a_file_that_is_gone_leaves_a_grey_picture(many: TestClient) -> None:
    answer = many.get("/thumbnail/7?w=480&v=1")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "image/png")
    assert answer.headers["cache-control"] == "no-store"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (1, 1)
    assert "file missing" in many.get("/").text
    assert many.get("/original/7").status_code == 404
    assert "/original/7" not in many.get("/image/7").text


def test_originals_are_the_files(world: Path, client: TestClient) -> None:
    with pictocli.open(world / "picto.db") as library:
        for image in library.export():
            answer = client.get(f"/original/{image.image_id}")
            path = image.path.removesuffix(f"#page={image.page}")
            assert (answer.status_code, answer.content) == (200, Path(path).read_bytes())
            assert answer.headers["content-disposition"].startswith("attachment; filename")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("what", ["text", "svg", "pipe", "folder", "link to a secret", "gone"])
def test_only_pictures_leave(what: str, world: Path, tmp_path: Path) -> None:
    """Whatever lies at a path of the index, and whoever has made it: a secret key is no picture."""
    shutil.copytree(world, tmp_path / "w", symlinks=True)
    db = apsw.Connection(str(tmp_path / "w/picto.db"))
    db.execute("UPDATE root SET path = ? WHERE id = 1", (str(tmp_path / "w/holiday"),))
    db.close()
    path = tmp_path / "w/holiday" / HOLIDAY[0]
    path.unlink()
    if what in ("text", "svg"):
        path.write_text("secret" if what == "text" else '<svg xmlns="http://www.w3.org/2000/svg"/>')
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to a secret":
        (tmp_path / "secret").write_text("secret")
        path.symlink_to(tmp_path / "secret")
    with opened(tmp_path / "w/picto.db") as client:
        page = client.get("/original/1")
        assert page.status_code == 404
        assert "secret" not in page.text.replace(str(path), "")
        archive = zipfile.ZipFile(io.BytesIO(client.post("/download", json={"ids": [1, 2]}).content))
        assert sorted(archive.namelist()) == ["holiday/crete/DSC_0412.jpg", "left-out.txt"]
        assert archive.read("left-out.txt").decode().startswith(f"{path}: {path} is ")


# -- dropped pictures and selections -----


def test_a_dropped_picture_finds_what_is_like_it(world: Path, client: TestClient) -> None:
    data = (world / "holiday" / HOLIDAY[0]).read_bytes()
    found = client.post("/look", content=data).json()
    assert found["url"] == f"/?like={found['like']}"
    page = seen(client, found["url"])
    assert page.ids[:2] == [1, 2]  # the same bytes are in the index
    assert f"/dropped/{found['like']}" in [each.get("src") for _, each in page.tags]
    assert client.get(f"/dropped/{found['like']}").headers["content-type"] == "image/jpeg"
    other = io.BytesIO()
    scene(7, 300, 200).save(other, "PNG")
    other_url = client.post("/look", content=other.getvalue()).json()["url"]
    assert len(seen(client, f"{other_url}&threshold=0").ids) <= 14
    with pictocli.open(world / "picto.db") as library:
        answer = library.similar(other.getvalue(), threshold=0, everywhere=True)
    assert seen(client, f"{other_url}&threshold=0").ids == [each.image_id for each in answer.results]
    assert seen(client, f"{other_url}&q=sand").ids
    assert client.get(f"/image/1{other_url[1:]}").status_code == 200


@pytest.mark.parametrize(
    ("data", "code", "sentence"),
    [(b"", 415, "cannot read what was dropped: empty file"), (b"hello", 415, "cannot read what was dropped: "),
     (b"<svg/>", 415, "cannot read what was dropped: "), (b"\xff\xd8\xff" * 50, 415, "cannot read what was dropped: "),
     (b"x" * 2_000_001, 413, "that is larger than 2 MB")],
    ids=["nothing", "text", "svg", "a broken JPEG", "too large"],
)  # fmt: skip
def test_what_cannot_be_dropped(
    data: bytes, code: int, sentence: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LARGEST", 2_000_000)
    answer = client.post("/look", content=data)
    assert answer.status_code == code
    assert answer.json()["error"].startswith(sentence)


def test_dropped_pictures_are_forgotten_in_turn() -> None:
    held, keys = dropped.Dropped(b"salt"), []
    for number in range(18):
        data = io.BytesIO()
        scene(number, 20, 10).save(data, "PNG")
        keys.append(held.put(data.getvalue()))
        held.get(keys[0])
    assert len(set(keys)) == 18
    assert held.get(keys[0]).width == 20
    for gone in keys[1:3]:
        with pytest.raises(pictocli.NotFoundError, match="no longer here"):
            held.get(gone)
    assert all(held.get(key) for key in keys[3:])


@pytest.mark.parametrize("form", ["json", "form"])
def test_a_selection_leaves_as_paths_and_as_a_zip(form: str, world: Path, client: TestClient) -> None:
    ids = [5, 3, 4, *range(6, 15), 1]
    sent: dict[str, Any] = {"json": {"ids": ids}} if form == "json" else {"data": {"ids": ",".join(map(str, ids))}}
    with pictocli.open(world / "picto.db") as library:
        images = [library.show(each) for each in ids]
    told = client.post("/paths", **sent).json()
    odd = {9: "bytes that are not UTF-8", 10: "control characters", 11: "control characters", 13: "control characters"}
    assert told["paths"] == [image.path for image in images if image.image_id not in odd]
    assert told["left_out"] == [
        {"path": printable(image.path), "has": odd[image.image_id]} for image in images if image.image_id in odd
    ]
    answer = client.post("/download", **sent)
    assert answer.headers["content-disposition"] == 'attachment; filename="picto.zip"'
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    names = archive.namelist()
    assert len(names) == len(set(names)) == len(ids) - 1  # two pages are one file
    assert "holiday/crete/albums/postcards-from-grandmother-and-aunt-ida.pdf" in names
    assert {archive.read(name) for name in names} == {
        Path(image.path.removesuffix(f"#page={image.page}")).read_bytes() for image in images
    }
    assert not [name for name in names if name.startswith("/") or ".." in name.split("/") or "\\" in name]


@pytest.mark.parametrize(
    "body",
    [b"", b"ids=", b"ids=x", b"{", b'{"ids": 5}', b'{"ids": [null]}', b'{"ids": []}', b"[" * 9999, b"\xff", b"other=1",
     b"ids=" + b"1" * 5000, ("ids=" + ",".join(map(str, range(10_001)))).encode(), b'{"ids": [[1]]}',
     b'{"ids": [Infinity]}', b'{"ids": [1e400]}', b'{"ids": [NaN]}', b'{"ids": [1.5]}', b'{"ids": [true]}',
     b'{"ids": "12"}', b'{"ids": {"1": 2}}', b'{"ids": ["1"]}'],
    ids=lambda body: repr(body[:17]),
)  # fmt: skip
def test_what_is_no_selection(body: bytes, client: TestClient) -> None:
    for path in ("/paths", "/download"):
        assert client.post(path, content=body).status_code == 400


def test_a_selection_with_an_image_that_is_none(client: TestClient) -> None:
    assert client.post("/paths", json={"ids": [1, 999]}).status_code == 404
    assert client.post("/paths", json={"ids": [-1]}).status_code == 404
    assert client.post("/paths", json={"ids": [10**30]}).status_code == 404
    assert client.post("/paths", content=b"ids=1" + b"," * 1_000_001).status_code == 400


# -- what goes wrong -----


@pytest.mark.parametrize(
    ("path", "code", "sentence"),
    [
        ("/?objects=carr", 400, "unknown label carr in objects"),
        ("/?threshold=2&like=1", 400, "threshold must lie between 0 and 1, not 2.0"),
        ("/?threshold=nan&like=1", 400, "threshold must lie between 0 and 1, not nan"),
        ("/?threshold=x", 400, "x is no threshold"),
        ("/?sort=best", 400, "there is no order best"),
        ("/?at=somewhere", 400, "somewhere is no place in a list of images"),
        ("/?at=5.5.5&like=1", 400, "that is no place in a list of images"),
        ("/?like=-1", 400, "-1 is no image's id"),
        ("/?like=id:1", 400, "id:1 is no image's id"),
        ("/?like=999", 404, "no image has the id 999"),
        ("/?like=9999999999999999999", 404, "no image has the id 9999999999999999999"),
        ("/?like=d" + "0" * 24, 404, "the dropped picture is no longer here"),
        ("/?dataset=nowhere", 404, "there is no dataset nowhere"),
        ("/?dataset=odd&folder=nowhere", 404, "no indexed folder nowhere"),
        ("/?folder=crete", 400, "a folder lies in a dataset"),
        ("/?after=soon", 400, "soon is no date"),
        ("/?after=2020&before=2019", 400, "nothing lies after 2020 and before 2019"),
        ("/?q=...", 400, "no words to search for"),
        ("/?q=" + "x" * 1001, 400, "the q is longer than 1,000 characters"),
        ("/?dataset=a%00b", 400, "the dataset is longer than 1,000 characters, or holds a NUL"),
        ("/page?objects=carr", 400, "unknown label carr in objects"),
        ("/facets?like=999", 404, "no image has the id 999"),
        ("/image/999", 404, "no image has the id 999"),
        ("/image/0", 404, "no image has the id 0"),
        ("/image/-1", 404, "there is no such page"),
        ("/image/1e3", 404, "there is no such page"),
        ("/image/" + "9" * 5000, 404, "there is no such page"),
        ("/image/999/panel", 404, "no image has the id 999"),
        ("/image/1?like=999", 404, "no image has the id 999"),
        ("/thumbnail/999", 404, "no image has the id 999"),
        ("/thumbnail/1?w=big", 400, "that is no width"),
        ("/thumbnail/1?w=", 400, "that is no width"),
        ("/original/999", 404, "no image has the id 999"),
        ("/dropped/d0", 404, "the dropped picture is no longer here"),
        ("/static/gallery.py", 404, "there is no such page"),
        ("/static/", 404, "there is no such page"),
        ("/nowhere", 404, "there is no such page"),
        ("/paths", 405, "that cannot be done here"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_answered_is_a_sentence(path: str, code: int, sentence: str, client: TestClient) -> None:
    page = seen(client, path, code)
    assert sentence in page.heading
    assert "Traceback" not in page.text


@pytest.mark.parametrize(
    "path",
    ["/image/999", "/?like=999", "/?q=...", "/?objects=qqqqqqqqqqqq", "/?after=2020&before=2019",
     "/?dataset=nowhere", "/?dataset=odd&folder=nowhere"],
)  # fmt: skip
def test_errors_give_no_advice_for_the_command_line(path: str, client: TestClient) -> None:
    told = client.get(path)
    assert told.status_code in (400, 404)
    assert not re.search(r"picto [a-z]|--[a-z]", Seen(told.text).text)


def test_errors_name_what_is_near(client: TestClient) -> None:
    assert "nearest: car" in seen(client, "/?objects=carr", 400).heading


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("like=1", "3 of 13 in the whole library at 0.60 or above"),
        ("like=1&dataset=holiday", "2 of 4 in holiday at 0.60 or above"),
        ("like=1&dataset=holiday&folder=crete&threshold=0.5", "2 of 3 in holiday, folder crete at 0.50 or above"),
    ],
)
def test_more_like_this_says_where_it_looked(query: str, told: str, client: TestClient) -> None:
    assert told in seen(client, f"/?{query}").heading


def test_what_a_browser_keeps_is_kept_by_library(world: Path, tmp_path: Path, client: TestClient) -> None:
    def key(client: TestClient, path: str) -> str:
        return next(each["data-library"] for tag, each in seen(client, path).tags if tag == "body")

    shutil.copy(world / "picto.db", tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", key(client, "/"))
    assert key(client, "/") == key(client, "/image/1")
    with opened(world / "picto.db") as again, opened(tmp_path / "picto.db") as other:
        assert key(again, "/") == key(client, "/")
        assert key(other, "/") != key(client, "/")


def test_a_fault_of_ours_is_a_sentence_too(world: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    with opened(world / "picto.db") as client:
        monkeypatch.setattr(asked, "browsed", broken)
        page = seen(client, "/page", 500)
    assert "this is a fault of picto's" in page.heading
    assert "secret" not in page.text
    assert "unexpected ZeroDivisionError at /page" in caplog.text


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path) -> None:
    connect(str(tmp_path / "empty.db"), create=True).close()
    with opened(tmp_path / "empty.db") as client:
        for path in ("/", "/?q=a+red+car", "/?sort=oldest", "/facets", "/page"):
            page = seen(client, path)
            assert page.ids == []
        assert "picto index FOLDER" in seen(client, "/").text
        data = io.BytesIO()
        scene(1, 20, 20).save(data, "PNG")
        answer = client.post("/look", content=data.getvalue())
        assert (answer.status_code, answer.json()["error"]) == (409, "this library holds no images yet")


def test_nothing_near_enough_says_how_near_the_nearest_is(client: TestClient) -> None:
    page = seen(client, "/?like=1&threshold=0.99")
    assert "Nothing at 0.99 or above; the nearest is 0.94" in page.heading
    assert "Lower to 0.90" in page.heading
    lower = next(each["href"] for _, each in page.tags if each.get("href", "").endswith("threshold=0.9"))
    assert seen(client, lower).ids == [2]


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(pictocli.StoreError, match="there is no database"):
        gallery.app(tmp_path / "none.db", hosts=[HOST])


# -- what names do -----

MARKUP = "\"><script>alert(1)</script>'&amp;{{7*7}}{% x %}<b>"


def test_names_are_text(world: Path, tmp_path: Path) -> None:
    """Of files, folders, datasets, tags, fields and values, each as hostile as it can be."""
    shutil.copy(world / "picto.db", tmp_path / "picto.db")
    evil = MARKUP.replace("/", "\u2215")  # no file has a slash in its name
    db = connect(str(tmp_path / "picto.db"))
    db.execute("UPDATE file SET name = ? WHERE id = 1", (evil + ".jpg",))
    db.execute("UPDATE dataset SET name = ? WHERE id = 1", (MARKUP,))
    db.execute("UPDATE folder SET path = ? WHERE path = 'crete'", (evil,))
    db.execute("UPDATE image SET objects = ?, metadata = ? WHERE id = 1", (
        json.dumps({MARKUP: 0.9}), json.dumps({MARKUP: MARKUP, "half": "\ud800", "list": [MARKUP]})))  # fmt: skip
    db.execute("INSERT INTO capture(content_id, camera) SELECT content_id, ? FROM image WHERE id = 1", (MARKUP,))
    db.close()
    with opened(tmp_path / "picto.db") as client:
        pages = [
            client.get(path) for path in ("/", "/facets", "/image/1", "/image/1/panel?like=2", "/?like=1&threshold=0")
        ]
        pages.append(client.get("/", params={"dataset": MARKUP}))
        pages.append(client.get("/", params={"q": MARKUP}))
        pages.append(client.get("/", params={"objects": MARKUP}))
        pages.append(client.get("/", params={"dataset": MARKUP, "folder": evil}))
        pages.append(client.get("/", params={"objects": "x" + MARKUP}))
    assert [page.status_code for page in pages] == [200] * 7 + [400, 200, 400]
    for page in pages:
        assert "<script>alert" not in page.text
        assert "<b>" not in page.text
        assert "alert(1)" in page.text  # it is shown
        assert "{{7*7}}" in page.text or "{{7*7}}" in page.text.replace("&#123;", "{")
        tags = Seen(page.text).tags
        assert [each.get("src", "")[:18] for tag, each in tags if tag == "script"] in ([], ["/static/gallery.js"])
        assert not [name for _, each in tags for name in each if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("at", range(len(ODD)))
def test_odd_names_are_shown_and_saved(at: int, world: Path, client: TestClient) -> None:
    image_id = 6 + at
    page = seen(client, f"/image/{image_id}")
    with pictocli.open(world / "picto.db") as library:
        name = library.show(image_id).filename
    assert printable(name) in page.text
    saved = unquote(client.get(f"/original/{image_id}").headers["content-disposition"])
    assert "\n" not in saved
    assert "\x1b" not in saved


# -- more than one at a time -----


@pytest.mark.parametrize("path", ["/", "/page", "/?like=1", "/image/1", "/image/1/panel"])
def test_a_disk_that_sleeps_keeps_nothing_else_waiting(
    path: str, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = threading.Event(), threading.Event()

    def lexists(_: str) -> bool:
        asleep.set()
        return awake.wait(60)

    with ThreadPoolExecutor(2) as pool:
        try:
            monkeypatch.setattr(os.path, "lexists", lexists)
            page = pool.submit(client.get, path)
            assert asleep.wait(30)
            assert pool.submit(client.get, "/status").result(30).status_code == 200
            assert not page.done()
        finally:
            awake.set()
        assert page.result(60).status_code == 200


def test_two_pictures_are_looked_at_at_a_time(world: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    data, real, one = (world / "holiday" / HOLIDAY[0]).read_bytes(), dropped.Dropped.put, threading.Lock()
    now, most, two = 0, 0, threading.Event()

    def put(self: dropped.Dropped, data: bytes) -> str:
        nonlocal now, most
        with one:
            now += 1
            most = max(most, now)
            if now == 2:
                two.set()
        assert two.wait(60)
        time.sleep(0.05)  # a third that is let in comes meanwhile
        try:
            return real(self, data)
        finally:
            with one:
                now -= 1

    monkeypatch.setattr(dropped.Dropped, "put", put)
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: client.post("/look", content=data).status_code, range(6)))
    assert codes == [200] * 6
    assert most == 2


def test_many_ask_at_once(client: TestClient) -> None:
    paths = [
        path
        for at in range(1, 15)
        for path in (
            f"/thumbnail/{at}?w=160",
            f"/image/{at}",
            f"/?like={at}&threshold=0",
            "/facets",
            "/?q=sand",
            "/page",
        )
    ]
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda path: client.get(path).status_code, paths))
    assert codes == [200] * len(paths)


def test_what_another_process_indexes_appears(
    world: Path, tmp_path: Path, model: str, index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pictocli.gallery.listing.STALE", 0.0)
    (tmp_path / "p").mkdir()
    scene(1, 64, 48).save(tmp_path / "p/one.png")
    index(tmp_path / "p")
    with opened(tmp_path / "library.db") as client:
        assert len(seen(client, "/").ids) == 1
        for number in range(2, 4):
            scene(number, 64, 48).save(tmp_path / f"p/{number}.png")
            index(tmp_path / "p")
            assert len(seen(client, "/").ids) == number
        os.remove(tmp_path / "p/one.png")
        with pictocli.open(tmp_path / "library.db") as library:
            library.prune(yes=True)
        assert len(seen(client, "/page").ids) == 2
        assert client.get("/image/1").status_code == 404


def test_another_file_in_its_place_is_another_library(world: Path, tmp_path: Path) -> None:
    """No lane and nothing that is kept goes on answering from the one that was there."""
    path, other = tmp_path / "picto.db", tmp_path / "other.db"
    shutil.copy(world / "picto.db", path)
    shutil.copy(world / "picto.db", other)
    db = connect(str(other))
    db.execute("DELETE FROM image WHERE id NOT IN (1, 3)")
    db.close()
    ranked = ("/?like=1", "/?objects=car&sort=score", "/?q=never+asked+before")
    with opened(path) as client:
        assert [bool(set(seen(client, each).ids) - {1, 3}) for each in ("/", *ranked)] == [True] * 4
        with ThreadPoolExecutor(8) as pool:  # so that every library of a lane is open
            codes = list(pool.map(lambda at: client.get(f"/thumbnail/{at % 5 + 1}").status_code, range(32)))
        assert codes == [200] * 32
        os.replace(other, path)
        assert set(seen(client, "/").ids) == {1, 3}
        assert [set(seen(client, each).ids) - {1, 3} for each in ranked] == [set()] * 3
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda _: client.get("/thumbnail/2").status_code, range(16)))
        assert codes == [404] * 16
        path.unlink()
        for each in ("/", *ranked):
            assert "there is no database at " in seen(client, each, 500).heading


@pytest.fixture
def anybodys(model: str) -> Iterator[Path]:
    """A library that this process may read and not write, in a folder of which the same is true."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        folder.chmod(0o755)
        shutil.copytree(model, folder / "model")
        for path in [folder / "model", *(folder / "model").rglob("*")]:
            path.chmod(0o755)
        shelf = make_world(folder / "w", str(folder / "model"))
        with opened(shelf / "picto.db") as client:  # whose imports another user may not read
            assert [client.get(path).status_code for path in ("/?q=zebras+too", "/image/3", "/facets")] == [200] * 3
        (shelf / "picto.db").chmod(0o444)
        shelf.chmod(0o555)
        if root:
            os.seteuid(65534)
        try:
            yield shelf
        finally:
            if root:
                os.seteuid(0)
            shelf.chmod(0o700)


def test_somebody_elses_library_is_read_and_not_written(anybodys: Path) -> None:
    before = (anybodys / "picto.db").read_bytes()
    with pytest.raises(PermissionError):
        (anybodys / "other").touch()
    with opened(anybodys / "picto.db") as client:
        assert len(seen(client, "/").ids) == 14
        assert seen(client, "/?like=1").ids == [2, 3, 6]
        assert len(seen(client, "/?q=never+asked+before").ids) == 14
        assert client.get("/image/3").status_code == 200
        assert client.get("/facets").status_code == 200
    assert (anybodys / "picto.db").read_bytes() == before
    assert sorted(os.listdir(anybodys)) == ["holiday", "odd", "picto.db"]


def test_browsing_leaves_one_file_and_writes_nothing(world: Path, tmp_path: Path) -> None:
    shutil.copy(world / "picto.db", tmp_path / "picto.db")
    before = (tmp_path / "picto.db").read_bytes()
    with opened(tmp_path / "picto.db") as client:
        for path in ("/", "/facets", "/image/3", "/thumbnail/1", "/?like=1", "/?objects=car&sort=score"):
            assert client.get(path).status_code == 200
    assert os.listdir(tmp_path) == ["picto.db"]
    assert (tmp_path / "picto.db").read_bytes() == before


def test_the_page_does_not_wait_for_the_model(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real = threading.Event(), pictocli.gallery.lanes._Loading.model

    def slow(self: Any) -> Any:
        assert gate.wait(60)
        return real(self)

    monkeypatch.setattr(pictocli.gallery.lanes._Loading, "model", slow)
    with opened(world / "picto.db") as client:
        assert len(seen(client, "/").ids) == 14
        assert seen(client, "/?like=1").ids == [2, 3, 6]
        assert client.get("/status").json()["model"] == "loading"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: len(seen(client, "/?q=words+that+are+new").ids))
            gate.set()
            assert waiting.result(60) == 14
        deadline = time.monotonic() + 60
        while client.get("/status").json()["model"] != "ready":
            assert time.monotonic() < deadline
