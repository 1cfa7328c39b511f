"""Files that try to crash, starve, stall or fool picto: each is indexed or skipped with its reason, at little cost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hostile import NAMES, Case, make_corpus, twin, twins
from program import PICTO, Ran, environment, run, screen

import pictocli
from pictocli import pipeline
from pictocli.decode import Inspected, Recipe, Refused, decode, inspect

RECIPE = Recipe(size=224, resample="bicubic", dpi=72, thumbnail=True)
STYLE = re.compile(r"\x1b\[[0-9;]*[mK]|\x1b\]8;[^\x1b]*\x1b\\|\r")  # colours, links, and a line begun again
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202e\ufeff]")


@dataclass(frozen=True, slots=True)
class Run:
    """One `picto index` of the whole corpus. peak, largest: MB of all its processes, and of one of them."""

    folder: Path
    db: Path
    cases: list[Case]
    ran: Ran
    peak: float
    largest: float


def resident(parent: int) -> list[float]:
    """MB of a process and of all that come from it, each page shared out among those that have it (Linux's Pss)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    mine = {parent}
    while more := {pid for pid, above in parents.items() if above in mine} - mine:
        mine |= more
    found = [0.0]
    for pid in mine:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found.append(next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:")))
    return found


def watched(base: Path, cases: list[Case]) -> Run:
    """Index base/corpus with mini and two workers into base/hostile.db, and watch what memory that takes."""
    command = [PICTO, "index", base / "corpus", "--db", base / "hostile.db", "--model", "mini", "--workers", "2",
               "--thumbnails", "--verbose", "--device", "cpu"]  # fmt: skip
    with (base / "out").open("wb") as out, (base / "err").open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment())
        peaks = [(0.0, 0.0)]
        while process.poll() is None:
            found = resident(process.pid) if sys.platform == "linux" else [0.0]
            peaks.append((sum(found), max(found)))
            time.sleep(0.05)
    ran = Ran(process.returncode, (base / "out").read_bytes(), (base / "err").read_bytes().decode(errors="replace"))
    peak, largest = (max(column) for column in zip(*peaks, strict=True))
    return Run(base / "corpus", base / "hostile.db", cases, ran, peak, largest)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The corpus, but for what may take until it is cut off: that is in trials/hostile_files.py."""
    base = tmp_path_factory.mktemp("hostile")
    cases = make_corpus(base / "corpus")
    for case in cases:
        if case.slow:
            (base / "corpus" / case.name).unlink()
    return watched(base, [case for case in cases if not case.slow])


def stored(path: Path) -> dict[str, tuple[str, bool]]:
    """Path below the root → what became of a file, and whether it is finished."""
    db = sqlite3.connect(path)
    db.text_factory = os.fsdecode
    rows = db.execute(
        "SELECT d.path, f.name, f.kind, f.pages, f.reason, f.size FROM file f JOIN folder d ON d.id = f.folder_id"
    ).fetchall()
    db.close()
    found = {}
    for folder, name, kind, pages, reason, size in rows:
        parts = (os.fsdecode(part) if isinstance(part, bytes) else part for part in (folder, name))
        became = reason or ("indexed" if pages else "silent" if kind == "other" else "nothing")
        found[os.path.join(*parts)] = became, size is not None
    return found


def test_there_are_enough(indexed: Run) -> None:
    assert len({case.name for case in indexed.cases}) == len(indexed.cases) > 1000


def strays(run: Run) -> dict[str, tuple[str, bool] | None]:
    """Cases that did not end as they should, and how they ended."""
    found = stored(run.db)
    return {
        case.name: found.get(case.name)
        for case in run.cases
        if not (case.slow and cut_off(run, case.name))
        if case.name not in found or not re.fullmatch(case.wanted, found[case.name][0]) or not found[case.name][1]
    }


def cut_off(run: Run, name: str) -> bool:
    """Whether a file took too long, which is said, and not remembered: the next run tries it again."""
    return any(name in line and line.endswith("over --max-seconds 30") for line in run.ran.err.splitlines())


def test_every_file_ends_as_it_should(indexed: Run) -> None:
    assert indexed.ran.code == 0, indexed.ran.err[-2000:]
    assert strays(indexed) == {}


def test_names_and_what_is_no_file(indexed: Run) -> None:
    found = {path: became for path, (became, _) in stored(indexed.db).items()}
    names = [os.path.join("names", os.fsdecode(name)) for name in NAMES]
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, "indexed")
    odd = {path: became for path, became in found.items() if path.startswith("odd files/")}
    assert odd == {
        "odd files/original.png": "indexed",
        "odd files/hard-link.png": "indexed",
        "odd files/sparse.jpg": "2,000 MB, over --max-file-size 1000",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_library_is_sound_afterwards(indexed: Run) -> None:
    ran = run("info", "--check", "--db", str(indexed.db))
    assert (ran.code, ran.out) == (0, b"")


def test_memory_stays_within_bounds(indexed: Run) -> None:
    assert 0 < indexed.largest <= indexed.peak <= 1500


def test_standard_error_holds_the_summary_and_nothing_else(indexed: Run) -> None:
    """No decoder's own words, no control characters: a line for each file that was skipped."""
    skipped = [became for became, _ in stored(indexed.db).values() if became not in ("indexed", "silent")]
    lines = indexed.ran.err.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("Indexed "))
    large, head, *listed = lines[first + 1 :]
    assert re.fullmatch(r"warning: [0-9]+ files? above 10 MB", large)
    assert re.fullmatch(r"warning: skipped [0-9,]+", head)
    assert len(listed) >= len(skipped)
    assert [line for line in listed if not line.startswith("  ")] == []
    assert [line for line in lines[:first] if re.search(r"(?i)tiff|libpng|warning|error|decode", line)] == []
    assert not CONTROL.search(indexed.ran.err)
    assert indexed.ran.out == b""


