"""Asks whether any of the versions in tests/constraints.txt has a known vulnerability. Fails when one has.

    python tests/audit.py

pip-audit does the asking, in an environment of its own, which is made and thrown away. Where its data, those of PyPI's
JSON interface, cannot be reached, as behind a mirror that has packages alone, the reason is printed, and that is all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import venv
from pathlib import Path

PINNED = Path(__file__).with_name("constraints.txt")
DATA = "https://pypi.org/pypi/pip/25.0/json"


def reachable() -> str | None:
    """Why the data cannot be had; None where they can."""
    try:
        with urllib.request.urlopen(DATA, timeout=10) as answer:
            return None if b'"vulnerabilities"' in answer.read() else f"{DATA} names no vulnerabilities"
    except (OSError, urllib.error.URLError) as exc:
        return f"{DATA}: {exc}"


def main() -> int:
    """Audit, or say why not."""
    if reason := reachable():
        sys.stdout.write(f"not audited, the data cannot be reached: {reason}\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-audit"], check=True)
        audit = [
            python,
            "-m",
            "pip_audit",
            "--requirement",
            PINNED,
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
        ]
        return subprocess.run(audit, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
