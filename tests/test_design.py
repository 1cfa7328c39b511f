"""The house rules: who may import whom, how long things may get, what each kind of module keeps to itself."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import pictocli
from pictocli import hub
from pictocli.catalog import Catalog
from pictocli.records import Pairs
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "pictocli"
FILES = sorted(HOUSE.rglob("*.py"))
MODULES = sorted(path.stem for path in HOUSE.glob("*.py") if path.stem != "__init__")
GALLERY = sorted(f"gallery.{path.stem}" for path in HOUSE.glob("gallery/*.py") if path.stem != "__init__")
SCALE = sorted(f"scale.{path.parent.name}.{path.stem}" for path in HOUSE.glob("scale/*/*.py") if path.stem[0] != "_")

# A module imports from the rows above its own, never from its own row or below.
ROWS = (
    ("errors", "records", "damage", "display", "progress", "interrupts", "shapes", "findings",
     "locations", "settable"),
    ("reports", "grouped", "figures", "browsed"),
    ("protocols", "cells", "charts", "graphics", "probing", "raster", "svg"),
    ("weights", "migrations", "begun", "workers", "tabular", "urls"),
    ("connection", "rules", "checkpoint", "text", "scan", "kinds", "metadata", "expressions", "preprocess",
     "claims", "render", "tables", "pairs", "toml_lines", "openvino_vision", "silence", "steady", "stored",
     "page", "consistency", "rgb", "exif", "pdfs", "sizes", "uploads", "parquet", "transfers",
     "layout", "clusters", "targets", "checklist", "shell_words"),
    ("schema",),
    ("databases",),
    ("catalog", "filerows", "retagging", "taxonomy", "hub", "siglip", "tower", "pixels", "documents", "inputs", "jxl",
     "raws", "places", "given", "fingerprints", "lookalikes", "web", "buckets", "downloads", "listed", "lists",
     "configuration", "glance", "stored_jpegs"),
    ("selection", "rows", "fields", "matching", "mosaic", "previews", "remote"),
    ("objects", "wanted", "tagging", "sqlite", "queries", "upright", "soundness", "conditions", "links", "copies",
     "columns", "prefixes"),
    ("decode", "thumbnails", "points", "shelf", "typed_paths"),
    ("calibration", "candidates", "references", "words", "labels", "overview", "staging", "codes",
     "checking", "forgetting", "opening", "combining", "duplicates", "atlas"),
    ("brain", "fitting", "labelled", "holding", "recall", "salvage", "mending", "filters", "merging", "keeping",
     "histograms", "moving", "mapdrawing", "mappage"),
    ("pipeline", "runners", "visible", "questions", "repairing", "publishing", "exporting", "joining", "removing",
     "trail", "mapping", "plotting"),
    ("looking", "planning", "relocating", "sources", "nearest", "reembedding", "calibrating"),
    ("indexing", "several", "paging"),
    ("settings",),
    ("viewing", "browsing"),
    ("reading", "filling"),
    ("importing", "following", "restricted"),
    ("watching",),
    ("upkeep", "exchanging", "picturing", "tuning", "agent_answers", "agent_questions"),
    ("agent_tools",),
    ("agents",),
    ("library", "options", "filling_options", "installation"),
    ("terminal", "defaults", "holdings", "manual"),
    ("presenting", "previewing"),
    ("cli_agents", "cli_asking", "cli_browsing", "cli_config", "cli_doctor", "cli_duplicates", "cli_exchange",
     "cli_filling", "cli_house", "cli_keeping", "cli_map", "cli_searching", "cli_shell", "cli_showing", "cli_watching"),
    ("completing",),
    ("cli",),
    ("__main__",),
)  # fmt: skip
ROW = {name: number for number, row in enumerate(ROWS) for name in row}
# The same within the subpackage, which nobody but the command imports.
GALLERY_ROWS = (
    ("state", "pages", "guard", "lanes", "dropped"),
    ("listing", "cells", "counts"),
    ("asked", "words", "files", "detail"),
    ("sending",),
    ("site",),
    ("serving",),
)
GALLERY_ROW = {f"gallery.{name}": number for number, row in enumerate(GALLERY_ROWS) for name in row}

# Likewise the engines beside SQLite, each found by its name (databases.py), and the runner beside this machine.
SCALE_ROWS = (
    ("lance.place", "lance.tables", "postgres.points", "postgres.session", "postgres.tables", "postgres.tokens",
     "ray.hands", "ray.head"),
    ("lance.blobs", "lance.head", "lance.indexes", "lance.statements", "lance.store", "postgres.calls",
     "postgres.many", "postgres.nearest", "ray.cluster"),
    ("lance.changes", "lance.claims", "lance.compact", "lance.copy", "lance.nearest", "postgres.sql", "postgres.values",
     "ray.team"),
    ("lance.connection", "postgres.connection", "postgres.functions", "postgres.opening", "ray.runner"),
    ("lance.engine", "postgres.compact", "postgres.errors", "postgres.migrations"),
    ("postgres.claims",),
    ("postgres.engine",),
)  # fmt: skip
SCALE_ROW = {f"scale.{name}": number for number, row in enumerate(SCALE_ROWS) for name in row}

COMMANDS = {
    "cli_agents", "cli_asking", "cli_browsing", "cli_config", "cli_doctor", "cli_duplicates", "cli_exchange",
    "cli_filling", "cli_house", "cli_keeping", "cli_map", "cli_searching", "cli_shell", "cli_showing", "cli_watching",
}  # fmt: skip
STORE = {
    "begun", "catalog", "checking", "codes", "columns", "conditions", "connection", "consistency", "copies", "fields",
    "forgetting", "glance", "moving",
    "inputs", "links", "listed", "mending", "merging", "migrations", "overview", "points", "prefixes", "queries",
    "recall", "retagging", "rows", "salvage", "schema", "selection", "soundness", "sqlite", "staging", "visible",
}  # fmt: skip
HEAVY = (
    "torch",
    "transformers",
    "openvino",
    "numpy",
    "PIL",
    "pyarrow",
    "pymupdf",
    "rawpy",
    "pillow_jxl",
    "tomllib",
    "tokenizers",
    "sentencepiece",
    "huggingface_hub",
    "pyarrow",
    "aiohttp",
    "asyncio",
    "starlette",
    "uvicorn",
    "jinja2",
    "fsspec",
    "s3fs",
    "botocore",
    "umap",
    "sklearn",
    "numba",
)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it, for types only too."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def file_of(name: str) -> Path:
    return HOUSE / f"{name.replace('.', '/')}.py"


def siblings(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("pictocli.")} & set(MODULES)


def test_every_module_has_its_row() -> None:
    assert sorted(ROW) == MODULES


def test_only_the_command_imports_the_gallery_and_only_when_it_runs() -> None:
    users = {path.stem for path in HOUSE.glob("*.py") if any(".gallery" in name for name in imported(path))}
    assert users == {"cli_browsing"}
    top = [ast.unparse(node) for node in tree(HOUSE / "cli_browsing.py").body if isinstance(node, ast.ImportFrom)]
    assert not [each for each in top if "gallery" in each]
    assert sorted(GALLERY_ROW) == GALLERY


@pytest.mark.parametrize("name", GALLERY)
def test_the_gallery_imports_upward_only(name: str) -> None:
    found = {each.removeprefix("pictocli.") for each in imported(file_of(name)) if each.startswith("pictocli.")}
    assert not {other for other in found & set(GALLERY) if GALLERY_ROW[other] >= GALLERY_ROW[name]}
    assert not found & {"cli", "terminal", "options", *COMMANDS}


def test_only_the_choice_of_an_engine_or_runner_imports_them() -> None:
    users = {path.stem for path in HOUSE.glob("*.py") if any(".scale" in name for name in imported(path))}
    assert users <= {"runners"}
    named = {path.stem for path in HOUSE.glob("*.py") if "pictocli.scale." in path.read_text(encoding="utf-8")}
    assert named <= {"databases", "runners"}
    assert sorted(SCALE_ROW) == SCALE


@pytest.mark.parametrize("name", SCALE)
def test_engines_import_upward_only_and_know_no_command(name: str) -> None:
    found = {each.removeprefix("pictocli.") for each in imported(file_of(name)) if each.startswith("pictocli.")}
    assert not {other for other in found & set(SCALE) if SCALE_ROW[other] >= SCALE_ROW[name]}
    assert not found & {"cli", "terminal", "options", "filling_options", "presenting", *COMMANDS}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_upward_only(name: str) -> None:
    wrong = {other for other in siblings(HOUSE / f"{name}.py") if ROW[other] >= ROW[name]}
    assert not wrong


def test_only_the_package_and_the_commands_use_the_packages_own_name() -> None:
    users = [path.stem for path in HOUSE.glob("*.py") if "pictocli.__version__" in imported(path)]
    assert users == ["cli"]
    assert siblings(HOUSE / "__init__.py") == {"errors", "library"}


@pytest.mark.parametrize(
    ("package", "users"),
    [
        ("torch", {"siglip"}),
        ("transformers", {"siglip"}),
        ("openvino", {"openvino_vision"}),
        ("apsw", STORE | {"repairing", "joining", "scale.lance.changes", "scale.lance.connection", "scale.lance.copy"}),
        ("pymupdf", {"documents"}),
        ("pillow_heif", {"upright"}),
        ("rawpy", {"raws"}),
        ("pillow_jxl", {"jxl"}),
        ("typer", COMMANDS | {"cli", "filling_options", "options"}),
        ("click", COMMANDS | {"cli", "filling_options", "options", "completing", "defaults", "manual"}),
        ("tqdm", {"progress", "hub"}),
        ("watchfiles", {"watching"}),
        ("tomllib", {"taxonomy", "configuration"}),
        ("s3fs", {"uploads", "buckets"}),
        ("botocore", {"uploads", "buckets"}),
        (
            "pyarrow",
            {"parquet", "tabular", "scale.lance.engine"}
            | {f"scale.lance.{name}" for name in ("head", "nearest", "place", "store", "tables")},
        ),
        ("lance", {"scale.lance.compact", "scale.lance.place"}),
        ("psycopg", {name for name in SCALE if name.startswith("scale.postgres.engine")}),
        ("ray", {"scale.ray.cluster", "scale.ray.runner", "scale.ray.team"}),
        (
            "socket",
            {
                "hub",
                "web",
                "gallery.serving",
                *(f"scale.{n}" for n in ("lance_head", "postgres_opening", "ray_head")),
            },
        ),
        ("urllib.request", {"hub"}),
        ("aiohttp", {"web"}),
        ("fsspec", {"buckets"}),
        ("umap", {"layout"}),
        ("asyncio", {"agents", "downloads", "remote", "gallery.asked", "gallery.lanes"}),
        ("starlette", {"gallery", *(f"gallery.{name}" for name in ("guard", "lanes", "pages", "sending", "site"))}),
        ("uvicorn", {"gallery.serving", "gallery"}),
        ("jinja2", {"gallery.pages", "gallery"}),
        ("mcp", {"agents"}),
        ("mcp_types", {"agents"}),
        ("anyio", {"agents"}),
        ("pydantic", {"agent_questions"}),
    ],
)
def test_each_foreign_package_has_its_door(package: str, users: set[str]) -> None:
    inside = {
        f"{folder}.{path.stem}".removesuffix(".__init__"): path
        for folder in ("gallery", "scale")
        for path in HOUSE.glob(f"{folder}/*.py")
    }
    found = {
        stem
        for stem, path in ({path.stem: path for path in HOUSE.glob("*.py")} | inside).items()
        if any(name == package or name.startswith(f"{package}.") for name in imported(path))
    }
    assert found <= users


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_small(path: Path) -> None:
    """A module of at most 300 lines, a function of at most 40 of code: its signature and docstring are not counted."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
            assert lines <= 40, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("name", [*MODULES, *GALLERY, *SCALE])
