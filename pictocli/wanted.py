"""What is to be indexed, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pictocli.kinds import Limits
from pictocli.listed import Named
from pictocli.metadata import Metadata
from pictocli.pdfs import Pages
from pictocli.protocols import Runner
from pictocli.remote import Remote
from pictocli.scan import Rules

__all__ = ["IndexOptions", "Target"]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What the user asked for; see `picto index --help`. pdf_dpi None: 72 for new files, as they are for known ones.

    thumbnail_width: px; None is what the library was last asked for, else 640. never: full paths that are no pictures
    whatever they hold, such as the database itself. remote: what fetches URLs, None when there are none to index.
    named: files and URLs of a list, whose fields go with the images. runner: what decodes, None for `workers` here.
    """

    batch_size: int | None = None
    workers: int = 0
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    pdf_dpi: int | None = None
    pdf_pages: Pages | None = None
    pdf_passwords: tuple[str, ...] = field(default=(), repr=False)
    thumbnails: bool = False
    thumbnail_width: int | None = None
    metadata: Metadata | None = None
    fields: Sequence[Sequence[str]] = ()
    force: bool = False
    dry_run: bool = False
    never: frozenset[str] = frozenset()
    remote: Remote | None = None
    named: Named | None = None
    runner: Runner | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A root to index, or its folder `folder`; with `only`, just the files so named there, with `named` those below it.

    root_id: None when the root is new and this is a dry run.
    """

    root_id: int | None
    root: str
    folder: str = ""
    only: frozenset[str] | None = None
    named: Named | None = None