def test_a_second_run_opens_nothing(indexed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "inspect", lambda path, *_: pytest.fail(f"{path} is opened again"))
    before = stored(indexed.db)
    with pictocli.open(indexed.db) as library:
        report = library.index([indexed.folder], workers=0, device="cpu")
    assert (report.indexed, report.updated) == (0, 0)
    assert {each.reason for each in report.skipped} <= {became for became, _ in before.values()}
    assert stored(indexed.db) == before


def test_a_refusal_takes_less_than_a_second(indexed: Run) -> None:
    """Of this processor's time, so that a busy machine fails nobody; what is cut and flipped is small."""
    slow = {}
    for case in indexed.cases:
        if case.name.startswith(("cut/", "flipped/")):
            continue
        path, started = str(indexed.folder / case.name), time.process_time()
        seen = inspect(path)
        refused = isinstance(seen, Refused)
        if isinstance(seen, Inspected):
            refused = isinstance(decode(path, seen.kind, (seen.pages or (0,))[0], RECIPE, seen.stamp), Refused)
        spent = time.process_time() - started
        if spent > (1 if refused else 10):
            slow[case.name] = round(spent, 2)
    assert slow == {}


def test_deep_cmyk_palette_float_and_one_bit_pictures_embed_as_their_plain_twins(tmp_path: Path) -> None:
    for name, data in twins().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    families = sorted({name.split("/")[0] for name in twins()})
    for family in families:
        twin(family).save(tmp_path / family / "plain.png")
    names = [*twins(), *(f"{family}/plain.png" for family in families)]
    with pictocli.open(tmp_path / "none.db") as library:
        embedded = library.embed([tmp_path / name for name in names], model="mini", device="cpu")
        vectors = dict(zip(names, (np.asarray(each.embedding) for each in embedded), strict=True))
    cosines = {name: float(vectors[name] @ vectors[f"{name.split('/')[0]}/plain.png"]) for name in twins()}
    assert {name: cosine for name, cosine in cosines.items() if cosine < 0.99} == {}


