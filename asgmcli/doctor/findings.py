"""The doctor's findings: a line each, and for a fault how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        group: the heading it stands under.
        name: what was checked.
        found: a version, a size, or what is wrong.
        mend: what to do; empty if nothing is wrong.
    """

    group: str
    name: str
    found: str
    mend: str = ""

    def data(self) -> dict[str, str | None]:
        """Return the finding as JSON data; `mend` is null if nothing is wrong."""
        return {**asdict(self), "mend": self.mend or None}
