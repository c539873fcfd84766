"""A search for settings as tables: each method's trials, best first."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.analyze.loaded import LoadedRun
from harness.analyze.words import counted
from harness.present.tables.grid import bare_table, section
from harness.settings import format_settings

COLUMNS = ("trial", "score", "settings")


def tuning_sections(run: LoadedRun) -> Iterator[RenderableType]:
    """One table a method; nothing of a run that searched for nothing."""
    for method in searches(run):
        table = bare_table()
        for column in COLUMNS[:2]:
            table.add_column(column, justify="right")
        table.add_column(COLUMNS[2], overflow="fold", ratio=1)
        for number, score, settings in trials_of(run, method):
            table.add_row(number, score or "-", Text(settings))
        yield section(title_of(method), table, [searched_in_words(method)])
    if searches(run):
        yield Text(f"{judged_in_words(run)}\n", "dim")


def searches(run: LoadedRun) -> list[dict[str, Any]]:
    """What the manifest keeps of each method's search; empty where nothing was searched for."""
    methods: list[dict[str, Any]] = run.manifest.get("tuning", {}).get("methods", [])
    return methods


def trials_of(run: LoadedRun, method: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Number, score and settings of each trial, best first; those that failed last, with why and no score."""
    best_first = -1 if run.manifest["tuning"].get("score") == "accuracy" else 1
    scored = [trial for trial in method["trials"] if trial["score"] is not None]
    scored.sort(key=lambda trial: best_first * trial["score"])
    failed = [trial for trial in method["trials"] if trial["score"] is None]
    return [
        *((str(t["number"] + 1), f"{t['score']:.3f}", _settings(t, method)) for t in scored),
        *((str(t["number"] + 1), "", f"{_settings(t, method)} ({t['reason']})") for t in failed),
    ]


def title_of(method: dict[str, Any]) -> str:
    return f"{method['method']}: {counted(len(method['trials']), 'trial')}, best first"


def searched_in_words(method: dict[str, Any]) -> str:
    return f"Searched: {'; '.join(f'{name} from {where}' for name, where in method['space'].items())}."


def judged_in_words(run: LoadedRun) -> str:
    """What a score is, and why it flatters."""
    said = (
        f"Judged by the {run.manifest['tuning'].get('judged_by')}. A search takes the luckiest of its trials"
    )
    return f"{said}: the best score is above what the same setting reaches in another training."


def _settings(trial: dict[str, Any], method: dict[str, Any]) -> str:
    own = "" if trial["changes"] else " (the suite's own)"
    return format_settings(trial["changes"] or method["own"]).replace(",", ", ") + own
