"""What is installed: Python, SQLite, the packages that picto needs or can use, and the device of models.

Nothing here raises: whatever is wrong is what is looked for. Torch is not imported, which takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pictocli import glance
from pictocli.display import counted, shown_path
from pictocli.errors import PictoError
from pictocli.findings import Finding

__all__ = ["examine_programs", "reinstalled", "safely"]

_PACKAGES = {"torch": "torch", "transformers": "transformers", "numpy": "numpy", "pillow": "PIL"}
_INSTALLED = ("pictocli", "sqlite-vec", "torch", "openvino")  # subjects that are packages


def safely(subject: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What one look finds; that it failed is a finding, too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except PictoError as exc:
        found.append(Finding(subject=subject, state="problem", text=str(exc), remedy=exc.hint))
    except OSError as exc:
        what = (
            shown_path(os.path.abspath(os.fsdecode(exc.filename))) if isinstance(exc.filename, str | bytes) else subject
        )
        text = f"cannot read {what}: {(exc.strerror or str(exc)).lower()}"
        other = ", or name another with --db" if subject == "database" else ""
        found.append(Finding(subject=subject, state="problem", text=text, remedy=f"check its permissions{other}"))
    except Exception as exc:  # broken packages raise anything
        text = f"cannot be looked at: {type(exc).__name__}: {exc}"
        found.append(Finding(subject=subject, state="problem", text=text, remedy=_remedy(subject)))
    return found


def reinstalled(package: str) -> str:
    """The remedy for a package that is broken."""
    return f"pip install --force-reinstall {package}"


def _remedy(subject: str) -> str:
    return reinstalled(subject) if subject in _INSTALLED else "report this: it is a fault of picto's"


def examine_programs() -> list[Finding]:
    """Python, SQLite, the packages that picto needs and those that it can use, and the device of models."""
    found = safely("python", _python) + safely("sqlite-vec", _sqlite) + safely("pictocli", _needed)
    return found + safely("torch", _torch) + safely("openvino", _openvino) + safely("extras", _extras)


def _python() -> Iterator[Finding]:
    machine = f"{platform.system()} {platform.machine()}, {counted(_cores(), 'core')}"
    yield Finding(subject="python", state="ok", text=f"{platform.python_version()} on {machine}, {sys.executable}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sqlite() -> Iterator[Finding]:
    sqlite, vec = glance.engine()
    yield Finding(subject="sqlite", state="ok", text=f"{sqlite}, apsw's own, loads extensions; sqlite-vec {vec}")


def _needed() -> Iterator[Finding]:
    """Packages that are not there, and modules that lie before the real ones."""
    lacking = [name for name, extra in _requirements() if extra is None and _version(name) is None]
    if lacking:
        names = " ".join(lacking)
        yield Finding(
            subject="packages",
            state="problem",
            text=f"{', '.join(lacking)} not installed",
            remedy=f"pip install {names}",
        )
    for package, module in _PACKAGES.items():
        if package in lacking:
            continue
        spec = importlib.util.find_spec(module)
        place = str(importlib.metadata.distribution(package).locate_file(module))
        if spec is None or spec.origin is None:
            yield Finding(
                subject=package, state="problem", text="installed, but its files are gone", remedy=reinstalled(package)
            )
        elif not os.path.realpath(spec.origin).startswith(os.path.realpath(place)):
            text = f"{shown_path(spec.origin)} takes the place of the package {package}"
            yield Finding(
                subject=package, state="problem", text=text, remedy="rename it, or leave its folder out of PYTHONPATH"
            )


def _requirements() -> Iterator[tuple[str, str | None]]:
    """(package, the extra that it is for) of all that picto can use."""
    for line in importlib.metadata.requires("pictocli") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name is not None and (extra is None or extra[1] != "dev"):
            yield name[0], extra[1] if extra else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch() -> Iterator[Finding]:
    version = _version("torch")
    if version is None:
        return  # told among the packages
    if sys.platform == "darwin" and platform.machine() == "arm64":
        yield Finding(subject="torch", state="ok", text=f"{version}; auto is mps, Apple's GPU")
        return
    card = os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi") is not None
    if card and "+cpu" in version:
        text = f"{version}; auto is the CPU: there is an NVIDIA GPU, and this torch is built without CUDA"
        yield Finding(subject="torch", state="note", text=text, remedy="pip install --force-reinstall torch")
    elif card:
        yield Finding(
            subject="torch", state="ok", text=f"{version}; auto is cuda, if its driver works: --deep tries it"
        )
    else:
        precision = "bfloat16, which it has" if _has_bfloat16() else "float32: it has no bfloat16"
        yield Finding(
            subject="torch", state="ok", text=f"{version}; auto is the CPU, as no GPU is seen, in {precision}"
        )


def _has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16, as torch tells it: by AVX-512 or AMX. Linux says so, others do not."""
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_tile)\b", flags) is not None


def _openvino() -> Iterator[Finding]:
    version, able = _version("openvino"), _has_bfloat16()
    if version is not None:
        why = "used on the CPU, which has bfloat16" if able else "not used: it is faster only on CPUs with bfloat16"
        yield Finding(subject="openvino", state="ok", text=f"{version}, {why}")
    elif able:
        text = "not installed: this CPU would index faster with it"
        yield Finding(subject="openvino", state="note", text=text, remedy="pip install 'pictocli[openvino]'")


def _extras() -> Iterator[Finding]:
    extras: dict[str, list[str]] = {}
    for package, extra in _requirements():
        if extra is not None and extra != "openvino":
            extras.setdefault(extra, []).append(package)
    there = {extra: packages for extra, packages in extras.items() if all(map(_version, packages))}
    if there:
        told = ", ".join(f"{extra} ({' '.join(packages)})" for extra, packages in sorted(there.items()))
        yield Finding(subject="extras", state="ok", text=told)
    if missing := sorted(extras.keys() - there):
        told = ", ".join(f"{extra} ({' '.join(extras[extra])})" for extra in missing)
        remedy = f"pip install 'pictocli[{','.join(missing)}]'"
        yield Finding(subject="extras", state="note", text=f"not installed: {told}", remedy=remedy)
