"""What the stores are held to: one world of pictures, a library of it in each store, and answers that can be compared.

A keeper makes libraries of one store and copies them, so that every test that changes one has its own.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import stores
from checkpoints import save_siglip2
from pictures import make_pdf, make_photos, scene
from PIL import Image
from program import ODD
from test_exif import DETAILS, GPS, MAKE, MODEL, ORIGINAL, VIENNA, exif
from test_matching import photo

import pictocli
from pictocli import databases
from pictocli.catalog import Catalog
from pictocli.schema import transaction

__all__ = [
    "STORED",
    "WHOLE",
    "Keeper",
    "World",
    "differences",
    "filled",
    "make_pictures",
    "metas",
    "one_home",
    "plain",
    "tables",
    "written",
]

WHOLE = os.environ.get("PICTO_CONTRACT") == "all"
STORED = [
    pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in (stores.STORES if WHOLE else stores.STORES[1:])
]
"""The stores to look at, each by one test process; SQLite beside itself shows what differs from run to run alone."""

WHEN = 1_600_000_000  # of every file, and a day more of each
WORDS = ("a dog on the beach", "a red car", "mountains and a lake under a blue sky")
LABELS: dict[int, tuple[str, str, str]] = {
    1: ('{"car": 0.9, "dog": 0.5}', '{"outdoor": 0.6}', "{}"),
    2: ('{"dog": 0.8}', '{"outdoor": 0.7}', '{"dark": 0.75}'),
    3: ('{"car": 0.6}', '{"beach": 0.9}', "{}"),
    4: ('{"bus": 0.6, "car": 0.6}', "{}", '{"dark": 0.75, "grayscale": 1.0}'),
    20: ('{"car": 0.12345678901234567}', '{"outdoor": 0.7}', "{}"),
    21: ('{"dog": 1e-05, "cat": 1.0}', "{}", "{}"),
    30: ('{"truck": 0.5, "car": 0.5, "bus": 0.5}', '{"city": 0.5}', "{}"),
}
"""Tags that a person can check, by image id: objects, scenes, attributes, as the library keeps them."""

_METADATA: dict[str, dict[str, Any]] = {
    "old.bmp": {"price": 49.9, "brand": {"name": "Acme", "town": "Größenwahn 😀"}, "sold": True, "n": 1, "id": 2**63},
    "cat.png": {"price": "50", "brand": {"name": "acme"}, "sold": False, "n": 2, "list": [1, "two", None, {"a": []}],
                "id": -(2**63)},
    "dog.gif": {"price": 7, "n": 2**53 + 1, "half": "a\ud800b", "empty": "", "nothing": None,
                "id": 1234567890123456789},
    "bird.webp": {"price": -0.5, "brand": "Bolt", "nul": "a\u0000b", "big": 10**30, "tiny": 1e-300, "id": 2**63 - 1},
    "sunny.jpg": {"price": "cheap", "n": "10", "deep": {"er": {"still": "x"}}, "unit price": 3, 'quo"te': 'a"b'},
    "report.pdf": {"price": 1e3, "title": "Report\nof two lines", "n": 3.0, "id": "1234567890123456788"},
    "[red]x.png": {"price": 50.0, "title": "ÄÖÜ äöü ß", "sold": "true"},
}  # fmt: skip


class World:
    """Pictures of every kind below `base`, and what a test needs to know of them."""

    def __init__(self, base: Path, model: str) -> None:
        self.base, self.model, self.photos = base, model, base / "photos"
        self.roots = [base / name for name in ("photos", "odd 😀", "camera", "twins", "many")]
        self.metadata = base / "m.jsonl"
        self.other_model = str(base / "other")

    def index(self, library: pictocli.Library) -> pictocli.records.IndexReport:
        """All of it, with thumbnails, metadata and an index on a field."""
        return library.index(
            self.roots, model=self.model, workers=0, device="cpu", thumbnails=True, metadata=self.metadata,
            index_field=["price"],
        )  # fmt: skip


def make_pictures(base: Path, model: str) -> World:
    """18 pictures of every format, odd names, cameras and places, copies and likenesses, files that are none."""
    world = World(base, model)
    save_siglip2(base / "other", seed=5)
    make_photos(base / "photos")
    odd = base / "odd 😀" / os.fsdecode(b"f\xfcr alle")
    odd.mkdir(parents=True)
    for number, name in enumerate(ODD):
        scene(50 + number, 32, 24).save(odd.parent / os.fsdecode(name))
    scene(70, 32, 24).save(odd / "in a folder.png")
    make_pdf(odd.parent / "🎉 ß.pdf", [71, 72])
    (odd / os.fsdecode(b"\xff.pdf")).write_bytes(b"%PDF-1.4 and no more")
    (base / "camera").mkdir()
    for number, (make, when, place) in enumerate(
        [("Canon", "2019:07:14 18:22:33", VIENNA), ("NIKON", "2021:01:01 00:00:00", None), ("Müller", None, VIENNA)]
    ):
        tags = {MAKE: make, MODEL: f"{make} 5 ß"}
        made = exif(tags, {ORIGINAL: when} if when else None, place)
        assert {DETAILS, GPS} & set(made) or not (when or place) or made
        scene(80 + number).save(base / f"camera/{number}.jpg", exif=made)
    (base / "camera/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (base / "camera/text.jpg").write_text("no picture")
    (base / "camera/empty.png").touch()
    (base / "twins/b").mkdir(parents=True)
    photo(1).save(base / "twins/a.jpg", quality=90)
    shutil.copy(base / "twins/a.jpg", base / "twins/b/a again.jpg")
    photo(1).resize((160, 120), Image.Resampling.LANCZOS).save(base / "twins/b/half.jpg", quality=90)
    photo(2).save(base / "twins/c.png")
    photo(2).transpose(Image.Transpose.ROTATE_90).save(base / "twins/c turned.jpg", quality=90)
    (base / "papers").mkdir()  # which no root holds; what writes a PDF marks it as written just then
    make_pdf(base / "papers/two.pdf", [902, 903])
    make_pdf(base / "papers/three.pdf", [902, 903, 904])
    (base / "many").mkdir()
    for seed in range(100, 124):
        scene(seed, 48, 32).save(base / f"many/{seed}.png")
    for number, path in enumerate(sorted(base.rglob("*.*"))):
        if path.is_file():
            os.utime(path, (WHEN + number * 86_400.5, WHEN + number * 86_400.5))
    world.metadata.write_text(
        "".join(json.dumps({"filename": n} | row) + "\n" for n, row in _METADATA.items()), "utf-8"
    )
    return world


def filled(name: str, world: World) -> None:
    """Make the library of this name: the world's pictures, tags that a person can check, words that were asked."""
    with pictocli.open(name) as library:
        report = world.index(library)
        assert (report.indexed, len(report.skipped)) == (61, 4), report
        db = databases.connect(name)
        with transaction(db):
            for image_id, given in LABELS.items():
                db.execute("UPDATE image SET objects = ?, scenes = ?, attributes = ? WHERE id = ?", (*given, image_id))
        db.close()
        for words in WORDS:
            library.by_text(words, device="cpu")
        library.export_thumbnails(world.base / f"thumbs-{hashlib.sha256(name.encode()).hexdigest()[:8]}",
                                  cdn="https://cdn.example", folder="beach")  # fmt: skip


