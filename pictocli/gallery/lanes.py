"""Who asks the library: so many open databases for each kind of question, none of which two threads ask at once."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from pictocli.library import Library
from pictocli.protocols import NoProgress
from pictocli.questions import question
from pictocli.references import Reference

if TYPE_CHECKING:
    from pictocli.brain import Model

__all__ = ["Asker", "Lane"]

_HELD = 32  # embeddings of pictures that are not in the index: 3 kB each
L = TypeVar("L", bound=Library)
T = TypeVar("T")


class Lane(Generic[L]):
    """Libraries that questions of one kind wait for, in turn: a slow kind keeps no other waiting."""

    def __init__(self, libraries: Sequence[L]) -> None:
        self._free, self._turn = list(libraries), asyncio.Semaphore(len(libraries))

    @property
    def busy(self) -> bool:
        """Whether a question would wait."""
        return self._turn.locked()

    async def ask(self, asked: Callable[[L], T]) -> T:
        """Ask in a thread, when it is this one's turn."""
        async with self._turn:
            library = self._free.pop()
            try:
                return await run_in_threadpool(asked, library)
            finally:
                self._free.append(library)

    def close(self) -> None:
        """Close those that are not being asked."""
        for library in self._free:
            library.close()


class Asker(Library):
    """Asks by words and by pictures that are not in the index; loads the model once, ahead of the first question."""

    def __init__(self, path: str) -> None:
        super().__init__(path, NoProgress())
        self._vectors: OrderedDict[tuple[bytes, str, str], bytes] = OrderedDict()
        self._loaded = threading.Event()
        self.state, self.message, self._begun = "loading", "", False

    def load(self) -> None:
        """Load what embeds words. Runs in a thread of its own: questions of indexed images need not wait for it."""
        self._begun = True
        try:
            with _Loading(self.path, NoProgress()) as other:
                self._model = other.model()
            self.state = "ready"
        except Exception as exc:  # told by the question that needs it
            self.state, self.message = "failed", str(exc)
        finally:
            self._loaded.set()

    def _own_model(self, device: str) -> Model:
        if self.state == "loading" and self._begun:
            self._loaded.wait()
        return super()._own_model(device)

    def _vector(self, reference: Reference, device: str, pdf_password: str | Sequence[str] | None = None) -> bytes:
        if reference.data is None or reference.twin is not None:
            return super()._vector(reference, device, pdf_password)
        spec = self._spec()
        key = (hashlib.sha256(reference.data).digest(), spec.id, spec.revision)
        if key not in self._vectors:
            self._vectors[key] = super()._vector(reference, device, pdf_password)
            while len(self._vectors) > _HELD:
                self._vectors.popitem(last=False)
        self._vectors.move_to_end(key)
        return self._vectors[key]


class _Loading(Library):
    @question
    def model(self) -> Model:
        """The library's own, with what embeds words loaded."""
        model = self._own_model("auto")
        _ = model.text_embedder
        return model
