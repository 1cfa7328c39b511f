"""What runs on the nodes of a Ray cluster: the same decoding processes and the same model as on one machine.

These are plain classes that know nothing of Ray. What goes wrong comes back as a value: an exception that crossed Ray
would come wrapped, and as another class.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pictocli.errors import PictoError
from pictocli.records import ModelSpec
from pictocli.steady import Stamp
from pictocli.workers import CrashedError, LateError, Workers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Decoder", "Encoder", "Said"]


class Said(NamedTuple):
    """An answer. error: what was raised instead, None when nothing was. batch_size: that the model takes best."""

    value: Any
    error: Exception | None = None
    batch_size: int = 0


class Decoder:
    """The decoding processes of one node. A call that hangs or crashes costs one of them, and nothing else."""

    def __init__(self, count: int, limit: float) -> None:
        self._pool = Workers(count, limit)
        self._pool.submit(os.getpid)  # now: later, two threads could start it

    def hello(self, folders: Sequence[str]) -> Said:
        """Those of these folders that this node does not see."""
        return Said([folder for folder in folders if not os.path.isdir(folder)])

    def make(self, call: Callable[..., Any], arguments: tuple[Any, ...], lent: tuple[bytes, Stamp] | None) -> Said:
        """Make a call of `pictocli.decode`. lent: the file's bytes, where it lies on the driver's machine alone."""
        try:
            return Said(self._made(call, arguments) if lent is None else self._made_of(call, arguments, *lent))
        except (CrashedError, LateError) as exc:
            return Said(None, type(exc)())
        except Exception as exc:
            return Said(None, PictoError(f"a node cannot decode: {type(exc).__name__}: {exc}"))

    def _made(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return self._pool.result(self._pool.submit(call, *arguments))

    def _made_of(self, call: Callable[..., Any], arguments: tuple[Any, ...], content: bytes, stamp: Stamp) -> Any:
        """The same of bytes, as a file here whose stamp is that of the driver's file."""
        suffix = os.path.splitext(arguments[0])[1]
        with tempfile.NamedTemporaryFile(prefix="picto-lent-", suffix=suffix) as file:
            file.write(content)
            file.flush()
            rest = tuple(None if isinstance(each, Stamp) else each for each in arguments[1:])  # of the other file
            found = self._made(call, (file.name, *rest))
        return replace(found, stamp=stamp) if is_dataclass(found) and hasattr(found, "stamp") else found  # type: ignore[type-var]


class Encoder:
    """The model on one node: on one GPU of it, or on its CPU. threads: what a CPU may compute with."""

    def __init__(self, spec: ModelSpec, device: str, threads: int) -> None:
        # Ray says 1 where it reserves no CPU; torch reads it when it is first imported.
        os.environ["OMP_NUM_THREADS"] = str(max(1, threads))
        self._spec, self._device = spec, device
        self._model: Any = None

    def hello(self) -> Said:
        """Load the model. The spec of the one that is here, which should be the library's."""
        try:
            from pictocli.brain import Model
            from pictocli.hub import read_spec
            from pictocli.protocols import NoProgress

            model = Model(self._spec, self._device, NoProgress())
            found = read_spec(model.files)
            if found == self._spec:
                self._model = model.warm_embedder
            return Said(found, None, 0 if self._model is None else self._model.batch_size)
        except Exception as exc:
            return Said(None, exc)

    def embed(self, pixels: NDArray[np.uint8]) -> Said:
        """Embed n pictures, as `Embedder.embed_images`."""
        return self._answered(lambda: self._model.embed_images(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Said:
        """Embed n texts, as `TextEmbedder.embed_texts`."""
        return self._answered(lambda: self._model.embed_texts(texts))

    def _answered(self, call: Callable[[], NDArray[np.float32]]) -> Said:
        try:
            return Said(call(), None, self._model.batch_size)
        except Exception as exc:
            return Said(None, exc)
