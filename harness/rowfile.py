"""`rows.jsonl` as columns: what `RunFolder.contents` reads line by line, read at one go.

A file as `append_cell` writes it is parsed by Arrow, some fifty times faster than by lines. Of any other
file (a line that cannot be read, a row that lacks a key, a number that is no number) line by line is the
truth, and what is returned.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from harness.rows import ROW_FIELDS, WHOLE_NUMBERS, Defects, settings_text
from harness.store import RunFolder

if TYPE_CHECKING:  # its import takes longer than parsing, which need not wait for it
    import pandas as pd

_TYPES = {name: pa.int64() if name in WHOLE_NUMBERS else pa.string() for name in ROW_FIELDS}
_TYPES |= {"value": pa.float64(), "cell_done": pa.string()}
ONE_THREAD = arrow_json.ReadOptions(use_threads=False)  # two were no faster on two cores


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """The rows of the last attempt of each closed cell.

    rows: a line a row, its columns those of `harness.rows.Row`, `settings` as JSON text.
    cells: the ids of the closed cells; `interrupted`: of those that count as missing.
    """

    rows: "pd.DataFrame"
    cells: frozenset[str]
    interrupted: frozenset[str]
    defects: Defects


@dataclass(frozen=True)
class Parsed:
    """A file's lines as columns; no table of a file that is to be read line by line."""

    table: pa.Table | None
    is_torn: bool  # whether the last line has no end


def parse_rows(folder: RunFolder) -> Parsed:
    """The first half of `read_rows`, which may be taken beside other work. Raises OSError."""
    data = folder.rows_path.read_bytes() if folder.rows_path.exists() else b""
    end = data.rfind(b"\n") + 1
    return Parsed(_parsed(data[:end]) if end else None, end < len(data))


def read_rows(folder: RunFolder, parsed: Parsed | None = None) -> RowFile:
    """The same as `folder.contents()`, of what was parsed before where it is given. Raises OSError."""
    parsed = parsed or parse_rows(folder)
    if parsed.table is None:
        return _line_by_line(folder)
    return _last_attempts(parsed.table, torn=parsed.is_torn)


def frame_of_records(records: list[dict[str, Any]]) -> "pd.DataFrame":
    """Rows as columns of one type each."""
    import pandas as pd

    frame = pd.DataFrame.from_records(records, columns=list(ROW_FIELDS))
    frame["value"] = frame["value"].astype("float64")
    return frame


def _line_by_line(folder: RunFolder) -> RowFile:
    contents = folder.contents()
    rows = [row for _, rows in contents.cells.values() for row in rows]
    return RowFile(
        rows=frame_of_records([vars(row) | {"settings": row.settings_json} for row in rows]),
        cells=frozenset(contents.cells),
        interrupted=frozenset(row.cell_id for row in rows if row.status == "interrupted"),
        defects=contents.defects,
    )


def _parsed(data: bytes) -> pa.Table | None:
    """All lines as columns; None of a file with a line that is neither a whole row nor closes a cell."""
    letters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    starts = np.r_[0, ends[:-1] + 1]
    if (letters[starts] != ord("{")).any() or (letters[ends - 1] != ord("}")).any():
        return None  # a line that is no object: of `null` alone Arrow's parser dies
    options = arrow_json.ParseOptions(
        explicit_schema=pa.schema(list(_TYPES.items())), unexpected_field_behavior="infer"
    )
    try:
        if not data.isascii():
            data.decode()
        table = arrow_json.read_json(pa.BufferReader(data), ONE_THREAD, options)
        settings = {
            text: settings_text(_settings(text))
            for text in pc.unique(table["settings"]).to_pylist()
            if text is not None
        }
    except (ValueError, pa.ArrowNotImplementedError):  # of which Arrow's own and those of text are kinds
        return None
    if table.num_rows != len(ends) or table["attempt"].null_count:
        return None
    is_row = pc.is_null(table["cell_done"])
    whole = [name for name in ROW_FIELDS if name not in ("value", "attempt")]
    if not all(pc.all(pc.equal(pc.is_valid(table[name]), is_row)).as_py() for name in whole):
        return None
    # A value may be null, but not absent. Its name between quotes can be nothing but the key.
    valueless = np.flatnonzero(pc.and_(is_row, pc.is_null(table["value"])).to_numpy())
    if not all(b'"value":' in data[starts[i] : ends[i]] for i in valueless):
        return None
    if pc.all(pc.is_finite(table["value"])).as_py() is False:
        return None
    if any(text != plain for text, plain in settings.items()):
        texts = [settings.get(text) for text in table["settings"].to_pylist()]
        column = table.column_names.index("settings")
        table = table.set_column(column, "settings", pa.array(texts, pa.string()))
    return table


def _settings(text: str) -> dict[str, Any]:
    """Raises ValueError for what are none."""
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("settings are a JSON object")
    return settings


def _last_attempts(table: pa.Table, *, torn: bool) -> RowFile:
    is_closing = pc.is_valid(table["cell_done"]).to_numpy()
    closings = np.flatnonzero(is_closing)
    closed_by = np.searchsorted(closings, np.arange(table.num_rows))  # the closing line that ends each line
    closing = table.select(["cell_done", "attempt"]).take(closings)
    last: dict[str, tuple[int, int]] = {}  # of each cell, its last attempt and which closing line ended it
    for i, (cell, attempt) in enumerate(zip(*(c.to_pylist() for c in closing.columns), strict=True)):
        if cell not in last or attempt >= last[cell][0]:
            last[cell] = (attempt, i)
    counts = np.zeros(len(closings) + 1, bool)  # whose lines count; those after the last closing line do not
    counts[[i for _, i in last.values()]] = True
    kept = counts[closed_by] & ~is_closing
    rows, ends = table.filter(pa.array(kept)), closing.take(closed_by[kept])
    own = pc.and_(pc.equal(rows["cell_id"], ends["cell_done"]), pc.equal(rows["attempt"], ends["attempt"]))
    if not pc.all(own).as_py():
        rows = rows.filter(own)
    unknown = {
        name: int((pc.is_valid(table[name]).to_numpy() & ~is_closing).sum())
        for name in table.column_names
        if name not in _TYPES
    }
    after = table.num_rows - (closings[-1] + 1 if len(closings) else 0)
    stopped = rows.filter(pc.equal(rows["status"], "interrupted"))["cell_id"]
    columns = {name: rows[name].combine_chunks() for name in ROW_FIELDS}
    return RowFile(
        rows=pa.table(columns).to_pandas(use_threads=False) if rows.num_rows else frame_of_records([]),
        cells=frozenset(last),
        interrupted=frozenset(stopped.to_pylist()),
        defects=Defects(unclosed_lines=int(after) + torn, unknown_keys=Counter(unknown)),
    )
