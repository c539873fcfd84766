"""How a run was done, from its manifest and its rows: what neither says is said to be unknown."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from harness.analyze.accuracy.scores import whole_test_split
from harness.analyze.asked import asked
from harness.analyze.loaded import LoadedRun
from harness.analyze.summary import FLOORS
from harness.analyze.words import listed
from harness.frame import split_workload
from harness.present.methods_used import methods_used
from harness.present.palette import NEWTON_METHODS
from harness.present.plots.limits import in_words
from harness.present.report.blocks import Cell, Table
from harness.present.report.cells import text
from harness.present.words import names_apart
from harness.settings import format_settings

UNKNOWN = "unknown: the manifest does not say"
NOT_MEASURED = "not measured"
MEASURES = ("accuracy", "gradient", "memory", "time")
BATCH_NORM = {
    "batch-stats": "batch-stats: of the batch itself, in test too (transductive)",
    "support-stats": "support-stats: of the support set",
    "none": "none",
}


def protocol_table(runs: dict[str, LoadedRun]) -> Table:
    """A line a question, a column a run."""
    lines = []
    for question, answer in QUESTIONS.items():
        answers = [answer(run) for run in runs.values()]
        if any(answers):
            lines.append((Cell(question), *(text(each or NOT_MEASURED) for each in answers)))
    for measure in MEASURES:
        for question, answer_of in QUESTIONS_OF_A_MEASURE.items():
            answers = [answer_of(run, measure) if _has(run, measure) else "" for run in runs.values()]
            if any(answers):
                told = (text(each or NOT_MEASURED) for each in answers)
                lines.append((Cell(f"{measure}: {question}"), *told))
    return Table(caption="Protocol card", columns=("", *runs), lines=lines, is_open=True)


def methods_table(runs: dict[str, LoadedRun]) -> Table:
    """What each method ran with, its outer rule apart; a line a run where they differ."""
    several = len(runs) > 1
    lines: list[tuple[Cell, ...]] = []
    for run, loaded in runs.items():
        for label, where, settings in methods_used(loaded.rows):
            values = json.loads(settings)
            outer = values.pop("outer", None)
            name = f"{label} ({where})" if where else label
            line = (Cell(name), text(_outer(outer)), text(format_settings(values).replace(",", ", ")))
            lines.append((*line[:1], Cell(run), *line[1:]) if several else line)
    columns = ("method", *(["run"] if several else []), "outer rule", "settings")
    newton = sorted({method for run in runs.values() for method in run.rows.method} & NEWTON_METHODS)
    notes = (f"An inner step of {', '.join(newton)} is a Newton step.",) if newton else ()
    return Table(caption="Methods and their settings", columns=columns, lines=lines, notes=notes)


def _outer(outer: Any) -> str:
    if not isinstance(outer, dict):
        return "unknown: the rows do not say" if outer is None else str(outer)
    rest = {name: value for name, value in outer.items() if name != "rule"}
    return f"{outer.get('rule', '')} ({format_settings(rest).replace(',', ', ')})"


def _content(run: LoadedRun) -> dict[str, Any]:
    content = run.manifest.get("content")
    return content if isinstance(content, dict) else {}


def _has(run: LoadedRun, measure: str) -> bool:
    return bool((run.rows.measure == measure).any())


def _setting(name: str) -> Callable[[LoadedRun], str]:
    def of(run: LoadedRun) -> str:
        return _said(_content(run).get(name))

    return of


def _of_workloads(*names: str, words: dict[str, str] | None = None) -> Callable[[LoadedRun], str]:
    """A workload's settings, as its rows have them, said once where all have the same."""

    def of(run: LoadedRun) -> str:
        found: dict[str, list[str]] = {}
        for workload in dict.fromkeys(run.rows.workload):
            name, settings = split_workload(workload)
            if any(each in settings for each in names):
                values = [str(settings.get(each, "none")) for each in names]
                said = " / ".join((words or {}).get(value, value) for value in values)
                found.setdefault(said, []).append(name)
        if len(found) == 1:
            return next(iter(found))
        return "; ".join(f"{said} ({', '.join(dict.fromkeys(of))})" for said, of in found.items())

    return of


def _workloads(run: LoadedRun) -> str:
    return "; ".join(dict.fromkeys(run.rows.workload)).replace(",", ", ")


def _seeds(run: LoadedRun, measure: str) -> str:
    return _listed(run.rows[run.rows.measure == measure].seed)


def _inner_steps(run: LoadedRun, measure: str) -> str:
    rows = run.rows[run.rows.measure == measure]
    names = names_apart(dict.fromkeys(rows.workload))
    found: dict[str, list[str]] = {}
    for label, part in rows.groupby("method_label", sort=False):
        on: dict[str, list[str]] = {}
        for workload, own in part.groupby("workload", sort=False):
            on.setdefault(_listed(own.inner_steps), []).append(names[str(workload)])
        told = [steps if len(on) == 1 else f"{steps} on {listed(where)}" for steps, where in on.items()]
        found.setdefault("; ".join(told), []).append(str(label))
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{steps} ({', '.join(labels)})" for steps, labels in found.items())


def _listed(numbers: pd.Series) -> str:
    return ", ".join(f"{int(n):,}" for n in sorted(numbers.unique()))


def _budget(run: LoadedRun) -> str:
    if "memory_budget" not in run.manifest:
        return UNKNOWN
    budget = run.manifest["memory_budget"]
    return "none" if budget is None else f"{in_words(float(budget) / 2**20)} of live tensors (virtual)"


