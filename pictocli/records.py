"""The plain values that pass between picto's modules and out to its users. No behaviour, no heavy imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CATEGORIES", "Answer", "Contents", "Embedded", "Exported", "HostWork", "Image", "ImageDetail",
    "IndexReport", "Label", "LibraryInfo", "ModelSpec", "PairQuantiles", "Pairs", "Recall", "Scope",
    "SimilarImage", "Skipped", "TaggedImage",
]  # fmt: skip

CATEGORIES = ("objects", "scenes", "attributes")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or page that was not indexed. `reason` is a short phrase: "empty file", "password-protected"."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything that fixes an embedding space and its preprocessing, read from the model's own files.

    id: the hub id, "mini", or an absolute folder path. revision: hub commit, or a fingerprint of local files.
    dim: embedding width. image_size: side in px of the square model input. resample: "bilinear" or "bicubic".
    text_length: tokens that every text is padded to. scale, bias: p = sigmoid(scale * cosine + bias).
    """

    id: str
    revision: str
    dim: int
    image_size: int
    resample: str
    text_length: int
    scale: float
    bias: float


@dataclass(frozen=True, slots=True)
class Label:
    """One curated label. category: "objects", "scenes" or "attributes"."""

    category: str
    id: str
    phrase: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One indexed image, or one page of a PDF or TIFF.

    path: full path; of a page `/a/report.pdf#page=3`. filename: `report.pdf`. folder: relative to its root, "" at the
    root. page: 1-based, None for a file that is one image. tags: category → labels, strongest first. scores:
    category → label → 0..1, in the same order. thumbnail_url: None until thumbnails are exported. processing_time_ms:
    its own decode plus its share of its batch. modified: the file's, ISO 8601 in UTC. taken_at: by the camera's clock,
    2024-05-01T12:00:00, without a zone. camera: its make and model. latitude, longitude: in degrees.
    """

    image_id: int
    path: str
    filename: str
    dataset: str
    folder: str
    page: int | None
    tags: Mapping[str, Sequence[str]]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    thumbnail_url: str | None = None
    width: int
    height: int
    processing_time_ms: float
    modified: str
    taken_at: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarImage(Image):
    """An image with its cosine similarity (−1..1) to the query; probability is SigLIP's own, for text queries only.

    closer_than: the share (0..1) of random pairs of the library that are less similar; None for text queries, and in a
    library too small to say. score, parts: for queries of several parts, standard deviations above the library's mean,
    and the cosine with each part by its name; the similarity is that to all of them together.
    """

    similarity: float
    closer_than: float | None = None
    probability: float | None = None
    score: float | None = None
    parts: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedImage(Image):
    """An image that matched a tag filter. matched: the asked-for labels it carries → score 0..1."""

    matched: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetail(Image):
    """Everything known of one image. size in bytes; indexed_at is ISO 8601 in UTC."""

    kind: str
    size: int
    indexed_at: str
    content_hash: str
    model: str
    measures: Mapping[str, float]
    has_thumbnail: bool
    copies: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported(Image):
    """One row of `picto export`. size in bytes; indexed_at is ISO 8601 in UTC; embedding: float32 values, if asked for.

    embedding is None, too, for an image that has none yet.
    """

    kind: str
    size: int
    indexed_at: str
    content_hash: str
    measures: Mapping[str, float]
    embedding: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a query looks. None means everywhere; folder "" is the whole dataset."""

    dataset: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A query's results with what a person wants told beside them.

    considered: images in scope. nearest: the best similarity when nothing passed. closer_than: the share of random
    pairs that are less similar than the threshold, or, when nothing passed, than the nearest. elsewhere: how many the
    whole database holds when the scoped answer is empty. seconds: wall time of the query.
    """

    results: Sequence[Image]
    scope: Scope
    considered: int
    nearest: float | None = None
    closer_than: float | None = None
    elsewhere: int | None = None
    approximate: bool = False
    seconds: float = 0.0
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One embedding that `picto embed` prints. embedding: float32 values, L2-normalised, `dim` of them."""

    path: str
    embedding: Sequence[float]
    processing_time_ms: float
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWork:
    """What one node of a cluster did in a run. host: its address; node: the first letters of its id.

    decoded: pages, and files that are one; embedded: pictures. seconds: from when it could work to its last result.
    """

    host: str
    node: str
    decoded: int
    embedded: int
    seconds: float


@dataclass(slots=True)
class IndexReport:
    """What one run did. Counts are images (a page of a PDF is one); `unchanged`, `moved` and `described` are files.

    indexed: decoded and embedded. reused: decoded, and took over the embedding of a picture that looks just the same,
    such as a page that did not change of a PDF that did. copied: shares the embedding of the same bytes elsewhere.
    updated: given what it lacked, such as a thumbnail. described: given metadata. unmatched: rows of the metadata file
    that no file took; duplicates: those that a later row took the place of. large: files above 10 MB that were opened.
    missing: PATHs that do not exist. In a dry run `indexed` counts the files that would be opened, with `asked`, the
    URLs whose server is asked whether they have changed. downloaded: files that were fetched. empty, repeated: rows of
    a list without an image, or with one that an earlier row had. hosts: what each node of a cluster did; redone: pages
    decoded or embedded once more, as a node went away with them.
    """

    indexed: int = 0
    unchanged: int = 0
    moved: int = 0
    copied: int = 0
    updated: int = 0
    described: int = 0
    unmatched: int = 0
    duplicates: int = 0
    large: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    dry_run: bool = False
    missing: list[str] = field(default_factory=list)
    reused: int = 0
    asked: int = 0
    downloaded: int = 0
    downloaded_bytes: int = 0
    empty: int = 0
    repeated: int = 0
    hosts: list[HostWork] = field(default_factory=list)
    redone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One dataset's size. roots: the folders that were indexed into it."""

    dataset: str
    images: int
    roots: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How similar random pairs of a library's contents are: of n pairs, ranks[i] are less similar than cosines[i].

    Both ascend, and their last ones are n - 1 and the most similar pair's. contents: how many the library had then.
    """

    contents: int
    n: int
    ranks: Sequence[int]
    cosines: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairQuantiles:
    """Pairs as `picto info` tells them. quantiles: a share of the n pairs → the cosine that so many lie below."""

    n: int
    contents: int
    quantiles: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How much of the exact answers the fast path finds: a check with so many of a library's own pictures as questions.

    nearest, similar: the shares found of the 50 and of the 500 nearest, as far as they are at 0.6 or above; where an
    engine's own index is asked, of all 50, and 1, as thresholds do not go by it. compared: images that 1-bit codes
    choose to be compared, where they are used. exact: they are not, as comparing all images is as fast. images: how
    many there were.
    """

    images: int
    exact: bool
    compared: int
    questions: int
    nearest: float
    similar: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryInfo:
    """The database at a glance. size_bytes counts the write-ahead log too. tags: (category, label, images).

    pairs: how similar random pictures are; None in a library too small to say. recall: how near the fast path comes to
    the exact one; None when that was never checked.
    """

    path: str
    size_bytes: int
    images: int
    files: int
    pdf_pages: int
    kinds: Mapping[str, int]
    datasets: Sequence[Contents]
    skipped: int
    thumbnails: int
    model: str | None
    revision: str | None
    dim: int | None
    pairs: PairQuantiles | None = None
    recall: Recall | None = None
    tag_rule: str
    tags: Sequence[tuple[str, str, int]]
