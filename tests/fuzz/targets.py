"""What is fuzzed: each target takes bytes, and its check raises when picto does with them what it never may.

A seed is a file of such bytes, in seeds/TARGET. Only a PictoError, or a file refused as a value, may come of an input;
never another exception, nor more than 5 s.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import math
import os
import re
import struct
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from mutations import ODD_WORDS, mutated, odd_bytes, odd_text, pdfs, pictures
from rich.cells import cell_len
from rich.console import Console
from world import World, in_time, run_here

from pictocli.catalog import Catalog
from pictocli.checkpoint import ModelFiles, fingerprint, lacking, read_spec, read_text_shape
from pictocli.conditions import compared
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, decode_bytes, inspect
from pictocli.display import crop, printable, shorten
from pictocli.errors import ExpressionError, PictoError
from pictocli.expressions import parse as parse_condition
from pictocli.expressions import parse_field
from pictocli.fields import field_shown
from pictocli.kinds import not_image, sniff
from pictocli.labels import forms, resolve_labels
from pictocli.metadata import Metadata
from pictocli.queries import Queries
from pictocli.records import Contents, Exported, ImageDetail, Label, LibraryInfo, Scope, SimilarImage, TaggedImage
from pictocli.references import at_path, find
from pictocli.render import write
from pictocli.rules import compile_rule
from pictocli.schema import memory, to_db
from pictocli.selection import one_of
from pictocli.sqlite import SqliteStore
from pictocli.tables import Page
from pictocli.taxonomy import parse
from pictocli.text import load_tokenizer
from pictocli.toml_lines import find_lines
from pictocli.weights import Tensors, read_header

__all__ = ["TARGETS", "Target", "checked"]


@dataclass(frozen=True, slots=True)
class Target:
    """inputs: what it is fed. examples: how many of them in the short form."""

    inputs: st.SearchStrategy[bytes]
    check: Callable[[bytes, World], None]
    examples: int


def checked(target: Target, data: bytes, world: World) -> None:
    """Run a target's check on an input, within its time."""
    with in_time():
        target.check(data, world)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _strict(text: str | bytes) -> Any:
    """JSON as the standard has it: no NaN."""
    return json.loads(text, parse_constant=_no_number)


