"""What agents are told of errors."""

from __future__ import annotations

import pytest

from pictocli.agent_tools import complaint
from pictocli.errors import DamagedError, ModelError, NotFoundError, PictoError, StoreError, ValidationError

ELSEWHERE = "(hint: the standard error of picto mcp says why)"


@pytest.mark.parametrize(
    ("error", "told", "without_paths"),
    [
        (NotFoundError("no such image: 5"), "no such image: 5", None),
        (ValidationError("no a", "--scenes sea"), "no a (hint: scenes sea)", None),
        (ValidationError("no a", "picto index --metadata FILE gives it"),
         "no a (hint: picto index --metadata FILE gives it)", None),
        (ValidationError("no a", "picto taxonomy --category scenes lists all"),
         "no a (hint: the tool taxonomy lists all)", None),
        (StoreError("/home/x.db is busy"), "/home/x.db is busy", f"the library cannot be used {ELSEWHERE}"),
        (StoreError("no /home/x.db", "see /home"), "no /home/x.db (hint: see /home)",
         f"the library cannot be used {ELSEWHERE}"),
        (ModelError("no model in /home", "fetch it"), "no model in /home (hint: fetch it)",
         "the model cannot be used (hint: fetch it)"),
        (DamagedError("image 6 is wrong"), "the library cannot be used"
         " (hint: picto info --check names what is wrong, picto repair mends what can be mended)", None),
    ],
    ids=["not found", "option", "command", "taxonomy", "store", "hint with a path", "model", "damage"],
)  # fmt: skip
def test_complaints(error: PictoError, told: str, without_paths: str | None) -> None:
    assert complaint(error, paths=True) == told
    assert complaint(error, paths=False) == (without_paths or told)
