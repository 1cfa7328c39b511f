"""What is published: the wheel and the sdist hold what they should, and picto runs from the wheel and from pipx."""

from __future__ import annotations

import email
import os
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import installed
import pytest

import pictocli
from pictocli import hub

ROOT = installed.ROOT
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = DECLARED["tool"]["setuptools"]
NAME = f"pictocli-{pictocli.__version__}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, the wheel that is built of it, and a wheel that is built of the checkout, in direct/."""
    folder = tmp_path_factory.mktemp("made")
    source = installed.source(folder / "source")
    installed.built(source, folder / "direct", "--wheel")
    installed.built(source, folder)
    return folder


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def shared_files() -> dict[str, str]:
    """Files beside the installed package, such as a man page: place in the wheel → in the checkout."""
    files = SETUPTOOLS.get("data-files", {})
    return {f"{NAME}.data/data/{place}/{Path(each).name}": each for place, group in files.items() for each in group}


# -- what they hold -----


def test_the_wheel_holds_the_package_and_nothing_else(made: Path) -> None:
    """Every tracked file under pictocli/, byte for byte: a forgotten template, weight or module shows here."""
    found = members(one(made, "*.whl"))
    shared = shared_files()
    wanted = {name: name for name in installed.tracked() if name.startswith("pictocli/")} | shared
    about = {name for name in found if name.startswith(f"{NAME}.dist-info/")}
    assert set(found) - about - set(wanted) == set()
    assert set(wanted) - set(found) - set(shared.values()) == set()  # what lies beside the package need not be in it
    assert [name for name in set(found) - about if found[name] != (ROOT / wanted[name]).read_bytes()] == []
    assert {Path(name).name for name in about} == {
        "LICENSE", "METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt",
    }  # fmt: skip
    assert {"pictocli/py.typed", "pictocli/taxonomy.toml", "pictocli/mini/model.safetensors"} <= set(found)


def test_the_sdist_holds_the_same_and_builds_the_same_wheel(made: Path) -> None:
    with tarfile.open(one(made, "*.tar.gz")) as archive:
        names = {each.name.partition("/")[2] for each in archive if each.isfile()}
    made_up = {"PKG-INFO", "setup.cfg"} | {name for name in names if name.startswith("pictocli.egg-info/")}
    made_up |= {name for name in names if name.startswith("tests/test_")}  # setuptools' own idea, of what it can find
    beside = {"LICENSE", "README.md", "pyproject.toml", *shared_files().values()}
    package = {name for name in installed.tracked() if name.startswith("pictocli/")}
    assert names - made_up == package | beside
    assert members(one(made, "*.whl")) == members(one(made / "direct", "*.whl"))


def test_package_data_names_files_that_are_there() -> None:
    for pattern in SETUPTOOLS["package-data"]["pictocli"]:
        assert list((ROOT / "pictocli").glob(pattern)), pattern


