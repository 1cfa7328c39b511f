"""Libraries as files: Parquet for DuckDB, pandas and Lance, arrays for NumPy, and files that are whole or not there."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import libraries
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import scene
from program import peak, run

import pictocli
from pictocli.errors import PictoError, ValidationError
from pictocli.render import as_object
from pictocli.schema import connect

COLUMNS = [
    "image_id", "path", "path_bytes", "filename", "dataset", "folder", "page", "width", "height", "kind", "size",
    "modified", "indexed_at", "content_hash", "objects", "objects_scores", "scenes", "scenes_scores", "attributes",
    "attributes_scores", "metadata", "measures", "thumbnail_url", "processing_time_ms", "embedding",
]  # fmt: skip


def test_parquet_says_what_jsonl_says(library: pictocli.Library, tmp_path: Path) -> None:
    exported = list(library.export(embeddings=True))
    report = library.export_to(tmp_path / "x.parquet", embeddings=True)
    assert (report.images, report.lacking, report.paths) == (18, 0, [str(tmp_path / "x.parquet")])
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == COLUMNS
    assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32()), 24)
    assert table.schema.field("modified").type == pa.timestamp("ms", "UTC")
    for row, image in zip(table.to_pylist(), exported, strict=True):
        said = as_object(image)
        for name in ("image_id", "path", "filename", "dataset", "folder", "page", "width", "kind", "content_hash"):
            assert row[name] == said[name]
        for category, scores in image.scores.items():
            assert (row[category], len(row[f"{category}_scores"])) == (list(scores), len(scores))
            assert row[f"{category}_scores"] == pytest.approx(list(scores.values()))
        assert row["modified"].strftime("%Y-%m-%dT%H:%M:%SZ") == image.modified
        assert (json.loads(row["measures"]), row["metadata"], row["path_bytes"]) == (image.measures, None, None)
        assert struct.pack("<24f", *row["embedding"]) == struct.pack("<24f", *image.embedding or ())


def test_duckdb_finds_the_nearest(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_to(tmp_path / "x.parquet", embeddings=True)
    nearest = library.similar("id:3", threshold=0, folder="/", limit=5)
    db = duckdb.connect()
    rows = db.execute(
        "WITH v AS (SELECT *, embedding::FLOAT[24] AS e FROM read_parquet(?))"
        " SELECT o.image_id, array_cosine_similarity(o.e, q.e) AS s FROM v o, v q"
        " WHERE q.image_id = 3 AND o.image_id <> 3 AND s >= 0 ORDER BY s DESC, o.image_id LIMIT 5",
        [str(tmp_path / "x.parquet")],
    ).fetchall()
    db.close()
    assert [image_id for image_id, _ in rows] == [each.image_id for each in nearest.results]
    assert [s for _, s in rows] == pytest.approx([each.similarity for each in nearest.results], abs=1e-5)


def test_pandas_reads_it(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_to(tmp_path / "x.parquet", embeddings=True)
    frame = pd.read_parquet(tmp_path / "x.parquet")
    assert (len(frame), list(frame.columns)) == (18, COLUMNS)
    assert np.stack(frame["embedding"].to_list()).shape == (18, 24)
    assert str(frame["indexed_at"].dtype) == "datetime64[ms, UTC]"


LANCE = """
import json, sys
import lance, pyarrow.parquet as pq
made = lance.write_dataset(pq.read_table(sys.argv[1]), sys.argv[2])
q = pq.read_table(sys.argv[1]).column("embedding")[2].as_py()
found = made.to_table(columns=["image_id"], nearest={"column": "embedding", "q": q, "k": 3, "metric": "cosine"})
print(json.dumps([made.count_rows(), found.column("image_id").to_pylist()]))
"""


def test_lance_searches_it(library: pictocli.Library, tmp_path: Path) -> None:
    """In a process of its own: Lance's threads outlive a test."""
    library.export_to(tmp_path / "x.parquet", embeddings=True)
    line = [sys.executable, "-c", LANCE, tmp_path / "x.parquet", tmp_path / "x.lance"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    nearest = library.similar("id:3", threshold=0, folder="/", limit=2)
    assert json.loads(done.stdout) == [18, [3, *(each.image_id for each in nearest.results)]]


def test_numpy_maps_it(library: pictocli.Library, tmp_path: Path) -> None:
    report = library.export_to(tmp_path / "x.npy", folder="scans")
    assert report.paths == [str(tmp_path / "x.npy"), str(tmp_path / "x.npy.jsonl")]
    vectors = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = [json.loads(line) for line in (tmp_path / "x.npy.jsonl").read_text().splitlines()]
    exported = list(library.export(embeddings=True, folder="scans"))
    assert (vectors.shape, vectors.dtype) == ((8, 24), np.float32)
    assert [row["image_id"] for row in rows] == [each.image_id for each in exported]
    assert "embedding" not in rows[0]
    assert np.array_equal(vectors, np.array([each.embedding for each in exported], "f4"))


def test_images_without_an_embedding(library: pictocli.Library, tmp_path: Path) -> None:
    db = connect(library.path)
    db.execute("DELETE FROM embedding WHERE content_id = (SELECT content_id FROM image WHERE id = 2)")
    db.close()
    assert library.export_to(tmp_path / "x.parquet", embeddings=True).lacking == 1
    column = pq.read_table(tmp_path / "x.parquet").column("embedding")
    assert [at for at, each in enumerate(column) if not each.is_valid] == [1]
    report = library.export_to(tmp_path / "x.npy")
    assert (report.images, report.lacking) == (17, 1)
    assert np.load(tmp_path / "x.npy").shape == (17, 24)
    ran = run("export", "-o", tmp_path / "y.npy", "--db", library.path)
    assert "1 image without an embedding\nhint: picto index" in ran.err


def test_a_name_that_is_no_utf_8(index: Callable[..., Any], tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    scene(1).save(tmp_path / name)
    index(tmp_path / name)
    with pictocli.open(tmp_path / "library.db") as library:
        library.export_to(tmp_path / "x.parquet")
    (row,) = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert (row["filename"], row["path_bytes"]) == ("caf\ufffd.png", os.fsencode(tmp_path / name))


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_file_holds_what_a_pipe_gets(form: str, library: pictocli.Library, tmp_path: Path) -> None:
    ran = run("export", "--format", form, "--db", library.path)
    to_file = run("export", "-o", tmp_path / f"x.{form}", "--db", library.path)
    assert (ran.code, ran.err, to_file.code, to_file.out) == (0, "", 0, b"")
    assert to_file.err.startswith("Wrote 18 images to ")
    assert (tmp_path / f"x.{form}").read_bytes() == ran.out
    if form == "parquet":
        assert pq.read_table(io.BytesIO(ran.out)).num_rows == 18


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--format", "npy"], 2, "NumPy's file has a second one beside it"),
        (["--format", "npy", "-o", "x.bin"], 2, "NumPy's file has a second one beside it"),
        (["-o", "x.csv", "--embeddings"], 2, "a CSV has no room for embeddings"),
        (["-o", "x.parquet", "--spreadsheet-safe"], 2, "only a CSV can be made safe for spreadsheets"),
        (["-o", "library.db"], 2, "library.db is the library itself"),
        (["-o", "none/x.csv"], 3, "cannot write none/x.csv: no such folder"),
        (["-o", "."], 2, ". is a folder"),
        (["-o", "x.csv", "--dataset", "none"], 4, "there is no dataset none"),
    ],
    ids=["npy to a pipe", "npy by another name", "csv", "safe", "itself", "no folder", "folder", "scope"],
)
def test_what_does_not_fit_is_told(
    arguments: list[str], code: int, told: str, library: pictocli.Library, tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    ran = run("export", *arguments, "--db", library.path, cwd=tmp_path)
    assert (ran.code, ran.err.splitlines()[0]) == (code, f"error: {told}")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_damaged_row_leaves_no_half_file(library: pictocli.Library, tmp_path: Path) -> None:
    db = connect(library.path)
    db.execute("UPDATE embedding SET v = x'0102' WHERE content_id = 9")
    db.close()
    for name in ("x.parquet", "x.npy", "x.jsonl"):
        with pytest.raises(PictoError, match="the embedding of image"):
            library.export_to(tmp_path / name, embeddings=True)
    assert {name for name in os.listdir(tmp_path) if "x." in name} == set()


def test_without_pyarrow_the_remedy_is_named(library: pictocli.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PictoError, match="Parquet needs the package pyarrow") as told:
        library.export_to(io.BytesIO(), "parquet")
    assert told.value.hint == "pip install 'pictocli[parquet]'"
    with pytest.raises(ValidationError, match="a library cannot be exported as xml"):
        library.export_to(io.BytesIO(), "xml")


def test_rows_are_not_held(tmp_path: Path) -> None:
    """20,000 embeddings of 192 numbers are 120 MB as objects of Python."""
    peaks = []
    for count in (5000, 20_000):
        libraries.make(tmp_path / f"{count}.db", libraries.clustered(count, 192, 3)).close()
        line = ["export", "--embeddings", "-o", str(tmp_path / "x.parquet"), "--db", str(tmp_path / f"{count}.db")]
        peaks.append(peak(*line))
    assert peaks[1] < peaks[0] + 40
