"""Numbers as they stand in the tables of a report: with the digits that they bear, and sortable."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.present.report.blocks import Cell
from harness.present.tables.grid import STATUS_STYLE
from harness.store import FAILURES

STATUSES = FAILURES | set(STATUS_STYLE)
NONE = Cell("\N{EN DASH}")


def text(value: Any) -> Cell:
    """As it is; nothing at all is a dash."""
    written = "" if value is None or value is pd.NA else str(value)
    return Cell(written) if written.strip() else NONE


def count(value: Any) -> Cell:
    if value is None or pd.isna(value):
        return NONE
    return Cell(f"{value:,.0f}", float(value))


def number(value: Any, digits: int = 4) -> Cell:
    """With so many significant digits; no more than its fraction has."""
    if value is None or pd.isna(value):
        return NONE
    return Cell(in_digits(float(value), digits), float(value))


def in_digits(value: float, digits: int = 4) -> str:
    """`1,234`, `0.02154`, `3.2e-9`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+", "e").replace("e0", "e")
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def column_is_numeric(lines: Sequence[tuple[Cell, ...]], column: int) -> bool:
    """Whether what stands there are numbers, dashes, and words on why there is no number."""
    cells = [line[column] for line in lines]
    return any(cell.key is not None for cell in cells) and all(
        cell.key is not None or cell == NONE or cell.text in STATUSES for cell in cells
    )


def numeric_columns(lines: Sequence[tuple[Cell, ...]]) -> frozenset[int]:
    width = len(lines[0]) if lines else 0
    return frozenset(i for i in range(1, width) if column_is_numeric(lines, i))
