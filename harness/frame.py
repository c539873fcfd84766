"""A run's rows as one pandas frame, with the settings of workloads and methods as columns."""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness.settings import telling_apart
from harness.store import Row, RunFolder

ROW_COLUMNS = [field.name for field in fields(Row)]


def load_frame(path: Path | str | RunFolder, *, every: bool = False) -> pd.DataFrame:
    """One line a row, of the last attempt of each cell in the manifest's plan.

    `every=True` keeps the rows of earlier plans too. Beside the row's own fields: `workload_name`,
    `method_label` (see `label_methods`) and each setting as `workload.<name>` or `method.<name>`.
    """
    folder = path if isinstance(path, RunFolder) else RunFolder.open(path)
    rows = folder.rows()
    if not every and folder.manifest_path.exists():
        planned = {cell["id"] for cell in folder.manifest().get("cells", [])}
        rows = [row for row in rows if row.cell_id in planned]
    return frame_of(rows)


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """The same for rows that are at hand."""
    rows = list(rows)
    records = [vars(row) | {"settings": row.settings_json} for row in rows]
    settings = [json.loads(record["settings"]) for record in records]
    workloads = {record["workload"]: split_workload(record["workload"]) for record in records}
    frame = pd.DataFrame.from_records(records, columns=ROW_COLUMNS)
    frame["value"] = frame["value"].astype("float64")
    frame["workload_name"] = pd.Series([workloads[r["workload"]][0] for r in records], dtype="str")
    frame["method_label"] = pd.Series(label_methods(frame, settings), dtype="str")
    of_workloads = [workloads[r["workload"]][1] for r in records]
    for prefix, values in (("workload", of_workloads), ("method", settings)):
        for name in sorted({name for each in values for name in each}):
            frame[f"{prefix}.{name}"] = _column([each.get(name) for each in values])
    return frame


def split_workload(text: str) -> tuple[str, dict[str, Any]]:
    """A workload's name and settings.

    >>> split_workload("glyphs[ways=5,norm=batch-stats]")
    ('glyphs', {'ways': 5, 'norm': 'batch-stats'})
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return text, {}
    settings: dict[str, Any] = {}
    depth, start, inside = 0, 0, rest.removesuffix("]") + ","
    for i, character in enumerate(inside):
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            key, equals, value = inside[start:i].partition("=")
            if equals:
                settings[key.strip()] = _parse(value.strip())
            start = i + 1
    return name, settings


def label_methods(frame: pd.DataFrame, settings: list[dict[str, Any]]) -> list[str]:
    """The bare name, and in brackets the settings that tell the variants of one method apart.

    Variants are rivals only within one workload and measure: a method that has one learning rate for
    sinusoid and another for glyphs needs no brackets.
    """
    rivals: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    keys = frame[["method", "workload", "measure", "settings"]].itertuples(index=False, name=None)
    for (method, workload, measure, text), each in zip(keys, settings, strict=True):
        rivals.setdefault((method, workload, measure), {})[text] = each
    differing: dict[str, set[str]] = {}
    for (method, _, _), variants in rivals.items():
        differing.setdefault(method, set()).update(telling_apart(list(variants.values())))
    return [
        _label(method, {name: each[name] for name in sorted(differing[method]) if name in each})
        for method, each in zip(frame["method"], settings, strict=True)
    ]


def _label(method: str, settings: dict[str, Any]) -> str:
    inside = ",".join(f"{name}={_show(value)}" for name, value in settings.items())
    return f"{method}[{inside}]" if inside else method


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parse(text: str) -> Any:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def _column(values: list[Any]) -> pd.Series:
    """One type a column, so that it can be stored; where types are mixed, text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64")
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="Float64")
    return pd.Series([None if value is None else _show(value) for value in values], dtype="object")
