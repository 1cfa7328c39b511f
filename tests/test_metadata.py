"""Metadata files: how rows are read, joined to images, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pictocli import Library
from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.metadata import Metadata, rows


def written(folder: Path, text: str | bytes, name: str = "m.csv") -> Metadata:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return Metadata(str(folder / name))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "/data/photos/trip/a.jpg"),
        ("path", "trip/a.jpg"),
        ("path", "photos/trip/a.jpg"),
        ("path", "./trip//a.jpg"),
        ("filename", "a.jpg"),
    ],
    ids=["full path", "relative to the root", "relative to the metadata file", "not the shortest", "file name"],
)
def test_rows_are_joined(key: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metadata = written(tmp_path, f"{key},who\n{value},Ann\n")
    monkeypatch.setattr(metadata, "_folder", Path("/data"))
    assert metadata.unmatched == 1
    assert metadata.of("/data/photos", "/data/photos/trip/a.jpg") == {"who": "Ann"}
    assert metadata.unmatched == 0
    for other in ("/data/photos/trip/b.jpg", "/data/photos/trip/A.jpg", "/data/photos/trip/aa.jpg"):
        assert metadata.of("/data/photos", other) is None


@pytest.mark.parametrize("key", ["path", "filename"])
@pytest.mark.parametrize(("listed", "lying"), [("e\u0301.jpg", "\xe9.jpg"), ("\xe9.jpg", "e\u0301.jpg")])
def test_accents_match_in_either_normal_form(key: str, listed: str, lying: str, tmp_path: Path) -> None:
    assert written(tmp_path, f"{key},n\n{listed},1\n").of("/r", f"/r/{lying}") == {"n": "1"}


def test_a_path_names_one_file_and_a_file_name_all_of_that_name(tmp_path: Path) -> None:
    metadata = written(tmp_path, "path,filename,n\nx/a.jpg,,1\n,a.jpg,2\n")
    assert [metadata.of("/r", f"/r/{name}") for name in ("x/a.jpg", "a.jpg", "y/a.jpg")] == [
        {"n": "1"},
        {"n": "2"},
        {"n": "2"},
    ]


@pytest.mark.parametrize(
    ("name", "text", "fields"),
    [
        ("m.csv", "path,b,a\nx.jpg,2,1\n", {"b": "2", "a": "1"}),
        ("m.csv", b"\xef\xbb\xbfpath,who\nx.jpg,\xc3\xa9\n", {"who": "é"}),
        ("m.csv", 'path,text\r\nx.jpg,"two\nlines, ""quoted"""\r\n', {"text": 'two\nlines, "quoted"'}),
        ("m.csv", "path,empty\nx.jpg,\n", {"empty": ""}),
        ("m.csv", "path\nx.jpg\n", {}),
        ("m.jsonl", '\n{"path": "x.jpg", "n": 1.5, "list": [1, null], "deep": {"a": true}}\n\n',
         {"n": 1.5, "list": [1, None], "deep": {"a": True}}),
        ("m.ndjson", '{"filename": "x.jpg", "é": 1}', {"é": 1}),
    ],
    ids=["columns in order", "byte order mark", "quoted", "empty field", "no other column", "types are kept", "ndjson"],
)  # fmt: skip
def test_reading(name: str, text: str | bytes, fields: dict[str, object], tmp_path: Path) -> None:
    found = written(tmp_path, text, name).of("/r", "/r/x.jpg")
    assert found == fields
    assert list(found or {}) == list(fields)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "name,who\nx,y\n", "no column path, filename or url"),
        ("m.csv", "", "no column path, filename or url"),
        ("m.csv", "path,who\nx.jpg,Ann\ny.jpg\n", "line 3: not as many fields"),
        ("m.csv", "path,who\nx.jpg,Ann,more\n", "line 2: not as many fields"),
        ("m.csv", 'path,who\nx.jpg,"open\n', "cannot read"),
        ("m.csv", "path,who\n,Ann\n", "no path, filename or url"),
        ("m.csv", b"path,who\nx.jpg,\xff\n", "cannot read"),
        ("m.jsonl", '{"path": "x.jpg"}\nnot json\n', "line 2: not JSON"),
        ("m.jsonl", "[1, 2]\n", "line 1: not a JSON object"),
        ("m.jsonl", '{"who": "Ann"}\n', "no path, filename or url"),
        ("m.csv", "path,who,who\nx.jpg,Ann,Bob\n", "two columns who"),
        ("m.jsonl", '{"path": "x.jpg", "n": NaN}\n', "line 1: not JSON: NaN is no number"),
        ("m.jsonl", '{"path": "x.jpg", "n": -1e999}\n', "line 1: not JSON: -1e999 is no number"),
        ("m.jsonl", '{"path": "x.jpg", "n": ' + "9" * 4301 + "}\n", "line 1: not JSON: Exceeds the limit"),
        ("m.jsonl", '{"path": "x.jpg", "n": ' + "[" * 100 + "]" * 100 + "}\n", "line 1: .* more than 100 deep"),
        ("m.jsonl", '{"path": "x.jpg", "n": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "line 1: .* more than 100 deep"),
    ],
    ids=["no key column", "empty", "too few", "too many", "open quote", "no key", "not UTF-8", "not JSON", "no object",
         "no key in JSON", "two columns of a name", "NaN", "too large a number", "too long a number", "too deep",
         "far too deep"],
)  # fmt: skip
def test_bad_files_are_refused_with_the_line(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=message):
        written(tmp_path, text, name)


