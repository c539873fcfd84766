"""What is wrong with a run folder, and what makes its figures doubtful: to be known before any of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from harness import __version__
from harness.analyze.words import counted, listed
from harness.rowfile import RowFile
from harness.rows import FIRST_SCHEMA, SCHEMA, Defects

NAMED = 5  # of keys, before the rest is only counted


def planned_cells(manifest: Mapping[str, Any]) -> frozenset[str] | None:
    """Their ids; None where the manifest does not say."""
    cells = manifest.get("cells")
    return None if cells is None else frozenset(str(cell["id"]) for cell in cells)


def about_schema(manifest: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterator[str]:
    schema = manifest.get("schema", FIRST_SCHEMA)
    if schema != SCHEMA and not (isinstance(schema, int) and schema < SCHEMA):
        writer = f"innerloop {version}" if (version := environment.get("innerloop")) else "a newer innerloop"
        yield (
            f"{writer[0].upper()}{writer[1:]} wrote this run in schema {schema}, this one ({__version__}) "
            f"knows up to schema {SCHEMA}: update it, for what is new is left out or misread."
        )


def about_progress(planned: frozenset[str] | None, file: RowFile) -> Iterator[str]:
    """Cells that are missing, and rows that no cell of the plan has."""
    if planned is None:
        return
    missing = planned - (file.cells - file.interrupted)
    if missing:
        stopped = len(missing & file.interrupted)
        interrupted = f" ({stopped} interrupted)" if stopped else ""
        yield (
            f"{len(missing):,} of {counted(len(planned), 'cell')} {_have(len(missing))} not finished"
            f"{interrupted}: the same command again runs what is missing."
        )
    if others := file.cells - planned:
        yield (
            f"{counted(len(others), 'finished cell')} {_are(len(others))} not of this plan, and left out: "
            "measured before the versions, the device or an adapter changed."
        )


def about_defects(defects: Defects) -> Iterator[str]:
    """What `rows.jsonl` holds that is not shown."""
    if lines := defects.unclosed_lines:
        yield f"rows.jsonl ends in {counted(lines, 'line')} of a cell that was not closed: left out."
    if cells := defects.unreadable_cells:
        yield (
            f"{counted(cells, 'cell')} of rows.jsonl {_have(cells, 'has')} a line that cannot be read, and "
            f"{_counts(cells)} as missing."
        )
    if defects.unknown_keys:
        rows = max(defects.unknown_keys.values())
        yield (
            f"{counted(rows, 'row')} of rows.jsonl {_have(rows, 'has')} keys that this innerloop "
            f"({__version__}) does not know ({_named(defects.unknown_keys)}), and does not show: "
            "a newer one wrote them; update it."
        )
    if lines := defects.foreign_lines:
        lacking = f" (without {_named(defects.lacking_keys)})" if defects.lacking_keys else ""
        yield (
            f"{counted(lines, 'line')} of rows.jsonl {_are(lines)} no {'row' if lines == 1 else 'rows'} "
            f"of schema {SCHEMA}{lacking}, and left out: an older or newer innerloop wrote {_them(lines)}."
        )


def about_machines(selfchecks: Iterable[Mapping[str, Any]], finished: frozenset[str]) -> Iterator[str]:
    """A cell was measured where the run was last at work on it; earlier versions did not keep where."""
    measured_on: dict[str, str] = {}
    for found in selfchecks:
        if isinstance(machine := found.get("machine"), dict):
            measured_on |= dict.fromkeys(map(str, found.get("cells", [])), machine_in_words(machine))
    cells = Counter(machine for cell, machine in measured_on.items() if cell in finished)
    if len(cells) > 1:
        each = "; ".join(f"{machine} ({counted(count, 'cell')})" for machine, count in cells.items())
        yield f"Measured on {len(cells)} machines, whose times do not compare: {each}."


def machine_in_words(machine: Mapping[str, Any]) -> str:
    """`AMD EPYC, 2 cores, 24 GiB`, and the GPUs."""
    gib = machine.get("memory_bytes")
    facts = [
        str(machine.get("cpu") or "unknown processor"),
        counted(cores, "core") if (cores := machine.get("cores")) else "",
        f"{gib / 2**30:.0f} GiB" if gib else "",
        *map(str, machine.get("gpus", [])),
    ]
    return ", ".join(fact for fact in facts if fact)


def about_instruments(selfchecks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    checks = [check for found in selfchecks for check in found.get("checks", [])]
    failed = dict.fromkeys(str(c.get("instrument")) for c in checks if c.get("status") == "failed")
    if failed:
        yield f"Failed their selfcheck before cells of this run: {', '.join(failed)}."


def about_seeds(rows: pd.DataFrame) -> Iterator[str]:
    tested = rows[rows.metric.isin(["accuracy", "loss"]) & rows.value.notna()]
    seeds = tested.groupby("workload").seed.nunique()
    if len(seeds) and seeds.min() == 1:
        of = f" of {listed(list(map(str, seeds.index[seeds == 1])))}" if seeds.max() > 1 else ""
        yield (
            f"Accuracy{of} rests on a single seed: its intervals are over test tasks, and the spread between "
            "training runs, which is often larger, is not in them."
        )


def about_flags(rows: pd.DataFrame) -> Iterator[str]:
    flags = rows.loc[rows.metric == "flag", ["measure", "workload", "method", "settings", "inner_steps"]]
    if points := len(flags.drop_duplicates()):
        yield f"The instruments warn of {counted(points, 'point')}: read the flags before you believe those."


def _named(keys: Iterable[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _have(number: int, one: str = "has") -> str:
    return one if number == 1 else "have"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _counts(number: int) -> str:
    return "counts" if number == 1 else "count"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"
