"""What a check says, before it is a line of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Read:
    """A figure against the most that it may be; None, or NaN, is never good enough.

    what: the figure in words. remedy: what to mend where it is too large, a sentence.
    """

    what: str
    figure: float | None
    tolerance: float | None
    remedy: str
    unit: str = ""

    @property
    def fits(self) -> bool:
        return self.figure is not None and self.tolerance is not None and self.figure <= self.tolerance


class Unread(Exception):
    """A check that does not apply to this method: the reason."""
