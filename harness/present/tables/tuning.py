"""A search for settings as tables: each method's trials, best first."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.analyze.loaded import LoadedRun
from harness.analyze.words import counted
from harness.present.tables.grid import bare_table, section
from harness.settings import format_settings


def tuning_sections(run: LoadedRun) -> Iterator[RenderableType]:
    """One table a method; nothing of a run that searched for nothing."""
    tuning = run.manifest.get("tuning")
    if not isinstance(tuning, dict):
        return
    best_first = -1 if tuning.get("score") == "accuracy" else 1
    for method in tuning.get("methods", []):
        yield _of_method(method, best_first)
    said = f"Judged by the {tuning.get('judged_by')}. A search takes the luckiest of its trials: the best"
    yield Text(f"{said} score is above what the same setting reaches in another training.\n", "dim")


def _of_method(method: dict[str, Any], best_first: int) -> RenderableType:
    trials = method.get("trials", [])
    failed = [trial for trial in trials if trial["score"] is None]
    scored = sorted(
        (trial for trial in trials if trial["score"] is not None), key=lambda t: best_first * t["score"]
    )
    table = bare_table()
    for column in ("trial", "score"):
        table.add_column(column, justify="right")
    table.add_column("settings", overflow="fold", ratio=1)
    for trial in scored:
        table.add_row(str(trial["number"] + 1), f"{trial['score']:.3f}", Text(_settings(trial, method)))
    for trial in failed:
        table.add_row(str(trial["number"] + 1), "-", Text(f"{_settings(trial, method)} ({trial['reason']})"))
    title = f"{method['method']}: {counted(len(trials), 'trial')}, best first"
    searched = "; ".join(f"{name} from {where}" for name, where in method.get("space", {}).items())
    return section(title, table, [f"Searched: {searched}."])


def _settings(trial: dict[str, Any], method: dict[str, Any]) -> str:
    own = "" if trial["changes"] else " (the suite's own)"
    return format_settings(trial["changes"] or method["own"]).replace(",", ", ") + own
