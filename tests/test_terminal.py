"""What a person sees: every table on a real pseudo-terminal, at several widths.

Some screens stand in terminal_screens.txt; `python tests/test_terminal.py` writes them anew after a change that is
meant.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from program import make_world, run, screen
from rich.cells import cell_len

from pictocli.catalog import Catalog
from pictocli.records import Pairs, Recall
from pictocli.schema import connect

LINK = re.compile(r"\x1b\]8;[^;]*;([^\x1b]*)\x1b\\")
STYLE = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = (50, 80, 120, 200)
ASKED = {
    "similar": ["similar", "id:1", "--everywhere", "--threshold", "0"],
    "similar-verbose": ["similar", "id:1", "--everywhere", "--threshold", "0", "-v"],
    "tags": ["tags", "--objects", "car,truck,person", "--scenes", "outdoor,beach", "--match", "any"],
    "tags-odd": ["tags", "--objects", "car"],
    "search": ["search", "a", "red", "car"],
    "show": ["show", "id:3"],
    "show-odd": ["show", "id:14"],
    "info": ["info"],
    "taxonomy": ["taxonomy"],
}


def plain(text: str) -> str:
    """The text without colours and links."""
    return STYLE.sub("", LINK.sub("", text))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(autouse=True)
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTO_DB", str(world / "picto.db"))
    monkeypatch.chdir(world)


SCREENS = Path(__file__).with_name("terminal_screens.txt")
EXACTLY = {
    "similar-50": (50, ASKED["similar"]),
    "similar-80": (80, ASKED["similar"]),
    "similar-120": (120, ASKED["similar"]),
    "similar-200": (200, ASKED["similar"]),
    "tags-50": (50, ASKED["tags"]),
    "tags-80": (80, ASKED["tags"]),
    "search-80": (80, ["search", "sand", "--min-probability", "0.5"]),
    "show-80": (80, ["show", "id:5"]),
    "show-50": (50, ["show", "id:1"]),
    "info-80": (80, ["info"]),
    "info-50": (50, ["info"]),
    "nothing-80": (80, ["similar", "id:1", "--folder", "new"]),
    "error-80": (80, ["tags", "--objects", "truk"]),
    "cut-80": (80, ["tags", "--objects", "car", "--limit", "2", "--dataset", "odd"]),
}


def steady(text: str) -> str:
    """A screen without what differs from run to run."""
    text = re.sub(r"\b[\d.]+ m?s\b", "TIME", text)
    text = re.sub(r"\b[\d.]+ [kM]?B\b", "SIZE", text)
    return re.sub(r"202\d-\d\d-\d\d", "DATE", text)


def shown(columns: int, asked: list[str]) -> str:
    """Standard output, then standard error, as a person sees them."""
    ran, text = screen(*asked, columns=columns)
    return steady(plain(text) + plain(ran.err).replace("\r\x1b[K", ""))


@pytest.mark.parametrize("name", EXACTLY)
def test_screen(name: str) -> None:
    kept = dict(part.split("\n", 1) for part in SCREENS.read_text("utf-8").split("## ")[1:])
    assert shown(*EXACTLY[name]).rstrip("\n") == kept[name].rstrip("\n")


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("asked", [pytest.param(arguments, id=name) for name, arguments in ASKED.items()])
def test_nothing_is_wider_than_the_terminal(asked: list[str], columns: int) -> None:
    ran, text = screen(*asked, columns=columns)
    assert ran.code == 0
    lines = plain(text).splitlines()
    assert lines
    assert [line for line in lines if cell_len(line) > columns] == []
    assert [line for line in lines if line != line.rstrip()] == []
    assert "\x1b[31m." not in text, "a control byte of a file name reached the terminal"


def test_colours_links_and_the_footer() -> None:
    ran, text = screen("similar", "id:1", "--limit", "1")
    score, bar_, path, *_ = text.split("  ")
    assert (score, bar_) == ("\x1b[1m0.941\x1b[0m", "\x1b[32m███████▌\x1b[0m")
    links = LINK.findall(path)
    assert links == [Path("holiday/crete/DSC_0412.jpg").absolute().as_uri(), ""]
    assert plain(path) == "holiday/crete/DSC_0412.jpg\n"
    assert re.fullmatch(r"1 of 4 in holiday at 0\.60 or above, cut at --limit 1, \d+ ms\n", ran.err)


def test_a_link_names_the_file_of_a_page_and_escapes_its_bytes() -> None:
    _, text = screen("tags", "--objects", "car,book")
    links = [link for link in LINK.findall(text) if link]
    base = Path.cwd().as_uri()
    assert links[0] == f"{base}/holiday/crete/albums/postcards-from-grandmother-and-aunt-ida.pdf"
    assert f"{base}/odd/caf%E9.png" in links
    assert f"{base}/odd/new%0Aline.png" in links
    assert f"{base}/odd/esc%1B%5B31m.png" in links


@pytest.mark.parametrize(
    ("options", "env"),
    [
        pytest.param(["--color", "never"], {}, id="never"),
        pytest.param([], {"NO_COLOR": "1"}, id="no-color"),
        pytest.param([], {"TERM": "dumb"}, id="dumb"),
    ],
)
def test_no_escape_without_colour(options: list[str], env: dict[str, str]) -> None:
    ran, text = screen("similar", "id:1", *options, env=env)
    assert "\x1b" not in text + ran.err
    assert text.startswith("0.941  ███████▌  holiday/crete/DSC_0412.jpg\n")


def test_colour_that_is_asked_for_beats_no_color() -> None:
    _, text = screen("similar", "id:1", "--color=always", env={"NO_COLOR": "1"})
    assert text.startswith("\x1b[1m0.941\x1b[0m")


@pytest.mark.parametrize("asked", [pytest.param(arguments, id=name) for name, arguments in ASKED.items()])
def test_a_terminal_that_knows_only_ascii(asked: list[str]) -> None:
    ran, text = screen(*asked, env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"})
    assert ran.code == 0
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    if asked[0] == "similar":
        assert text.startswith(
            "0.941  ########  holiday/crete/DSC_0412.jpg\n0.712  ######..  holiday/~/postcards-from-"
        )


@pytest.fixture
def compared(world: Path, tmp_path: Path) -> str:
    """The world's database, made to hold the cosines of 2,000 pairs."""
    path = str(shutil.copy(world / "picto.db", tmp_path / "compared.db"))
    db = connect(path)
    Catalog(db).keep_pairs(
        Pairs(contents=64, n=2000, ranks=(0, 1000, 1800, 1990, 1998, 1999), cosines=(-0.3, 0.1, 0.4, 0.6, 0.9, 1.0))
    )
    db.close()
    return path


