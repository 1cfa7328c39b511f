"""`picto mcp` as agents meet it: the SDK's own client, and the installed program as its server."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hidden import OPEN, SECRET, make_hidden
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from PIL import Image
from program import PICTO, environment, run

from pictocli.agent_tools import Agent
from pictocli.agents import Answering, server
from pictocli.protocols import NoProgress
from pictocli.restricted import Restricted
from pictocli.schema import connect
from pictocli.visible import Bounds

Call = tuple[str, dict[str, Any]]
TOOLS = ["search", "similar", "tags", "show", "taxonomy", "info"]
NOT_FOUND = "no such image: {} (hint: take its id from an answer of search, similar or tags)"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database; the file of image 6 is gone."""
    made = make_hidden(tmp_path_factory.mktemp("hidden"))
    (made.parent / SECRET[6]).unlink()
    return made


def started(path: Path, options: Sequence[str], act: Callable[[Client], Any], **settings: Any) -> Any:
    """What `act` returns, having talked with the installed program; what that says beside goes to a file."""

    async def talk() -> Any:
        with open(path.parent / "stderr.txt", "w+", encoding="utf-8") as told:
            server = StdioServerParameters(
                command=str(PICTO), args=["--db", str(path), "mcp", *options], env=environment()
            )
            with anyio.fail_after(120):
                async with Client(stdio_client(server, errlog=told), **settings) as client:
                    found = await act(client)
            told.seek(0)
            assert "Traceback" not in told.read()
        return found

    return anyio.run(talk)


def asked(calls: Sequence[Call]) -> Callable[[Client], Any]:
    """Makes calls, one after another: their results, which the client has validated by each tool's schema."""

    async def act(client: Client) -> list[Any]:
        await client.list_tools()
        return [await client.call_tool(name, arguments) for name, arguments in calls]

    return act


async def at_once(client: Client) -> list[Any]:
    """The results of ten calls that are made at the same time."""
    results: list[Any] = [None] * 10

    async def call(at: int) -> None:
        question = {"image": 1 + at % 4, "threshold": 0, "detail": "ids", "thumbnails": at % 2 == 0}
        results[at] = await client.call_tool("similar", question)

    async with anyio.create_task_group() as group:
        for at in range(10):
            group.start_soon(call, at)
    return results


def within(
    path: Path, act: Callable[[Client], Any], bounds: Bounds | None = None, *, paths: bool = True, files: bool = False
) -> tuple[Any, list[str]]:
    """What `act` returns, having talked with a server in this process, and what that was told to say beside."""
    said: list[str] = []

    async def talk() -> Any:
        with Restricted(str(path), NoProgress(), bounds, paths=paths, files=files) as library:
            answering = Answering(Agent(library, paths), lambda error: said.append(str(error)))
            with anyio.fail_after(120):
                async with Client(server(answering)) as client:
                    return await act(client)

    return anyio.run(talk), said


def answers(path: Path, calls: Sequence[Call], bounds: Bounds | None = None, **options: bool) -> list[Any]:
    """The results of calls to a server in this process, which has nothing to say beside."""
    results, beside = within(path, asked(calls), bounds, **options)
    assert beside == []
    return results  # type: ignore[no-any-return]


def said(result: Any) -> Any:
    """An answer: its JSON, which its text is too; of an error, its text."""
    text = result.content[0].text
    if result.is_error:
        return text
    assert json.loads(text) == result.structured_content
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    return result.structured_content


# -- what there is to ask ----------------------------------------------------------------------------------------------


def test_the_tools_are_described_for_whoever_reads_only_that(path: Path) -> None:
    async def act(client: Client) -> Any:
        return await client.list_tools(), client.instructions

    (listed, instructions), _ = within(path, act)
    tools = {tool.name: tool for tool in listed.tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.description
        assert tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        lacking = [name for name, each in tool.input_schema["properties"].items() if "description" not in each]
        assert lacking == []
    limits = tools["similar"].input_schema["properties"]
    assert limits["image"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "string"}]
    assert limits["match"]["enum"] == ["any", "all"]
    assert (limits["limit"]["minimum"], limits["limit"]["maximum"], limits["limit"]["default"]) == (1, 50, 10)
    assert (limits["threshold"]["minimum"], limits["threshold"]["maximum"]) == (0, 1)
    assert tools["similar"].input_schema["required"] == ["image"]
    assert "Ids are stable" in instructions
    assert len(listed.model_dump_json(by_alias=True, exclude_unset=True)) < 14_000  # every agent pays for it


