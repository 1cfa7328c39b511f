"""picto doctor in situations that are made for real: what is wrong is told, with its remedy, and nothing crashes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from program import run, screen

import pictocli
from pictocli import holdings, installation
from pictocli.findings import Finding
from pictocli.glance import Header, engine, read_header
from pictocli.migrations import MIGRATIONS


def doctor(*options: str, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found by subject: the worst of it."""
    done = run("doctor", "--format", "json", *options, env=env)
    found: dict[str, dict[str, Any]] = {}
    for each in json.loads(done.out):
        if each["subject"] not in found or each["state"] == "problem":
            found[each["subject"]] = each
    return done.code, found


def test_all_is_well(indexed: Path, model: str) -> None:
    code, found = doctor("--db", str(indexed))
    assert code == 0
    assert {name for name, each in found.items() if each["state"] == "problem"} == set()
    assert {"picto", "python", "sqlite", "torch", "model", "cache", "database", "disk", "config", "terminal"} <= set(
        found
    )
    assert found["picto"]["text"].startswith(f"{pictocli.__version__} in ")
    assert "loads extensions; sqlite-vec v0.1" in found["sqlite"]["text"]
    assert found["database"]["text"].endswith(f"18 images of {model}, sound")
    assert found["model"]["text"].startswith(f"auto is {model}, the library's own; ")


def test_it_imports_nothing_heavy(indexed: Path) -> None:
    """It takes less than two seconds because torch, transformers and numpy stay out."""
    done = run("doctor", "--db", str(indexed), env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines() if "|" in line}
    assert "pictocli" in imported
    assert not imported & {"torch", "transformers", "numpy", "PIL", "openvino"}


def database(kind: str, path: Path, indexed: Path) -> str:
    """A database that is not as it should be; its path."""
    whole = indexed.read_bytes()
    if kind == "other":
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE notes(text)")
        other.commit()
        other.close()
    elif kind == "folder":
        path.mkdir()
    elif kind == "locked folder":
        path.parent.joinpath("below").mkdir()
        return "/proc/picto/picto.db"
    elif kind != "none":
        changed = {
            "text": b"no database at all\n" * 50, "empty": b"", "truncated": whole[: len(whole) // 2],
            "newer": whole[:60] + (99).to_bytes(4, "big") + whole[64:], "header": whole[:50],
            "scribbled": whole[:70_000] + b"\x5a" * 30_000 + whole[100_000:],
        }  # fmt: skip
        path.write_bytes(changed[kind])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "state", "said", "remedy"),
    [
        ("none", "note", "is not there yet", "picto index FOLDER makes it"),
        ("empty", "note", "is empty", "picto index FOLDER makes it"),
        ("text", "problem", "is not a picto database", "name another file with --db"),
        ("header", "problem", "is not a picto database", "name another file with --db"),
        ("truncated", "problem", "damaged", "picto info --check"),
        ("scribbled", "problem", "damaged", "picto info --check"),
        ("other", "problem", "another program's database", "name another file with --db"),
        ("newer", "problem", "made by a newer picto", "pip install --upgrade pictocli"),
        ("folder", "problem", "is a folder, not a database", "name a file with --db"),
    ],
)
def test_databases(kind: str, state: str, said: str, remedy: str, tmp_path: Path, indexed: Path) -> None:
    """In this process: one program a situation would take half a minute."""
    path = database(kind, tmp_path / "some.db", indexed)
    before = sorted(os.listdir(tmp_path))
    found, held = holdings.examine_database(path, "--db", deep=True)
    (one,) = [each for each in found if each.subject == "database"]
    assert (one.state, held if state == "problem" and kind != "scribbled" else None) == (state, None)
    assert said in one.text
    assert remedy in (one.remedy or "")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_database_of_an_older_picto_is_left_as_it_is(tmp_path: Path, indexed: Path) -> None:
    path = tmp_path / "old.db"
    whole = indexed.read_bytes()
    path.write_bytes(whole[:60] + (1).to_bytes(4, "big") + whole[64:])
    before = path.read_bytes()
    (one,) = [each for each in holdings.examine_database(str(path), "--db")[0] if each.subject == "database"]
    assert (one.state, path.read_bytes()) == ("note", before)
    assert "the next command brings it up to date" in one.text


def test_another_programs_database_ends_in_three(tmp_path: Path, indexed: Path) -> None:
    code, found = doctor("--db", database("other", tmp_path / "other.db", indexed))
    assert (code, found["database"]["state"]) == (3, "problem")