def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fixture for a whole module: a home for this process and those that it starts, as conftest's guard gives a test.

    What a store keeps in a cache it keeps for the next question.
    """
    base = tmp_path_factory.mktemp("guard")
    places = {f"XDG_{name}_HOME": f"home/{name.lower()}" for name in ("DATA", "CACHE", "CONFIG", "STATE")}
    places |= {"HOME": "home", "USERPROFILE": "home", "HF_HOME": "home/hf", "PICTO_DB": "home/default.db"}
    (base / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, place in places.items():
            patch.setenv(name, str(base / place))
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CLICOLOR_FORCE"):
            patch.delenv(name, raising=False)
        yield base / "home"


class Keeper:
    """Makes libraries of one store: SQLite files, databases of a PostgreSQL server, folders of Lance."""

    def __init__(self, store: str, base: Path) -> None:
        self.store, self.base, self.filled = store, base, ""

    def new(self) -> str:
        """The name of a library that is not there yet."""
        return stores.library_name(self.store, Path(tempfile.mkdtemp(dir=self.base)))

    def copy(self, name: str) -> str:
        """The name of a copy of a library, which nobody has open."""
        made = self.new()
        if self.store == "sqlite":
            shutil.copy(name, made)
        elif self.store == "lance":
            shutil.copytree(name.removeprefix("lance://"), made.removeprefix("lance://"))
        else:
            old, new = (each.rpartition("/")[2] for each in (name, made))
            stores.postgres().execute(f"DROP DATABASE {new}")
            stores.postgres().execute(f"CREATE DATABASE {new} TEMPLATE {old}")
        return made

    def drop(self, name: str) -> None:
        """Remove a library."""
        if self.store == "postgresql":
            stores.postgres().execute(f"DROP DATABASE IF EXISTS {name.rpartition('/')[2]} WITH (FORCE)")
        else:
            shutil.rmtree(Path(name.removeprefix("lance://")).parent)


# -- comparing ------------------------------------------------------------------------------------------------------

_VOLATILE = {"seconds", "processing_time_ms", "indexed_at", "size_bytes"}


def plain(value: Any, names: Mapping[str, str]) -> Any:
    """A value as dicts, lists, texts and numbers, without what differs from run to run; in texts `names` are replaced.

    names: what stands for the database or a folder → what it is called.
    """
    if is_dataclass(value) and not isinstance(value, type):
        found = {each.name: getattr(value, each.name) for each in fields(value) if each.name not in _VOLATILE}
        return {"is": type(value).__name__} | {key: plain(each, names) for key, each in found.items()}
    if isinstance(value, Mapping):
        return {plain(key, names): plain(each, names) for key, each in value.items()}
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        for name, called in names.items():
            text = text.replace(name, called)
        return text
    if isinstance(value, Set):
        return sorted((plain(each, names) for each in value), key=repr)
    if isinstance(value, bytes):
        return value if len(value) < 65 else f"{len(value)} bytes {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, Sequence | Iterator) or hasattr(value, "tolist"):
        return [plain(each, names) for each in (value.tolist() if hasattr(value, "tolist") else value)]
    return value


def differences(wanted: Any, found: Any, at: str = "") -> list[str]:
    """Where two plain values differ, and how; floats may do so by 1e-6, what grows from them by a little more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [f"{at}: keys {list(wanted)} became {list(found)}"] if list(wanted) != list(found) else []
        return keys + [
            line for key in wanted if key in found for line in differences(wanted[key], found[key], f"{at}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        lengths = [f"{at}: {len(wanted)} became {len(found)}"] if len(wanted) != len(found) else []
        pairs = enumerate(zip(wanted, found, strict=False))
        return lengths + [line for number, (a, b) in pairs for line in differences(a, b, f"{at}[{number}]")]
    if isinstance(wanted, float) and isinstance(found, float):
        near = 2e-5 if at.endswith((".probability", ".score", ".nearest")) else 1e-6
        same = math.isclose(wanted, found, rel_tol=near, abs_tol=near)
    else:
        same = wanted == found and type(wanted) is type(found)
    return [] if same else [f"{at}: {wanted!r} became {found!r}"]


_TABLES = {
    "dataset": "*", "root": "*", "folder": "*", "file": "*", "embedding": "*", "thumbnail": "*", "tag": "*",
    "tag_alias": "*", "image_tag": "*", "capture": "*", "page_range": "*", "validator": "*", "input": "*",
    "fingerprint": "*", "staged": "*",
    "content": "id, hash, page, dpi, width, height, measures",
    "image": "id, file_id, folder_id, page, content_id, objects, scenes, attributes, metadata, thumbnail_url",
    "text_embedding": "text, v",
    "vector": "name, v",
}  # fmt: skip
"""The tables of a library, with the columns that do not differ from run to run."""


def tables(name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """All that is kept, table by table, as picto's own SQL reads it; and what `check` says of it."""
    db = databases.connect(name, readonly=True)
    try:
        kept = {
            table: sorted(plain(db.execute(f"SELECT {columns} FROM {table}").fetchall(), names), key=repr)
            for table, columns in _TABLES.items()
        }
    finally:
        db.close()
    with pictocli.open(name) as library:
        return kept | {"check": plain(library.check(), names)}


def metas(name: str) -> dict[str, Any]:
    """What the catalogue says of the library as a whole."""
    db = databases.connect(name, readonly=True)
    try:
        return {key: Catalog(db).meta(key) for key in ("model", "tag_rule", "taxonomy", "pairs", "index_fields")}
    finally:
        db.close()


def written(library: pictocli.Library, form: str, **options: Any) -> list[dict[str, Any]]:
    """An export in JSON Lines or CSV, read back, without times."""
    out = io.BytesIO()
    library.export_to(out, form, **options)
    text = out.getvalue().decode("utf-8", "surrogateescape")
    read: Any = map(json.loads, text.splitlines()) if form == "jsonl" else csv.DictReader(io.StringIO(text, newline=""))
    return [{name: value for name, value in row.items() if name not in _VOLATILE} for row in read]
