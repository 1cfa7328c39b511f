"""Maps as still figures: the right picture in the right cell, the same map twice, names that are markup.

`python tests/test_mapping.py` draws the README's map of the sample images anew.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from libraries import clustered, make
from pictures import scene
from PIL import Image
from program import run

import pictocli
from pictocli import atlas, layout, svg
from pictocli.atlas import drawn_up, laid_out
from pictocli.errors import DamagedError, PictoError, ValidationError
from pictocli.mapdrawing import figure
from pictocli.points import Points
from pictocli.protocols import NoProgress
from pictocli.schema import connect
from pictocli.shapes import Box, Disc, Line, Picture, Words

Index = Callable[..., pictocli.records.IndexReport]
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "</title><script>alert(1)</script>.png",
    'a" onload="x.png',
    "new\nline.png",
    b"caf\xe9.png",
    "esc\x1b[31m&amp;.png",
]


def jpeg(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def grouped(tmp_path: Path) -> Points:
    """Three clusters of 40, tagged car, dog and sea; image 1 and 2 are tagged odd, too."""
    centres = np.eye(3, 16, dtype="f4") * 4
    noise = np.random.default_rng(0).standard_normal((120, 16)).astype("f4") * 0.2
    vectors = np.repeat(centres, 40, axis=0) + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [[name] for name in ("car", "dog", "sea") for _ in range(40)]
    return Points(make(tmp_path / "grouped.db", vectors, names))


def atlas_of(points: Points) -> atlas.Atlas:
    rows = points.placed(None, [])
    spec = points.spec()
    assert spec is not None
    return drawn_up(points, rows, laid_out(points, [c for _, c in rows], spec, "pca", 0, NoProgress()), "pca")


def test_clusters_are_found_labelled_and_apart(grouped: Points) -> None:
    found = atlas_of(grouped)
    assert {(region.label, region.images) for region in found.regions[:3]} == {("car", 40), ("dog", 40), ("sea", 40)}
    assert {region.colour for region in found.regions[:3]} == {0, 1, 2}
    middles = {}
    for tag in ("car", "dog", "sea"):
        own = np.array([(each.x, each.y) for each in found.images if each.tags == [tag]])
        assert own.std(0).max() < 0.15
        middles[tag] = own.mean(0)
    assert (
        min(np.linalg.norm(middles[a] - middles[b]) for a, b in (("car", "dog"), ("dog", "sea"), ("car", "sea"))) > 0.5
    )
    assert [each.level for each in found.images] == sorted(each.level for each in found.images)


def test_thumbnails_stand_in_their_cells_with_badges(grouped: Points) -> None:
    found = atlas_of(grouped)
    colours = {each.image_id: (each.image_id, 255 - each.image_id, 40) for each in found.images}
    drawn = figure(found, 1000, lambda image: jpeg(colours[image.image_id]))
    cell = 960 / found.cells
    own = [each for each in found.images if each.level == 0]
    pictures = [shape for shape in drawn.shapes if isinstance(shape, Picture)]
    assert len(pictures) == len(own) < 120
    for image, picture in zip(own, pictures, strict=True):
        assert picture.x <= 20 + image.x * 960 <= picture.x + cell + 1e-6
        assert picture.y <= 20 + image.y * 960 <= picture.y + cell + 1e-6
        assert picture.jpeg == jpeg(colours[image.image_id])
    badges = [int(shape.text) for shape in drawn.shapes if isinstance(shape, Words) and shape.text.isdigit()]
    alone = len(pictures) - len(badges)
    assert sum(badges) + alone == 120
    said = {"car", "dog", "sea", "Map of 120 images, laid out by PCA"}
    assert {shape.text for shape in drawn.shapes if isinstance(shape, Words)} > said
    assert {len(re.findall(r" and (\d+) more$", picture.title)) for picture in pictures} == {0, 1}


def test_what_has_no_thumbnail_is_dots(grouped: Points) -> None:
    found = atlas_of(grouped)
    drawn = figure(found, 1000, lambda _: None)
    dots = [shape for shape in drawn.shapes if isinstance(shape, Disc) and shape.title]
    assert len(dots) == 120
    assert not [shape for shape in drawn.shapes if isinstance(shape, Picture)]
    for image, dot in zip(found.images, dots, strict=True):
        assert (dot.x, dot.y) == pytest.approx((20 + image.x * 960, 20 + image.y * 960))


def test_labels_do_not_lie_on_each_other(grouped: Points) -> None:
    from dataclasses import replace

    found = atlas_of(grouped)
    crowded = replace(found, regions=[replace(each, x=0.5, y=0.5) for each in found.regions])
    boxes = [shape for shape in figure(crowded, 1000, lambda _: None).shapes if isinstance(shape, Box)]
    assert len(boxes) == 3
    assert all(
        one.y + one.height <= other.y or other.y + other.height <= one.y
        for at, one in enumerate(boxes) for other in boxes[:at]
    )  # fmt: skip


@pytest.fixture
def hostile(tmp_path: Path, index: Index) -> pictocli.Library:
    """A library of pictures whose names are markup, no UTF-8, or control characters, in such a folder."""
    folder = tmp_path / "a&b <i>"
    folder.mkdir()
    for number, name in enumerate([n for n in HOSTILE if n != HOSTILE[0]] + ["<script>alert(1)<!--.png"]):
        scene(number, 80, 60).save(
            folder / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
        )
    index(folder)
    return pictocli.open(tmp_path / "library.db")


def test_hostile_names_are_text(hostile: pictocli.Library, tmp_path: Path) -> None:
    report = hostile.map(tmp_path / "m.svg", layout="pca")
    assert (report.images, report.shown, report.lacking) == (5, 5, 0)
    root = ElementTree.parse(tmp_path / "m.svg").getroot()  # noqa: S314 - ours
    assert {each.tag for each in root.iter()} <= {
        f"{SVG}{n}" for n in ("svg", "title", "rect", "g", "image", "circle", "text")
    }
    assert not [name for each in root.iter() for name in each.attrib if name.startswith("on")]
    titles = " ".join(each.text or "" for each in root.iter(f"{SVG}title"))
    for part in (
        "<script>alert(1)<!--.png",
        'a" onload="x.png',
        "new\\x0aline.png",
        "caf\\xe9.png",
        "esc\\x1b[31m&amp;.png",
    ):
        assert part in titles
    for image in root.iter(f"{SVG}image"):
        assert image.attrib["{http://www.w3.org/1999/xlink}href"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("form", ["svg", "png", "html"])
def test_the_same_library_gives_the_same_file(form: str, library: pictocli.Library, tmp_path: Path) -> None:
    reports = [library.map(tmp_path / f"{at}.{form}", layout="pca") for at in "ab"]
    one, other = ((tmp_path / f"{at}.{form}").read_bytes() for at in "ab")
    assert one == other
    assert [each.size_bytes for each in reports] == [len(one)] * 2
    assert reports[0].images == 18
    assert sorted(path.name for path in tmp_path.glob("*.part")) == []


def test_a_png_is_drawn(library: pictocli.Library, tmp_path: Path) -> None:
    library.map(tmp_path / "m.png", layout="pca", size=700)
    with Image.open(tmp_path / "m.png") as image:
        assert (image.format, max(image.size)) == ("PNG", 700) or max(image.size) < 730
        assert image.getpixel((1, 1)) == (18, 18, 20)
        assert len(image.convert("RGB").resize((200, 200)).getcolors(40_000) or []) > 500


def test_what_umap_finds_is_kept(library: pictocli.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def unwrapped(parts: np.ndarray, seed: int) -> np.ndarray:
        ran.append(seed)
        return layout.plane(parts) * (seed + 1)

    monkeypatch.setattr(layout, "unwrapped", unwrapped)
    monkeypatch.setattr(atlas, "_cache", lambda: tmp_path / "cache/maps")
    for target, seed in (("a.svg", 0), ("b.svg", 0), ("c.svg", 1), ("d.svg", 1)):
        library.map(tmp_path / target, layout="umap", seed=seed)
    assert ran == [0, 1]
    kept = sorted((tmp_path / "cache/maps").iterdir())
    assert len(kept) == 2
    for each in kept:
        each.write_bytes(each.read_bytes()[:-9])  # cut short
    library.map(tmp_path / "e.svg", layout="umap")
    assert ran == [0, 1, 0]
    assert (tmp_path / "e.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    library.map(tmp_path / "f.svg", layout="umap")  # a cache that cannot be written is done without
    assert (tmp_path / "f.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()


def test_without_umap_auto_is_pca_and_says_so(
    library: pictocli.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []

    class Heard(NoProgress):
        def say(self, message: str) -> None:
            said.append(message)

    monkeypatch.setattr(layout, "can_umap", lambda: False)
    library.progress = Heard()
    assert library.map(tmp_path / "m.svg").layout == "pca"
    assert said == ["laid out by PCA: UMAP, which keeps neighbours together, needs pip install 'pictocli[map]'"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layout": "tsne"}, "no layout tsne"),
        ({"size": 10}, "size must lie between"),
        ({"size": 0}, "size must lie between 400 and 8000, not 0"),
        ({"seed": -1}, "seed must lie between"),
        ({"folder": "phone"}, "a map needs 3 images, and there are 2"),
        ({"folder": "nowhere"}, "no indexed folder nowhere"),
    ],
)
def test_what_cannot_be_drawn_leaves_nothing(
    options: dict[str, object], told: str, library: pictocli.Library, tmp_path: Path
) -> None:
    with pytest.raises(PictoError, match=told):
        library.map(tmp_path / "m.png", **{"layout": "pca"} | options)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*m.png*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--objects", "boat"], "nothing matches boat among 18 images in the whole database"),
        (
            ["--objects", "boat", "--after", "2090", "--folder", "scans"],
            "nothing matches boat and date after 2090 among 8 images below scans",
        ),
    ],
    ids=["label", "all"],
)
def test_where_nothing_matches_nothing_is_drawn(
    options: list[str], told: str, library: pictocli.Library, tmp_path: Path
) -> None:
    ran = run("map", "m.svg", "--layout", "pca", *options, "--db", library.path, cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (1, b"", f"{told}\nno map is drawn\n")
    assert not list(tmp_path.glob("*m.svg*"))
    report = library.map(tmp_path / "m.svg", before="1950")
    assert (report.path, report.images, report.considered, report.left_out) == ("", 0, 18, 0)
    assert not list(tmp_path.glob("*m.svg*"))


def test_help_says_each_default_once() -> None:
    told = " ".join(run("map", "--help").out.decode().split())
    assert "umap, pca or auto: umap, where it is installed." in told
    assert told.count("[default: auto]") == 1


def test_a_filter_and_copies(library: pictocli.Library, tmp_path: Path) -> None:
    report = library.map(tmp_path / "m.svg", layout="pca", folder="scans")
    assert report.images == 8
    text = (tmp_path / "m.svg").read_text()
    assert "report.pdf#page=" in text
    assert "sunny.jpg" not in text


def test_a_damaged_embedding_is_told(tmp_path: Path) -> None:
    make(tmp_path / "d.db", clustered(5, 8, 2)).close()
    db = connect(str(tmp_path / "d.db"))
    db.execute("UPDATE embedding SET v = x'0000c07f' WHERE content_id = 2")
    db.close()
    with pictocli.open(tmp_path / "d.db") as library, pytest.raises(DamagedError):
        library.map(tmp_path / "m.svg", layout="pca")


def test_images_without_an_embedding_are_left_out(tmp_path: Path) -> None:
    db = make(tmp_path / "d.db", clustered(9, 8, 2))
    db.execute("DELETE FROM embedding WHERE content_id IN (2, 4)")
    db.close()
    with pictocli.open(tmp_path / "d.db") as library:
        report = library.map(tmp_path / "m.svg", layout="pca")
        assert (report.images, report.left_out, report.shown) == (7, 2, 0)
    shutil.copy(tmp_path / "d.db", tmp_path / "d.svg")
    with pictocli.open(tmp_path / "d.svg") as itself, pytest.raises(ValidationError, match="is the library itself"):
        itself.map(tmp_path / "d.svg")


def test_figures_draw_every_shape() -> None:
    from pictocli.raster import png
    from pictocli.shapes import Figure

    drawn = Figure(width=200, height=100, title="A & <b>")
    drawn.add([
        Box(x=10, y=10, width=30, height=20, fill="bar", title="<&>"),
        Box(x=60, y=10, width=30, height=20, fill="#FF0000", round=4, opacity=0.5),
        Line(x=0, y=50, x2=200, y2=50, stroke="mark", width=2, dashed=True),
        Disc(x=150, y=20, radius=10, fill="#00FF00"),
        Words(x=100, y=90, text="<script>", size=14, fill="text", anchor="middle", bold=True),
        Picture(x=10, y=55, size=40, jpeg=jpeg((0, 0, 200)), frame="#E69F00", title="p"),
    ])  # fmt: skip
    image = png(drawn)
    seen = [
        image.getpixel(at) for at in ((20, 20), (75, 20), (3, 50), (8, 50), (150, 20), (150, 33), (30, 75), (10, 70))
    ]
    blue = seen.pop(6)
    assert blue[2] > 180 > 30 > blue[0]  # type: ignore[index]
    white = (255, 255, 255)
    half = seen.pop(1)
    assert abs(half[1] - 127) < 3  # type: ignore[index]
    assert seen == [(0, 114, 178), (179, 38, 30), white, (0, 255, 0), white, (230, 159, 0)]
    out = io.BytesIO()
    svg.write(drawn, out)
    text = out.getvalue().decode()
    assert text.count("<script>") == 0
    ElementTree.fromstring(text)  # noqa: S314 - ours
    assert re.search(r'<rect [^>]*fill="#0072B2" class="f-bar"', text)
    assert ".f-bar{fill:#56B4E9}" in text


def write() -> None:
    """Draw tests/screenshots/map.webp: the sample images, by the bundled model and UMAP."""
    import tempfile

    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as made, pictocli.open(Path(made, "picto.db")) as library:
        library.index([here.parent / "sample_images"], model="mini")
        library.map(Path(made, "map.png"), layout="umap", size=1200)
        (here / "screenshots").mkdir(exist_ok=True)
        with Image.open(Path(made, "map.png")) as image:
            image.save(here / "screenshots/map.webp", quality=82, method=6)


if __name__ == "__main__":
    write()
