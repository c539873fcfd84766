"""Where runs were made, what their instruments were held against, and what is unlike between runs."""

import shlex
from collections.abc import Sequence
from typing import Any

from harness.analyze.comparison.unlike import unlike
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed
from harness.errors import UsageError
from harness.present.report.blocks import Cell, Table
from harness.present.report.cells import count, number, numeric_columns, text

UNKNOWN = "unknown"
FACTS = {
    "innerloop": "innerloop",
    "code": "source of the harness (hash)",
    "python": "Python",
    "torch": "torch",
    "device": "device",
    "device_name": "device name",
    "cpu": "CPU",
    "cpu_capability": "CPU instructions used",
    "cores": "cores",
    "affinity": "cores allowed",
    "threads": "threads",
    "interop_threads": "threads between operators",
    "memory_bytes": "memory",
    "gpus": "GPUs",
    "platform": "system",
    "load_average": "load when it began (1, 5, 15 min)",
}
"""What is told first, and how it is called; what else an environment has follows under its own name."""


def environment_table(runs: dict[str, LoadedRun]) -> Table:
    """A line a fact, a column a run; of several runs, whether they differ."""
    facts = {run: _facts(loaded.environment) for run, loaded in runs.items()}
    known = list(dict.fromkeys([*FACTS.values(), *(name for each in facts.values() for name in each)]))
    names = [name for name in known if any(name in each for each in facts.values())]
    lines = []
    for name in names:
        values = [each.get(name, UNKNOWN) for each in facts.values()]
        differ = [Cell("differs" if len(set(values)) > 1 else "the same")] if len(runs) > 1 else []
        lines.append((Cell(name), *map(text, values), *differ))
    columns = ("", *runs, *(["between runs"] if len(runs) > 1 else []))
    return Table(caption="Environment, as each run kept it", columns=columns, lines=lines, is_open=True)


def selfcheck_table(runs: dict[str, LoadedRun]) -> Table:
    """Every check of every call that measured."""
    several = len(runs) > 1
    times = sum(len(loaded.selfchecks) for loaded in runs.values()) > len(runs)
    lines = []
    for run, loaded in runs.items():
        for found in loaded.selfchecks:
            for check in found.get("checks", []):
                lines.append(
                    (
                        text(check.get("instrument")),
                        *([Cell(run)] if several else []),
                        *([text(_time(found))] if times else []),
                        text(check.get("quantity")),
                        _reading(check.get("expected")),
                        _reading(check.get("read")),
                        text(check.get("unit")),
                        number(check.get("error"), 2),
                        number(check.get("tolerance"), 2),
                        text("; ".join(filter(None, (str(check.get("status", UNKNOWN)), check.get("note"))))),
                    )
                )
    places = (*(["run"] if several else []), *(["time"] if times else []))
    columns = ("instrument", *places, "quantity", "expected", "read", "unit", "error", "allowed", "status")
    return Table(
        caption="Selfcheck of the instruments before the cells were measured",
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=(
            "Errors of bytes are relative. The command innerloop selfcheck holds more against each other.",
        ),
    )


def selfcheck_sentences(runs: dict[str, LoadedRun]) -> list[str]:
    said = []
    for run, loaded in runs.items():
        checks = [check for found in loaded.selfchecks for check in found.get("checks", [])]
        if not checks:
            said.append(f"{run}: no selfcheck was kept with this run.")
            continue
        failed = [check for check in checks if check.get("status") == "failed"]
        skipped = sum(check.get("status") == "skipped" for check in checks)
        names = listed(list(dict.fromkeys(str(check.get("instrument")) for check in failed)))
        passed = len(checks) - len(failed) - skipped
        words = f"{run}: {passed} of {len(checks)} checks passed"
        words += f", {skipped} were skipped" if skipped else ""
        words += f", {len(failed)} failed ({names})" if failed else ""
        times = [_time(found) for found in loaded.selfchecks if "time" in found]
        said.append(f"{words}; {listed(times) if times else 'when, is unknown'}.")
    return said


def unlike_sentences(runs: dict[str, LoadedRun]) -> list[str]:
    """In what the runs differ from the first, and the command that holds their numbers against each other."""
    try:
        said = [finding.sentence for finding in unlike(list(runs.values()))]
    except UsageError as refusal:  # more runs than can be compared
        return [str(refusal)]
    folders = " ".join(shlex.quote(str(run.path)) for run in runs.values())
    alike = [] if said else ["The runs are alike in machine, versions and protocol as far as they were kept."]
    return [*said, *alike, f"`innerloop compare {folders}` holds their numbers against each other."]


def _time(found: dict[str, Any]) -> str:
    return str(found.get("time", UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")


def _reading(value: Any) -> Cell:
    """Bytes are counted, and so whole."""
    return count(value) if isinstance(value, int) else number(value, 4)


def _facts(environment: dict[str, Any]) -> dict[str, str]:
    facts = {}
    for key, value in environment.items():
        if key != "packages":
            facts[FACTS.get(key, key)] = _said(key, value)
    packages = environment.get("packages")
    for package, version in (packages if isinstance(packages, dict) else {}).items():
        facts.setdefault(package, str(version))
    return facts


def _said(key: str, value: Any) -> str:
    if key == "memory_bytes" and isinstance(value, int | float):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [f"{each:.2f}" if isinstance(each, float) else str(each) for each in value]
        return ", ".join(parts) or "none"
    return str(value)