def image(base: Path, number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "path": str(base / {**OPEN, **SECRET}[number]), **more}


def test_answers_of_the_program(path: Path) -> None:
    base = path.parent
    calls: dict[str, tuple[Call, Any]] = {
        "search": (("search", {"text": "a red car", "limit": 2}), None),
        "similar": (
            ("similar", {"image": 1, "threshold": 0.75, "dataset": "open"}),
            {"results": [image(base, 2, similarity=0.8, tags=["car", "outdoor", "red"])]},
        ),
        "similar everywhere, a page": (
            ("similar", {"image": "id:1", "threshold": 0.85, "limit": 1}),
            {"results": [image(base, 5, similarity=1.0, tags=["beach", "outdoor", "sunny"])], "next_offset": 1},
        ),
        "the next page": (
            ("similar", {"image": 1, "threshold": 0.85, "limit": 1, "offset": 1, "detail": "ids"}),
            {"results": [{"id": 6, "similarity": 0.9}]},
        ),
        "nothing near enough": (
            ("similar", {"image": 4, "threshold": 0.999}), {"results": [], "searched": 5, "nearest": 0.995}
        ),
        "tags": (
            ("tags", {"objects": ["cars"], "sort": "score"}),
            {
                "results": [
                    image(base, 2, matched={"car": 0.98}, tags=["car", "outdoor", "red"]),
                    image(base, 6, matched={"car": 0.6}, tags=["truck", "car", "office"]),
                ]
            },
        ),
        "tags as models write them": (
            ("tags", {"objects": '["car"]', "scenes": "outdoor,office", "camera": None, "after": "", "limit": "1"}),
            {"results": [image(base, 2, matched={"car": 0.98, "outdoor": 0.7}, tags=["car", "outdoor", "red"])],
             "next_offset": 1},
        ),
        "metadata": (("tags", {"where": ["price>5"], "detail": "ids"}), {"results": [{"id": 2}]}),
        "all there is": (
            ("tags", {"where": "price", "dataset": "open", "folder": "crete", "detail": "full"}),
            {
                "results": [
                    image(base, 2, dataset="open", folder="crete", width=800, height=600,
                          metadata={"owner": "bo", "price": 50}, modified="2019-07-14T18:22:00Z",
                          tags={"objects": {"car": 0.98}, "scenes": {"outdoor": 0.7}, "attributes": {"red": 0.83}}),
                ]
            },
        ),
        "taxonomy": (
            ("taxonomy", {}),
            {"objects": {"truck": 1, "car": 2, "book": 1}, "scenes": {"office": 1, "beach": 2, "outdoor": 3},
             "attributes": {"red": 1}},
        ),
        "taxonomy of a word": (("taxonomy", {"matching": "hot-d", "used": False}), {"objects": {"hot-dog": 0}}),
        "info": (
            ("info", {}),
            {
                "images": 6, "files": 5, "pdf_pages": 2, "kinds": {"jpeg": 2, "pdf": 2, "png": 2}, "model": "mini",
                "datasets": [
                    {"name": "open", "images": 4, "roots": [str(base / "open")]},
                    {"name": "secret", "images": 2, "roots": [str(base / "secret")]},
                ],
                "tags": {"outdoor": 3, "sunny": 2, "car": 2, "beach": 2, "red": 1, "book": 1, "truck": 1, "office": 1},
                "metadata_fields": ["owner", "price", "salary"],
            },
        ),
    }  # fmt: skip

    async def act(client: Client) -> Any:
        with pytest.raises(MCPError, match="there is no tool delete: search, similar, tags, show, taxonomy, info"):
            await client.call_tool("delete", {})
        results = await asked([call for call, _ in calls.values()])(client)
        return client.server_info.name, results, await at_once(client)

    name, results, together = started(path, [], act)
    assert name == "picto"
    assert [sorted(each["id"] for each in said(result)["results"]) for result in together[:4]] == [
        [2, 3, 4, 5, 6], [1, 3, 4, 5, 6], [1, 2, 4, 5, 6], [1, 2, 3, 5, 6],
    ]  # fmt: skip
    found = dict(zip(calls, map(said, results), strict=True))
    search = found.pop("search")
    assert [sorted(each) for each in search["results"]] == [["id", "path", "probability", "tags"]] * 2
    assert search["next_offset"] == 2
    assert {name: found[name] for name in found} == {name: calls[name][1] for name in found}


