"""The sections of `show` on published figures: the paper's accuracies, and the dataset's own baseline."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyze.loaded import LoadedRun
from harness.analyze.published.baseline import AgainstBaseline, Halves, against_baseline
from harness.analyze.published.beside import Beside, unknown_in_words, unlike_in_words
from harness.analyze.published.figures import HAUSDORFF_ERROR, HAUSDORFF_RUNS, LAKE, LEAK, OMNIGLOT
from harness.analyze.summary import FLOORS
from harness.analyze.words import counted, listed
from harness.frame import split_workload
from harness.present.palette import label_order
from harness.present.tables.grid import bare_table, section
from harness.present.words import NBSP

HAUSDORFF = FLOORS["hausdorff"]
ERROR_COLUMNS = ("steps", "error", "± seeds", "± tasks", "difference", "± seeds", "± tasks")


def published_sections(run: LoadedRun) -> list[RenderableType]:
    """Of each workload that has figures; then what the suite names as its deviations."""
    shown: list[RenderableType] = []
    every = run.published()
    groups = [list(group) for _, group in groupby(every, key=lambda each: each.workload)]
    for found in groups:
        title = f"Beside the paper's {found[0].figure.table}, accuracy in %: {found[0].workload}"
        notes = notes_on(found) + (notes_on_all(every) if found is groups[-1] else [])
        shown.append(section(title, _beside_table(found), notes))
    for workload, of in groupby(against_baseline(run), key=lambda each: each.workload):
        errors = sorted(of, key=lambda each: label_order(each.method, each.method_label))
        shown.append(section(f"Errors, %: {workload}", _error_table(errors), notes_on_errors(errors)))
    if run.deviations or run.source:
        lines = Text("\n".join(f"- {each}" for each in run.deviations or ("none",)))
        notes = [f"Protocol and settings after {run.source}."] if run.source else []
        shown.append(section("Deviations from the published protocol that the suite names", lines, notes))
    return shown


def _beside_table(found: Sequence[Beside]) -> Table:
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    for name in ("steps", "ours", "published", "difference", "95%"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in found:
        verdict = "" if each.another else each.verdict
        numbers = (each.ours_in_words, each.figure.printed, each.difference_in_words)
        cells = (*(words.replace(" ", NBSP) for words in numbers), each.interval_in_words.replace(" ", NBSP))
        table.add_row(Text(each.method_label), str(each.inner_steps), *cells, verdict)
    return table


def notes_on(found: Sequence[Beside]) -> list[str]:
    """What must be known to read these, which are of one workload."""
    first = found[0]
    notes = [f"{first.another[0].upper()}{first.another[1:]}."] if first.another else []
    bases = list(dict.fromkeys(each.basis for each in found))
    how = "" if all(each.is_chosen for each in found) else "run or "
    notes.append(f"Ours: mean ± 95% over {listed(bases)}; inner steps as {how}chosen by validation.")
    if unlike := unlike_in_words(found):
        notes.append(f"Unlike the published: {unlike}.")
    if unknown := unknown_in_words(found):
        notes.append(f"Ours, where of the published nothing is known here: {unknown}.")
    sources: dict[str, list[str]] = {}
    for each in found:
        sources.setdefault(each.figure.source, []).append(each.figure.row)
    notes.append(f"Sources: {'; '.join(f'{s} ({listed(rows)})' for s, rows in sources.items())}.")
    return notes


def notes_on_all(found: Sequence[Beside]) -> list[str]:
    """What holds for all of them."""
    leak = [f"The paper tests on held-out characters; {LEAK}."] if any(map(_may_leak, found)) else []
    return [
        "Published: as printed; the tables do not say what their ± is. Difference: ours less the published; "
        "its interval is made of both, as of independent means and as if the printed ± were a 95% "
        "half-width. What is unlike in protocol is not in it.",
        *leak,
    ]


def _may_leak(each: Beside) -> bool:
    return each.figure.workload == OMNIGLOT and not each.figure.origin


def _error_table(errors: Sequence[AgainstBaseline]) -> Table:
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    for name in ERROR_COLUMNS:
        table.add_column(name, justify="right")
    for each in errors:
        cells = (number(each.error), *spread(each.halves), f"{each.difference + 0.0:+.1f}")
        table.add_row(Text(each.method_label), str(each.inner_steps), *cells, *spread(each.difference_halves))
    for name, error, half in floors_of(errors):
        table.add_row(name, "", number(error), "", plus_minus(half), "", "", "")
    return table


def floors_of(errors: Sequence[AgainstBaseline]) -> list[tuple[str, float, float]]:
    """Of what learns nothing on the same tasks: its name, its error, and the half-width over tasks."""
    first = errors[0]
    found = [
        (HAUSDORFF, first.baseline, first.baseline_half),
        (FLOORS["neighbour"], first.neighbour, first.neighbour_half),
    ]
    return [each for each in found if np.isfinite(each[1])]


def notes_on_errors(errors: Sequence[AgainstBaseline]) -> list[str]:
    """What must be known to read these, which are of one workload."""
    first = errors[0]
    tasks = f"the {first.tasks} test tasks" if first.tasks else "the test tasks"
    seeds = listed(list(dict.fromkeys(counted(each.seeds, "seed") for each in errors)))
    notes = [
        f"Difference: the method's error less that of the {HAUSDORFF}, paired; below 0 it errs less. "
        f"±: 95% t intervals, over {seeds}, which hold for these tasks alone, and over {tasks}, which hold "
        "for these trained models alone."
    ]
    if first.is_official:
        here = f"{first.tasks} of them" if first.tasks else "those that are at hand"
        notes.append(
            f"The {HAUSDORFF} is the dataset's own baseline: {HAUSDORFF_ERROR} % on all {HAUSDORFF_RUNS} "
            f"official runs, without ± ({LAKE}); here it was computed again on {here}."
        )
        if split_workload(first.workload)[1].get("norm") == "batch-stats":
            notes.append(
                "norm=batch-stats normalises all test images of a run together, transductively; the baseline "
                "sees one at a time."
            )
    return notes


def number(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else ""


def plus_minus(half: float) -> str:
    return f"±{half:.1f}" if np.isfinite(half) else ""


def spread(halves: Halves) -> tuple[str, str]:
    return plus_minus(halves.seeds), plus_minus(halves.tasks)