def _no_number(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


# -- files ------------------------------------------------------------------------------------------------------------

KINDS = {"jpeg", "png", "webp", "bmp", "gif", "tiff", "heic", "avif", "pdf", "raw", "jxl", "other"}
RECIPE = Recipe(32, "bicubic", 72, thumbnail=True)


def _sniff(data: bytes, _: World) -> None:
    assert sniff(data) in KINDS
    assert sniff(data[:1024]) == sniff(data)
    assert not_image(data[:1024]) in ("HTML, not an image", "text, not an image", "not an image")


def _decode(data: bytes, world: World) -> None:
    path = world.folder / "fuzzed.jpg"
    path.write_bytes(data)
    seen = inspect(str(path))
    found: list[Decoded | Refused] = [decode_bytes(data, RECIPE)]
    if isinstance(seen, Refused):
        found.append(seen)
    else:
        assert isinstance(seen, Inspected)
        assert seen.peak >= 0
        assert seen.pages or seen.kind != "pdf"
        assert seen.rendered >= 0
        found += [decode(str(path), seen.kind, page, RECIPE) for page in (seen.pages[:3] or (0,))]
    for each in found:
        if isinstance(each, Refused):
            assert each.reason is None or (each.reason.isprintable() and 0 < len(each.reason) < 100)
        else:
            assert (each.pixels.shape, str(each.pixels.dtype)) == ((32, 32, 3), "uint8")
            assert each.width > 0
            assert each.height > 0
            assert all(math.isfinite(value) for value in each.measures.values())
            assert each.thumbnail is not None
            assert sniff(each.thumbnail) == "jpeg"


# -- taxonomies -------------------------------------------------------------------------------------------------------

TAXONOMY = """\
schema = 1
version = "1"
null_prompts = ["a photo", '''x''']
[objects]
templates = ["a photo of {}", "{}"]
labels = [
  { id = "car", phrase = "a car", aliases = ["auto", "automobile"] },  # comment
  { id = "truck", phrase = "a truck", implies = ["car"], group = "wheels" },
]
[[scenes.labels]]
id = "beach"
phrase = "a beach"
[scenes]
templates = ["{}"]
[attributes]
templates = ["{}"]
[[attributes.labels]]
id = "dark"
phrase = "dark"
measured = "pixels"
rule = "luma_mean < 0.30 and 0.1 <= luma_p95 < 0.75"
[groups.wheels]
category = "objects"
labels = ["truck"]
mode = "at-most-one"
"""
_TOML_WORDS = (
    "[", "]", "[[", "]]", "{", "}", "=", ",", ".", '"', "'", '"""', "'''", "\n", "\r\n", "#", "true",
    "1979-05-27 07:32:00Z",
    "07:32:00", "0x1f", "inf", "nan", "1e999", "9" * 5000, "[" * 300, "a.b.c", '"a.b"', "{}", '"\\u001b[31m"',
    '"\\U0010ffff"',
    'labels = [{ id = "car" }]', "[objects.labels]", "[[objects]]", "[groups]", "schema = 1", "1_000", "\ufeff",
    "id", "aliases",
)  # fmt: skip


@st.composite
def _edited(draw: st.DrawFn, original: str, words: tuple[str, ...]) -> bytes:
    """A text with some of its tokens left out, doubled, exchanged or replaced by words."""
    tokens = re.findall(r"\w+|\s+|[^\w\s]", original)
    for _ in range(draw(st.integers(1, 6))):
        at, end = draw(st.integers(0, len(tokens))), draw(st.integers(0, 6))
        new = draw(st.one_of(
            st.just([]), st.just(tokens[at : at + end] * 2), st.lists(st.sampled_from(words), min_size=1, max_size=3),
            st.lists(st.sampled_from(tokens or ["x"]), min_size=1, max_size=3), odd_text().map(lambda text: [text]),
        ))  # fmt: skip
        tokens[at : at + end] = new
    return _raw("".join(tokens))


def _toml(value: Any) -> str:
    """A value as TOML writes it, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


_KEYS = st.sampled_from(
    ["id", "phrase", "aliases", "implies", "group", "measured", "rule", "labels", "templates", "mode"]
)
_VALUES = st.recursive(
    st.one_of(
        st.sampled_from(["car", "a {}", "pixels", "objects", "at-most-one", ""]), st.integers(-9, 9), st.booleans()
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(
    st.sampled_from(["schema", "version", "null_prompts", "objects", "scenes", "attributes", "groups", "x"]), _VALUES
).map(lambda found: "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in found.items()).encode())


def _taxonomy(data: bytes, _: World) -> None:
    with contextlib.suppress(PictoError):
        parse(data, "x.toml")
    try:
        text = data.decode("utf-8-sig")
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    places = list(_places(document))
    assert all(line and 0 < line <= text.count("\n") + 1 for line in find_lines(text, *places))


def _places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _places(each, (*place, key))


def _rules(data: bytes, _: World) -> None:
    with contextlib.suppress(PictoError):
        rule = compile_rule(data.decode("utf-8", "replace"))
        assert compile_rule(rule.text) == rule
        rule.matches({"luma_mean": math.nan, "luma_p95": 0.5})


# -- metadata ---------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(ODD_WORDS), odd_text()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text(), inner, max_size=4),
    max_leaves=10,
)
_RAW_JSON = (
    "NaN",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 4400,
    "[" * 900 + "]" * 900,
    "[" * 5000,
    '"\\ud83d"',
    '"\\u0000"',
)


@st.composite
def _jsonl(draw: st.DrawFn) -> bytes:
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.dictionaries(odd_text(), _JSON, max_size=4)) | {
            "path": draw(st.sampled_from(["x.jpg", "./x.jpg"]))
        }
        line = json.dumps(fields)
        if draw(st.booleans()):
            line = line[:-1] + f', "raw": {draw(st.sampled_from(_RAW_JSON))}}}'
        lines.append(line)
    data = "\n".join(lines).encode()
    at = draw(st.integers(0, len(data)))
    return b"jsonl\n" + (data if draw(st.booleans()) else data[:at] + draw(st.binary(max_size=3)) + data[at + 1 :])


@st.composite
def _table(draw: st.DrawFn) -> bytes:
    out = io.StringIO()
    heads = draw(st.lists(st.sampled_from(["path", "filename", "who", "a"]) | odd_text(), min_size=1, max_size=5))
    cells = st.sampled_from(["x.jpg", "\0", "x" * 140_000]) | odd_text()
    writer = csv.writer(out, quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])))
    writer.writerow(heads)
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.lists(cells, min_size=len(heads), max_size=len(heads)))
        writer.writerow(
            ["x.jpg" if head == "path" and draw(st.booleans()) else cell for head, cell in zip(heads, row, strict=True)]
        )
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + _raw(out.getvalue())
    at = draw(st.integers(0, len(data)))
    return b"csv\n" + (data if draw(st.booleans()) else data[:at] + draw(st.binary(max_size=3)) + data[at + 1 :])


def _metadata(data: bytes, world: World) -> None:
    """Fields that are accepted come out of a library as they went in."""
    kind, _, content = data.partition(b"\n")
    path = world.folder / f"fuzzed.{kind.decode()}"
    path.write_bytes(content)
    try:
        rows = Metadata(str(path))
    except PictoError:
        return
    fields = rows.of("/r", "/r/x.jpg")
    if fields is None:
        return
    store = SqliteStore(memory())
    folder = store.folder_id(store.add_root("/r", "r"), "")
    assert folder is not None
    _add(store, folder, "x.jpg")
    assert store.set_metadata(folder, "x.jpg", fields)
    row = SimilarImage(**Queries(store.db).fields([1])[1], similarity=1.0)
    wanted = _legible(fields)
    assert _legible(row.metadata) == wanted
    assert _strict(_written([row], "jsonl"))["metadata"] == wanted
    assert _strict(_records(_written([row], "csv"))[0]["metadata"]) == wanted
    assert len(_written([row], "tsv").splitlines()) == 1
    if kind == b"csv":
        assert {key: str(value) for key, value in fields.items()} == dict(fields)


def _legible(value: Any) -> Any:
    """A value as JSON in UTF-8 can hold it."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, Mapping):
        return {_legible(key): _legible(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_legible(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _add(store: Catalog, folder: int, name: str, page: int = 0) -> int:
    """One image row of a file, with what a library needs beside it."""
    bound = {"folder": folder, "name": to_db(name), "page": page}
    store.db.execute(
        "INSERT OR IGNORE INTO file(folder_id, name, kind, pages, size) VALUES(:folder, :name, 'png', 1, 1)", bound
    )
    content = store.db.execute(
        "INSERT INTO content(hash, page, dpi, width, height, measures, processing_time_ms)"
        " VALUES(randomblob(32), :page, 0, 1, 1, '{}', 1) RETURNING id", bound,
    ).get  # fmt: skip
    found: int = store.db.execute(
        "INSERT INTO image(file_id, folder_id, content_id, page, indexed_at) SELECT id, folder_id, :content, :page, 0"
        " FROM file WHERE folder_id = :folder AND name = :name RETURNING id", bound | {"content": content},
    ).get  # fmt: skip
    return found


# -- what users name --------------------------------------------------------------------------------------------------


def _names(data: bytes, _: World) -> None:
    """Every image is found by the path that picto prints of it. NUL ends a name; a trailing #7 stands for page 7."""
    store = SqliteStore(memory())
    root, *names = data.split(b"\0")
    root_id = store.add_root(os.fsdecode(b"/" + root), "r")
    found: dict[str, list[int]] = {}
    for name in dict.fromkeys(names):
        folder = store.folder_id(root_id, os.fsdecode(name[:3].strip(b"./")))
        assert folder is not None
        image_id = _add(store, folder, os.fsdecode(name), page=name[-1] % 3)
        found.setdefault(Queries(store.db).fields([image_id])[image_id]["path"], []).append(image_id)
    for path, ids in found.items():
        assert find(Queries(store.db), path).image_id in ids


def _reference(data: bytes, world: World) -> None:
    text = _text(data)
    asks: list[Callable[[], object]] = [
        lambda: find(world.queries, text), lambda: at_path(text), lambda: find(world.queries, data),
        lambda: find(world.queries, f"a.pdf#page={text}"), lambda: at_path(f"a.pdf#page={text}"),
    ]  # fmt: skip
    here = os.getcwd()
    os.chdir(world.folder)
    try:
        for ask in asks:
            with contextlib.suppress(PictoError):
                ask()
    finally:
        os.chdir(here)


def _label(data: bytes, world: World) -> None:
    name, _, scope = _text(data).partition("\0")
    assert all(form == form.lower() for form in forms(name)[:1])
    for given in ([name], [name, "car"]):
        with contextlib.suppress(PictoError):
            groups, names = resolve_labels(world.queries, given, None, None, "any")
            assert groups
            assert names
    for asked in (Scope(scope, None), Scope(None, scope), Scope("r", scope)):
        with contextlib.suppress(PictoError):
            assert world.queries.folders(asked) is not None


def _where(data: bytes, world: World) -> None:
    """A condition that parses is answered, and one that does not is marked within it."""
    text, refused, found = _text(data), None, None
    try:
        found = parse_condition(text)
    except ExpressionError as exc:
        refused = exc
    if found is None:
        assert refused is not None
        assert 0 <= refused.at <= len(refused.text)
        assert refused.text in (text, text[:40] + "…")
        return
    assert found.text == text
    assert parse_field(field_shown(found.field)) == found.field
    condition = compared(world.queries, found)
    ids = set(world.queries.passing([condition], None))
    every = one_of([image_id for (image_id,) in world.queries.db.execute("SELECT id FROM image")])
    assert set(world.queries.passing([every, condition], None)) == ids


_CONDITIONS = _edited(
    "price<50", ("'", '"', "\\", ".", "in (", ")", ",", "~", "!=", "null", "true", "1e999", "\0", "é")
)
_VALUES_OF: dict[str, tuple[str, ...]] = {
    "--threshold": ("0", "1", "0.5", "nan", "-0.0", "1e-320"), "--limit": ("1", "500", "0", "9" * 30),
    "--folder": ("/", "f00"),
    "--dataset": ("r",), "--objects": ("car", "dog,car", "truck"), "--scenes": ("outdoor",),
    "--attributes": ("blurry",),
    "--match": ("any", "all"), "--format": ("table", "tsv", "csv", "json", "jsonl", "paths"), "--sort": ("id", "score"),
    "--min-probability": ("0", "0.5", "1"), "--category": ("objects", "scenes"), "--color": ("always", "never"),
    "--db": ("picto.db", "gone.db", "notes.txt", "sub"), "--model": ("mini", "sub"), "--device": ("cpu",),
    "--metadata": ("notes.txt", "a.png"), "--taxonomy": ("notes.txt", "a.png", "sub"), "--labels": ("notes.txt",),
    "--include": ("*",), "--exclude": ("[", "**"), "--batch-size": ("0", "7"), "--workers": ("-1",),
    "--pdf-dpi": ("1",), "--where": ("price<50", "a=null", "b<"), "--after": ("30d", "2024"), "--before": ("2024-05",),
    "--camera": ("canon",), "--near": ("1,2,3", "0,0"),
}  # fmt: skip
_FILTERS = ("--where", "--after", "--before", "--camera", "--near")
_TAGGED = (
    "--objects", "--scenes", "--attributes", "--match", "--limit", "--folder", "--dataset", "--format", "-0", *_FILTERS
)  # fmt: skip
_EVERYWHERE = ("--db", "--color", "-q", "-v", "-vq", "--", "--help", "--version", "--no-such", "-x")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "similar": (*_TAGGED, "--threshold", "--everywhere", "--exact", "--stdin"),
    "search": (*_TAGGED, "--min-probability", "--exact"),
    "tags": (*_TAGGED, "--sort"), "show": ("--format",), "info": ("--format", "--check-recall"),
    "taxonomy": ("--format", "--category"),
    "export": ("--format", "--embeddings", "--dataset", "--folder", "--spreadsheet-safe", *_FILTERS),
    "index": ("--dataset", "--model", "--metadata", "--include", "--exclude", "--batch-size", "--pdf-dpi", "--strict"),
    "embed": ("--model",), "retag": ("--taxonomy",), "reembed": ("--model", "--batch-size"),
    "calibrate": ("--model", "--labels"),
    "nonsense": ("-h",),
}  # fmt: skip
_PLACES = ("id:1", "id:2", "/r/f00/plain.png", "a.png", "a.pdf", "a.pdf#page=1", "notes.txt", "sub", ".", "-")


@st.composite
def _command(draw: st.DrawFn) -> bytes:
    """A command line, NUL-separated, then two NULs and its standard input."""
    words = [draw(st.sampled_from(sorted(_OPTIONS)))]
    own = st.sampled_from(_OPTIONS[words[0]])
    for option in draw(st.lists(own | own | own | st.sampled_from(_EVERYWHERE), max_size=4)):
        values = _VALUES_OF.get(option)
        if values is None:
            words.append(option)
        else:
            value = draw(st.sampled_from(values) | odd_text())
            words += [f"{option}={value}"] if draw(st.booleans()) else [option, value]
    words += draw(st.lists(st.sampled_from(_PLACES) | odd_text(), max_size=2))
    stdin = draw(
        st.sampled_from([b"", b"id:1\nid:2\n", b"gone\nid:1", b"\0", b"/r/f00/plain.png\0"]) | st.binary(max_size=9)
    )
    return b"\0".join(_raw(word).replace(b"\0", b"") for word in words) + b"\0\0" + stdin


def _cli(data: bytes, world: World) -> None:
    line, _, stdin = data.partition(b"\0\0")
    words = [_text(word) for word in line.split(b"\0")]
    if words[0] == "index":
        words.insert(1, "--dry-run")
    if words[0] in ("embed", "calibrate", "reembed"):  # what can be read would be embedded, in seconds
        words = [word for word in words if word not in ("a.png", "a.pdf", "a.pdf#page=1", ".", "mini", "--model=mini")]
    ran = run_here(world, words, stdin)
    assert ran.code in (0, 1, 2, 3, 4)
    assert not re.search(r"fault of picto|unexpected \w+: ", ran.err), ran.err
    assert "Traceback" not in ran.err or {"-v", "-vq", "--verbose"} & set(words)
    if "Traceback" not in ran.err:
        told = re.sub(r"\x1b\[\d*m", "", ran.err) if any(word.startswith("--color") for word in words) else ran.err
        assert printable(told.replace("\n", "")) == told.replace("\n", "")
        assert ran.code < 2 or re.search(r"^(error: |Usage:)", told, re.MULTILINE)
    if ran.code == 0 and ran.out.startswith(b"{") and words[0] == "export":
        for each in ran.out.split(b"\n")[:-1]:
            _strict(each)


# -- models -----------------------------------------------------------------------------------------------------------

_CONFIG = """{
"model_type": "siglip", "vision_config": {"image_size": 32, "hidden_size": 24}, "text_config": {"hidden_size": 24,
"model_type": "siglip_text_model", "num_attention_heads": 2, "layer_norm_eps": 1e-06, "projection_size": 24},
"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098,
"resample": 3, "weight_map": {"logit_scale": "a.safetensors"}, "add_eos_token": true, "eos_token": "</s>",
"tokenizer_class": "SiglipTokenizer", "version": "1.0", "model": {"type": "WordLevel", "unk_token": "<unk>",
"vocab": {"a": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}}, "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}
}"""
_JSON_WORDS = (
    *_RAW_JSON,
    "null",
    "true",
    "-1",
    "0",
    "{}",
    "[]",
    '"a"',
    '"' + "a" * 300 + '.safetensors"',
    "1.5",
    "2147483648",
)
_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json", "model.safetensors.index.json", "tokenizer.model", "spiece.model",
)  # fmt: skip


def _tensors() -> bytes:
    entries = {
        name: {"dtype": "F32", "shape": [], "data_offsets": [at, at + 4]}
        for at, name in ((0, "logit_scale"), (4, "logit_bias"))
    }
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<2f", 4.7, -12.9)


@st.composite
def _safetensors(draw: st.DrawFn) -> bytes:
    data = draw(mutated({"tensors": [_tensors()]}))
    if draw(st.booleans()):
        header = draw(_edited(_tensors()[8:-8].decode(), _JSON_WORDS))
        data = struct.pack("<Q", len(header)) + header + bytes(8)
    return b"model.safetensors\0" + data


def _named_files() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(_FILES).map(str.encode)
    return st.tuples(names, _edited(_CONFIG, _JSON_WORDS)).map(b"\0".join)


def _model(data: bytes, world: World) -> None:
    """A model's folder, of which one file, named before the NUL, is odd."""
    name, _, content = data.partition(b"\0")
    folder = world.folder / "model"
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    for plain in ("config.json", "preprocessor_config.json"):
        (folder / plain).write_text(_CONFIG)
    (folder / "model.safetensors").write_bytes(_tensors())
    if name == b"model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    (folder / name.decode()).write_bytes(content)
    reads: list[Callable[[], object]] = [
        lambda: read_spec(ModelFiles("x", "0", folder)), lambda: read_text_shape(folder), lambda: fingerprint(folder),
        lambda: lacking(folder), lambda: Tensors(folder).find("logit_scale", (), (1,)),
        lambda: read_header(folder / "model.safetensors"), lambda: load_tokenizer(folder, 8)("a b"),
    ]  # fmt: skip
    for read in reads:
        with contextlib.suppress(PictoError):
            read()


# -- outputs ----------------------------------------------------------------------------------------------------------


@st.composite
def _record(draw: st.DrawFn) -> bytes:
    """The fields of a record, as JSON in ASCII."""
    words = odd_text(40)
    name = os.fsdecode(draw(odd_bytes()))
    labels = st.dictionaries(words, st.floats(0, 1), max_size=4)
    return json.dumps({
        "path": f"/{os.fsdecode(draw(odd_bytes()))}/{name}", "filename": name, "dataset": draw(words),
        "folder": draw(words),
        "page": draw(st.none() | st.integers(1, 10**9)), "scores": [draw(labels) for _ in range(3)],
        "metadata": draw(st.none() | st.dictionaries(words, _JSON, max_size=3)), "similarity": draw(st.floats(-1, 1)),
        "thumbnail_url": draw(st.none() | words), "reference": draw(words.filter(bool)),
        "columns": draw(st.integers(1, 300)),
        "closer_than": draw(st.none() | st.floats(0, 1)), "probability": draw(st.none() | st.floats(0, 1)),
    }).encode()  # fmt: skip


def _rows(given: Mapping[str, Any]) -> tuple[SimilarImage, TaggedImage, ImageDetail, Exported]:
    scores = dict(zip(("objects", "scenes", "attributes"), given["scores"], strict=True))
    fields = {
        name: given[name] for name in ("path", "filename", "dataset", "folder", "page", "metadata", "thumbnail_url")
    }
    fields |= {
        "image_id": 7, "width": 4, "height": 3, "processing_time_ms": 1.25, "modified": "2019-07-14T18:22:00Z",
        "scores": scores, "tags": {category: list(labels) for category, labels in scores.items()},
    }  # fmt: skip
    more: dict[str, Any] = {
        "kind": "png",
        "size": 9,
        "indexed_at": "2019-07-14T18:22:00Z",
        "content_hash": "00ff",
        "measures": {"luma": 0.5},
    }
    return (
        SimilarImage(**fields, **{name: given[name] for name in ("similarity", "closer_than", "probability")}),
        TaggedImage(**fields, matched=scores["objects"]),
        ImageDetail(**fields, **more, model=given["dataset"], has_thumbnail=True, copies=[given["path"]]),
        Exported(**fields, **more, embedding=(0.5, -0.25)),
    )


def _written(rows: list[Any], form: str, **more: Any) -> bytes:
    out = io.BytesIO()
    write(rows, form, out, kind=type(rows[0]), **more)
    return out.getvalue()


def _records(out: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_text(out), newline=""), strict=True))