def test_public_names(name: str) -> None:
    """`__all__` is there, sorted (capitals first, as ruff has it), true, and holds all that has a public name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # typer's own, of the click it is installed with
        module = importlib.import_module(f"pictocli.{name}")
    listed = list(module.__all__)
    assert len(listed) == len(set(listed))
    constants = [each for each in listed if each.isupper()]
    classes = [each for each in listed if not each.isupper() and each[0].isupper()]
    rest = [each for each in listed if each[0].islower()]
    assert listed == sorted(constants) + sorted(classes) + sorted(rest)
    assert [each for each in listed if not hasattr(module, each)] == []
    made = {
        node.name
        for node in tree(file_of(name)).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert made <= set(listed)


def calls(path: Path) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("name", [*MODULES, *GALLERY, *SCALE])
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    found = calls(file_of(name))
    assert not found & {"print", "breakpoint", "os._exit", "quit", "exit"}
    if name != "cli":
        assert "sys.exit" not in found
    if name not in {
        "cli", "cli_asking", "cli_browsing", "cli_config", "cli_doctor", "cli_duplicates", "cli_filling",
        "cli_keeping", "cli_shell", "completing", "presenting", "previewing", "terminal",
    }:  # fmt: skip
        assert not [call for call in found if call.startswith("sys.stdout")]


SQL = ("SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "CREATE TABLE", "PRAGMA ", "DROP TABLE")


@pytest.mark.parametrize("name", [*sorted(set(MODULES) - STORE), *GALLERY])
def test_sql_is_in_the_store_only(name: str) -> None:
    texts = [
        node.value
        for node in ast.walk(tree(file_of(name)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lstrip().startswith(SQL)
    ]
    assert not texts


# What is put into a text of SQL, beside constants in capitals: names and terms that the same module chose. A value that
# comes from anywhere else is bound.
PUT_IN = {
    "checking": {"sql"},
    "conditions": {"changed", "column", "held", "listed", "taken", "term"},
    "consistency": {"_whole('page')", "bad", "table"},
    "copies": {"where"},
    "forgetting": {"where"},
    "mending": {
        "BAD_BESIDE['page_range']",
        "BAD_BESIDE['validator']",
        "BAD_BESIDE[table]",
        "column",
        "name",
        "table",
        "where",
    },
    "merging": {"marks", "table"},
    "moving": {"columns", "first", "keys", "marks", "name", "order", "rest", "table", "table.name"},
    "prefixes": {"order", "where"},
    "queries": {"column", "where"},
    "salvage": {"_read(columns)", "marks", "name", "order", "table"},
    "points": {"among"},
    "connection": {"name", "pragma"},
    "selection": {"_held(others)", "condition.holds", "first.lists", "lists", "order", "scores", "where"},
    "soundness": {"column", "table"},
    "sqlite": {"column", "spent", "table"},
    "staging": {"emptied"},
    "visible": {"name"},
}


def put_in(path: Path) -> set[str]:
    """What f-strings with SQL in them interpolate, apart from constants and whole numbers; and any other formatting."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            texts = "".join(each.value for each in node.values if isinstance(each, ast.Constant))
            if any(word.strip() in texts for word in (*SQL, "REINDEX", "DROP TRIGGER", " WHERE ")):
                values = [ast.unparse(each.value) for each in node.values if isinstance(each, ast.FormattedValue)]
                found |= {each for each in values if not each.strip("_").isupper() and not each.startswith("int(")}
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
            sides = [each.value for each in (node.left, node.right) if isinstance(each, ast.Constant)]
            if any(isinstance(each, str) and each.lstrip().startswith(SQL) for each in sides):
                found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize("name", sorted(STORE))
