from __future__ import annotations

import base64
import csv
import io
import json
import os
import random
import re
from typing import Any

import pytest

from pictocli.records import Embedded, Image, Label, SimilarImage, TaggedImage
from pictocli.render import as_object, write

FIELDS: dict[str, Any] = {
    "image_id": 1,
    "filename": "x",
    "dataset": "holiday",
    "folder": "",
    "page": None,
    "tags": {"objects": ["car", "truck"], "scenes": [], "attributes": []},
    "width": 4,
    "height": 3,
    "processing_time_ms": 1.25,
    "modified": "2019-07-14T18:22:00Z",
}


def similar(path: str, **more: Any) -> SimilarImage:
    return SimilarImage(**FIELDS | {"path": path, "similarity": 0.94121234} | more)


def written(rows: list[Any], form: str, **more: Any) -> bytes:
    out = io.BytesIO()
    write(rows, form, out, kind=more.pop("kind", SimilarImage), **more)
    return out.getvalue()


def read_back(form: str, out: bytes) -> list[bytes]:
    """The paths of an output, as any other program would read them."""
    if form == "print0":
        return out.split(b"\0")[:-1]
    if form == "csv":
        rows = csv.DictReader(io.StringIO(out.decode("utf-8", "surrogateescape"), newline=""))
        return [os.fsencode(row["path"]) for row in rows]
    if form == "tsv":
        plain = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
        cells = [line.split(b"\t")[1] for line in out.split(b"\n")[:-1]]
        return [re.sub(rb"\\(.)", lambda found: plain[found[1]], cell) for cell in cells]
    objects = json.loads(out) if form == "json" else [json.loads(line) for line in out.split(b"\n")[:-1]]
    return [base64.b64decode(each["path_bytes"]) if "path_bytes" in each else each["path"].encode() for each in objects]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "tsv", "print0"])
def test_every_path_comes_back(form: str) -> None:
    choose = random.Random(11)  # noqa: S311 - repeatable, not secret
    alphabet = [
        b"a",
        b"/",
        b"\t",
        b"\n",
        b"\r",
        b"\\",
        b'"',
        b"'",
        b",",
        b"[",
        b"]",
        b" ",
        b"\x1b",
        b"\xe9",
        b"\xff",
        b"\x80",
    ]
    alphabet += ["é".encode(), "海".encode(), "😀".encode(), "\u2028".encode(), "\x85".encode(), b"t", b"n", b"#page=3"]
    paths = [b"/" + b"".join(choose.choices(alphabet, k=choose.randint(1, 12))) for _ in range(1500)]
    assert read_back(form, written([similar(os.fsdecode(path)) for path in paths], form)) == paths


@pytest.mark.parametrize(
    ("form", "empty"),
    [
        ("json", b"[]\n"),
        ("jsonl", b""),
        ("tsv", b""),
        ("paths", b""),
        ("print0", b""),
        (
            "csv",
            b"image_id,path,filename,dataset,folder,page,similarity,closer_than,probability,objects,scenes,attributes,metadata,"
            b"thumbnail_url,width,height,processing_time_ms\r\n",
        ),
    ],
)
def test_an_empty_answer_keeps_its_format(form: str, empty: bytes) -> None:
    assert written([], form) == empty


@pytest.mark.parametrize(
    ("row", "kind", "form", "expected"),
    [
        pytest.param(similar("/a"), SimilarImage, "tsv", b"0.9412\t/a\n", id="similar"),
        pytest.param(similar("/a\tb"), SimilarImage, "tsv", b"0.9412\t/a\\tb\n", id="tab"),
        pytest.param(similar("/a\nb"), SimilarImage, "paths", b"/a\nb\n", id="paths-are-raw"),
        pytest.param(
            TaggedImage(**FIELDS | {"path": "/a", "matched": {"car": 0.9, "truck": 0.5}}), TaggedImage, "tsv",
            b"car,truck\t/a\n", id="tagged",
        ),
        pytest.param(Label("objects", "car", "a car", ("auto",)), Label, "tsv", b"objects\tcar\tauto\n", id="label"),
        pytest.param(
            Embedded(path="-", embedding=(0.6, -0.8), processing_time_ms=3.0, model="mini"), Embedded, "jsonl",
            b'{"path": "-", "embedding": [0.6, -0.8], "processing_time_ms": 3.0, "model": "mini"}\n', id="embedded",
        ),
    ],
)  # fmt: skip
def test_one_row(row: Any, kind: type[Any], form: str, expected: bytes) -> None:
    assert written([row], form, kind=kind) == expected


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_a_row_is_preceded_by_its_reference(form: str) -> None:
    out = written([similar("/a"), similar("/b")], form, references=["q\t1", "q2"])
    first = {
        "tsv": b"q\\t1\t0.9412\t/a\n",
        "csv": b"reference,image_id,",
        "jsonl": b'{"reference": "q\\t1", "image_id": 1,',
    }
    assert out.startswith(first[form])


