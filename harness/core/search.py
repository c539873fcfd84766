"""What a method says of its settings to whoever searches for good ones: ranges and choices.

Nothing here needs torch: the parent process, which searches, reads it too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, logarithmically unless `log` is False; whole if both ends are."""

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a range goes from a lower to a higher number, not from {self.low} to {self.high}"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range is above 0, not from {self.low}; or give it log=False")

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmically" if self.log else "")

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not self.whole or value == int(value)


@dataclass(frozen=True)
class Choice:
    """One of `values`."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice is of one value at least")

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))

    def __contains__(self, value: object) -> bool:
        return value in self.values


SearchSpace = Mapping[str, Range | Choice]
"""By the name of a setting as it stands in brackets: `inner_lr`, `outer.lr`."""