def _of_measure(name: str, *, absent: str = UNKNOWN, template: str = "{}") -> Callable[[LoadedRun, str], str]:
    """A setting of a measure; `absent` is what its absence means in a manifest that has the measure."""

    def answer(settings: dict[str, Any], rows: pd.DataFrame) -> str:
        return template.format(_whole(settings[name])) if name in settings else absent

    return lambda run, measure: _on_workloads(run, measure, answer)


def _on_workloads(run: LoadedRun, measure: str, answer: Callable[[dict[str, Any], pd.DataFrame], str]) -> str:
    """What a measure's settings and rows say on each of its workloads, said once where they say the same."""
    found: dict[str, list[str]] = {}
    rows = run.rows[run.rows.measure == measure]
    names = names_apart(rows.workload.unique())
    for workload, name in names.items():
        settings = asked(run, measure, workload)
        said = answer(settings, rows[rows.workload == workload]) if settings else UNKNOWN
        found.setdefault(said, []).append(name)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{said} ({listed(where)})" for said, where in found.items())


def _only(
    measures: Iterable[str], answer: Callable[[LoadedRun, str], str]
) -> Callable[[LoadedRun, str], str]:
    wanted = frozenset(measures)
    return lambda run, measure: answer(run, measure) if measure in wanted else ""


def _meta_steps(run: LoadedRun, measure: str) -> str:
    """As trained, which the rows say; as planned, where they do not."""
    trained = run.rows[(run.rows.measure == measure) & (run.rows.metric == "meta_steps")].value.dropna()
    return _listed(trained) if len(trained) else _of_measure("meta_steps")(run, measure)


def _selection(run: LoadedRun, measure: str) -> str:
    return _on_workloads(run, measure, _selected)


def _test_steps(settings: dict[str, Any], rows: pd.DataFrame) -> str:
    steps = settings.get("test_inner_steps")
    if steps is None:
        return "those of training"
    others = isinstance(steps, dict) and "*" not in steps
    return _whole(steps) + (", others those of training" if others else "")


def _selected(settings: dict[str, Any], rows: pd.DataFrame) -> str:
    if not {"validate_every", "validation_tasks"} <= set(settings):
        return UNKNOWN
    patience = settings.get("patience")
    ended = f", training ended after {_whole(patience)} looks without a better one" if patience else ""
    return (
        f"the parameters that are best on {_whole(settings['validation_tasks'])} validation tasks, looked at "
        f"every {_whole(settings['validate_every'])} meta-steps{ended}; test tasks have no part in it"
    )


def _tested(settings: dict[str, Any], rows: pd.DataFrame) -> str:
    if whole := whole_test_split(rows):
        return f"all {whole} that there are, the same in every seed"
    return f"{_whole(settings['test_tasks'])}, fresh" if "test_tasks" in settings else UNKNOWN


def _untrained(run: LoadedRun, measure: str) -> str:
    rows = run.rows[(run.rows.measure == measure) & run.rows.value.notna()]
    floors = {
        "untrained_": "the untrained initialisation",
        **{f"{name}_": words for name, words in FLOORS.items()},
    }
    found = [words for start, words in floors.items() if rows.metric.str.startswith(start).any()]
    return ", ".join(found) or "none measured"


def _whole(value: Any) -> str:
    """A manifest is a file, and may hold anything."""
    if isinstance(value, dict):  # by method
        return ", ".join(f"{name} {_whole(own)}" for name, own in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _said(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


QUESTIONS: dict[str, Callable[[LoadedRun], str]] = {
    "suite": lambda run: str(run.manifest.get("suite") or UNKNOWN),
    "command": lambda run: run.command or UNKNOWN,
    "workloads": _workloads,
    "ways / shots / queries": _of_workloads("ways", "shots", "queries"),
    "batch norm": _of_workloads("norm", words=BATCH_NORM),
    "memory budget": _budget,
    "device asked for": _setting("device"),
    "deterministic kernels asked for": _setting("deterministic"),
    "TF32 asked for": _setting("tf32"),
}
QUESTIONS_OF_A_MEASURE: dict[str, Callable[[LoadedRun, str], str]] = {
    "inner steps": _inner_steps,
    "inner steps in test": _only(["accuracy"], lambda run, measure: _on_workloads(run, measure, _test_steps)),
    "seeds": _seeds,
    "meta-steps": _only(["accuracy"], _meta_steps),
    "meta-batch (tasks)": _of_measure("meta_batch_size"),
    "tasks at once": _of_measure("task_chunk", absent="the whole meta-batch"),
    "execution": _of_measure("execution"),
    "precision": _only(["memory", "time", "accuracy"], _of_measure("precision", absent="float32")),
    "selection": _only(["accuracy"], _selection),
    "test tasks": _only(["accuracy"], lambda run, measure: _on_workloads(run, measure, _tested)),
    "floors": _only(["accuracy"], _untrained),
    "rounds a block": _only(["time"], _of_measure("rounds")),
    "blocks (processes)": _only(["time"], _of_measure("blocks")),
    "held against": _only(["gradient"], lambda run, measure: _oracles(run, measure)),
}


def _oracles(run: LoadedRun, measure: str) -> str:
    rows = run.rows[(run.rows.measure == measure) & (run.rows.status == "ok")]
    names: Sequence[tuple[str, str]] = (
        ("rel_error_implicit", "the implicit meta-gradient at phi*"),
        ("rel_error_unrolled", "the derivative of phi_K"),
    )
    return ", ".join(words for metric, words in names if (rows.metric == metric).any()) or "nothing"