def test_one_image_in_full(path: Path) -> None:
    calls: list[Call] = [("show", {"images": [3, 1]}), ("show", {"images": 1, "measures": True})]
    both, measured = map(said, answers(path, calls))
    page, photo = both["images"]
    for each in (page, photo, *measured["images"]):
        assert len(each.pop("content_hash")) == 64
        assert each.pop("indexed_at").endswith("Z")
        assert each.pop("size") > 500
    plain = {"dataset": "open", "modified": "2019-07-14T18:22:00Z", "model": "mini"}
    assert page == image(
        path.parent, 3, **plain, folder="crete", page=1, kind="pdf", width=page["width"], height=page["height"],
        tags={"objects": {"book": 0.5}},
    )  # fmt: skip
    copies = [str(path.parent / SECRET[5])]
    assert photo == image(
        path.parent, 1, **plain, kind="jpeg", width=64, height=48, metadata={"owner": "ana", "price": 5}, copies=copies,
        tags={"scenes": {"beach": 0.97, "outdoor": 0.91}, "attributes": {"sunny": 0.8}},
    )  # fmt: skip
    assert measured["images"][0].pop("measures")["aspect"] == 1.33
    assert measured["images"] == [photo]


def test_thumbnails_are_pictures_in_the_order_of_results(path: Path) -> None:
    calls: list[Call] = [
        ("tags", {"where": "owner", "thumbnails": True}),
        ("show", {"images": [2], "thumbnails": True, "thumbnail_width": 64}),
        ("similar", {"image": 1, "threshold": 0.7, "thumbnails": True}),
    ]
    tagged, shown, similar = answers(path, calls)
    assert [block.text for block in tagged.content[1::2]] == ["id 1:", "id 2:"]
    assert said(tagged)["without_thumbnail"] == [6]
    assert [size_of(block) for block in tagged.content[2::2]] == [(64, 48), (320, 240)]
    assert [size_of(block) for block in shown.content[2::2]] == [(64, 48)]
    assert "without_thumbnail" not in said(shown)
    assert [block.text for block in similar.content[1::2]] == [f"id {i}:" for i in (5, 2)]
    assert all(not result.is_error for result in (tagged, shown, similar))


def size_of(block: Any) -> tuple[int, int]:
    assert block.mime_type == "image/jpeg"
    with Image.open(io.BytesIO(base64.b64decode(block.data))) as picture:
        picture.load()
        assert picture.format == "JPEG"
        return picture.size