def _path_of(found: Mapping[str, Any]) -> str:
    return os.fsdecode(base64.b64decode(found["path_bytes"])) if "path_bytes" in found else found["path"]


def _render(data: bytes, _: World) -> None:
    """What is written in a format is read back the same, by that format's own rules."""
    given = json.loads(data)
    for row in _rows(given):
        path = row.path
        assert _written([row] * 2, "print0").split(b"\0") == [_raw(path)] * 2 + [b""]
        assert _written([row] * 2, "paths") == (_raw(path) + b"\n") * 2
        for form in ("json", "jsonl"):
            out = _written([row], form)
            found = _strict(out.decode())
            found = found[0] if isinstance(found, list) else found
            assert _path_of(found) == path
            assert found["tags"] == _legible(row.tags)
            assert found["metadata"] == _legible(row.metadata)
            assert [found[name] for name in ("dataset", "folder")] == [_legible(row.dataset), _legible(row.folder)]
            assert form == "json" or out.count(b"\n") == 1
        _check_tables(row, given["reference"])
    exported = _rows(given)[3]
    assert _strict(_written([exported], "jsonl"))["embedding"] == [0.5, -0.25]


def _check_tables(row: Any, reference: str) -> None:
    """CSV, and TSV of rows that are one line, with and without what they answer."""
    (found,) = _records(_written([row], "csv"))
    assert [found[name] for name in ("path", "dataset", "folder", "filename")] == [
        row.path,
        row.dataset,
        row.folder,
        row.filename,
    ]
    assert found["objects"].split("|") == ("|".join(row.tags["objects"])).split("|")
    (safe,) = _records(_written([row], "csv", spreadsheet_safe=True))
    for name, cell in found.items():
        runs = cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
        assert safe[name] == ("'" + cell if runs else cell)
    if isinstance(row, SimilarImage | TaggedImage):
        (line,) = _written([row], "tsv", references=[reference]).split(b"\n")[:-1]
        cells = [_unescaped(cell) for cell in line.split(b"\t")]
        assert [cells[0], cells[2]] == [_raw(reference), _raw(row.path)]
        (again,) = _records(_written([row], "csv", references=[reference]))
        assert again["reference"] == reference