def test_how_unusual_each_similarity_is(compared: str) -> None:
    ran, text = screen("similar", "id:1", "--threshold", "0.6", "--db", compared)
    assert plain(text).splitlines() == [
        "cosine            closer than  path",
        " 0.941  ███████▌       99.92%  holiday/crete/DSC_0412.jpg",
        " 0.712  █████▊         99.64%  postcards-from-grandmother-and-aunt-i….pdf#page=1",
    ]
    assert "\x1b[2m     99.92%\x1b[0m" in text
    assert re.fullmatch(r"2 of 4 in holiday at 0\.60 or above, closer than 99\.5% of pairs, \d+ ms\n", ran.err)
    few = plain(screen("similar", "id:1", "--threshold", "0.6", "--limit", "1", "--folder", "crete/albums", "--db",
                       compared)[1])  # fmt: skip
    assert few.splitlines()[1].startswith(" 0.712  █████▊          99.6%  postcards-from-")


@pytest.mark.parametrize(("columns", "shown"), [(50, False), (79, False), (80, True), (120, True), (200, True)])
def test_how_unusual_is_shown_where_there_is_room(columns: int, shown: bool, compared: str) -> None:
    ran, text = screen("similar", "id:1", "--everywhere", "--threshold", "0", "--db", compared, columns=columns)
    assert ran.code == 0
    lines = plain(text).splitlines()
    assert ("closer than" in lines[0], "99.92%" in text) == (shown, shown)
    assert [line for line in lines if cell_len(line) > columns or line != line.rstrip()] == []
    table = run("similar", "id:1", "--format", "table", "--db", compared, env={"COLUMNS": str(columns)}).out.decode()
    assert ("closer than" in table) is shown


def test_when_nothing_passes_the_nearest_says_how_unusual_it_is(compared: str) -> None:
    ran = run("similar", "id:1", "--threshold", "0.95", "--db", compared)
    wanted = "nothing at 0.95 or above among 4 images in holiday, nearest 0.94, closer than 99.92% of pairs\n"
    assert (ran.code, ran.out, ran.err) == (1, b"", wanted)


def test_words_are_not_compared_with_pairs(compared: str) -> None:
    assert plain(screen("search", "sand", "--db", compared)[1]) == plain(screen("search", "sand")[1])


@pytest.mark.parametrize("columns", WIDTHS)
def test_info_shows_how_similar_random_pairs_are(columns: int, compared: str) -> None:
    _, text = screen("info", "--db", compared, columns=columns)
    lines = text.splitlines()
    assert [line for line in lines if cell_len(plain(line)) > columns] == []
    joined = " ".join(plain(text).split())
    assert "24-D pairs median 0.10 90% 0.40 99% 0.59 99.9% 0.90 of 2,000 random pairs tag rule" in joined
    assert "  pairs " not in plain(screen("info", columns=columns)[1])