def test_sql_takes_values_by_binding_only(name: str) -> None:
    assert put_in(HOUSE / f"{name}.py") == PUT_IN.get(name, set())


def test_every_module_says_what_it_is_for() -> None:
    assert [path.name for path in FILES if not ast.get_docstring(tree(path))] == []


def test_the_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {Path(name).parts[0] for name in listed.stdout.splitlines() if "/" in name}
    assert {name for name in folders if not name.startswith(".")} == {"pictocli", "sample_images", "tests"}


PROGRAM = """
import json, sys
from pictocli.cli import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as exc:
    code = exc.code
sys.stderr.write("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["similar", "{photos}/scans/one.tif", "--threshold", "0"],
        ["similar", "id:3", "--threshold", "0", "--folder", "/", "--format", "json"],
        ["tags", "--attributes", "landscape-orientation"],
        ["show", "{photos}/scans/report.pdf#page=2"],
        ["info"],
        ["info", "--plot"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_questions_about_indexed_images_load_nothing_heavy(
    arguments: list[str], library: pictocli.Library, photos: Path
) -> None:
    given = ["--db", library.path, *(each.format(photos=photos) for each in arguments)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(given)], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr[:500]
    assert done.stdout
    assert not [name for name in modules if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize("asked", [["similar", "id:3", "--threshold", "0", "--folder", "/"], ["info"]], ids=" ".join)
def test_how_unusual_a_similarity_is_loads_nothing_heavy(asked: list[str], library: pictocli.Library) -> None:
    db = connect(library.path)
    Catalog(db).keep_pairs(Pairs(contents=50, n=1000, ranks=(0, 500, 999), cosines=(-0.5, 0.1, 0.95)))
    db.close()
    given = ["--db", library.path, *asked, "--format", "json"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(given)], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    found = json.loads(done.stdout)
    assert code == 0, done.stderr[:500]
    assert found["pairs"]["n"] == 1000 if asked == ["info"] else 0 <= found[0]["closer_than"] < 1
    assert not [name for name in modules if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize("name", ["small", "mini"])
def test_a_search_for_new_words_loads_no_torch(name: str, library: pictocli.Library, tmp_path: Path) -> None:
    path = library.path
    if name == "mini":  # a library of its own, without a picture: no answer, but the words are embedded all the same
        path = str(tmp_path / "mini.db")
        SqliteStore(connect(path, create=True)).require_model(hub.read_spec(hub.resolve("mini")))
    given = ["--db", path, "search", "a dog on the beach", "--limit", "3", "--format", "paths"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(given)], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert (code, len(done.stdout.splitlines())) == ((0, 3) if name == "small" else (1, 0)), done.stderr[:500]
    assert connect(path, readonly=True).execute("SELECT text FROM text_embedding").fetchall() == [
        ("a dog on the beach",)
    ]
    wanted = {"numpy", "tomllib", "PIL", "sentencepiece" if name == "small" else "tokenizers"}
    assert not [each for each in modules if each.split(".")[0] in set(HEAVY) - wanted]


def test_the_probe_notices_what_is_heavy(library: pictocli.Library) -> None:
    given = ["--db", library.path, "taxonomy"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(given)], capture_output=True, text=True)
    assert "tomllib" in json.loads(done.stderr.splitlines()[-1])[1]
