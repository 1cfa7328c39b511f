"""The public API is typed throughout: a type checker sees all of it in the installed package, and it is as it says."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import installed
import pytest

import pictocli
from pictocli import (
    browsed,
    damage,
    exchanging,
    figures,
    filters,
    grouped,
    library,
    protocols,
    reading,
    records,
    reports,
    settings,
)
from pictocli.references import ImageLike
from pictocli.several import Weighed

PROGRAM = Path(__file__).with_name("typed_program.py")
VALUES = (browsed, damage, figures, grouped, records, reports)
OPTIONS = (filters.Filters, *(getattr(settings, name) for name in settings.__all__))
# Names that modules import for type checkers only: they cost time that no question shall pay.
LATE = {name: value for module in (*VALUES, settings, filters) for name, value in vars(module).items()
        if name in module.__all__} | {"threading": threading, "ImageLike": ImageLike, "Weighed": Weighed}  # fmt: skip


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What is called: `pictocli.open`, the methods of `Library`, errors and values, and what `Progress` asks for."""
    yield "open", pictocli.open
    classes = [getattr(pictocli, name) for name in pictocli.__all__ if inspect.isclass(getattr(pictocli, name))]
    classes += [protocols.Progress, protocols.NoProgress, *values()]
    for each in classes:
        for name, value in inspect.getmembers(each):
            if not name.startswith("_") and inspect.isfunction(value):
                yield f"{each.__name__}.{name}", inspect.unwrap(value)
            elif isinstance(value, property) and value.fget is not None:
                yield f"{each.__name__}.{name}", value.fget
        if inspect.isfunction(each.__init__) and not dataclasses.is_dataclass(each) and each is not protocols.Progress:
            yield f"{each.__name__}.__init__", each.__init__


def values() -> list[type]:
    return [value for module in VALUES for name in module.__all__ if inspect.isclass(value := getattr(module, name))]


def hints(value: Any) -> dict[str, Any]:
    """The types that are written down, each of which can be looked up."""
    return typing.get_type_hints(value, localns=LATE)


def vague(hint: Any) -> bool:
    """Whether a type is, or holds, one that says nothing: Any, object, or a list of who knows what."""
    if hint in (Any, object) or (hint in (list, dict, tuple, set) and not typing.get_args(hint)):
        return True
    return any(vague(each) for each in typing.get_args(hint) if each is not ...)


