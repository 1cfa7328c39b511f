"""The documentation of the Python API: all that is public has some, and every example in it is run."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import pydoc
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pictocli
from pictocli import browsed, damage, figures, grouped, records, reports, settings

ROOT = Path(__file__).parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
METHODS = sorted(
    name for name, value in inspect.getmembers(pictocli.Library, callable) if not name.startswith("_")
)  # fmt: skip
TOLD = (
    browsed,
    damage,
    figures,
    grouped,
    records,
    reports,
)  # where the package's own documentation says that what is returned lies


def examples() -> Iterator[doctest.DocTest]:
    """Every docstring of the package that has an example, found without importing anything."""
    for path in sorted((ROOT / "pictocli").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if ">>> " not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                name = f"{path.stem}.{node.name}" if not isinstance(node, ast.Module) else path.parent.name
                found = doctest.DocTestParser().get_doctest(text, {}, name, str(path), node.body[0].lineno - 1)
                if found.examples:
                    yield found


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample images, and picto.db that holds them, by the bundled model. Not to be changed."""
    folder = tmp_path_factory.mktemp("samples")
    shutil.copytree(ROOT / "sample_images", folder / "sample_images")
    with pictocli.open(folder / "picto.db") as library:
        report = library.index([folder / "sample_images"], model="mini", workers=0, thumbnails=True)
    assert (report.indexed, report.skipped) == (62, [])
    return folder


@pytest.fixture
def place(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the sample images and picto.db, which an example may change."""
    shutil.copytree(samples / "sample_images", tmp_path / "sample_images", copy_function=os.link)
    shutil.copy(samples / "picto.db", tmp_path)
    with pictocli.open(tmp_path / "picto.db") as library:
        library.move_root(samples / "sample_images", tmp_path / "sample_images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=[each.name for each in EXAMPLES])
def test_every_example_is_true(example: doctest.DocTest, place: Path) -> None:
    told: list[str] = []
    with pictocli.open(place / "picto.db") as library:
        example.globs = {"pictocli": pictocli, "library": library}
        done = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append)
    assert (done.failed, done.attempted) == (0, len(example.examples)), "".join(told)


def test_an_untrue_example_fails() -> None:
    """The checks above notice what they are for: another output, and another error."""
    for text in (">>> 1 + 1\n3", ">>> 1 / 0\n3", ">>> pictocli\n<module 'sqlite3'...>"):
        wrong = doctest.DocTestParser().get_doctest(text, {"pictocli": pictocli}, "wrong", "wrong", 0)
        assert doctest.DocTestRunner(optionflags=FLAGS).run(wrong, out=lambda _: None).failed == 1


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_an_example(name: str) -> None:
    """Of its own name: `>>>` somewhere, and the method called in it."""
    text = inspect.getdoc(getattr(pictocli.Library, name)) or ""
    called = [each.source for each in doctest.DocTestParser().get_examples(text)]
    assert any(re.search(rf"\.{name}\(", source) for source in called), "give it an example of 1 to 4 lines"


def test_all_that_is_public_is_described() -> None:
    assert (inspect.getdoc(pictocli.open) or "").count(">>> ") == 1
    for name in pictocli.__all__:
        assert inspect.getdoc(getattr(pictocli, name)), name
    for module in (*TOLD, settings):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                own = value.__dict__.get("__doc__") or ""
                assert own or inspect.isfunction(value), f"{module.__name__}.{name}"
                assert not own.startswith(f"{name}("), f"{module.__name__}.{name}"  # which a dataclass makes for itself


def test_help_shows_all_methods() -> None:
    """What `help(pictocli.Library)` prints: inherited methods too, with their parameters and the first line of text."""
    shown = pydoc.plaintext.document(pictocli.Library)
    for name in METHODS:
        method = getattr(pictocli.Library, name)
        first = (inspect.getdoc(method) or "").splitlines()[0]
        assert re.search(rf"^ \|  {name}\(self.*\n \|      {re.escape(first)}$", shown, re.MULTILINE), name
        assert "P.args" not in str(inspect.signature(method))


def test_help_for_the_package_begins_with_how_to_use_it() -> None:
    shown = pydoc.plaintext.document(pictocli)
    assert shown.index(">>> import pictocli") < shown.index("PACKAGE CONTENTS")
    for name in ("pictocli.records", "pictocli.reports", "pictocli.grouped", "pictocli.damage", "pictocli.settings"):
        assert f"`{name}`" in shown
    for name in re.findall(r"`(?:pictocli\.)?(\w+)`", (pictocli.__doc__ or "").partition("What they return")[0]):
        assert name in METHODS or name in pictocli.__all__, name


# -- from asynchronous code -----


def test_two_libraries_answer_in_two_threads_at_once(place: Path) -> None:
    """What the documentation says of asynchronous code: a thread each, and the event loop goes on meanwhile."""
    meeting = threading.Barrier(2, timeout=120)
    words = ["a mountain", "a cup of coffee", "a red car"]

    def asked(path: Path, queue: list[str]) -> list[tuple[str, list[str], int]]:
        found = []
        with pictocli.open(path) as library:
            for text in queue:
                meeting.wait()  # neither begins before the other is ready: they are under way at the same time
                names = [image.filename for image in library.by_text(text, limit=5, device="cpu")]
                found.append((text, names, library.info().images))
        return found

    async def both() -> tuple[list[list[tuple[str, list[str], int]]], int]:
        ticks, going = 0, True

        async def tick() -> None:
            nonlocal ticks
            while going:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        asking = (asyncio.to_thread(asked, place / "picto.db", queue) for queue in (words, words[::-1]))
        answers = await asyncio.gather(*asking)
        going = False
        await ticking
        return answers, ticks

    (one, other), ticks = asyncio.run(both())
    with pictocli.open(place / "picto.db") as library:
        wanted = [(text, [each.filename for each in library.by_text(text, limit=5)], 62) for text in words]
    assert one == wanted
    assert other == wanted[::-1]
    assert ticks > 3


def test_one_library_serves_threads_one_after_another(place: Path) -> None:
    async def asked() -> list[set[int]]:
        seen: list[set[int]] = []

        def ask() -> str:
            seen.append({threading.get_ident()})
            return library.by_similarity(59, folder_path="/", threshold=0)[0].filename

        with pictocli.open(place / "picto.db") as library:
            first = await asyncio.to_thread(ask)
            thread = threading.Thread(target=ask)  # surely another one than the executor's
            thread.start()
            await asyncio.to_thread(thread.join)
            assert await asyncio.to_thread(ask) == first == ask()
        return seen

    assert len(set.union(*asyncio.run(asked()))) >= 3
