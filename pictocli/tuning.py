"""What a library's pictures mean to it: another model, other labels, a measure of what scores are worth."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

from pictocli.reading import Reader
from pictocli.records import IndexReport
from pictocli.references import paths_of
from pictocli.reports import CalibrationReport, RetagReport

if TYPE_CHECKING:
    from pictocli.settings import CalibrationSettings

__all__ = ["Tuning"]


class Tuning(Reader):
    """Changes models, tags and calibration."""

    def reembed(
        self, model: str, *, device: str = "auto", batch_size: int | None = None, workers: int | None = None,
        pdf_password: str | Sequence[str] | None = None,
    ) -> IndexReport:  # fmt: skip
        """Move the whole library into another model's space; ids, datasets and metadata stay.

        pdf_password: of encrypted PDFs, or several to try; None is what PICTO_PDF_PASSWORD holds.
        Raises PictoError, with the library as it was, when an original is missing or has changed; what was embedded is
        kept for the next try.

        >>> library.reembed("mini").unchanged  # files, which are of this model already
        59
        """
        from pictocli.filling import reembed_library

        self.close()
        return reembed_library(self.path, model, device, batch_size, workers, self.progress, pdf_password)

    def retag(self, *, taxonomy: str | os.PathLike[str] | None = None, device: str = "auto") -> RetagReport:
        """Make all tags anew from stored embeddings and measures: no picture is opened.

        taxonomy: a label list of one's own, which the library then keeps; "built-in" goes back to the bundled one;
        None stays with the library's. The model is loaded only when the labels' prompts are new to the library.
        Raises NotFoundError, ValidationError naming the line, StoreError, ModelError; the tags are then as they were.

        >>> library.retag().rule
        'calibrated on 11,848 pictures'
        """
        from pictocli.filling import retag_library

        self.close()
        return retag_library(self.path, None if taxonomy is None else os.fspath(taxonomy), device, self.progress)

    def calibrate(
        self,
        pictures: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        **options: Unpack[CalibrationSettings],
    ) -> CalibrationReport:
        """Measure what a model's scores mean on a varied set of pictures, and keep it for this user.

        options: model, labels, taxonomy, device, batch_size, workers: `pictocli.settings.CalibrationSettings` says what
        each is. `retag` applies it. Raises NotFoundError, ValidationError, ModelError.

        >>> library.calibrate(["sample_images/nature"])
        Traceback (most recent call last):
        pictocli.errors.ValidationError: 12 pictures are too few to calibrate on: 100 are needed
        """
        from pictocli.calibrating import calibrate

        self.close()
        return calibrate(self.path, paths_of(pictures), self.progress, **options)