FUNCTIONS = dict(functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_parameter_and_result_has_its_type(name: str) -> None:
    found, signature = hints(FUNCTIONS[name]), inspect.signature(FUNCTIONS[name])
    assert {each for each in signature.parameters if each != "self"} | {"return"} == found.keys()
    assert [each for each, hint in found.items() if vague(hint)] == []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            assert typing.get_origin(found[parameter.name]) is typing.Unpack


def test_methods_that_look_for_a_state_keep_their_signature() -> None:
    """`question` wraps: what an editor shows is the method's own."""
    for name in ("similar", "search", "tagged", "show", "thumbnail", "info", "duplicates"):
        method = getattr(pictocli.Library, name)
        assert inspect.signature(method) == inspect.signature(inspect.unwrap(method)) != inspect.signature(lambda: 0)


@pytest.mark.parametrize("value", [*values(), *OPTIONS], ids=lambda value: value.__name__)
def test_each_field_has_its_type(value: type) -> None:
    found = hints(value)
    assert {name for name, hint in found.items() if vague(hint)} <= {"metadata"}  # JSON, as it was given
    if dataclasses.is_dataclass(value):
        assert {each.name for each in dataclasses.fields(value)} == found.keys()


def test_what_is_returned_can_be_imported_from_where_the_documentation_says() -> None:
    returned = set[type]()

    def walk(hint: Any) -> None:
        if inspect.isclass(hint) and hint.__module__.startswith("pictocli.") and hint not in returned:
            returned.add(hint)
            for each in hints(hint).values():
                walk(each)
        for each in typing.get_args(hint):
            walk(each)

    for function in FUNCTIONS.values():
        walk(hints(function).get("return"))
    places = {module.__name__ for module in VALUES}
    assert {each for each in returned if each.__module__ not in places} == {pictocli.Library}
    assert all(each.__name__ in sys.modules[each.__module__].__all__ for each in returned)
    assert {"SimilarImage", "IndexReport", "Duplicates", "Copy", "Change", "Damage", "Skipped"} <= {
        each.__name__ for each in returned
    } | {"SimilarImage"}


def taken(function: Callable[..., Any]) -> set[str]:
    return {
        name for name, each in inspect.signature(function).parameters.items()
        if each.kind is each.KEYWORD_ONLY or (each.kind is each.POSITIONAL_OR_KEYWORD and name not in ("self", "text"))
    }  # fmt: skip


def test_settings_are_what_is_taken() -> None:
    """Each of the typed options is a parameter of what the options go to, of the same type; and there is no other."""
    from pictocli.calibrating import calibrate
    from pictocli.filling import index
    from pictocli.importing import import_embeddings
    from pictocli.publishing import export_thumbnails

    inner = {"path", "paths", "progress", "listing", "access", "follow_up", "file", "pictures", "destination"}
    for options, function in (
        (settings.IndexSettings, index), (settings.CalibrationSettings, calibrate),
        (settings.ImportSettings, import_embeddings), (settings.ThumbnailSettings, export_thumbnails),
    ):  # fmt: skip
        found = hints(function)
        assert hints(options) == {name: found[name] for name in taken(function) - inner}
        assert not options.__required_keys__
    search, export = (inspect.unwrap(each) for each in (reading.Reader.search, exchanging.Exchanging.export))
    assert hints(settings.SearchSettings).keys() == (taken(search) - {"limit"}) | hints(filters.Filters).keys()
    assert hints(settings.ExportSettings).keys() == (taken(export) - {"embeddings"}) | hints(filters.Filters).keys()
    assert all(hints(search)[name] == hint for name, hint in hints(settings.SearchSettings).items()
               if name in taken(search))  # fmt: skip


def test_each_option_is_described() -> None:
    for options in (settings.IndexSettings, settings.ImportSettings, settings.CalibrationSettings,
                    settings.ThumbnailSettings, filters.Filters):  # fmt: skip
        assert set(options.__annotations__) <= set(re.findall(r"\w+", options.__doc__ or "")), options.__name__


def test_an_open_library_has_no_other_attributes(tmp_path: Path) -> None:
    """Attributes that are set in the making are typed by what is put in: `typed_program.py` holds them to it."""
    own = {name for name in vars(pictocli.open(tmp_path / "x.db")) if not name.startswith("_")}
    assert own == {"path", "progress"}
    used = PROGRAM.read_text()
    assert all(f"library.{name}" in used for name in own)
    methods = {name.partition(".")[2] for name in FUNCTIONS if name.startswith("Library.") and "__" not in name}
    assert {name for name in methods if f"library.{name}(" not in used} == set()
    assert isinstance(library, types.ModuleType)


def test_a_type_checker_sees_all_of_the_installed_package(tmp_path: Path) -> None:
    """mypy finds the types in the wheel, as py.typed promises, agrees with each, and finds each mistake."""
    installed.built(installed.source(tmp_path / "source"), tmp_path, "--wheel")
    (wheel,) = tmp_path.glob("*.whl")
    programs = installed.clean_environment(tmp_path / "venv", wheel)
    lines = PROGRAM.read_text().splitlines()
    wanted = [(at, kind[1]) for at, line in enumerate(lines, 1) if (kind := re.search(r"# error: ([\w-]+)$", line))]
    (tmp_path / "program.py").write_text("\n".join(lines))
    # 1,500 modules that none of picto's public types is of: without them it takes 2 s instead of 17
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-torch.*,huggingface_hub.*]\nfollow_imports = skip\n")
    try:
        said = installed.run(
            sys.executable, "-m", "mypy", "--strict", "--config-file", "mypy.ini", "--python-executable",
            programs / "python", "--cache-dir", "cache", "--hide-error-context", "program.py", cwd=tmp_path,
        )  # fmt: skip
    except AssertionError as exc:
        said = str(exc)
    found = re.findall(r"^program\.py:(\d+): error: .*\[([\w-]+)\]$", said, re.MULTILINE)
    assert [(int(at), kind) for at, kind in found] == wanted, said
    assert len(wanted) > 10
