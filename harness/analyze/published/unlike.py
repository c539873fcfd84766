"""In what a run's protocol is unlike that of a published figure: ours from rows and manifest."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze.asked import asked
from harness.analyze.loaded import LoadedRun
from harness.analyze.published.figures import NETWORK, Figure, Known, known_settings
from harness.analyze.training import VALIDATION
from harness.frame import split_workload

PRECISION = {"precision": "float32", "tf32": False}  # settings that are told where they are not these
TRAINING = ("inner_lr", "outer.rule", "outer.lr", "outer.rate")
ALWAYS = ("queries", "rotations", "meta-batch", "inner steps in test", "test tasks", "selection", *PRECISION)


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """One thing: ours, and what the published figure had, or empty where nothing is known of it."""

    what: str
    ours: str
    theirs: str = ""

    @property
    def words(self) -> str:
        return f"{self.what} {self.ours}" + (f" ({self.theirs})" if self.theirs else "")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How one point was made: `values` has settings of workload, method and training by name."""

    values: Mapping[str, Any]

    def unlike(self, figure: Figure) -> tuple[Unlike, ...]:
        """What is known of the figure and is otherwise here, or not known here."""
        known = NETWORK[figure.workload] | known_settings(figure)
        return tuple(
            Unlike(what=what, ours=_said(self.values.get(what)), theirs=_known_in_words(theirs))
            for what, theirs in known.items()
            if not _same(self.values.get(what), theirs)
        )

    def unknown(self, figure: Figure) -> tuple[Unlike, ...]:
        """What matters and is not known of the figure, as it is here."""
        known = NETWORK[figure.workload] | known_settings(figure)
        names = ("seeds", "inner steps", "meta-steps", *TRAINING, *ALWAYS)
        return tuple(
            Unlike(what=what, ours=_said(self.values[what]))
            for what in names
            if what in self.values and what not in known
        )

    def network_is_other(self, figure: Figure) -> tuple[Unlike, ...]:
        return tuple(each for each in self.unlike(figure) if each.what in NETWORK[figure.workload])


def facts_of(run: LoadedRun, rows: pd.DataFrame, tasks: int | None) -> Facts:
    """Of the rows of one point, tested on so many tasks a seed."""
    label = str(rows.workload.iloc[0])
    _, workload = split_workload(label)
    accuracy = asked(run, "accuracy", label)
    content = run.manifest.get("content", {}) | accuracy
    method = dict(_flat(json.loads(str(rows.settings.iloc[0]))))
    seeds = rows.seed[rows.value.notna()].nunique()
    planned = {
        "meta-batch": accuracy.get("meta_batch_size"),
        "test tasks": tasks or accuracy.get("test_tasks"),
        "inner steps in test": _of_method(accuracy.get("test_inner_steps"), str(rows.method.iloc[0])),
        "selection": _selection(accuracy),
    }
    values = {
        **workload,
        **method,
        "inner steps": int(rows.inner_steps.iloc[0]),
        "meta-steps": trained_steps(rows) or accuracy.get("meta_steps"),
        "seeds": seeds,
        **planned,
        **{name: content[name] for name, usual in PRECISION.items() if content.get(name, usual) != usual},
    }
    return Facts(values={name: value for name, value in values.items() if value is not None})


def trained_steps(rows: pd.DataFrame) -> int | None:
    """For how many meta-steps the seed that ended first was trained: its last validation, if any but that of
    the untrained start."""
    curve = rows[rows.metric.isin(VALIDATION)]
    ends = curve.groupby(["method_label", "inner_steps", "seed"]).repeat.max()
    return int(ends.min()) or None if len(ends) else None


def _of_method(setting: Any, method: str) -> Any:
    """A setting that may be a table by method, "*" being all others."""
    return setting.get(method, setting.get("*")) if isinstance(setting, dict) else setting


def _selection(accuracy: Mapping[str, Any]) -> str | None:
    if not {"validate_every", "validation_tasks"} <= accuracy.keys():
        return None
    tasks, every = (_said(accuracy[name]) for name in ("validation_tasks", "validate_every"))
    patience = accuracy.get("patience")
    ended = f", ended after {_said(patience)} without a better one" if patience is not None else ""
    return f"the best on {tasks} validation tasks every {every} meta-steps{ended}"


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _same(ours: Any, theirs: Known) -> bool:
    if theirs.at_least:
        return isinstance(ours, int | float) and ours >= theirs.value
    return bool(ours == theirs.value)


def _known_in_words(known: Known) -> str:
    return f"{known.source}: {'at least ' if known.at_least else ''}{_said(known.value)}"


def _said(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def in_words(each: Iterable[tuple[str, Iterable[Unlike]]]) -> str:
    """`meta-batch 8 (...: 32); lam 0.5 (...: 2.0) [imaml-gd]`: of pairs of a label and what is unlike of it.

    Labels stand in brackets where a thing does not hold for all.
    """
    pairs = [(label, list(unlike)) for label, unlike in each]
    found: dict[str, list[str]] = {}
    for label, unlike in pairs:
        for one in unlike:
            found.setdefault(one.words, []).append(label)
    every = len(pairs)
    return "; ".join(
        words if len(labels) == every else f"{words} [{', '.join(labels)}]" for words, labels in found.items()
    )
