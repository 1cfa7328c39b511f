"""A library's upkeep: checking and repairing it, forgetting what is gone, moving, merging, making it smaller."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pictocli.damage import Damage, RepairReport
from pictocli.errors import check_range
from pictocli.reading import Reader
from pictocli.reports import CompactReport, CopyReport, MergeReport, MoveReport, RemovalReport, VacuumReport

__all__ = ["Upkeep"]


class Upkeep(Reader):
    """What keeps a library in order. No file of the user's is ever changed or removed."""

    def check(self) -> list[Damage]:
        """Everything that can be told to be wrong with the database, a record a kind of damage; [] when nothing is.

        Reads only. Raises StoreError when the file is no database of picto's.

        >>> library.check()
        []
        """
        from pictocli.checking import check_file  # numpy

        return check_file(self.path, self.progress)

    def repair(self, *, dry_run: bool = False) -> RepairReport:
        """Make anew what is derived, remove what refers to nothing, and have `index` redo what is gone.

        What SQLite can no longer read as a whole is read row by row into a new file; the old one is kept beside it. A
        database without damage is left alone. dry_run: only say what is wrong. Raises StoreError, with the file as it
        was, when nothing of it can be saved or another program has it open.

        >>> library.repair().found
        []
        """
        from pictocli.repairing import repair  # numpy

        self.close()
        return repair(self.path, self.progress, dry_run=dry_run)

    def prune(
        self, *, dataset: str | None = None, folder: str | None = None, dry_run: bool = False, yes: bool = False,
        remote: bool = False,
    ) -> RemovalReport:  # fmt: skip
        """Forget the files, of a dataset or folder or of all, that are gone from the disk.

        What nobody can look at is passed over, and listed in the report: roots that are not there or empty, as an
        unmounted disk's, and folders that cannot be read. yes: also when more than a fifth of all files are gone, for
        which PictoError is raised otherwise. remote: ask the servers of URLs, which are passed over otherwise. Raises
        NotFoundError for the dataset or folder, StoreError.

        >>> import os
        >>> os.remove("sample_images/vehicles/red-car.jpg")
        >>> library.prune().images
        1
        """
        from pictocli.keeping import prune

        self.close()
        return prune(self.path, self.progress, dataset=dataset, folder=folder, dry_run=dry_run, yes=yes, remote=remote)

    def remove(
        self, images: str | os.PathLike[str] | int | Iterable[str | os.PathLike[str] | int] = (), *,
        dataset: str | None = None, dry_run: bool = False, yes: bool = False,
    ) -> RemovalReport:  # fmt: skip
        """Remove images by id, files, pages ("report.pdf#page=3"), folders or a dataset from the library, not the disk.

        yes: needed for a folder or dataset with several images. Nothing is removed when one is not in the library.
        Raises NotFoundError, ValidationError, StoreError.

        >>> library.remove(["sample_images/documents/travel-report.pdf#page=3", 1]).images
        2
        """
        from pictocli.removing import remove

        self.close()
        several = [images] if isinstance(images, str | os.PathLike | int) else images
        named = [each if isinstance(each, int) else os.fspath(each) for each in several]
        return remove(self.path, self.progress, named, dataset=dataset, dry_run=dry_run, yes=yes)

    def move_root(
        self, old: str | os.PathLike[str], new: str | os.PathLike[str], *, force: bool = False, dry_run: bool = False
    ) -> MoveReport:
        """Tell the library that the indexed folder `old` lies at `new` now. Nothing is embedded again.

        force: also when `new` is not there, or holds none of the files. Raises NotFoundError, ValidationError for a
        folder that is no root or lies in or around another one, PictoError, StoreError.

        >>> import os
        >>> os.rename("sample_images", "pictures")
        >>> library.move_root("sample_images", "pictures").there
        59
        """
        from pictocli.keeping import move_root

        self.close()
        return move_root(self.path, os.fspath(old), os.fspath(new), force=force, dry_run=dry_run)

    def merge(self, other: str | os.PathLike[str], *, dry_run: bool = False) -> MergeReport:
        """Take all that the library in the file `other` holds and this one does not; `other` is only read.

        Datasets are joined by name, roots by path; what this library has finished stays as it is. Raises NotFoundError,
        ModelMismatchError for another model, ValidationError, StoreError for a damaged one.

        >>> import shutil
        >>> _ = shutil.copy("picto.db", "other.db")
        >>> library.merge("other.db").kept  # files, which are here already
        60
        """
        from pictocli.joining import merge  # numpy

        self.close()
        return merge(self.path, os.fspath(other), self.progress, dry_run=dry_run)

    def copy_to(self, name: str | os.PathLike[str], *, dry_run: bool = False, afresh: bool = False) -> CopyReport:
        """Copy the whole library into a new one: a file, or a server's. Ids stay; this one is only read.

        A copy that was stopped goes on where it was, and nothing else may use it until it is whole. At the end both are
        read again and compared. afresh: drop what an unfinished copy holds, and copy all. Raises NotFoundError,
        ValidationError when `name` is this library or holds another one, StoreError also when this library has changed
        since the copy was begun.

        >>> report = library.copy_to("copy.db")
        >>> report.images, report.rows == report.compared
        (62, True)
        """
        from pictocli.relocating import copy_library  # numpy

        self.close()
        return copy_library(self.path, os.fspath(name), self.progress, dry_run=dry_run, afresh=afresh)

    def vacuum(self) -> VacuumReport:
        """Rebuild the file without the room that deleted rows have left. Raises StoreError when it is in use.

        >>> report = library.vacuum()
        >>> report.after <= report.before
        True
        """
        from pictocli.keeping import vacuum

        self.close()
        return vacuum(self.path, self.progress)

    def compact(self, *, dry_run: bool = False, older_than: float = 60.0) -> CompactReport:
        """Merge what many small commits have left in a library on a server or of Lance tables, and clear up after them.

        older_than: minutes since a version of a Lance table was replaced, after which it is removed; who still reads it
        then gets an error. dry_run: only say what would be done. Raises ValidationError for a file, which `vacuum`
        makes smaller, StoreError.

        >>> library.compact()
        Traceback (most recent call last):
        ...
        pictocli.errors.ValidationError: picto compact is for PostgreSQL and Lance tables, and ...picto.db is a file
        """
        from pictocli.databases import compact

        check_range("older_than", older_than, 0, 10**6)
        self.close()
        return compact(self.path, dry_run=dry_run, older_than=older_than * 60, progress=self.progress)
