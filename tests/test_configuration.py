"""The user's own defaults: what holds, which of several sources goes first, and how the file is changed."""

from __future__ import annotations

import os
import tomllib
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from program import Ran, run, screen

import pictocli
from pictocli import defaults
from pictocli.configuration import Configuration, read_configuration, spelled_value
from pictocli.duplicates import LEAST
from pictocli.errors import ValidationError
from pictocli.settable import RANGES, refusal
from pictocli.toml_lines import FaultError

WRITTEN = """\
# mine
device = "cpu" # no GPU here

[similar] # of mine
# how near
threshold = 0.5
exclude = [
  "a", # one
  "b",
]

# words
[search]
limit = 5
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration, which is not there yet."""
    monkeypatch.setenv("PICTO_CONFIG", str(tmp_path / "own/config.toml"))
    return tmp_path / "own/config.toml"


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def held(text: str) -> Configuration:
    return Configuration("config.toml", text, tomllib.loads(text))


# -- the text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("device", "auto", '"cpu" # no GPU', '"auto" # no GPU'),
        ("color", "never", "GPU here\n", 'GPU here\ncolor = "never"\n'),
        ("similar.threshold", 0.25, "threshold = 0.5", "threshold = 0.25"),
        ("similar.exclude", ["z"], '[\n  "a", # one\n  "b",\n]', '["z"]'),
        ("similar.limit", 9, "]\n\n# words", "]\nlimit = 9\n\n# words"),
        ("search.exact", True, "limit = 5\n", "limit = 5\nexact = true\n"),
        ("index.exclude", ["a b", '"'], "limit = 5\n", 'limit = 5\n\n[index]\nexclude = ["a b", "\\""]\n'),
        ("device", None, 'device = "cpu" # no GPU here\n', ""),
        ("similar.exclude", None, 'exclude = [\n  "a", # one\n  "b",\n]\n', ""),
        ("search.limit", None, "limit = 5\n", ""),
    ],
    ids=str,
)
def test_a_change_keeps_all_other_lines(key: str, value: Any, old: str, new: str) -> None:
    assert held(WRITTEN).changed(tuple(key.split(".")), value).text == WRITTEN.replace(old, new)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_stay(ends: str) -> None:
    text = held(WRITTEN.replace("\n", ends)).changed(("similar", "limit"), 9).text
    assert text == WRITTEN.replace("]\n\n# words", "]\nlimit = 9\n\n# words").replace("\n", ends)


@pytest.mark.parametrize(
    "text", ["similar.threshold = 1\n", "similar = {threshold = 1}\n", '"similar" . threshold = 1\n']
)
def test_what_cannot_be_changed_by_lines_is_left_alone(text: str) -> None:
    with pytest.raises(ValidationError, match=r"similar\.threshold cannot be changed in config\.toml as it is written"):
        held(text).changed(("similar", "threshold"), 0.5)


VALUES = some.one_of(
    some.booleans(), some.integers(-(2**63), 2**63 - 1), some.floats(allow_nan=False, allow_infinity=False),
    some.text(some.characters(codec="utf-8")), some.lists(some.text(some.characters(codec="utf-8")), max_size=3),
)  # fmt: skip


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\x0b", "\x1c"], ids=ascii)
def test_only_a_line_feed_ends_a_line(mark: str) -> None:
    made = held("").changed(("a",), [f"one{mark}two"]).changed(("b",), False).changed(("b",), True)
    assert made.document == {"a": [f"one{mark}two"], "b": True}


@settings(max_examples=100, deadline=None)
@given(some.lists(some.tuples(some.sampled_from(["a", "b", "t.a", "t.b", "u.a b", "u.#"]), VALUES), max_size=6))
def test_any_values_come_back(changes: list[tuple[str, Any]]) -> None:
    made, wanted = held(""), dict[str, Any]()
    for key, value in changes:
        parts = tuple(key.split(".", 1))
        made = made.changed(parts, value)
        wanted[key] = value
    assert {key: made.value(tuple(key.split(".", 1))) for key in wanted} == wanted
    assert tomllib.loads(made.text) == made.document
    for key in wanted:
        made = made.changed(tuple(key.split(".", 1)), None)
    assert [value for value in made.document.values() if value != {}] == []