WRONG: dict[str, tuple[Call, str]] = {
    "a label that there is not": (
        ("tags", {"objects": ["truk"]}), "unknown label truk in objects (hint: nearest: truck)"
    ),
    "a label of another kind": (
        ("search", {"text": "a", "scenes": ["dog"]}),
        "unknown label dog in scenes (hint: dog is one of the objects: objects dog)",
    ),
    "a label like no other": (
        ("tags", {"objects": ["xyzzyxyzzy"]}), "unknown label xyzzyxyzzy in objects (hint: the tool taxonomy lists all)"
    ),
    "no question": (
        ("tags", {}),
        "no tag given (hint: objects, scenes, attributes, where, after, before, camera or near names what to list)",
    ),
    "no words": (("search", {}), "no words to search for (hint: give text, or images, or both)"),
    "no image": (
        ("similar", {}),
        "the argument image is missing (hint: arguments: objects, scenes, attributes, match, where, after, before,"
        " camera, near, dataset, folder, detail, limit, offset, thumbnails, thumbnail_width, image, threshold)",
    ),
    "an unknown id": (("similar", {"image": 99}), NOT_FOUND.format(99)),
    "an unknown argument": (
        ("show", {"images": [1], "thumbs": True}),
        "there is no argument thumbs (hint: arguments: images, measures, thumbnails, thumbnail_width)",
    ),
    "too many": (
        ("search", {"text": "a", "limit": 51}),
        "the argument limit is wrong: input should be less than or equal to 50 (hint: see the tool's input schema)",
    ),
    "a choice that there is not": (
        ("tags", {"objects": ["car"], "match": "some"}),
        "the argument match is wrong: input should be 'any' or 'all' (hint: see the tool's input schema)",
    ),
    "a condition that does not parse": (
        ("tags", {"where": ["price<"]}),
        "price< is no condition on metadata: a value is missing here"
        " (hint: a number, true, false, null, a word or a text in quotes)",
    ),
    "a field that there is not": (
        ("tags", {"where": ["prise<5"]}), "no image has a field prise (hint: nearest: price)"
    ),
    "no date": (
        ("tags", {"after": "soon"}),
        "soon is no date (hint: 2024, 2024-05, 2024-05-01, 2024-05-01T12:00, or how long ago: 12h, 30d, 6w, 1y)",
    ),
    "no dataset": (
        ("tags", {"objects": ["car"], "dataset": "x"}), "there is no dataset x (hint: datasets: open, secret)"
    ),
    "no folder": (
        ("tags", {"objects": ["car"], "folder": "x"}),
        "no indexed folder x (hint: folders are named relative to the dataset, / is all of it)",
    ),
}  # fmt: skip


def test_what_is_wrong_is_told_and_ends_nothing(path: Path) -> None:
    results = answers(path, [*(call for call, _ in WRONG.values()), ("info", {})])
    assert all(result.is_error for result in results[:-1])
    assert dict(zip(WRONG, map(said, results[:-1]), strict=True)) == {name: told for name, (_, told) in WRONG.items()}
    assert said(results[-1])["images"] == 6


# -- what an agent may not see -----------------------------------------------------------------------------------------

SECRETS = ["secret", "payroll", "copy", "salary", "eve", "truck", "office"]
"""What is only out of `open`: names, fields, values, tags."""

ASKED: list[Call] = [
    ("info", {}),
    ("taxonomy", {}),
    ("show", {"images": [1, 2, 3, 4]}),
    ("search", {"text": "a red car", "limit": 50, "detail": "full"}),
    ("search", {"text": "a red car", "without": ["a beach"], "images": [1], "detail": "full"}),
    ("search", {"text": "payroll of the office", "min_probability": 0}),
    *(("similar", {"image": i, "threshold": 0, "limit": 50, "detail": "full"}) for i in OPEN),
    ("similar", {"image": 1, "threshold": 0.85, "detail": "full"}),
    ("similar", {"image": 1, "threshold": 0.99, "folder": "/"}),
    ("similar", {"image": 1, "threshold": 0, "where": "owner"}),
    ("tags", {"before": "2100", "detail": "full", "limit": 50, "thumbnails": True}),
    ("tags", {"objects": ["car"], "sort": "score"}),
    ("tags", {"where": ["owner != ana"]}),
    ("tags", {"where": ["nothing"]}),
    ("tags", {"objects": ["car"], "dataset": "none"}),
    ("tags", {"objects": ["car"], "folder": "none"}),
]


