"""The section of `show` on who is more accurate: every method against the one that validation puts first."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyze.accuracy.difference import FIRST, UNCOMPARED, WEAK, Difference
from harness.analyze.intervals import MOST_SEEDS, POWER
from harness.present.palette import label_order
from harness.present.tables.grid import PARTLY, bare_table, grid, section

CALLED = "*"
MOST_PAIRS = 8  # in a note; the others are counted
WORDS = {1: "One seed does", 2: "Two seeds do"}


def difference_sections(differences: Sequence[Difference]) -> list[RenderableType]:
    """Of each workload with two methods or more: at the inner steps that validation chose, and at equal ones.

    Only pairs with one reference are tabled, each other method minus it; winners among the other pairs are
    named below.
    """
    shown: list[RenderableType] = []
    for workload, group in groupby(differences, key=lambda difference: difference.workload):
        found = list(group)
        reference = _reference(found)
        against = [
            d.seen_from(d.second if d.first == reference else d.first)
            for d in found
            if reference in (d.first, d.second)
        ]
        against.sort(key=lambda d: label_order(d.first_method, d.first))
        notes = _notes(found, against, reference)
        against = [d for d in against if d.first in _compared(against)]
        chosen = [d for d in against if d.chosen]
        equal = [d for d in against if d.inner_steps is not None]
        what = "Accuracy in points" if found[0].metric == "accuracy" else "Loss"
        if chosen:
            own = f"each at the steps that validation chose ({reference}: {chosen[0].second_steps})"
            title = f"{what} against {reference}, {own}: {workload}"
            shown.append(section(title, _table(chosen), [] if _more(equal) else notes))
        if not chosen or _more(equal):
            title = f"{what} against {reference} at equal inner steps{'' if chosen else f': {workload}'}"
            shown.append(section(title, _grid(equal) if equal else Text("Nothing to compare."), notes))
    return shown


def _reference(found: Sequence[Difference]) -> str:
    """The method that does best on validation tasks; without those the first in the order of all tables, of
    those that finished anything."""
    some = [d for d in found if d.seeds] or found
    labels = {(d.first_method, d.first) for d in some} | {(d.second_method, d.second) for d in some}
    return found[0].leader or min(labels, key=lambda pair: label_order(*pair))[1]


def _compared(against: Sequence[Difference]) -> set[str]:
    """The methods that have anything to show beside the reference."""
    return {d.first for d in against if d.seeds}


def _more(equal: Sequence[Difference]) -> bool:
    """Whether equal steps show what the chosen ones do not."""
    return any(not d.chosen for d in equal)


def _table(chosen: Sequence[Difference]) -> Table:
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    for name in ("steps", "difference", "95%", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for d in chosen:
        known = d.verdict != UNCOMPARED
        interval = f"{d.shown(d.low)} to {d.shown(d.high)}" if pd.notna(d.low) else ""
        verdict = Text(_verdict(d), "" if d.better else "dim")
        mark = PARTLY if d.lost else ""
        difference = f"{d.shown(d.difference)}{mark}" if known else ""
        table.add_row(Text(d.first), str(d.first_steps), difference, interval, _p(d), verdict)
    return table


def _p(difference: Difference) -> str:
    p = difference.p_holm
    if difference.interval in ("tasks", "unpaired"):
        return "-"
    return "" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _verdict(difference: Difference) -> str:
    if difference.better:
        return "better" if difference.verdict == FIRST else "worse"
    if difference.verdict == UNCOMPARED:
        return f"{UNCOMPARED}: no seed finished on both sides"
    if difference.interval != "seeds":
        return "these models differ" if difference.models_differ else WEAK
    if difference.spread == 0 and difference.difference == 0:
        return f"{WEAK}: {difference.needed_in_words}"
    needed = difference.seeds_needed
    return f"{WEAK}: {needed or f'over {MOST_SEEDS:,}'} seeds"


def _grid(equal: Sequence[Difference]) -> RenderableType:
    points = [
        {
            "method": d.first_method,
            "method_label": d.first,
            "inner_steps": d.inner_steps,
            "difference": d.difference,
            "of": d,
            "status": "lost",
            "failed": len(d.lost),
        }
        for d in equal
    ]
    return grid(pd.DataFrame(points), "difference", _cell)


def _cell(point: Any) -> str:
    """One word, which a narrow terminal does not break."""
    d: Difference = point.of
    half = f"±{d.shown((d.high - d.low) / 2).lstrip('+')}" if pd.notna(d.low) else ""
    return f"{d.shown(d.difference)}{half}{CALLED if d.better else ''}"


def _notes(found: Sequence[Difference], against: Sequence[Difference], reference: str) -> list[str]:
    notes = [*_about_intervals(found)]
    if found[0].metric == "loss":
        notes.append("Of losses the lower is better: a negative difference is in the method's favour.")
    called = [d for d in found if d.better]
    family = max(d.family for d in found)
    if any(d.interval == "seeds" for d in found):
        notes.append(f"p by Holm over all {family} comparisons of two methods on this workload.")
    if called:
        notes.append(f"better, worse and {CALLED}: p < 0.05, as {len(called)} of those {family} have it.")
    if any(d.verdict == WEAK and d.interval == "seeds" for d in against):
        notes.append(
            f"Seeds: as many call it with probability {POWER}, if difference and spread stay as they are."
        )
    if others := _also(called, reference):
        notes.append(f"Called among the other pairs: {others}.")
    if unmatched := sorted({d.first for d in against if not d.matched}):
        notes.append(f"No inner steps in common with {reference}: {', '.join(unmatched)}.")
    if silent := sorted({d.first for d in against if d.matched} - _compared(against)):
        notes.append(f"No seed finished both {reference} and: {', '.join(silent)}.")
    lost = [d for d in against if d.lost and d.first in _compared(against)]
    notes += [f"{PARTLY} {d.first} at {d.first_steps}: {d.lost_in_words}." for d in lost[:MOST_PAIRS]]
    if len(lost) > MOST_PAIRS:
        notes.append(f"{PARTLY} {len(lost) - MOST_PAIRS} other comparisons have left out seeds too.")
    return notes


def _about_intervals(found: Sequence[Difference]) -> list[str]:
    """What the intervals are over and hold for, of each kind that is here."""
    notes = []
    for kind in ("seeds", "tasks", "unpaired"):
        of_kind = [d for d in found if d.interval == kind]
        if not of_kind:
            continue
        few, many = min(d.seeds for d in of_kind), max(d.seeds for d in of_kind)
        if kind == "seeds":
            seeds = f"{few}" if few == many else f"{few} to {many}"
            alone = f": for these {of_kind[0].tasks} test tasks alone" if of_kind[0].same_tasks else ""
            episodes = f"which have the same episodes for all methods{alone}"
            notes.append(f"95% t intervals over {seeds} seeds, {episodes}.")
            continue
        tasks = f"{of_kind[0].tasks} test tasks" if of_kind[0].tasks else "the test tasks"
        how = (
            "paired by episode"
            if kind == "tasks"
            else "unpaired, for the cells left no values of single tasks"
        )
        notes.append(f"95% intervals over {tasks} ({how}): for these trained models only.")
    for number, word in WORDS.items():
        if any(d.seeds == number for d in found):
            notes.append(
                f"{word} not show how training scatters: between methods nothing can be called, nor how many "
                "seeds would do (3 at least)."
            )
    return notes


def _also(called: Sequence[Difference], reference: str) -> str:
    """`fomaml over reptile (4, 8, 16)` for each winner and loser but the reference."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for d in called:
        if reference in (d.first, d.second):
            continue
        winner = d.better
        other = d.second if winner == d.first else d.first
        seen = d.seen_from(str(winner))
        steps = str(d.inner_steps) if d.inner_steps else f"{seen.first_steps} against {seen.second_steps}"
        pairs.setdefault((str(winner), other), []).append(steps)
    told = [f"{winner} over {loser} ({', '.join(steps)})" for (winner, loser), steps in pairs.items()]
    more = [f"and {len(told) - MOST_PAIRS} more"] if len(told) > MOST_PAIRS else []
    return "; ".join([*told[:MOST_PAIRS], *more])
