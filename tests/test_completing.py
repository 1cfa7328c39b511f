"""Completion in real shells: type, press Tab, and see what words picto is given."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import make_pdf, scene
from program import run
from shells import SHELLS, ShellSession, shell
from test_design import HEAVY

import pictocli
from pictocli.shell_words import Typed, bash_line, fish_word, quoted

ODD = [
    "été à la plage.jpg", "it's $HOME \"q\".jpg", "one:two=3.jpg", "#hash.png", "(1) [2] {3} & ;.png", "~tilde.png",
    "back\\slash.png", "smile 😀.png", "star*?.png", "`tick`!.png",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    """A folder with picto.db. "my photos" is indexed and on the disk, what was in "gone" is only in the index."""
    base = tmp_path_factory.mktemp("typed")
    for folder in ("my photos", "my photos/sub folder", "gone/deep/er"):
        (base / folder).mkdir(parents=True)
    for number, name in enumerate(ODD):
        scene(number, 32, 24).save(base / "my photos" / name)
    make_pdf(base / "my photos/report.pdf", [1, 2, 3])
    scene(30, 32, 24).save(base / "my photos/sub folder/inner.jpg")
    scene(31, 32, 24).save(base / "gone/deep/er/lost one.jpg")
    (base / "notes.txt").write_text("not a picture")
    (base / "price.csv").write_text("filename,price,unit price\ninner.jpg,3,4\n")
    with pictocli.open(base / "picto.db") as library:
        library.index([base / "my photos"], dataset="my: data", model=model, workers=0, metadata=base / "price.csv")
        library.index([base / "gone"], model=model, workers=0)
    shutil.rmtree(base / "gone")
    return base


@pytest.fixture(params=SHELLS)
def session(request: pytest.FixtureRequest, place: Path, tmp_path: Path) -> Iterator[ShellSession]:
    if shutil.which(request.param) is None:
        assert not os.environ.get("CI"), f"{request.param} is missing"
        pytest.skip(f"{request.param} is not installed")
    with shell(request.param, place, tmp_path, {"PICTO_DB": str(place / "picto.db")}) as session:
        yield session


PHOTOS = "my photos/"
LINES = {
    "picto dup\t": ["duplicates"],
    "picto similar x --format js\tl": ["similar", "x", "--format", "jsonl"],
    "picto tags --objects car,traffic-c\t": ["tags", "--objects", "car,traffic-cone"],
    "picto tags --dataset=my\t": ["tags", "--dataset=my: data"],
    "picto tags --where 'pri\t<5'": ["tags", "--where", "price<5"],
    "picto similar my\tété\t": ["similar", PHOTOS + "été à la plage.jpg"],
    "picto similar my\tone:t\t": ["similar", PHOTOS + "one:two=3.jpg"],
    "picto similar my\tit\t": ["similar", PHOTOS + 'it\'s $HOME "q".jpg'],
    "picto similar my\trep\t#page=2\t": ["similar", PHOTOS + "report.pdf#page=2"],
    "picto show go\tde\ter\tlo\t --quiet": ["show", "gone/deep/er/lost one.jpg", "--quiet"],
    "picto index --metadata pri\t": ["index", "--metadata", "price.csv"],
}
"""Keys, and the words that come of them in every shell."""
MORE = {
    "picto similar --thr\t0.5": ["similar", "--threshold", "0.5"],
    "picto tags --objects traffic-c\t": ["tags", "--objects", "traffic-cone"],
    "picto tags --dataset my\t": ["tags", "--dataset", "my: data"],
    "picto tags --folder sub\t": ["tags", "--folder", "sub folder"],
    "picto similar 'my photos/été\t": ["similar", PHOTOS + "été à la plage.jpg"],
    'picto similar "my photos/sm\t': ["similar", PHOTOS + "smile 😀.png"],
    "picto similar my\\ photos/\\#h\t": ["similar", PHOTOS + "#hash.png"],
    "picto similar my\\ photos/st\t": ["similar", PHOTOS + "star*?.png"],
    "picto similar x --db pi\t": ["similar", "x", "--db", "picto.db"],
    "picto config set similar.thr\t1": ["config", "set", "similar.threshold", "1"],
    "picto tags --dataset none\t": ["tags", "--dataset", "none"],
}
"""More of bash, which leaves the quoting to us."""


def test_tab(session: ShellSession) -> None:
    lines = LINES | MORE if session.name == "bash" else LINES
    assert {keys: session.words(keys) for keys in lines} == lines


def asked(*words: str, **variables: str) -> list[str]:
    """What the program answers zsh."""
    done = run(*words, env={"_PICTO_COMPLETE": "zsh", **variables})
    assert (done.code, done.err) == (0, "")
    return done.out.decode().splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["si"], ["words", "similar\tImages like this one, most similar first."]),
        (["similar", "--thr"], ["words", "--threshold\tLeast cosine similarity, 0 to 1."]),
        (["similar", "--colo"], ["words", "--color\tWhen to colour."]),
        (["similar", "--color", ""], ["words", "auto", "always", "never"]),
        (["similar", "--color=n"], ["words", "--color=never"]),
        (["--db", ""], ["files"]),
        (["tags", "--objects", "traffic-"], ["words", "traffic-cone", "traffic-light"]),
        (["tags", "--objects", "traffic-cone,traffic-"], ["words", "traffic-cone,traffic-light"]),
        (["tags", "--scenes", "traffic-c"], ["words"]),
        (["tags", "--dataset", ""], ["words", "gone", "my: data"]),
        (["tags", "--folder", ""], ["words", "deep", "sub folder"]),
        (["tags", "--dataset", "gone", "--folder", ""], ["words", "deep"]),
        (["tags", "--folder", "deep/"], ["words", "deep/er"]),
        (["tags", "--where", "pri"], ["words+", "price=", "price<", "price>", "price~"]),
        (["search", "--image", "0.5:gon"], ["paths+", "0.5:gone/"]),
        (["show", "my photos/report.pdf#page=2"], ["paths", "my photos/report.pdf#page=2"]),
        (["mv-root", ""], ["paths", "{place}/my photos", "{place}/gone"]),
        (["index", "--model", "mi"], ["words", "mini"]),
        (["export", "--output", ""], ["files"]),
        (["show", "--", "my photos/o"], ["paths", "my photos/one:two=3.jpg"]),
        (["nonsense", ""], None),
    ],
    ids=lambda each: " ".join(each or ()),
)
def test_answers(words: list[str], expected: list[str] | None, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    found = asked(*words, PICTO_DB=str(place / "picto.db"))
    assert found == [each.format(place=place) for each in expected] if expected is not None else "similar" not in found


@pytest.mark.parametrize("named", ["option", "variable", "configuration"])
def test_the_database_is_the_one_that_the_line_means(named: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'db = "{place}/picto.db"\n')
    options = ["--db", f"{place}/picto.db"] if named == "option" else []
    variables = {"PICTO_DB": f"{place}/picto.db" if named == "variable" else ""}
    if named == "configuration":
        variables["PICTO_CONFIG"] = str(tmp_path / "config.toml")
    assert asked("tags", *options, "--dataset", "go", **variables) == ["words", "gone"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["config", "unset", ""], ["words", "device", "rm.yes", "similar.limit"]),
        (["config", "unset", "s"], ["words", "similar.limit"]),
        (["config", "set", "similar.li"], ["words", "similar.limit"]),
        (["config", "set", "rm."], ["words", "rm.format"]),
    ],
)
def test_keys(words: list[str], expected: list[str], tmp_path: Path) -> None:
    """To unset: what is set, wrong or not. To set: what may be."""
    (tmp_path / "config.toml").write_text("device = 'cpu'\n[similar]\nlimit = 3\n[rm]\nyes = true\n")
    assert asked(*words, PICTO_CONFIG=str(tmp_path / "config.toml")) == expected


@pytest.mark.parametrize("broken", ["none", "text", "truncated", "older", "folder"])
def test_nothing_is_said_when_anything_is_wrong(broken: str, place: Path, tmp_path: Path) -> None:
    """No candidates, no error, and no file made, changed or brought up to date."""
    path = tmp_path / "wrong.db"
    whole = (place / "picto.db").read_bytes()
    made = {
        "text": b"no database at all" * 100, "truncated": whole[:20_000],
        "older": whole[:60] + (1).to_bytes(4, "big") + whole[64:],
    }  # fmt: skip
    if broken in made:
        path.write_bytes(made[broken])
    elif broken == "folder":
        path.mkdir()
    assert asked("tags", "--dataset", "", PICTO_DB=str(path)) in ([], ["words"])
    assert [each.name for each in tmp_path.iterdir()] == ([] if broken == "none" else ["wrong.db"])
    if broken in made:
        assert path.read_bytes() == made[broken]


@pytest.mark.parametrize(
    "words", [["tags", "--objects", "c"], ["show", "my photos/"], ["tags", "--where", ""]], ids=" ".join
)
def test_a_tab_imports_nothing_heavy(words: list[str], place: Path) -> None:
    env = {"_PICTO_COMPLETE": "zsh", "PICTO_DB": str(place / "picto.db"), "PYTHONPROFILEIMPORTTIME": "1"}
    done = run(*words, cwd=place, env=env)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines() if "|" in line}
    assert len(done.out.splitlines()) > 1
    assert "pictocli" in imported
    assert not imported & {*HEAVY, "rich", "jinja2", "starlette", "mcp", "umap"}


def test_many_names_keep_what_they_begin_with(tmp_path: Path, place: Path) -> None:
    """Of 1,000 files 200 are offered, the last among them: bash inserts no more than all begin with."""
    for number in range(1000):
        (tmp_path / f"IMG_{number:04}.jpg").touch()
    found = asked("show", f"{tmp_path}/IMG", PICTO_DB=str(place / "picto.db"))
    assert (len(found), found[1], found[-1]) == (201, f"{tmp_path}/IMG_0000.jpg", f"{tmp_path}/IMG_0999.jpg")


def test_names_that_no_shell_can_be_trusted_with_are_not_offered(tmp_path: Path) -> None:
    turning = [f"a{chr(each)}gpj.jpg".encode() for each in (*range(0x200E, 0x2010), *range(0x202A, 0x202F),
                                                            *range(0x2066, 0x206A))]  # fmt: skip
    for name in (b"a\x1b[31m.jpg", b"a\nb.jpg", b"a\xff.jpg", b"a.jpg", *turning):
        (tmp_path / os.fsdecode(name)).touch()
    assert asked("show", f"{tmp_path}/a") == ["paths", f"{tmp_path}/a.jpg"]


@pytest.mark.parametrize(
    ("line", "words", "typed"),
    [
        ("picto similar ", ["similar"], Typed("")),
        ("picto similar a\\ b", ["similar"], Typed("a b")),
        ("picto similar 'a b", ["similar"], Typed("a b", "'", 0)),
        ('picto similar "a \\"b', ["similar"], Typed('a "b', '"', 0)),
        ("picto --dataset=ho", [], Typed("--dataset=ho", "", 10)),
        ("picto show x:y", ["show"], Typed("x:y", "", 2)),
        ("picto show x\\:y", ["show"], Typed("x:y")),
        ('picto show "a"b', ["show"], Typed("ab", "", 1)),
        ("PICTO_DB=x picto show a", ["show"], Typed("a")),
        ("cd x && picto show a", ["show"], Typed("a")),
        ("picto show ''  b", ["show", ""], Typed("b")),
    ],
)
def test_bash_line(line: str, words: list[str], typed: Typed) -> None:
    assert bash_line(line, " \t\n\"'@><=;|&(:") == (words, typed)


@pytest.mark.parametrize(
    ("text", "word"), [("a\\ b", "a b"), ("'a b", "a b"), ("'it\\'s", "it's"), ('"a\\\\', "a\\"), ("~/x", "~/x")]
)
def test_fish_word(text: str, word: str) -> None:
    assert fish_word(text) == word


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_reads_a_quoted_name_as_it_was(quote: str) -> None:
    for name in ODD:
        line = f"printf %s {quote}{quoted(name, Typed('', quote))}{quote}"
        assert subprocess.run(["bash", "-c", line], capture_output=True, text=True).stdout == name


@pytest.mark.parametrize("name", SHELLS)
def test_install(name: str, tmp_path: Path) -> None:
    """The script lies where the shell looks for it, and is the one that is printed."""
    places = {
        "bash": "data/bash-completion/completions/picto",
        "zsh": ".zfunc/_picto",
        "fish": "config/fish/completions/picto.fish",
    }
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": f"{tmp_path}/data", "XDG_CONFIG_HOME": f"{tmp_path}/config"}
    done = run("completion", name, "--install", env=env)
    assert (done.code, done.out) == (0, b"")
    assert places[name].rpartition("/")[2] in done.err
    assert (tmp_path / places[name]).read_bytes() == run("completion", name).out
