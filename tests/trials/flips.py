"""Flips random bits of a small library, asks it the usual questions, and counts what became of the answers.

    python tests/trials/flips.py --flips 5000 --seed 1

An answer may stay as it was, or become an error of picto's. One that changes without an error must be one that `picto
info --check` finds fault with; what it cannot know, such as a letter within a file's name, is counted, and listed.
Anything else (a traceback, a hang) ends the trial.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import apsw
from program import make_world

import pictocli
from pictocli.errors import PictoError

__all__ = ["PAGE", "Trial", "asked", "checked", "page_owners"]

PAGE = 16384


@dataclass
class Trial:
    """What became of so many damaged copies.

    outcomes: of questions: same, refused, changed. caught: copies with a changed answer that the check finds fault
    with. missed: (the table that the flip lies in, the question, what it was, what it is) of the others. harmless:
    copies without any consequence. repaired: copies that repair leaves without damage; unrepaired: why the others are
    not.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    caught: int = 0
    missed: list[tuple[str, str, Any, Any]] = field(default_factory=list)
    harmless: int = 0
    repaired: int = 0
    unrepaired: Counter[str] = field(default_factory=Counter)

    def run(self, world: Path, flips: int, seed: int, repair_every: int = 10) -> None:
        """Flip one to three bits of `flips` copies of world/picto.db. Raises whatever is no PictoError."""
        original, owners = (world / "picto.db").read_bytes(), page_owners(world / "picto.db")
        before = {name: asked(world / "picto.db", name) for name in QUESTIONS}
        chance, copy = random.Random(seed), world / "copy.db"  # noqa: S311 - no secret
        for number in range(flips):
            data = bytearray(original)
            places = [_place(chance, original, owners) for _ in range(chance.choice((1, 1, 2, 3)))]
            for place in places:
                data[place] ^= 1 << chance.randrange(8)
            for end in ("", "-wal", "-shm"):
                Path(f"{copy}{end}").unlink(missing_ok=True)
            copy.write_bytes(data)
            self._look(copy, before, [owners[place // PAGE] for place in places])
            if number % repair_every == 0:
                self._repair(copy)

    def _look(self, copy: Path, before: dict[str, Any], owners: list[str]) -> None:
        changed = []
        for name, expected in before.items():
            found = asked(copy, name)
            outcome = "refused" if isinstance(found, PictoError) else "same" if found == expected else "changed"
            self.outcomes[outcome] += 1
            if outcome == "changed":
                changed.append((name, expected, found))
        damage = checked(copy)
        if changed and damage:
            self.caught += 1
        elif changed:
            self.missed.append((", ".join(sorted(set(owners))), *changed[0]))
        else:
            self.harmless += not damage

    def _repair(self, copy: Path) -> None:
        """A repair ends with a sound database, or says that it cannot be had."""
        try:
            with pictocli.open(copy) as library:
                left = library.repair().left
        except PictoError as exc:
            self.unrepaired[str(exc).replace(str(copy), "FILE")] += 1
            left = None
        if left is not None:
            assert checked(copy) == left == [], left
            self.repaired += 1
            for name in QUESTIONS:
                asked(copy, name)
        for kept in copy.parent.glob("copy.db.damaged*"):
            kept.unlink()


def _place(chance: random.Random, data: bytes, owners: list[str]) -> int:
    """A byte that is in use, in a page of a table that is chosen first: most pages of a small library hold labels."""
    owner = chance.choice(sorted(set(owners)))
    page = chance.choice([number for number, each in enumerate(owners) if each == owner])
    used = [at for at in range(page * PAGE, (page + 1) * PAGE) if data[at]]
    return chance.choice(used or [page * PAGE])


def _image(image: Any) -> dict[str, Any]:
    names = [each.name for each in fields(image) if each.name not in ("closer_than",)]
    return {name: round(value, 6) if isinstance(value := getattr(image, name), float) else value for name in names}


QUESTIONS: dict[str, Callable[[pictocli.Library], Any]] = {
    "info": lambda library: {
        each.name: getattr(found, each.name) for found in [library.info()] for each in fields(found)
        if each.name not in ("path", "size_bytes")
    },
    "similar": lambda library: [
        _image(each) for each in library.similar(1, threshold=0, everywhere=True, limit=500).results
    ],
    "search": lambda library: [_image(each) for each in library.search("a red car").results],
    "tags": lambda library: [_image(each) for each in library.tagged(objects=["car"]).results],
    "show": lambda library: [_image(library.show(number)) for number in range(1, 15)],
}  # fmt: skip


def asked(path: Path, name: str) -> Any:
    """The answer to one question, in a form that can be compared; or the PictoError."""
    try:
        with pictocli.open(path) as library:
            return QUESTIONS[name](library)
    except PictoError as exc:
        return exc


def checked(path: Path) -> list[Any]:
    """What `picto info --check` names: damage, or the error that is its answer."""
    try:
        with pictocli.open(path) as library:
            return library.check()
    except PictoError as exc:
        return [exc]


def page_owners(path: Path) -> list[str]:
    """The table or index that each page of a database belongs to."""
    db = apsw.Connection(str(path))
    found = ["free"] * int(db.pragma("page_count"))
    for name, number in db.execute("SELECT name, pageno FROM dbstat"):
        found[number - 1] = name
    db.close()
    return found


def main() -> None:
    """Run a trial and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repair-every", type=int, default=10)
    given = parser.parse_args()
    trial = Trial()
    with tempfile.TemporaryDirectory() as folder:
        trial.run(make_world(Path(folder), "mini"), given.flips, given.seed, given.repair_every)
    print(f"{given.flips:,} damaged copies: {trial.harmless:,} without consequence")
    print("questions:", ", ".join(f"{name} {count:,}" for name, count in trial.outcomes.most_common()))
    print(f"copies with a changed answer: {trial.caught:,} named by the check, {len(trial.missed):,} not")
    for owner, question, expected, found in trial.missed:
        print(f"  {owner}, {question}: {_difference(expected, found)}")
    print(f"repaired {trial.repaired:,};", dict(trial.unrepaired) or "none refused")


def _difference(expected: Any, found: Any) -> str:
    """The first thing that is not the same."""
    if isinstance(expected, list) and len(expected) == len(found):
        expected, found = next((a, b) for a, b in zip(expected, found, strict=True) if a != b)
    if isinstance(expected, dict):
        name = next(name for name in expected if expected[name] != found.get(name))
        return f"{name} {str(expected[name])[:70]!r} became {str(found.get(name))[:70]!r}"
    return f"{len(expected)} results became {len(found)}"


if __name__ == "__main__":
    main()