def _unescaped(cell: bytes) -> bytes:
    plain = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
    return re.sub(rb"\\(.)", lambda found: plain[found[1]], cell)


def _controls(text: str) -> list[str]:
    """The characters that steer a terminal, or that it cannot show."""
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def _tables(data: bytes, _: World) -> None:
    """A table holds no control character, and a wide one no line that is too long."""
    given = json.loads(data)
    similar, tagged, detail, __ = _rows(given)
    names = [name for scores in given["scores"] for name in scores] or ["x"]
    labels = [Label("objects", "car", "", tuple(names))]
    info = LibraryInfo(
        path=given["path"], size_bytes=9, images=9, files=9, pdf_pages=0, kinds={"png": 9}, skipped=1, thumbnails=0,
        datasets=[Contents(dataset=given["dataset"], images=9, roots=[given["path"]])], model=given["dataset"],
        revision="0", dim=24, tag_rule=given["folder"], tags=[("objects", name, 3) for name in names],
    )  # fmt: skip
    for encoding in ("utf-8", "ascii"):
        shown = io.BytesIO()
        out = io.TextIOWrapper(shown, encoding, errors="strict", newline="")
        plain: dict[str, Any] = {"color_system": None, "highlight": False, "markup": False, "emoji": False}
        page = Page(Console(file=out, width=given["columns"], **plain))
        page.similar([similar] * 2)
        page.tagged([tagged])
        page.detail(detail)
        page.labels(labels)
        page.info(info)
        page.heading(given["reference"])
        out.flush()
        assert not _controls(shown.getvalue().decode(encoding).replace("\n", ""))
    for text in (given["path"], given["dataset"], *names):
        spelled = printable(text)
        assert not _controls(spelled)
        width = max(30, given["columns"])
        assert cell_len(shorten(spelled, width)) <= width
        assert cell_len(crop(spelled, width)) <= width