@pytest.mark.parametrize(
    ("bounds", "seen"),
    [
        (Bounds(datasets=("open",)), {1, 2, 3, 4}),
        (Bounds(folders=("crete",)), {2, 3, 4}),
        (Bounds(where=("price<10",)), {1}),
        (Bounds(datasets=("open",), where=("owner in (ana, eve)",)), {1}),
    ],
    ids=["dataset", "folder", "where", "dataset and where"],
)
def test_nothing_tells_of_what_is_out_of_bounds(path: Path, bounds: Bounds, seen: set[int]) -> None:
    results = answers(path, ASKED, bounds)
    told = [" ".join(block.text for block in result.content if block.type == "text") for result in results]
    leaks = [(call, secret) for call, text in zip(ASKED, told, strict=True) for secret in SECRETS if secret in text]
    assert leaks == []
    info, taxonomy = said(results[0]), said(results[1])
    assert info["images"] == len(seen)
    assert [(each["name"], each["images"]) for each in info["datasets"]] == [("open", len(seen))]
    assert taxonomy.get("objects", {}).get("car", 0) == (2 in seen)
    for call, result in zip(ASKED, results, strict=True):
        found = result.structured_content or {}
        held = {each["id"] for each in found.get("results", [])}
        assert held <= seen, call
        assert found.get("searched", 0) <= len(seen)
    everything = next(at for at, (_, asked) in enumerate(ASKED) if asked.get("before"))
    assert {each["id"] for each in said(results[everything])["results"]} == seen
    assert len(results[everything].content) == 1 + 2 * len(seen)


def test_what_is_out_of_bounds_is_not_there(path: Path) -> None:
    """Every tool that takes an image, by every way to name it: one that is hidden and one that is not there."""

    def calls(hidden: bool) -> list[tuple[str, Call]]:
        named = [6, "6", "id:6"] if hidden else [99, "99", "id:99"]
        named.append(str(path.parent / (SECRET[6] if hidden else "secret/nobody.png")))
        named.append(str(path.parent / ("picto.db" if hidden else "nothing")))
        named.append(str(path.parent / ("secret" if hidden else "open/nothing")))
        ways: list[tuple[str, Callable[[Any], dict[str, Any]]]] = [
            ("show", lambda name: {"images": [name]}),
            ("show", lambda name: {"images": [1, name], "thumbnails": True}),
            ("similar", lambda name: {"image": name}),
            ("search", lambda name: {"images": [name]}),
            ("search", lambda name: {"text": "a red car", "images": [name]}),
        ]
        return [(str(name), (tool, given(name))) for name in named for tool, given in ways]

    both = [*calls(True), *calls(False)]
    results = started(path, ["--dataset", "open"], asked([call for _, call in both]), mode="legacy")
    assert [said(result) for result in results] == [NOT_FOUND.format(name) for name, _ in both]


def test_a_dataset_that_is_out_of_bounds_is_not_there(path: Path) -> None:
    questions: list[Call] = [("tags", {"objects": ["car"]}), ("similar", {"image": 1})]
    calls = [(tool, given | {"dataset": name}) for name in ("secret", "nobody") for tool, given in questions]
    told = [said(result) for result in answers(path, calls, Bounds(datasets=("open",)))]
    assert [text.replace("secret", "nobody") for text in told[:2]] == told[2:]
    assert told[2] == "there is no dataset nobody (hint: datasets: open)"


def test_paths_are_hidden_on_demand(path: Path) -> None:
    calls = [*ASKED[:14], ("show", {"images": [str(path.parent / OPEN[1])]}),
             ("tags", {"objects": ["car"], "folder": "crete"})]  # fmt: skip

    async def act(client: Client) -> Any:
        listed = await client.list_tools()
        return listed, await asked(calls)(client)

    (listed, results), _ = within(path, act, paths=False)
    assert not [tool.name for tool in listed.tools if "folder" in tool.input_schema["properties"]]
    hidden = [str(path.parent), "crete/", '"folder"', '"path"', '"roots"']
    for call, result in zip(calls[:14], results[:14], strict=True):
        text = result.content[0].text
        assert [each for each in hidden if each in text] == [], call
    assert said(results[2])["images"][0]["copies"] == 1
    assert [(each["file"], each.get("page")) for each in said(results[2])["images"]] == [
        ("beach.jpg", None), ("car.png", None), ("report.pdf", 1), ("report.pdf", 2),
    ]  # fmt: skip
    assert said(results[14]) == NOT_FOUND.format(path.parent / OPEN[1])
    assert said(results[15]) == "folders are hidden here (hint: ask by dataset)"