def test_the_keys_of_a_row_and_their_order() -> None:
    names = "image_id path filename dataset folder page similarity closer_than tags metadata thumbnail_url width height"
    assert list(as_object(similar("/a"))) == [*names.split(), "processing_time_ms"]
    assert list(as_object(similar("/a", probability=0.123456)))[6:8] == ["similarity", "probability"]
    assert as_object(similar("/a", probability=0.123456))["probability"] == 0.1235
    assert as_object(similar("/a"))["similarity"] == 0.941212


@pytest.mark.parametrize(
    ("fields", "written_as"),
    [
        pytest.param({"closer_than": 0.99312345678}, {"closer_than": 0.993123}, id="pictures"),
        pytest.param({"closer_than": 1 - 1 / 979_300}, {"closer_than": 0.999999}, id="never all of them"),
        pytest.param({}, {"closer_than": None}, id="too few pictures to say"),
        pytest.param({"probability": 0.5}, {"probability": 0.5}, id="words"),
    ],
)
def test_a_row_says_how_unusual_it_is_in_its_questions_own_terms(fields: Any, written_as: Any) -> None:
    found = as_object(similar("/a", **fields))
    assert {name: found[name] for name in ("closer_than", "probability") if name in found} == written_as
    row = next(csv.DictReader(io.StringIO(written([similar("/a", **fields)], "csv").decode(), newline="")))
    empty = {"closer_than": "", "probability": ""}
    shown = {name: "" if value is None else str(value) for name, value in written_as.items()}
    assert {name: row[name] for name in empty} == empty | shown


def test_a_pipe_gets_the_similarity_alone() -> None:
    assert written([similar("/a", closer_than=0.99)], "tsv") == b"0.9412\t/a\n"


def test_lines_come_one_by_one() -> None:
    class Pipe(io.BytesIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    for form in ("tsv", "csv", "jsonl", "paths", "print0"):
        pipe = Pipe()
        write([similar("/a")] * 3, form, pipe, kind=SimilarImage)
        assert pipe.flushed >= 3, form


def test_metadata_of_any_kind_is_written() -> None:
    metadata = {"owner": "Ána", "n": 3, "list": [1, None]}
    assert json.loads(written([similar("/a", metadata=metadata)], "jsonl"))["metadata"] == metadata
    row = next(csv.DictReader(io.StringIO(written([similar("/a", metadata=metadata)], "csv").decode(), newline="")))
    assert json.loads(row["metadata"]) == metadata
    assert row["objects"] == "car|truck"
    half = similar("/a", metadata={"a": "half a pair \ud83d, \udc80"})
    for form in ("jsonl", "csv"):
        assert "half a pair \ufffd, \ufffd" in written([half], form).decode()


def test_a_number_that_json_does_not_have_is_null() -> None:
    odd = similar("/a", metadata={"a": [float("nan"), float("inf"), 0.5]})
    for form in ("jsonl", "csv"):
        assert "[null, null, 0.5]" in written([odd], form).decode()


def test_an_empty_answer_to_many_references_keeps_its_header() -> None:
    assert written([], "csv", references=[]).startswith(b"reference,image_id,")


def test_images_are_the_only_rows_with_paths() -> None:
    assert written([Label("objects", "car", "a car")], "paths", kind=Label) == b""
    assert issubclass(SimilarImage, Image)