def test_a_module_that_takes_torchs_place(tmp_path: Path) -> None:
    """It is told without an import; with --deep its error is told, too."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('broken on purpose')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    code, found = doctor("--deep", PYTHONPATH=path)
    assert code == 3
    assert found["torch"]["text"] == f"{tmp_path}/torch.py takes the place of the package torch"
    assert found["trial"]["text"] == "mini cannot run: RuntimeError: broken on purpose"


def test_the_trial_runs_the_model() -> None:
    (one,) = holdings.try_model(None)
    assert (one.subject, one.state) == ("trial", "ok")
    assert one.text.startswith("mini runs on ")


@pytest.mark.parametrize(("text", "said"), [("x = [", "is not valid TOML"), ("colr = 1", "(nearest: color)")])
def test_a_wrong_configuration_is_a_problem(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text)
    code, found = doctor(PICTO_CONFIG=f"{tmp_path}/config.toml")
    assert (code, found["config"]["state"]) == (3, "problem")
    assert said in found["config"]["text"]


def test_why_this_database(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('db = "of-config.db"\n')
    config = f"{tmp_path}/config.toml"
    told = {
        "--db": doctor("--db", f"{tmp_path}/a.db", PICTO_CONFIG=config)[1],
        "PICTO_DB": doctor(PICTO_DB=f"{tmp_path}/b.db", PICTO_CONFIG=config)[1],
        "the configuration": doctor(PICTO_DB="", PICTO_CONFIG=config)[1],
        "the default": doctor(PICTO_DB="")[1],
    }
    for why, found in told.items():
        assert f"({why})" in found["database"]["text"]
    assert found["database"]["text"].startswith("~/") or "/picto.db" in found["database"]["text"]


def test_a_model_whose_folder_is_gone(tmp_path: Path, model: str) -> None:
    shutil.copytree(model, tmp_path / "model")
    assert holdings.examine_models(str(tmp_path / "model"))[0].state == "ok"
    shutil.rmtree(tmp_path / "model")
    assert holdings.examine_models(str(tmp_path / "model"))[0].state == "problem"
    assert holdings.examine_models(None)[0].text.startswith("auto is siglip2-base, the default; fetched once")


def test_an_error_of_any_kind_is_a_finding() -> None:
    def look() -> Any:
        yield Finding(subject="x", state="ok", text="so far")
        raise ZeroDivisionError("no")

    assert [each.state for each in installation.safely("x", look)] == ["ok", "problem"]


@pytest.mark.parametrize(
    ("subject", "remedy"),
    [("torch", "pip install --force-reinstall torch"), ("disk", "report this: it is a fault of picto's")],
)
def test_only_packages_are_reinstalled(subject: str, remedy: str) -> None:
    def look() -> Any:
        raise ZeroDivisionError("no")
        yield

    (one,) = installation.safely(subject, look)
    assert one.remedy == remedy


_AS_ANOTHER = """
import json, os, sys
from dataclasses import asdict
from pictocli.holdings import examine_database
if os.getuid() == 0:
    os.setuid(65534)  # root may read anything
found, held = examine_database(sys.argv[1], "--db")
print(json.dumps([asdict(each) for each in found if each.subject == "database"]))
"""


def test_a_database_that_may_not_be_read(indexed: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path's own parents let nobody else in
        os.chmod(folder, 0o711)  # noqa: S103 - so that another user gets to the file
        path = Path(folder) / "locked.db"
        shutil.copyfile(indexed, path)
        path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER, path], capture_output=True, text=True, check=False, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)
    assert (one["state"], one["text"]) == ("problem", f"cannot read {path}: permission denied")
    assert one["remedy"] == "check its permissions, or name another with --db"


def test_a_glance_at_headers(indexed: Path, tmp_path: Path) -> None:
    assert read_header(str(indexed)) == Header(True, len(MIGRATIONS))
    (tmp_path / "short").write_bytes(b"SQLite format 3\0")
    assert read_header(str(tmp_path / "short")) is None
    assert all(part[0].isdigit() for part in (engine()[0], engine()[1].removeprefix("v")))


def test_on_a_terminal(indexed: Path) -> None:
    """Every line fits, and says first whether it is well."""
    ran, text = screen("doctor", "--db", str(indexed), columns=60, env={"NO_COLOR": "1"})
    assert ran.code == 0
    assert max(map(len, text.splitlines())) <= 60
    heads = [line.split()[:2] for line in text.splitlines() if not line.startswith(" ")]
    assert ["ok", "python"] in heads
    assert {state for state, _ in heads} <= {"ok", "note"}
    assert "xterm-256color, 60×40, utf-8, no colours" in text
