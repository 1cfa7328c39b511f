"""Makes labels.json for the bundled model, and says how its tags fare on pictures that never trained.

    python -m pictocli.mini.taught DATA

DATA is the folder of the training data. The model is tried on the held-out tenth of Tiny ImageNet, and on every tenth
picture of the scene sets, which did train. A label counts as taught when at least ENOUGH of these pictures are known
to be of it and, of those that the model gives it and whose truth is known, at least RELIABLE are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictocli import hub
from pictocli.mini.captions import SCENE_SETS, read_classes, read_concepts, truth
from pictocli.mini.pictures import decode
from pictocli.preprocess import resize
from pictocli.records import CATEGORIES
from pictocli.siglip import Siglip
from pictocli.tagging import Tagger, embed_prompts, uncalibrated
from pictocli.taught import FILE, LEAST, read_taught
from pictocli.taxonomy import Taxonomy, load

ENOUGH = 20
RELIABLE = 0.5
FOLDER = Path(__file__).parent


def held_out(data: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Pictures uint8 [n, 64, 64, 3] and their class numbers."""
    classes = read_classes(data)
    first = {c.data_set: i for i, c in reversed(list(enumerate(classes)))}
    parts, numbers, seen = [], [], 0
    for shard in range(4):
        pictures, labels = decode(data / f"tiny-imagenet-train-{shard}.npz")
        rows = [i for i in range(len(labels)) if (seen + i) % 10 == 9]
        seen += len(labels)
        parts.append(pictures[rows])
        numbers += [int(labels[i]) for i in rows]
    for name in sorted(SCENE_SETS):
        pictures, labels = decode(data / f"{name}.npz")
        parts.append(pictures[9::10])
        numbers += [int(label) + first[name] for label in labels[9::10]]
    return np.concatenate(parts).transpose(0, 2, 3, 1), numbers


def label_truth(data: Path, taxonomy: Taxonomy) -> tuple[list[str], NDArray[np.int8]]:
    """Label ids that captions.py knows of, and truth int8 [classes, labels]: 1 true, 0 false, -1 unknown."""
    classes = read_classes(data)
    ids = {label.id for label in taxonomy.labels if label.id not in taxonomy.rules}
    wanted = [
        k for k in read_concepts(classes, FOLDER.parent / "taxonomy.toml") if k.kind != "class" and k.label in ids
    ]
    concepts = [k for k in wanted if k.phrases and k.kind in ("object", "scene", "attribute")]
    unique = {k.label: k for k in concepts}
    table = [[truth(c, k) for k in unique.values()] for c in classes]
    return list(unique), np.array(table, np.int8)


def report(name: str, tags: list[dict[str, dict[str, float]]], ids: list[str], known: NDArray[np.int8]) -> None:
    """Precision over the labels whose truth is known, per category, and tags an image."""
    column = {label: i for i, label in enumerate(ids)}
    for category in CATEGORIES:
        right = wrong = count = 0
        for row, found in enumerate(tags):
            for label in found[category]:
                count += 1
                right += label in column and known[row, column[label]] == 1
                wrong += label in column and known[row, column[label]] == 0
        true = int((known[:, [column[x.id] for x in load().of(category) if x.id in column]] == 1).sum())
        print(
            f"{name} {category}: precision {right / max(1, right + wrong):.3f} recall {right / max(1, true):.3f}"
            f" tags an image {count / len(tags):.2f}"
        )


def main(data: Path) -> None:
    taxonomy = load()
    files = hub.resolve("mini")
    spec = hub.read_spec(files)
    model = Siglip(files, spec, "cpu")
    pictures, numbers = held_out(data)
    inputs = [resize(Image.fromarray(picture), spec.image_size, spec.resample) for picture in pictures]
    vectors = np.concatenate([model.embed_images(np.stack(inputs[i : i + 256])) for i in range(0, len(inputs), 256)])
    labels, nulls = embed_prompts(taxonomy, model)
    logits = spec.scale * (vectors @ labels.T) + spec.bias
    ids, table = label_truth(data, taxonomy)
    known = table[numbers]
    probability = 1 / (1 + np.exp(-logits))
    row = {label.id: i for i, label in enumerate(taxonomy.labels)}
    taught = [name for j, name in enumerate(ids) if reliable(probability[:, row[name]] >= LEAST, known[:, j])]
    found = {"revision": files.revision, "taxonomy": taxonomy.hash, "labels": taught}
    (FOLDER / FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(taught)} labels taught, tried on {len(vectors)} pictures")
    rule = read_taught(FOLDER, spec, taxonomy)
    assert rule is not None
    for name, each in (("label-free", uncalibrated), ("taught", rule)):
        report(name, Tagger(taxonomy, spec, labels, nulls, each).tag(vectors, [{}] * len(vectors)), ids, known)


def reliable(given: NDArray[np.bool_], known: NDArray[np.int8]) -> bool:
    """Whether a label can be told: given [n] by the model, known [n] as in label_truth."""
    right, wrong = int((given & (known == 1)).sum()), int((given & (known == 0)).sum())
    return int((known == 1).sum()) >= ENOUGH and right > 0 and right >= RELIABLE * (right + wrong)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
