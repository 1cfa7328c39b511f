"""What may not be a default of the user's own, and in which range the numbers lie that may."""

from __future__ import annotations

__all__ = ["RANGES", "refusal", "span"]

_BRAKE = "it turns off a brake, and belongs on the line that needs it"
_KIND = "it changes what the command does, and nothing on the line undoes it"
_OPENS = "it lets in what is kept out for safety, and belongs on the line that needs it"
_LOSES = "what the library forgets is for the line to say"

_REFUSED = {
    "yes": _BRAKE, "force": _BRAKE, "afresh": _BRAKE, "dry-run": _KIND, "stdin": _KIND, "print0": _KIND, "open": _KIND,
    "plot": _KIND, "check": _KIND, "check-recall": _KIND, "deep": _KIND, "everywhere": _KIND, "from": _KIND,
    "html": _KIND, "json": _KIND, "install": _KIND, "allow-local": _OPENS, "allow-files": _OPENS,
    "prune.remote": _LOSES, "rm.dataset": _LOSES,
}  # fmt: skip

RANGES: dict[str, tuple[float, float]] = {
    "threshold": (0, 1), "duplicates.threshold": (0.93, 1), "limit": (1, 500), "min-probability": (0, 1),
    "batch-size": (1, 4096), "workers": (0, 256), "pdf-dpi": (8, 1200), "thumbnail-width": (16, 4096),
    "thumbnails.width": (16, 65_500), "max-pixels": (1, 100_000), "max-file-size": (1, 1_000_000),
    "max-pages": (1, 1_000_000), "max-seconds": (1, 86_400), "timeout": (0.1, 3600), "poll": (0.1, 86_400),
    "map.size": (400, 8000), "map.seed": (0, 2**32 - 1),
}  # fmt: skip
"""The least and the largest value of an option, or of one command's, as the commands hold them."""


def refusal(key: str) -> str | None:
    """Why a key, "rm.yes", may not be set; None for one that may."""
    return _REFUSED.get(key) or _REFUSED.get(key.rpartition(".")[2])


def span(key: str) -> tuple[float, float] | None:
    """The range of a key, "similar.limit" or "workers"; None where there is none."""
    return RANGES.get(key) or RANGES.get(key.rpartition(".")[2])