def test_errors_name_no_path_where_paths_are_hidden(tmp_path: Path) -> None:
    none, calls = tmp_path / "none.db", asked([("info", {})])
    remedy = "(hint: picto index FOLDER makes one, --db names another)"
    ((plain,), beside) = within(none, calls)
    assert (said(plain), beside) == (f"there is no database at {none} {remedy}", [])
    ((hidden,), beside) = within(none, calls, paths=False)
    assert (said(hidden), beside) == (f"the library cannot be used {remedy}", [f"there is no database at {none}"])


def test_files_are_asked_with_on_demand(path: Path, tmp_path: Path) -> None:
    copy, text = tmp_path / "copy.png", tmp_path / "text.txt"
    copy.write_bytes((path.parent / OPEN[2]).read_bytes())
    text.write_text("no picture")
    names = [str(each) for each in (copy, text, tmp_path / "none")]
    calls: list[Call] = [("similar", {"image": name, "detail": "ids"}) for name in names]
    assert [said(each) for each in answers(path, calls)] == [NOT_FOUND.format(name) for name in names]
    found, unreadable, none = map(said, answers(path, calls, files=True))
    assert [each["id"] for each in found["results"]] == [2, 6, 3, 1, 5, 4]
    assert unreadable == f"cannot read {text}: not an image"
    assert none == f"no such image: {tmp_path}/none (hint: name a file, a PDF page as file.pdf#page=3, or id:123)"


