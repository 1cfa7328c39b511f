"""COCO's own annotations as a file of labels.

    python tests/evaluation/coco.py annotations/instances_val2017.json > coco.csv
    python tests/evaluation/evaluate.py val2017 --labels coco.csv --model siglip2-base

All 80 classes are objects of the taxonomy. COCO names every instance of a class, so what it does not name is false.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TextIO

__all__ = ["write_labels"]


def write_labels(annotations: Path, out: TextIO) -> None:
    """Write a row for every picture: its file name, and its classes separated by "|"."""
    told = json.loads(annotations.read_text(encoding="utf-8"))
    name = {each["id"]: each["name"] for each in told["categories"]}
    found: dict[int, dict[str, None]] = {each["id"]: {} for each in told["images"]}
    for each in told["annotations"]:
        found[each["image_id"]][name[each["category_id"]]] = None
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["filename", "objects"])
    rows.writerows([each["file_name"], "|".join(found[each["id"]])] for each in told["images"])


if __name__ == "__main__":
    write_labels(Path(sys.argv[1]), sys.stdout)