def test_the_deepest_that_is_read_comes_through_a_library(tmp_path: Path, library: Library, photos: Path) -> None:
    deep = "[" * 99 + "]" * 99
    written(tmp_path, f'{{"filename": "old.bmp", "n": {deep}}}\n', "m.jsonl")
    library.index([photos], metadata=str(tmp_path / "m.jsonl"))
    assert json.dumps((library.show(photos / "old.bmp").metadata or {})["n"]) == deep


@pytest.mark.parametrize(("name", "error"), [("gone.csv", NotFoundError), (".", ValidationError)])
def test_files_that_cannot_be_read(name: str, error: type[PictoError], tmp_path: Path) -> None:
    with pytest.raises(error):
        Metadata(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("start", ["", "path,note\na.png,"], ids=["at once", "later"])
def test_a_line_that_does_not_end_is_refused(name: str, start: str, tmp_path: Path) -> None:
    """One of /dev/zero was read until memory was full."""
    with (tmp_path / name).open("w") as file:
        file.write(start if name == "a.csv" else start and '{"path": "a.png"}\n')
        file.truncate(2**34)  # sparse: nothing is written
    with pytest.raises(ValidationError, match=r"line [12]: longer than 1,048,576 characters"):
        Metadata(str(tmp_path / name))


def test_many_fields_that_are_too_much_together_are_refused(tmp_path: Path) -> None:
    names = ",".join(f"n{at}" for at in range(20))
    field = '"\n' + "x" * 100_000 + '"'
    (tmp_path / "a.csv").write_text(f"path,{names}\na.png{20 * (',' + field)}\n")
    with pytest.raises(ValidationError, match="longer than 1,048,576 characters"):
        Metadata(str(tmp_path / "a.csv"))


def test_rows_are_joined_to_remote_images_by_url(tmp_path: Path) -> None:
    urls = ("https://x.org/a/b.jpg", "s3://bucket/k/c.jpg", "https://x.org/none.jpg")
    metadata = written(tmp_path, "url,n\n" + "".join(f"{url},{at}\n" for at, url in enumerate(urls)))
    assert metadata.of("https://x.org/a", urls[0]) == {"n": "0"}
    assert metadata.of("s3://bucket/k", urls[1]) == {"n": "1"}
    assert metadata.of("/r", "/r/b.jpg") is None
    assert (metadata.rows, metadata.unmatched, metadata.duplicates) == (3, 1, 0)


def test_a_url_is_a_field_like_others_beside_a_path(tmp_path: Path) -> None:
    metadata = written(tmp_path, "path,url,n\na.jpg,https://shop.org/a,1\ns3://b/k.jpg,,2\n")
    assert metadata.of("/r", "/r/a.jpg") == {"url": "https://shop.org/a", "n": "1"}
    assert metadata.of("s3://b", "s3://b/k.jpg") == {"url": "", "n": "2"}


def test_of_rows_for_one_the_last_holds(tmp_path: Path) -> None:
    metadata = written(tmp_path, "path,filename,n\na.jpg,,1\n./a.jpg,,2\n,b.jpg,3\n,b.jpg,4\n,c.jpg,5\n")
    assert metadata.of("/r", "/r/a.jpg") == {"n": "2"}
    assert metadata.of("/r", "/r/x/b.jpg") == {"n": "4"}
    assert (metadata.rows, metadata.unmatched, metadata.duplicates) == (5, 1, 2)


def test_rows_are_read_without_asking_for_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,n\nx.jpg,1\n")
    assert list(rows(tmp_path / "a.csv")) == [{"image": "x.jpg", "n": "1"}]
