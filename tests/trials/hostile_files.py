"""Hostile files, the long form: the whole corpus, what is cut off after 30 s, and pictures just below the limits.

`python tests/trials/hostile_files.py` takes some minutes and 4 GB, and prints what became of each kind of file.
"""

from __future__ import annotations

import collections
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from hostile import INDEXED, Case, make_corpus
from test_hostile import stored, strays, watched

SIDE = 14_000  # px: 196 megapixels
ENORMOUS = [("L", "PNG"), ("P", "GIF"), ("1", "TIFF"), ("L", "JPEG"), ("RGB", "JPEG"), ("RGB", "PNG"), ("RGB", "BMP")]


def main() -> None:
    """Index it all once, and print a line a folder of the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        cases = make_corpus(base / "corpus")
        for mode, form in ENORMOUS:
            name = f"enormous/{mode}.{form.lower()}"
            (base / "corpus" / name).parent.mkdir(exist_ok=True)
            Image.new(mode, (SIDE, SIDE)).save(base / "corpus" / name, form)
            cases.append(Case(name, b"", INDEXED))
        started = time.perf_counter()
        run = watched(base, cases)
        spent = time.perf_counter() - started
        found, wrong = stored(run.db), strays(run)
        for top in sorted({case.name.split("/")[0] for case in cases}):
            became = [found[case.name][0] for case in cases if case.name.startswith(f"{top}/") and case.name in found]
            told = ", ".join(f"{count} {reason}" for reason, count in collections.Counter(became).most_common(6))
            sys.stdout.write(f"{top}: {told}\n")
        sys.stdout.write(
            f"{len(cases)} files in {spent:.0f} s, exit {run.ran.code}, {run.peak:.0f} MB at most in all processes, "
            f"{run.largest:.0f} MB in one; not as they should be: {wrong or 'none'}\n"
        )


if __name__ == "__main__":
    main()