def test_the_metadata_is_right(made: Path) -> None:
    found = members(one(made, "*.whl"))
    told = email.message_from_bytes(found[f"{NAME}.dist-info/METADATA"])
    project = DECLARED["project"]
    assert (told["Name"], told["Version"]) == ("pictocli", pictocli.__version__)
    assert told["License-Expression"] == "Apache-2.0"
    assert told.get_all("License-File") == ["LICENSE"]
    assert b"Apache License" in found[f"{NAME}.dist-info/licenses/LICENSE"]
    assert told["Requires-Python"] == project["requires-python"]
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
    assert set(told.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    plain = [each for each in told.get_all("Requires-Dist") if "extra ==" not in each]
    assert len(plain) == len(project["dependencies"])
    assert found[f"{NAME}.dist-info/entry_points.txt"].decode().split() == [
        "[console_scripts]", "picto", "=", "pictocli.cli:main",
    ]  # fmt: skip


def test_every_extra_that_a_message_names_is_there() -> None:
    """`pip install 'pictocli[web]'`, in any text of the package or the README."""
    texts = [ROOT / "README.md", *(ROOT / "pictocli").rglob("*.py")]
    named = {name for path in texts for name in re.findall(r"pictocli\[([\w,]+)\]", path.read_text(encoding="utf-8"))}
    assert {each for names in named for each in names.split(",")} <= set(DECLARED["project"]["optional-dependencies"])
    assert named


def test_the_readme_states_the_size_of_the_wheel(made: Path) -> None:
    stated = re.search(r"wheel is (\d+(?:\.\d+)?) MB", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert stated is not None, "the README says: The wheel is … MB"
    size = one(made, "*.whl").stat().st_size / 1e6
    assert float(stated[1]) == pytest.approx(size, rel=0.1)


# -- in use -----


def test_the_wheel_runs_in_a_clean_environment(made: Path, tmp_path: Path, guard: Path) -> None:
    programs = installed.clean_environment(tmp_path / "venv", one(made, "*.whl"))
    before = os.listdir(guard)  # what pip's look around has left
    picto, env = programs / "picto", {"PICTO_DB": str(tmp_path / "picto.db"), "LC_ALL": "C.UTF-8"}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "sample_images").symlink_to(ROOT / "sample_images")
    told = installed.run(
        programs / "python", "-c",
        "import pictocli, importlib.metadata as m; print(pictocli.__file__); print(m.version('pictocli'))",
        cwd=tmp_path,
    )  # fmt: skip
    where, version = told.splitlines()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert version == pictocli.__version__
    for program in ([picto], [programs / "python", "-m", "pictocli"]):
        assert installed.run(*program, "--version", cwd=tmp_path) == f"picto {pictocli.__version__}\n"

    def asked(*command: str) -> list[str]:
        return installed.run(picto, *command, cwd=tmp_path / "work", env=env).splitlines()

    asked("index", "sample_images/nature", "sample_images/food", "--model", "mini")
    (line,) = asked("similar", "sample_images/nature/mountain-trail.jpg", "--threshold", "0.9")
    assert line.endswith("mountain-trail-edited.jpg")
    assert asked("search", "a cup of coffee", "--limit", "1", "--format", "paths")[0].endswith("coffee-cup.jpg")
    assert asked("info", "--format", "json")
    assert asked("taxonomy", "--category", "scenes")
    assert os.listdir(guard) == before  # indexing with the bundled model leaves nothing behind but the database


@pytest.mark.skipif(sys.platform == "win32", reason="links to the dependencies")
def test_pipx_installs_the_checkout(tmp_path: Path, guard: Path) -> None:
    """`pipx install .`, with pip looking for every dependency; it finds all of them installed, so it fetches none."""
    source = installed.source(tmp_path / "source")
    user = tmp_path / "user"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    installed.linked(user / "lib" / version / "site-packages", installed.dependencies(tmp_path / "dependencies"))
    env = {
        "PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"), "PIPX_DEFAULT_PYTHON": sys.executable, "PYTHONUSERBASE": str(user),
        "PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE": "1", "USE_EMOJI": "0", "PICTO_DB": str(tmp_path / "picto.db"),
    }  # fmt: skip
    said = installed.run(
        sys.executable, "-m", "pipx", "install", "--backend", "pip", "--system-site-packages",
        "--pip-args=--no-index --no-build-isolation --no-compile", ".", cwd=source, env=env,
    )  # fmt: skip
    assert f"installed package pictocli {pictocli.__version__}" in said
    picto = tmp_path / "bin" / "picto"
    assert picto.resolve().is_relative_to(tmp_path / "pipx")
    assert installed.run(picto, "--version", cwd=tmp_path, env=env) == f"picto {pictocli.__version__}\n"
    found = installed.run(picto, "taxonomy", "--category", "scenes", "--format", "jsonl", cwd=tmp_path, env=env)
    assert len(found.splitlines()) == len(pictocli.open().labels("scenes"))  # the package's own files are there


def test_the_bundled_model_needs_no_network() -> None:
    """What the tests above index with is in the package, and nowhere else."""
    assert hub.resolve("mini").folder == ROOT / "pictocli" / "mini"
