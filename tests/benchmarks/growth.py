"""How answers grow with the library: CPU time and bytes at each size, with what the hardware allows beside them.

    python tests/benchmarks/growth.py [--sizes 10000,100000,1000000] [--runs 7] [--keep FOLDER] [--plot FILE.svg]

Libraries and questions are those of answers.py.  A limit is the time in which one core reads the bytes that a question
cannot do without, at the bandwidth measured in the same run: the 1-bit codes (96 bytes an image), or with --exact the
embeddings (3,072).  Times are those of whole processes less the floor of an empty Typer app.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from answers import DIM, EMPTY_APP, Cost, environment, make, medians

CODE, VECTOR = DIM // 8, DIM * 4  # bytes an image
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 64, 250, 24, 48
COLOURS = ("#c44e52", "#4c72b0", "#55a868", "#8172b2")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #666 }
.axis { stroke: #999; stroke-width: 1 } .grid { stroke: #999; stroke-width: .5; opacity: .35 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round } .limit { stroke-dasharray: 5 5; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #aaa } }
"""


@dataclass
class Line:
    """One line of the plot. limit: it is what the hardware allows, not what picto needs."""

    name: str
    limit: bool = False
    ms: list[float] = field(default_factory=list)


def questions(n: int) -> dict[str, list[str]]:
    """Name → picto's arguments."""
    return {
        "similar --exact": ["similar", f"id:{n // 2}", "--everywhere", "--exact"],
        "similar": ["similar", f"id:{n // 2}", "--everywhere"],
        "similar, a folder of 1 %": ["similar", "id:100", "--threshold", "0"],
        "tags": ["tags", "--objects", "person", "--scenes", "outdoor"],
    }


def bandwidth() -> float:
    """Bytes a second that one core reads from memory: the best of five sums over 512 MB."""
    block = np.ones(2**27, np.float32)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - started)
    return block.nbytes / min(seconds)


def measured(path: Path, n: int, runs: int) -> dict[str, Cost]:
    """What each question costs beyond an empty app: median CPU milliseconds, and peak megabytes in all."""
    env = environment(path)
    picto = str(Path(sys.executable).with_name("picto"))
    asked = {"floor": [sys.executable, "-c", EMPTY_APP]} | {k: [picto, *v] for k, v in questions(n).items()}
    costs = medians(asked, env, runs)
    floor = costs.pop("floor").ms
    return {name: Cost(max(0.1, cost.ms - floor), cost.mb) for name, cost in costs.items()}


def plot(sizes: Sequence[int], lines: Sequence[Line]) -> str:
    """The lines as SVG, both axes logarithmic; names stand at the lines' ends."""
    most = max(ms for line in lines for ms in line.ms)
    low, high = -1, math.ceil(math.log10(most))  # from a tenth of a millisecond

    def x(size: float) -> float:
        span = math.log10(sizes[-1] / sizes[0])
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(size / sizes[0]) / span

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(max(ms, 10**low)) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts += ["<title>CPU milliseconds of an answer against images in the library</title>", f"<style>{STYLE}</style>"]
    for power in range(low, high + 1):
        at, said = y(10.0**power), f"{10**power:,} ms" if power >= 0 else f"{10.0**power:g} ms"
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{said}</text>')
    for size in sizes:
        parts.append(f'<path class="grid" d="M{x(size):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{size:,}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">images</text>')
    taken: list[float] = []
    colours = iter(COLOURS)
    for line in sorted(lines, key=lambda each: -each.ms[-1]):
        colour = "#999" if line.limit else next(colours)
        points = " ".join(f"{x(size):.1f},{y(ms):.1f}" for size, ms in zip(sizes, line.ms, strict=True))
        kind = "line limit" if line.limit else "line"
        parts.append(f'<polyline class="{kind}" stroke="{colour}" points="{points}"/>')
        at = max([y(line.ms[-1]), *(other + 17 for other in taken[-1:])])
        taken.append(at)
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{at + 4:.1f}" style="fill:{colour}">{line.name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="How answers grow with the library.")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="make the libraries here, and use those that are there")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the lines there")
    options = parser.parse_args()
    sizes = sorted(map(int, options.sizes.split(",")))
    base = options.keep or Path(tempfile.mkdtemp())
    base.mkdir(parents=True, exist_ok=True)
    lines = {name: Line(name) for name in questions(1)}
    rate = bandwidth()
    print(f"one core reads {rate / 1e9:.1f} GB/s\n")
    print("|    images | bytes an image | question                 |      ms |   MB | limit, ms |")
    print("| --------: | -------------: | ------------------------ | ------: | ---: | --------: |")
    try:
        for n in sizes:
            path = base / f"{n}.db"
            if not path.exists():
                make(path, n)
            for name, cost in measured(path, n, options.runs).items():
                lines[name].ms.append(cost.ms)
                each = {"similar --exact": VECTOR, "similar": CODE, "similar, a folder of 1 %": CODE / 100}.get(name)
                limit = f"{n * each / rate * 1000:,.2f}" if each else "–"
                size = f"{path.stat().st_size / n:,.0f}"
                print(f"| {n:9,} | {size:>14} | {name:<24} | {cost.ms:7,.1f} | {cost.mb:4,.0f} | {limit:>9} |")
    finally:
        if not options.keep:
            shutil.rmtree(base)
    if options.plot:
        limits = [
            Line("limit: reading embeddings", True, [n * VECTOR / rate * 1000 for n in sizes]),
            Line("limit: reading codes", True, [n * CODE / rate * 1000 for n in sizes]),
        ]
        options.plot.write_text(plot(sizes, [*lines.values(), *limits]), encoding="utf-8")


if __name__ == "__main__":
    main()
