"""Groups of images that show the same picture, as they pass from picto's modules to its users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pictocli.records import Image, Scope

__all__ = ["Copy", "Duplicates", "Group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Image):
    """An image of a group of duplicates.

    kind: "first" of its group, which is the one to keep where there is a rule; "exact": the bytes of one before it;
    "same": as large, and of the same fingerprint; "near": resized, recompressed, cropped, turned or marked.
    similarity: 0..1, of what both show, by their fingerprints. kept: None without a rule. size in bytes.
    """

    kind: str
    similarity: float
    kept: bool | None
    size: int


@dataclass(frozen=True, slots=True)
class Group:
    """Images of one picture; groups are counted from 1."""

    group: int
    images: Sequence[Copy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What `picto duplicates` found. considered: images in scope that were looked at; left_out: pages that were not.

    lacking: images without a fingerprint, and plain: those with too little in it, of which only exact copies are found.
    """

    groups: Sequence[Group]
    scope: Scope
    considered: int
    lacking: int
    plain: int
    seconds: float
    left_out: int = 0
