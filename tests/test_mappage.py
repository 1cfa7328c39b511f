"""The map as a page: sound HTML that fetches nothing, and in a browser what keys, pointers and the list do."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import scene

import pictocli
from pictocli.mappage import budget

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Parsed(HTMLParser):
    """Elements with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.texts.append((self.cdata_elem, data))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    """The map of 40 pictures, one named like markup."""
    base = tmp_path_factory.mktemp("page")
    (base / "p").mkdir()
    for number in range(39):
        scene(number, 80, 60).save(base / f"p/{number:02}.png")
    scene(99, 80, 60).save(base / "p/<script>alert(1)<!--'\".png")
    with pictocli.open(base / "library.db") as library:
        library.index([base / "p"], model=model, workers=0, device="cpu")
        library.map(base / "map.html", layout="pca")
    return base / "map.html"


def test_the_page_is_whole_and_runs_only_its_own(page: Path) -> None:
    text = page.read_text("utf-8")
    found = Parsed(text)
    policy = next(
        held["content"] for tag, held in found.elements if held.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    scripts = [body for tag, body in found.texts if tag == "script"]
    for body, name in ((scripts[1], "script-src"), (next(b for t, b in found.texts if t == "style"), "style-src")):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert len(scripts) == 2
    assert not [
        name for _, held in found.elements for name in held if name in ("src", "href", "style") or name.startswith("on")
    ]
    assert not re.search(r"https?:|ws:|@import|url\(|fetch\(", text)
    atlas = json.loads(scripts[0])
    assert "<script>alert(1)<!--'\".png" in atlas["name"]
    assert "<" not in scripts[0]


def test_what_the_page_holds(page: Path) -> None:
    atlas = json.loads(next(body for tag, body in Parsed(page.read_text("utf-8")).texts if tag == "script"))
    x, y = (np.frombuffer(base64.b64decode(atlas[name]), "<u2") for name in "xy")
    ids = np.frombuffer(base64.b64decode(atlas["id"]), "<f8")
    assert len(x) == len(y) == len(atlas["name"]) == 40
    assert sorted(ids.tolist()) == list(range(1, 41))
    assert max(x.max(), y.max()) == 65535
    assert (atlas["side"], atlas["shown"], atlas["blank"], len(atlas["sheets"])) == (128, 40, [], 1)
    assert sum(region["images"] for region in atlas["regions"]) == 40


@pytest.mark.parametrize("count", [3, 1600, 1601, 2601, 10_000, 10**6])
def test_thumbnails_take_five_megabytes_at_most(count: int) -> None:
    side, most = budget(count)
    assert most <= count
    assert most * side**2 * 0.27 < 7.5e6  # bytes a pixel of WebP at this quality, measured on photos


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium, which CI installs")
        pytest.skip("no Chromium")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page in a browser, which must have asked for nothing and complained of nothing."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    asked, said = list[str](), list[str]()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_selector("#map[data-view]")
    yield tab
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert said == []
    context.close()


def view(tab: Any) -> list[float]:
    return [float(each) for each in tab.get_attribute("#map", "data-view").split()]


def until(tab: Any, script: str) -> None:
    held = "const [x, y, zoom] = document.getElementById('map').dataset.view.split(' ').map(Number);"
    tab.wait_for_function(f"() => {{ {held} return {script}; }}")


def test_keys_zoom_and_move(opened: Any) -> None:
    begun = view(opened)
    assert begun[2] == 1
    opened.focus("#map")
    opened.keyboard.press("+")
    until(opened, "zoom === 1.5")
    opened.keyboard.press("+")
    until(opened, "zoom === 2.25")
    x, y, _ = view(opened)
    opened.keyboard.press("ArrowRight")
    until(opened, f"x > {x}")
    opened.keyboard.press("ArrowUp")
    until(opened, f"y < {y}")
    opened.keyboard.press("-")
    until(opened, "zoom === 1.5")
    opened.keyboard.press("0")
    until(opened, f"zoom === 1 && x === {begun[0]} && y === {begun[1]}")
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#picked h2")
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#picked", state="hidden")


def test_wheel_drag_hover_and_click(opened: Any) -> None:
    opened.mouse.move(300, 300)
    opened.mouse.wheel(0, -400)
    until(opened, "zoom > 1.5")
    x, y, _ = view(opened)
    opened.mouse.down()
    opened.mouse.move(360, 340, steps=4)
    opened.mouse.up()
    until(opened, f"x < {x} - 20 && y < {y} - 20")
    opened.keyboard.press("Tab")
    opened.click("#all")
    until(opened, "zoom === 1")
    spot = opened.evaluate(
        "() => { const a = JSON.parse(document.getElementById('atlas').textContent), v = document.getElementById('map')"
        ".dataset.view.split(' ').map(Number), box = document.getElementById('map').getBoundingClientRect();"
        " const first = new Uint16Array(Uint8Array.from(atob(a.x), c => c.charCodeAt(0)).buffer)[0] / 65535;"
        " const second = new Uint16Array(Uint8Array.from(atob(a.y), c => c.charCodeAt(0)).buffer)[0] / 65535;"
        " const fit = Math.min((box.width - 32) / a.width, (box.height - 32) / a.height);"
        " return [first * fit - v[0], second * fit - v[1], a.name[0]]; }"
    )
    opened.mouse.move(spot[0], spot[1])
    opened.wait_for_selector("#tip:not([hidden])")
    assert opened.text_content("#tip").startswith(spot[2])
    opened.mouse.click(spot[0], spot[1])
    opened.wait_for_selector("#picked h2")
    assert opened.text_content("#picked h2") == spot[2]


def test_the_list_names_every_picture_as_text(opened: Any) -> None:
    for summary in opened.query_selector_all("summary"):
        summary.focus()
        opened.keyboard.press("Enter")
    opened.wait_for_function("() => document.querySelectorAll('#clusters li button').length === 40")
    names = opened.eval_on_selector_all("#clusters li button", "all => all.map(each => each.firstChild.textContent)")
    hostile = "<script>alert(1)<!--'\".png"
    assert len(set(names)) == 40
    assert hostile in names
    opened.locator("#clusters li button", has_text="<script>").press("Enter")
    opened.wait_for_selector("#picked h2")
    assert opened.text_content("#picked h2") == hostile
    assert opened.evaluate("() => document.scripts.length") == 2
    assert opened.get_attribute("#clusters button[aria-current]", "data-at") is not None


@pytest.mark.parametrize(("width", "height"), [(1000, 700), (390, 800)], ids=["desk", "phone"])
def test_nothing_keeps_people_out(browser: Any, page: Path, width: int, height: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(page.as_uri())
    tab.wait_for_selector("#map[data-view]")
    found = axe.Axe().run(tab).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    context.close()
