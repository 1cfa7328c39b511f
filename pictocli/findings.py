"""What `picto doctor` finds and `picto config` lists, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "Setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    subject: a word, "torch". state: "ok", "note" (picto works, but a person should know) or "problem" (it does not).
    text: what is there, and what would be chosen and why. remedy: what to do, None where nothing is to be done.
    """

    subject: str
    state: str
    text: str
    remedy: str | None = None

    def cells(self) -> list[list[str]]:
        """Its line of TSV."""
        return [[self.state, self.subject, self.text, self.remedy or ""]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A default that is set for an option.

    key: "device", or "similar.threshold" for one command's. value: as TOML spells it. source: "option", "environment",
    "config" or "default". where: the option, the variable, or the file and line; "" for a default. in_force: no
    stronger source sets it, too.
    """

    key: str
    value: str
    source: str
    where: str
    in_force: bool

    def cells(self) -> list[list[str]]:
        """Its line of TSV, where it is in force."""
        return [[self.key, self.value, self.where or self.source]] if self.in_force else []