def test_a_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(ValidationError):
        spelled_value("caf\udce9")


def test_it_is_written_as_a_whole_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles/picto.toml").write_text("a = 1\n")
    (tmp_path / "dotfiles/picto.toml").chmod(0o640)
    (tmp_path / "config.toml").symlink_to("dotfiles/picto.toml")
    read_configuration(str(tmp_path / "config.toml")).changed(("a",), 2).write()
    assert (tmp_path / "config.toml").is_symlink()
    assert (tmp_path / "dotfiles/picto.toml").read_text() == "a = 2\n"
    assert (tmp_path / "dotfiles/picto.toml").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path / "dotfiles") == ["picto.toml"]


# -- the command -------------------------------------------------------------------------------------------------------


def test_from_nothing_to_something(file: Path) -> None:
    assert run("config", "path").out == f"{file}\n".encode()
    assert run("config").out.endswith(b"\tPICTO_DB\n")
    for key, *values in (["similar.threshold", "0.7"], ["index.exclude", "cache", "*.tmp"], ["device", "cpu"]):
        done = run("config", "set", key, *values)
        assert (done.code, done.out) == (0, b"")
    assert file.read_text() == 'device = "cpu"\n[similar]\nthreshold = 0.7\n\n[index]\nexclude = ["cache", "*.tmp"]\n'
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("config", "get", "index.exclude").out == b"cache\n*.tmp\n"
    assert run("config", "--db", "x.db").out.decode().splitlines() == [
        "db\tx.db\t--db",
        f"device\tcpu\t{file}:1",
        f'index.exclude\t["cache", "*.tmp"]\t{file}:6',
        f"similar.threshold\t0.7\t{file}:3",
    ]
    assert b"[default:\n                                0.7]" in run("similar", "--help").out
    assert run("config", "unset", "device").code == 0
    assert run("config", "get", "device").code == 1
    assert run("config", "unset", "device").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "similar.treshold", "1"], "error: picto similar has no option 'treshold' to set (nearest: threshold)"),
        (["set", "similr.threshold", "1"], "error: there is no command 'similr' (nearest: similar"),
        (["set", "threshold", "1"], "it belongs to a command, as in similar.threshold"),
        (["set", "colour", "never"], "(nearest: color)"),
        (["set", "similar.limit", "many"], "error: similar.limit must be a whole number"),
        (["set", "similar.exact", "perhaps"], "error: similar.exact must be true or false"),
        (["set", "device", "gpu"], "error: device is one of auto, cuda, mps, cpu, not 'gpu'"),
        (["set", "similar.limit", "1", "2"], "error: similar.limit takes one value"),
        (["set", "similar.limit"], "error: picto config set takes a key and a value"),
        (["set", "reembed.model", "mini"], "error: picto reembed has no option 'model' to set"),
        (["get"], "error: picto config get takes one key"),
        (["path", "x"], "error: picto config path takes no key"),
        (["put", "x"], "error: invalid value for"),
        (["set", "rm.yes", "true"], "error: rm.yes cannot be a default: it turns off a brake"),
        (["set", "similar.pdf-password", "hunter2"], "error: similar.pdf-password must be @FILE: a password is not"),
        (["set", "similar.threshold", "7"], "error: similar.threshold must lie between 0 and 1, not 7.0"),
        (["set", "similar.threshold", "nan"], "error: similar.threshold must be a number"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_set_is_told(arguments: list[str], said: str, file: Path) -> None:
    done = run("config", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert said in done.err
    assert not file.exists()


REFUSED = [
    "rm.yes", "prune.yes", "index.force", "import.force", "mv-root.force", "thumbnails.force", "rm.dry-run",
    "merge.dry-run", "similar.stdin", "similar.print0", "search.print0", "prune.print0", "map.open", "duplicates.open",
    "info.plot", "info.check", "info.check-recall", "similar.everywhere", "index.from", "tags.html", "doctor.deep",
    "completion.install", "index.allow-local", "mcp.allow-files", "prune.remote", "rm.dataset",
]  # fmt: skip


@pytest.mark.parametrize("key", REFUSED)
def test_what_a_line_cannot_undo_may_not_be_set(key: str, parser: click.Group) -> None:
    with pytest.raises(FaultError, match=f"^{key} cannot be a default: "):
        defaults.option_of(parser, key)
    assert key not in defaults.keys(parser)


@pytest.fixture(scope="module")
def parser() -> click.Group:
    """The options of every command."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of click's, for what typer imports
        from pictocli.cli import _parser

    return _parser("")


def test_nothing_else_is_refused(parser: click.Group) -> None:
    """A flag that a line cannot undo may be set where the command stays what it is."""
    flags = {
        f"{name}.{opt[2:]}"
        for name, command in parser.commands.items()
        for each in command.params
        if isinstance(each, click.Option) and each.is_flag and not each.is_eager
        for opt in each.opts
        if opt.startswith("--")
    }
    may = {key.partition(".")[2] for key in flags if refusal(key) is None}
    assert may == {
        "hidden", "follow", "thumbnails", "anonymous", "strict", "exact", "preview", "pages", "no-open", "embeddings",
        "spreadsheet-safe", "no-paths",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "good", "wrong"),
    [
        ("similar.threshold", ["0", "1", "0.5"], ["-0.1", "1.1", "nan", "inf"]),
        ("duplicates.threshold", [str(LEAST), "1"], [str(LEAST - 0.01)]),
        ("tags.limit", ["1", "500"], ["0", "501", "-1"]),
        ("search.min-probability", ["0", "1"], ["2", "nan"]),
        ("batch-size", ["1", "4096"], ["0", "4097"]),
        ("workers", ["0", "256"], ["-1", "257"]),
        ("index.workers", ["0"], ["-1"]),
        ("index.pdf-dpi", ["8", "1200"], ["7"]),
        ("index.max-seconds", ["1"], ["0"]),
        ("index.timeout", ["0.1"], ["0", "nan"]),
        ("watch.poll", ["0.1"], ["0"]),
        ("map.size", ["400"], ["399"]),
        ("browse.port", ["0", "65535"], ["-1", "65536"]),
    ],
)
def test_numbers_lie_in_their_range(key: str, good: list[str], wrong: list[str], parser: click.Group) -> None:
    option = defaults.option_of(parser, key)
    assert [defaults.typed(option, [text], key) for text in good] == [pytest.approx(float(text)) for text in good]
    for text in wrong:
        with pytest.raises(ValidationError, match=key):
            defaults.typed(option, [text], key)


def test_ranges_are_of_options_that_there_are(parser: click.Group) -> None:
    known = {part for key in defaults.keys(parser) for part in (key, key.rpartition(".")[2])}
    assert RANGES.keys() <= known


def test_help_shows_one_default_and_no_format_that_is_refused(parser: click.Group) -> None:
    shown = {
        (name, each.name): str((each.get_help_record(click.Context(command)) or ("", ""))[1])
        for name, command in parser.commands.items()
        for each in command.params
    }
    assert [key for key, text in shown.items() if text.count("[default") > 1] == []
    assert {name for (name, which), text in shown.items() if which == "form" and "or paths" in text} == {
        "similar", "search", "tags", "duplicates", "show", "prune", "rm",
    }  # fmt: skip


def test_a_file_of_passwords_may_be_set_and_a_password_is_not_shown(file: Path) -> None:
    assert run("config", "set", "similar.pdf-password", "@/p/words").code == 0
    assert run("config", "get", "similar.pdf-password").out == b"@/p/words\n"
    written(file, "[similar]\npdf-password = 'hunter2'\n")
    listed = run("config")
    assert listed.code == 2
    assert "hunter2" not in listed.out.decode() + listed.err


@pytest.mark.parametrize(
    ("text", "env", "options", "told"),
    [
        ("", {"PICTO_DB": "/e/x.db"}, [], "/e/x.db"),
        ("db = 'own.db'\n", {"PICTO_DB": "/e/x.db"}, [], "/e/x.db"),
        ("db = 'own.db'\n", {"PICTO_DB": "/e/x.db"}, ["--db", "/o/y.db"], "/o/y.db"),
        ("db = 'own.db'\n", {"PICTO_DB": ""}, [], "{folder}/own.db"),
        ("", {"PICTO_DB": "", "XDG_DATA_HOME": "/d"}, [], "/d/picto/picto.db"),
    ],
)
def test_the_database_in_force_is_told(
    text: str, env: dict[str, str], options: list[str], told: str, file: Path
) -> None:
    written(file, text)
    done = run("config", "get", "db", *options, env=env)
    assert (done.code, done.out.decode()) == (0, told.format(folder=file.parent) + "\n")


def test_colour_in_force_is_told(file: Path) -> None:
    written(file, "color = 'always'\n")
    assert run("config", "get", "color", env={"NO_COLOR": "1"}).out == b"never\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[similar]\nthreshold = 'x'\n", 2, "is wrong at line 2: similar.threshold must be a number"),
        (
            "\n[similar]\ntreshold = 1\n",
            2,
            "is wrong at line 3: picto similar has no option 'treshold' to set (nearest",
        ),
        ("[similr]\nlimit = 1\n", 2, "is wrong at line 1: there is no command 'similr' (nearest: similar"),
        ("colr = 'never'\n", 2, "is wrong at line 1: there is no option 'colr' for all commands (nearest: color)"),
        ("db = 3\n", 2, "is wrong at line 1: db must be a text in quotes"),
        ("[similar]\n\nhtml = 'x.html'\n", 2, "is wrong at line 3: similar.html cannot be a default: it changes what"),
        ("[similar]\nlimit = 9999\n", 2, "is wrong at line 2: similar.limit must lie between 1 and 500, not 9999"),
        ("[similar]\npdf-password = 'hunter2'\n", 2, "is wrong at line 2: similar.pdf-password must be @FILE"),
        ("[similar.limit]\n", 2, "is wrong at line 1: similar.limit is a table, and should be a value"),
        ("device = \n", 3, "is not valid TOML: Invalid value (at line 1, column 10)"),
        ("a = 1\na = \xff", 3, "is not UTF-8 text (at line 2)"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, code: int, said: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    done = run("similar", "x.jpg")
    assert (done.code, done.out) == (code, b"")
    assert said in done.err


@pytest.mark.parametrize(("text", "code"), [("db = 3\n", 2), ("device =\n", 3)])
def test_what_must_work_works_with_a_wrong_file(text: str, code: int, file: Path) -> None:
    written(file, text)
    assert run("similar", "--help").code == run("config", "path").code == run("completion", "bash").code == 0
    assert run("--version").out == f"picto {pictocli.__version__}\n".encode()
    listed = run("config")
    assert listed.code == code
    assert f"the configuration {file} is" in listed.err


def test_a_wrong_key_can_be_unset(file: Path) -> None:
    written(file, "colr = 'never'\n[similar]\nlimit = 3\n")
    assert run("config", "unset", "colr").code == 0
    assert file.read_text() == "[similar]\nlimit = 3\n"


@pytest.mark.parametrize("what", ["folder", "unreadable"])
def test_a_file_that_cannot_be_read(what: str, file: Path) -> None:
    file.parent.mkdir()
    if what == "folder":
        file.mkdir()
    else:
        file.symlink_to(file)
    done = run("info")
    assert done.code == 3
    assert f"cannot read the configuration {file}" in done.err


# -- what is in force --------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(library: pictocli.Library, file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask for what is similar to the first image, with such a configuration."""
    monkeypatch.delenv("PICTO_DB")

    def ask(text: str, *options: str, **env: str) -> Ran:
        written(file, text.replace("LIBRARY", library.path))
        return run("similar", "id:1", "--folder", "/", *options, env=env)

    return ask


def test_an_option_goes_before_the_environment_and_that_before_the_file(
    asked: Any, library: pictocli.Library, tmp_path: Path
) -> None:
    text = 'db = "LIBRARY"\n[similar]\nthreshold = 0\nlimit = 3\n'
    assert len(asked(text).out.splitlines()) == 3
    assert len(asked(text, "--limit", "2").out.splitlines()) == 2
    assert asked(text, PICTO_DB=str(tmp_path / "none.db")).code == 3
    assert len(asked(text, "--db", library.path, PICTO_DB=str(tmp_path / "none.db")).out.splitlines()) == 3
    assert asked('db = "none.db"\n').err.startswith(f"error: there is no database at {tmp_path}/own/none.db")


def test_formats_flags_and_lists(asked: Any) -> None:
    text = 'db = "LIBRARY"\nquiet = true\n[similar]\nthreshold = 0\nformat = "paths"\nlimit = 1\n'
    assert asked(text).out.startswith(b"/")
    assert asked(text, "--print0").out.endswith(b"\0")
    assert "no field none" in asked('db = "LIBRARY"\n[similar]\nwhere = "none = 1"\n').err


def test_an_option_on_the_line_goes_before_what_cannot_go_with_it(asked: Any) -> None:
    text = 'db = "LIBRARY"\n[similar]\nthreshold = 0\nlimit = 1\n'
    assert asked(text + 'format = "json"\n', "-0").out.endswith(b"\0")
    line = ["similar", "id:1", "--everywhere"]
    asked(text + 'dataset = "none"\nfolder = "x"\n')
    done = run(*line)
    assert (done.code, done.err) == (0, "")
    assert run(*line, "--dataset", "none").code == 2  # both on the line: that is wrong still
    asked(text + "[duplicates]\nexact = true\n")
    assert run("duplicates", "--threshold", "0.95").code in (0, 1)
    asked(text + "[duplicates]\nthreshold = 0.95\n")
    assert run("duplicates", "--exact").code in (0, 1)


def test_colour(asked: Any, file: Path) -> None:
    asked('db = "LIBRARY"\ncolor = "always"\n[similar]\nthreshold = 0\n')
    line = ["similar", "id:1", "--folder", "/", "--format", "table"]
    assert b"\x1b[" in run(*line).out
    assert b"\x1b[" not in run(*line, env={"NO_COLOR": "1"}).out
    assert b"\x1b[" not in run(*line, "--color", "never").out


def test_shared_options_hold_where_they_may(file: Path) -> None:
    """A model that is set for all is that of index and watch: what made imported vectors, it does not say."""
    written(file, 'model = "mini"\n')
    shown = {name: run(name, "--help").out.decode() for name in ("index", "watch", "import", "embed", "reembed")}
    assert {name: "[default: mini]" in " ".join(text.split()) for name, text in shown.items()} == {
        "index": True, "watch": True, "import": False, "embed": False, "reembed": False,
    }  # fmt: skip


def test_on_a_terminal(file: Path, tmp_path: Path) -> None:
    written(file, f'db = "{tmp_path}/x.db"\n[similar]\nlimit = 7\n')
    _, text = screen("config", cwd=tmp_path, env={"NO_COLOR": "1", "PICTO_DB": f"{tmp_path}/y.db"})
    assert text.splitlines() == [
        "color          never  NO_COLOR",
        "db             y.db   PICTO_DB",
        "db             x.db   own/config.toml:1, not in force",
        "similar.limit  7      own/config.toml:3",
    ]