ASKED = [
    ("cut/jpeg-2.jpg", "similar", 3),
    ("bombs/wide.png", "similar", 3),
    ("pdf/kids-loop.pdf", "show", 4),
    ("bombs/wide.tif", "embed", 3),
    ("not/text.png", "embed", 3),
    ("odd files/pipe.png", "similar", 3),
    ("odd files/socket.png", "embed", 3),
    ("odd files/dangling.png", "show", 3),
    ("odd files/itself.png", "embed", 3),
    ("odd files/sparse.jpg", "embed", 3),
    ("names", "similar", 2),
]


@pytest.mark.parametrize(("name", "command", "code"), ASKED, ids=[f"{command} {name}" for name, command, _ in ASKED])
def test_a_question_about_a_bad_file_is_answered_in_one_sentence(
    name: str, command: str, code: int, indexed: Run
) -> None:
    ran = run(
        command, str(indexed.folder / name), "--db", str(indexed.db), *(["--model", "mini"] * (command == "embed"))
    )
    sentence, _, _ = ran.err.partition("\n\nhint: ")
    assert (ran.code, ran.out) == (code, b""), ran.err
    assert re.fullmatch(r"error: [^\n]+[^\n.]\n?", sentence), ran.err


SHOWN = [
    ["index", "{folder}/names", "--dry-run"],
    ["index", "{folder}"],
    ["similar", "{folder}/names/-dash.png", "--threshold", "0", "--limit", "500"],
    ["tags", "--attributes", "landscape-orientation", "--limit", "500"],
    ["show", os.fsdecode(b"{folder}/names/esc\x1b[31mred.png")],
    ["show", os.fsdecode(b"{folder}/names/\xff\xfe.png")],
    ["show", os.fsdecode(b"{folder}/names/esc\x1b[31m-nothing.png")],
    ["similar", os.fsdecode(b"{folder}/names/esc\x1b[2J/bad\x1b[31m.jpg")],
    ["info"],
]


@pytest.mark.parametrize("arguments", SHOWN, ids=lambda arguments: re.sub("[^ -~]", "?", " ".join(arguments[:2])))
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_no_name_reaches_a_terminal_raw(arguments: list[str], terminal: bool, indexed: Run) -> None:
    """In a pipe standard output is data, exact as it is: there it is standard error alone."""
    given = [each.replace("{folder}", str(indexed.folder)) for each in arguments] + ["--db", str(indexed.db)]
    ran, text = screen(*given, columns=120) if terminal else (run(*given), "")
    assert ran.code in (0, 2, 3, 4)
    assert not CONTROL.search(STYLE.sub("", text + ran.err))


@pytest.mark.parametrize("form", [["--format", "paths"], ["-0"]], ids=["paths", "print0"])
def test_paths_are_exact(form: list[str], indexed: Run) -> None:
    given = ["similar", str(indexed.folder / "names/-dash.png"), "--threshold", "0", "--limit", "500", "--db",
             str(indexed.db)]  # fmt: skip
    end = b"\0" if form == ["-0"] else b"\n"
    found = run(*given, *form).out
    for name in NAMES:
        if name != b"-dash.png":
            assert os.fsencode(indexed.folder / "names") + b"/" + name + end in found


def test_the_corpus_is_the_same_on_every_run(tmp_path: Path, indexed: Run) -> None:
    """But for PDFs that PyMuPDF wrote, which carry an id, and sequences that tell when they were made."""
    sums = [
        {
            case.name: hashlib.sha256(case.data).digest()
            for case in cases
            if b"/ID" not in case.data and "sequence" not in case.name
        }
        for cases in (indexed.cases, [case for case in make_corpus(tmp_path / "again") if not case.slow])
    ]
    assert sums[0] == sums[1]
