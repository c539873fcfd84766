"""A run's rows as one pandas frame, with the settings of workloads and methods as columns."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.rowfile import frame_of_records, read_rows
from harness.rows import Row
from harness.settings import flat, telling_apart
from harness.store import RunFolder


def load_frame(path: Path | str | RunFolder, *, every: bool = False) -> pd.DataFrame:
    """One line a row, of the last attempt of each cell in the manifest's plan.

    `every=True` keeps the rows of earlier plans too. Beside the row's own fields: `workload_name`,
    `method_label` (see `label_methods`) and each setting as `workload.<name>` or `method.<name>`.
    """
    folder = path if isinstance(path, RunFolder) else RunFolder.open(path)
    rows = read_rows(folder).rows
    if not every and folder.manifest_path.exists():
        planned = {cell["id"] for cell in folder.manifest().get("cells", [])}
        rows = rows[rows.cell_id.isin(planned)]
    return with_settings(rows)


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """The same for rows that are at hand."""
    return with_settings(frame_of_records([vars(row) | {"settings": row.settings_json} for row in rows]))


def with_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns `ROW_FIELDS`, and those that `load_frame` tells of."""
    frame = rows.reset_index(drop=True)
    if frame.empty:  # from here on every column has values to take its type from
        return frame_of_records([]).assign(
            **{n: pd.Series(dtype="str") for n in ("workload_name", "method_label")}
        )
    columns: dict[str, pd.Series] = {}
    of_workload, workloads = pd.factorize(frame["workload"])
    of_settings, texts = pd.factorize(frame["settings"])
    names_and_settings = [split_workload(workload) for workload in workloads]
    settings = [json.loads(text) for text in texts]
    frame["workload_name"] = _spread(pd.Series([n for n, _ in names_and_settings], dtype="str"), of_workload)
    frame["method_label"] = label_methods(frame, dict(zip(texts, settings, strict=True)))
    for prefix, each_has, which in (
        ("workload", [s for _, s in names_and_settings], of_workload),
        ("method", settings, of_settings),
    ):
        for name in sorted({name for each in each_has for name in each}):
            values = _column([each.get(name) for each in each_has])
            columns[f"{prefix}.{name}"] = _spread(values, which)
    return frame.assign(**columns)


def _spread(values: pd.Series, which: np.ndarray) -> pd.Series:
    """A line each of `which`, with the value of that number."""
    return values.take(which).reset_index(drop=True)


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


def label_methods(frame: pd.DataFrame, settings: Mapping[str, dict[str, Any]]) -> pd.Series:
    """The bare name, and in brackets the settings that tell the variants of one method apart. `settings` has
    each text of that column, parsed.

    Variants are rivals only within one workload and measure: a method that has one learning rate for
    sinusoid and another for glyphs needs no brackets.
    """
    rivals: dict[tuple[str, str, str], list[str]] = {}
    keys = frame[["method", "workload", "measure", "settings"]].drop_duplicates()
    for method, workload, measure, text in keys.itertuples(index=False, name=None):
        rivals.setdefault((method, workload, measure), []).append(text)
    differing: dict[str, set[str]] = {}
    for (method, _, _), variants in rivals.items():
        differing.setdefault(method, set()).update(telling_apart([settings[text] for text in variants]))
    of_method, methods = pd.factorize(frame["method"])
    of_settings, texts = pd.factorize(frame["settings"])
    which, distinct = pd.factorize(of_method * len(texts) + of_settings)
    labels = []
    for i in map(int, distinct):
        method, each = str(methods[i // len(texts)]), flat(settings[str(texts[i % len(texts)])])
        labels.append(
            _label(method, {name: each[name] for name in sorted(differing[method]) if name in each})
        )
    return _spread(pd.Series(labels, dtype="str"), which)


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