# -- all of them ------------------------------------------------------------------------------------------------------

_PICTURES = pictures()
_PDFS = {"pdf": pdfs()}

TARGETS: dict[str, Target] = {
    "sniff": Target(mutated(_PICTURES | _PDFS) | st.binary(max_size=40), _sniff, 200),
    "decode": Target(mutated(_PICTURES), _decode, 250),
    "pdf": Target(mutated(_PDFS), _decode, 80),
    "taxonomy": Target(_edited(TAXONOMY, _TOML_WORDS) | _DOCUMENTS | st.binary(max_size=30), _taxonomy, 200),
    "rules": Target(
        _edited("luma_mean < 0.30 and 0.1 <= luma_p95 < 7.5e-1", ("<", "<=", "and", "1e999", "\x1c", "²")), _rules, 100
    ),
    "metadata": Target(_jsonl() | _table() | st.binary(max_size=30).map(lambda raw: b"csv\n" + raw), _metadata, 120),
    "names": Target(st.lists(odd_bytes(), min_size=2, max_size=5).map(b"\0".join), _names, 60),
    "reference": Target(odd_text().map(_raw) | st.binary(max_size=20), _reference, 150),
    "label": Target(st.tuples(odd_text(), odd_text()).map("\0".join).map(_raw), _label, 100),
    "where": Target(_CONDITIONS | odd_text().map(_raw), _where, 200),
    "cli": Target(_command(), _cli, 150),
    "model": Target(_safetensors() | _named_files(), _model, 120),
    "render": Target(_record(), _render, 120),
    "tables": Target(_record(), _tables, 60),
}  # fmt: skip
