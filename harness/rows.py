"""A row, one observation, and how the lines of `rows.jsonl` become rows.

Only the standard library is loaded here.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

from harness.files import dumps

SCHEMA = 1
"""Of the rows, and of the manifest, which carries it. It goes up where an older innerloop would read a row
wrongly; a key that may be ignored needs no new one."""
FIRST_SCHEMA = 1  # of a manifest without the number

# What a cell was run for. A point that fails leaves one row under the first of its measure's names.
HEADLINES: dict[str, tuple[str, ...]] = {
    "accuracy": ("accuracy", "loss", "selected_validation_accuracy", "selected_validation_loss"),
    "gradient": ("rel_error_unrolled", "rel_error_implicit"),
    "memory": ("peak_bytes",),
    "time": ("step_seconds",),
}
FAILURES = frozenset({"oom", "timeout", "diverged", "error"})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One observation. A value that is not finite becomes None, and its status `diverged` if it said `ok`."""

    run_id: str
    cell_id: str
    attempt: int
    suite: str
    workload: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    inner_steps: int
    seed: int
    repeat: int = 0
    measure: str
    metric: str
    value: float | None
    unit: str
    status: str = "ok"
    detail: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "detail", self.detail or f"{self.metric} was {float(self.value)}")
            object.__setattr__(self, "value", None)
            if self.status == "ok":
                object.__setattr__(self, "status", "diverged")

    def to_json(self) -> str:
        value = None if self.value is None else float(self.value)
        return dumps(vars(self) | {"settings": self.settings_json, "value": value}, sort_keys=False)

    @property
    def settings_json(self) -> str:
        return settings_text(self.settings)

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """Keys of a newer schema are ignored. Raises ValueError or TypeError for what is no row."""
        if not isinstance(record, dict):
            raise ValueError("a row is a JSON object")
        settings = record.get("settings", {})
        settings = json.loads(settings) if isinstance(settings, str) else settings
        if not isinstance(settings, dict):
            raise ValueError("settings are a JSON object")
        known = {name: record[name] for name in ROW_FIELDS if name in record} | {"settings": settings}
        for name, value in known.items():
            is_one = isinstance(value, _KINDS[name]) and not isinstance(value, bool)
            if not is_one or (name in WHOLE_NUMBERS and not -(2**63) <= value < 2**63):
                raise TypeError(f"{name} cannot be {value!r}")
            if isinstance(value, str) and not value.isascii():
                known[name] = value.encode(errors="replace").decode()  # half a letter, as of a foreign path
        return cls(**known)

    @property
    def is_headline(self) -> bool:
        """Whether this row says how its point fared; rows of an unknown measure all do."""
        return self.metric in HEADLINES.get(self.measure, (self.metric,))


def settings_text(settings: dict[str, Any]) -> str:
    """Sorted, and without `inner_steps`, which has a column of its own."""
    return dumps({name: value for name, value in settings.items() if name != "inner_steps"})


ROW_FIELDS = tuple(f.name for f in fields(Row))
WHOLE_NUMBERS = ("attempt", "inner_steps", "seed", "repeat")
_KINDS: dict[str, tuple[type, ...]] = {
    name: (int,) if name in WHOLE_NUMBERS else (str,) for name in ROW_FIELDS
} | {"value": (int, float, type(None)), "settings": (dict,)}
REQUIRED_FIELDS = tuple(f.name for f in fields(Row) if f.default is MISSING and f.default_factory is MISSING)


@dataclass(kw_only=True)
class Defects:
    """What `rows.jsonl` holds beside the rows of closed cells. A sound file has none of it."""

    unclosed_lines: int = 0  # after the last closing line; the last of them may be torn
    unreadable_cells: int = 0  # closed cells with a line that is no JSON object: they count as missing
    unknown_keys: Counter[str] = field(default_factory=Counter)  # of rows, and in how many: a newer schema's
    foreign_lines: int = 0  # JSON objects that are no rows, and are left out: another schema's
    lacking_keys: Counter[str] = field(default_factory=Counter)  # what those lack of a row


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`rows.jsonl`, read: of each closed cell its last attempt, in the order of closing."""

    cells: dict[str, tuple[int, list[Row]]]
    defects: Defects


def read_lines(lines: Iterable[bytes]) -> Contents:
    """The lines of `rows.jsonl`; `harness.rowfile` reads a large file faster, to the same end."""
    cells: dict[str, tuple[int, list[Row]]] = {}
    defects = Defects()
    for cell_id, attempt, rows in _closed_cells(lines, defects):
        if cell_id not in cells or attempt >= cells[cell_id][0]:
            cells.pop(cell_id, None)  # it stands where its last attempt does
            cells[cell_id] = (attempt, rows)
    return Contents(cells=cells, defects=defects)


def _closed_cells(lines: Iterable[bytes], defects: Defects) -> Iterator[tuple[str, int, list[Row]]]:
    """Skips a cell that holds a line it cannot read: it is run again rather than half believed."""
    rows: list[Row] = []
    readable = True
    for line in lines:
        defects.unclosed_lines += 1
        if not line.endswith(b"\n"):
            return
        closing = closed_by(line)
        if closing is None:
            try:
                rows.append(_read_row(line, defects))
            except TypeError:
                defects.foreign_lines += 1
            except (ValueError, OverflowError):
                readable = False
            continue
        defects.unclosed_lines = 0
        defects.unreadable_cells += not readable
        cell_id, attempt = closing
        if readable:
            yield cell_id, attempt, [r for r in rows if (r.cell_id, r.attempt) == closing]
        rows, readable = [], True


def closed_by(line: bytes) -> tuple[str, int] | None:
    """The cell and attempt that a line closes; None for a row, and for a line whose newline never came."""
    if b'"cell_done"' not in line or not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
        cell_id, attempt = record["cell_done"], int(record.get("attempt", 1))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return (cell_id, attempt) if isinstance(cell_id, str) else None


def _read_row(line: bytes, defects: Defects) -> Row:
    """Raises ValueError or TypeError for what is no row, and keeps account of keys."""
    record = json.loads(line)
    if isinstance(record, dict):
        defects.lacking_keys.update(set(REQUIRED_FIELDS) - record.keys())
    row = Row.from_record(record)
    unknown = record.keys() - set(ROW_FIELDS)
    defects.unknown_keys.update(name for name in unknown if record[name] is not None)
    return row
