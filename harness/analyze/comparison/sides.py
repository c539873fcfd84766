"""The runs of a comparison, told apart by position: two may have one name, and a run may meet itself."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyze.loaded import LoadedRun
from harness.errors import UsageError


@dataclass(frozen=True, repr=False)
class Side:
    """A run and its letter; the first of a comparison is `A`, the base."""

    letter: str
    run: LoadedRun

    @property
    def name(self) -> str:
        """`A (quick)`"""
        return f"{self.letter} ({self.run.name})"

    def __repr__(self) -> str:
        return f"<Side {self.name}>"

    def is_same_run(self, other: "Side") -> bool:
        """Whether both are one folder. Equal cell ids do not say so: a repeated run has the same ones."""
        return self.run.path.resolve() == other.run.path.resolve()


def sides_of(runs: Sequence[LoadedRun]) -> list[Side]:
    """Raises UsageError for more runs than there are letters."""
    letters = string.ascii_uppercase
    if len(runs) > len(letters):
        raise UsageError(f"{len(runs)} runs are too many to tell apart; compare {len(letters)} at most.")
    return [Side(letter, run) for letter, run in zip(letters, runs, strict=False)]
