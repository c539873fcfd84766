"""What checks come to: of instruments against known quantities, of a method against its contract.

No torch here: both the parent and its workers load it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Check:
    """One instrument against one known quantity."""

    instrument: str
    quantity: str
    expected: float | None
    read: float | None
    unit: str
    error: float | None
    """The reading less what is expected: a share of that where `relative`, else in the unit."""

    tolerance: float | None
    status: Literal["ok", "failed", "skipped"]
    relative: bool = True
    note: str = ""


@dataclass(frozen=True)
class Checks:
    """What came of a selfcheck."""

    device: str
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.status == "failed"]

    def as_json(self) -> dict[str, Any]:
        """As it is kept with a run, and printed."""
        return {"device": self.device, "passed": not self.failed, "checks": [asdict(c) for c in self.checks]}


def unchecked(instrument: str, why: str, status: Literal["failed", "skipped"] = "failed") -> Check:
    """A check that came to no reading."""
    return Check(instrument, "", None, None, "", None, None, status, note=why)


LOADS = "loads"
"""The check before all others, of which only a failure is told: that there is a method."""


@dataclass(frozen=True)
class Finding:
    """What one check of the contract read of a method."""

    check: str
    what: str
    """The figure in words."""

    figure: float | None
    tolerance: float | None
    unit: str
    """"relative", "byte", or "" for a count or a ratio."""

    status: Literal["ok", "failed", "skipped"]
    note: str = ""
    """What to mend where it failed, why it was not read where it was skipped."""


@dataclass(frozen=True)
class Conformed:
    """All checks of a method were made; or none, where its library is absent."""

    missing: str | None = None
    """What to install."""