@pytest.mark.parametrize(
    ("exact", "told"),
    [
        (
            False,
            "99.95% of the nearest 50 99.98% of the 500 at 0.60 or above 8,000 of 1,204,000 compared",
        ),
        (True, "exact every image is compared"),
    ],
)
@pytest.mark.parametrize("columns", WIDTHS)
def test_info_shows_the_last_check_of_the_fast_path(columns: int, exact: bool, told: str, compared: str) -> None:
    db = connect(compared)
    Catalog(db).keep_recall(
        Recall(images=1_204_000, exact=exact, compared=8000, questions=50, nearest=0.99951, similar=0.99989)
    )
    db.close()
    text = plain(screen("info", "--db", compared, columns=columns)[1])
    assert [line for line in text.splitlines() if cell_len(line) > columns] == []
    assert f" recall {told} tag rule " in " ".join(text.split())
    kept = json.loads(run("info", "--format", "json", "--db", compared).out)["recall"]
    assert kept == {
        "images": 1_204_000, "exact": exact, "compared": 8000, "questions": 50, "nearest": 0.99951, "similar": 0.99989,
    }  # fmt: skip


def test_programs_are_told_how_unusual_a_similarity_is(compared: str) -> None:
    asked = ("similar", "id:1", "--limit", "1", "--db", compared)
    found = json.loads(run(*asked, "--format", "json").out)[0]
    assert (list(found)[6:8], found["closer_than"]) == (["similarity", "closer_than"], 0.999206)
    assert b",0.9412,0.999206,," in run(*asked, "--format", "csv").out
    assert json.loads(run(*asked, "--format", "jsonl").out) == found
    assert run(*asked).out == run("similar", "id:1", "--limit", "1").out  # as tab-separated lines always were
    kept = json.loads(run("info", "--format", "json", "--db", compared).out)["pairs"]
    assert (kept["n"], kept["contents"]) == (2000, 64)
    assert kept["quantiles"]["0.5"] == 0.1
    assert list(kept["quantiles"])[-1] == "0.9995"
    assert json.loads(run("info", "--format", "json").out)["pairs"] is None
    assert "closer_than" not in json.loads(run("search", "sand", "--format", "json", "--db", compared).out)[0]


OWN = """\
schema = 1
version = "1"
null_prompts = ["a photo"]
[objects]
templates = ["{}"]
labels = [{ id = "car", phrase = "a car", aliases = ["\\u001b[5mauto"] }]
"""


@pytest.mark.parametrize("asked", ["show", "similar", "info", "taxonomy"])
def test_no_label_is_shown_raw(asked: str, tmp_path: Path) -> None:
    db = connect(str(shutil.copy("picto.db", tmp_path / "copy.db")))
    db.execute("UPDATE image SET objects = ? WHERE id < 6", (json.dumps({"\x1b[5mcar\r": 0.5, "\x1b[5m": 1}),))
    Catalog(db).set_meta("own_taxonomy", OWN)
    db.close()
    _, text = screen(*ASKED[asked], "--db", str(tmp_path / "copy.db"), columns=120)
    assert "\\x1b[5m" in text
    assert "\x1b[5m" not in text
    assert "\r" not in text


def test_quiet_leaves_results_only() -> None:
    ran, text = screen("-q", "similar", "id:1", "--limit", "1")
    assert (plain(text), ran.err) == ("0.941  ███████▌  holiday/crete/DSC_0412.jpg\n", "")


def test_a_bar_while_indexing(tmp_path: Path, world: Path) -> None:
    shutil.copy(world / "picto.db", tmp_path / "copy.db")
    (tmp_path / "bad").mkdir()
    for number in range(30):
        (tmp_path / "bad" / f"{number:02}.jpg").write_text("no picture")
    ran, text = screen("index", str(tmp_path / "bad"), "--db", str(tmp_path / "copy.db"), "--workers", "0")
    assert (ran.code, text) == (0, "")
    frames = re.split(r"[\r\n]+", plain(ran.err))
    assert any(re.fullmatch(r"scanning, \d+ found *", frame) for frame in frames)
    last = [frame for frame in frames if frame.strip()]
    assert re.fullmatch(r"Indexed 0 images in \d+ ms", last[-23])
    assert last[-22:-20] == ["warning: skipped 30", f"  {tmp_path}/bad/00.jpg  text, not an image"]
    assert last[-1] == "  and 10 more: --verbose lists them"
    assert "\x1b[33mwarning\x1b[0m: skipped 30" in ran.err


def test_the_table_is_for_terminals_only() -> None:
    assert run("similar", "id:1", "--limit", "1").out.startswith(b"0.9412\t/")


def _rewrite() -> None:
    """Write the screens anew."""
    from checkpoints import save_siglip

    with tempfile.TemporaryDirectory() as base:
        world = make_world(Path(base, "world"), str(save_siglip(Path(base, "small"))))
        os.environ.update(HOME=f"{base}/home", PICTO_DB=str(world / "picto.db"))
        os.chdir(world)
        SCREENS.write_text("\n".join(f"## {name}\n{shown(*case)}" for name, case in EXACTLY.items()), "utf-8")


if __name__ == "__main__":
    _rewrite()