def test_the_options_of_the_program(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes((path.parent / OPEN[2]).read_bytes())
    options = ["--folder", "crete", "--dataset", "open", "--where", "price", "--where", "owner", "--no-paths"]
    calls: list[Call] = [("info", {}), ("similar", {"image": str(copy)})]
    info, similar = started(path, [*options, "--allow-files", "--device", "cpu"], asked(calls))
    assert said(info) == {
        "images": 1, "files": 1, "kinds": {"png": 1}, "datasets": [{"name": "open", "images": 1}], "model": "mini",
        "tags": {"car": 1, "outdoor": 1, "red": 1}, "metadata_fields": ["owner", "price"],
    }  # fmt: skip
    assert said(similar) == {
        "results": [{"id": 2, "file": "car.png", "similarity": 1.0, "tags": ["car", "outdoor", "red"]}]
    }


# -- how it runs -------------------------------------------------------------------------------------------------------


def test_ten_calls_at_once(path: Path) -> None:
    results, _ = within(path, at_once, Bounds(datasets=("open",)))
    together = [said(result) for result in results]
    assert together[:4] == together[4:8]
    assert together[:2] == together[8:]
    assert [sorted(each["id"] for each in found["results"]) for found in together[:4]] == [
        [2, 3, 4], [1, 3, 4], [1, 2, 4], [1, 2, 3],
    ]  # fmt: skip


def test_a_library_that_is_made_while_it_runs(path: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.db"

    async def act(client: Client) -> list[Any]:
        first = await client.call_tool("info", {})
        later.write_bytes(path.read_bytes())
        return [first, await client.call_tool("info", {})]

    (before, after), _ = within(later, act)
    assert said(before) == f"there is no database at {later} (hint: picto index FOLDER makes one, --db names another)"
    assert said(after)["images"] == 6


def test_a_damaged_library_is_told_of_without_a_name(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(path.read_bytes())
    db = connect(str(damaged))
    db.execute("UPDATE image SET metadata = '[' WHERE id = 6")
    db.execute("UPDATE image SET metadata = '[' WHERE id = 1")
    db.close()
    (told,), beside = within(damaged, asked([("show", {"images": [1]})]))
    assert "image" in beside[0]
    assert said(told) == (
        "the library cannot be used"
        " (hint: picto info --check names what is wrong, picto repair mends what can be mended)"
    )


FIRST = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip


def running(path: Path) -> subprocess.Popen[bytes]:
    """A server that has answered its first message."""
    server = subprocess.Popen(
        [PICTO, "--db", path, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    assert exchanged(server, json.dumps(FIRST).encode())["result"]["serverInfo"]["name"] == "picto"
    return server


def exchanged(server: subprocess.Popen[bytes], line: bytes) -> Any:
    """The answer to one line, which every line of standard output is."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(line + b"\n")
    server.stdin.flush()
    assert select.select([server.stdout], [], [], 60)[0], "no answer"
    return json.loads(server.stdout.readline())


def ended(server: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    out, err = server.communicate(timeout=60)
    return server.returncode, out, err.decode()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_signal_ends_it_at_once(path: Path, stop: signal.Signals) -> None:
    process = running(path)
    process.send_signal(stop)
    try:
        assert process.wait(60) == 0  # its input is still open
    finally:
        process.kill()
        left = ended(process)
    assert left == (0, b"", "")


BROKEN = [
    b"not JSON", b"{", b"[]", b"\xff\xfe", b'{"jsonrpc": "2.0", "id": 7, "method": "none"}',
    b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": 5}}', b"", b"[" * 100_000,
]  # fmt: skip


def test_broken_messages_end_nothing_and_the_end_of_its_input_ends_it(path: Path) -> None:
    process = running(path)
    assert process.stdin is not None
    assert process.stdout is not None
    for line in BROKEN:
        process.stdin.write(line + b"\n")
    ping = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}).encode()
    found = exchanged(process, ping)
    wrong = dict[int | None, int]()
    while found.get("id") != 2:  # first it says what was wrong
        wrong[found.get("id")] = found["error"]["code"]
        found = json.loads(process.stdout.readline())
    assert found["result"] == {}
    assert (wrong[7], wrong[8]) == (-32601, -32602)
    code, out, err = ended(process)
    assert (code, out) == (0, b"")
    assert "Traceback" not in err


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--dataset", "none"], 4, "error: there is no dataset none\n\nhint: datasets: open, secret\n"),
        (
            ["--folder", "none"], 4,
            "error: no indexed folder none\n\nhint: folders are named relative to the dataset, / is all of it\n",
        ),
        (["--where", "prise<5"], 2, "error: no image has a field prise\n\nhint: nearest: price\n"),
        (["--db"], 2, None),
    ],
    ids=["dataset", "folder", "where", "usage"],
)  # fmt: skip
def test_bounds_that_mean_nothing_are_told_at_once(path: Path, options: list[str], code: int, told: str | None) -> None:
    done = run("--db", path, "mcp", *options)
    assert (done.code, done.out) == (code, b"")
    if told is not None:
        assert done.err == told


def test_a_condition_is_read_before_there_is_a_library(tmp_path: Path) -> None:
    done = run("--db", tmp_path / "none.db", "mcp", "--where", "price<")
    assert (done.code, done.out) == (2, b"")
    assert "a value is missing here" in done.err


def test_no_library_yet_is_a_warning(tmp_path: Path) -> None:
    done = run("--db", tmp_path / "none.db", "mcp")
    warning = f"warning: there is no database at {tmp_path}/none.db yet: picto index FOLDER makes one\n"
    assert (done.code, done.out, done.err) == (0, b"", warning)
    assert os.listdir(tmp_path) == []


def test_an_empty_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "some.db").touch()
    done = run("--db", tmp_path / "some.db", "mcp")
    warning = f"warning: {tmp_path}/some.db is empty: picto index FOLDER makes one\n"
    assert (done.code, done.out, done.err) == (0, b"", warning)


def test_the_sdk_is_asked_for_by_name(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mcp_types.py").write_text("raise ImportError('not here')\n")
    done = run("--db", path, "mcp", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    assert (done.code, done.out, done.err) == (
        3, b"",
        "error: answering agents needs the package mcp, version 2\n\nhint: pip install 'pictocli[mcp]'\n",
    )  # fmt: skip
