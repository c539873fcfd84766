"""A search for settings: as many trials for every method, each judged on validation tasks alone.

A trial is a setting of one method, trained and validated as the suite's accuracy measure has it, in cells of
its own. The first is the suite's own setting; what comes after is proposed by Optuna's tree-structured Parzen
estimator (Bergstra et al. 2011) from the trials before. Proposals follow from the scores and the seed alone:
the same command again finds its finished cells and goes on.
"""

import copy
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import environment
from harness.core.search import Choice, Range, SearchSpace
from harness.errors import UsageError
from harness.executors.local import LocalExecutor
from harness.plan import Plan, make_plan, with_variants
from harness.protocol import Cell, MethodSpec, Resolved, ResolvedMethod, digest
from harness.run import (
    Options,
    Watcher,
    budget_of,
    check_instruments,
    default_jobs,
    describe,
    drop_old_checkpoints,
    execute,
    missing,
    refuse_another_plan,
    resolve,
)
from harness.settings import flat, set_dotted
from harness.store import RESULTS, RunFolder
from harness.suite import Suite, load_suite
from harness.tuned_suite import Winner, write_tuned_suite

if TYPE_CHECKING:
    import optuna

RANDOM_TRIALS = 4  # before the estimator speaks; of two or three settings it can tell little from fewer
DIGITS = 3  # significant ones of a proposed number: what is run is what the suite file then says


@dataclass(frozen=True)
class Trial:
    """One setting of a method and how it did. `score` is None where a cell of it failed, for `reason`."""

    number: int
    changes: dict[str, Any]
    """Setting -> value, named as in brackets; empty for the suite's own."""

    cells: tuple[str, ...]
    score: float | None
    """Mean over the trial's cells of the best validation score after the first meta-step."""

    reason: str = ""


@dataclass
class Search:
    """The trials of one method."""

    label: str
    spec: MethodSpec
    space: SearchSpace
    own: dict[str, Any]
    """The suite's values of what is searched."""

    score: str
    """`accuracy`, of which more is better, or `loss`."""

    study: "optuna.study.Study"
    trials: list[Trial] = field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The best trial; of equals the earliest. None where all failed."""
        scored = [trial for trial in self.trials if trial.score is not None]
        sign = -1 if self.score == "accuracy" else 1
        return min(scored, key=lambda trial: sign * float(trial.score or 0.0), default=None)

    def propose(self) -> "Proposal":
        """The next setting to try."""
        if not self.trials:
            return Proposal({}, self.spec, None)
        asked = self.study.ask(self.distributions())
        changes = {name: _rounded(value, self.space[name]) for name, value in asked.params.items()}
        return Proposal(changes, changed(self.spec, changes), asked)

    def tell(self, proposal: "Proposal", cells: Sequence[str], score: float | None, reason: str) -> None:
        """What came of it."""
        import optuna

        state = optuna.trial.TrialState.COMPLETE if score is not None else optuna.trial.TrialState.FAIL
        if proposal.asked is not None:
            self.study.tell(proposal.asked, score, state=state)
        elif score is not None and all(self.own[name] in where for name, where in self.space.items()):
            self.study.add_trial(
                optuna.trial.create_trial(params=self.own, distributions=self.distributions(), value=score)
            )
        self.trials.append(Trial(len(self.trials), proposal.changes, tuple(cells), score, reason))

    def distributions(self) -> dict[str, Any]:
        """The space in Optuna's words."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        made: dict[str, Any] = {}
        for name, where in self.space.items():
            if isinstance(where, Choice):
                made[name] = CategoricalDistribution(where.values)
            elif where.whole:
                made[name] = IntDistribution(int(where.low), int(where.high), log=where.log)
            else:
                made[name] = FloatDistribution(where.low, where.high, log=where.log)
        return made


@dataclass(frozen=True)
class Proposal:
    """A setting to try; `asked` is Optuna's name for it, None for the suite's own setting."""

    changes: dict[str, Any]
    spec: MethodSpec
    asked: "optuna.trial.Trial | None"


@dataclass(frozen=True)
class Tuned:
    """What a search came to."""

    folder: Path
    suite_file: Path
    searches: list[Search]


class TuningWatcher(Watcher, Protocol):
    """Who is told how a search goes."""

    def trial(self, number: int, of: int) -> None: ...


def tune(options: Options, trials: int, search_seed: int, watcher: TuningWatcher) -> Tuned:
    """Search the settings of every method of a suite with `trials` trials each; write the winning suite.

    Raises UsageError before anything is written, or where data is gone meanwhile; StoreError where the folder
    cannot be written.
    """
    suite = load_suite(options.suite, options.overrides)
    judged = validation_only(suite)
    budget = budget_of(options, suite)
    with LocalExecutor() as executor:

        def ask(methods: Iterable[MethodSpec]) -> Resolved:
            request = judged.having(tuple(methods)).request(options.data_root, budget)
            return resolve(executor, request, watcher.preparing)

        resolved = ask(judged.methods)
        score = score_of(resolved, suite)
        searches = searches_of(resolved, suite, score, search_seed)
        asked = make_plan(judged, resolved, data_root=options.data_root, memory_budget=budget)
        spaces = [[s.label, {name: repr(where) for name, where in s.space.items()}] for s in searches]
        name = digest([asked.id, trials, search_seed, spaces])[:8]
        plan = replace(asked, suite=f"tune-{suite.name}", id=name, cells=())
        folder = RunFolder.create(options.out or RESULTS / plan.run_id)
        jobs = options.jobs or default_jobs(suite, resolved)
        with folder.lock():
            refuse_another_plan(folder, plan)
            folder.recover()
            drop_old_checkpoints(folder, folder.finished())
            checked = False
            try:
                for number in range(trials):
                    proposals = [search.propose() for search in searches]
                    resolved, refused = ask_each([proposal.spec for proposal in proposals], ask)
                    tried = judged.having(tuple(method.spec for method in resolved.methods))
                    new = make_plan(tried, resolved, data_root=options.data_root, memory_budget=budget).cells
                    plan = replace(plan, cells=tuple({c.id: c for c in (*plan.cells, *new)}.values()))
                    folder.write_manifest(_manifest(plan, judged, searches, trials, search_seed))
                    finished = folder.finished()
                    todo = missing(replace(plan, cells=new), finished, options.retry)
                    if todo or not folder.environment_path.exists():
                        folder.write_environment(describe(resolved, suite))
                    watcher.trial(number + 1, trials)
                    watcher.planned(replace(plan, cells=new), folder.path, todo, jobs)
                    if todo and not checked:
                        watcher.checked(check_instruments(executor, folder, resolved, suite, todo))
                        checked = True
                    execute(todo, folder, executor, watcher, plan, options, jobs, finished)
                    read = scores_in(folder, score)
                    for i, (search, proposal) in enumerate(zip(searches, proposals, strict=True)):
                        if i in refused:
                            search.tell(proposal, (), None, f"refused: {refused[i]}")
                            continue
                        cells = cells_of(proposal.spec, resolved, new)
                        search.tell(proposal, cells, *judge(cells, read))
                folder.write_manifest(_manifest(plan, judged, searches, trials, search_seed))
            finally:
                if folder.finished():
                    folder.derive_tables()
            target = folder.path / f"{suite.name}.toml"
            winners = [
                Winner(s.label, s.spec, changed(s.spec, s.best.changes))
                for s in searches
                if s.best is not None
            ]
            write_tuned_suite(options.suite, target, winners, trials, _validation_in_words(judged, score))
    return Tuned(folder.path, target, searches)


def validation_only(suite: Suite) -> Suite:
    """The suite with nothing but its accuracy measure, which leaves the test split alone."""
    if suite.content.accuracy is None:
        raise UsageError(
            f"suite '{suite.name}' has no [accuracy] table, and settings are judged by validation accuracy; "
            "add one."
        )
    if any(part.methods != suite.methods for part in suite.parts):
        raise UsageError(
            f"suite '{suite.name}' has settings of methods that hold on one workload alone, and a search "
            "finds one setting for all; tune a suite of that workload, with its settings in [methods]."
        )
    return suite.measuring("accuracy", test=False, untrained=False)


def score_of(resolved: Resolved, suite: Suite) -> str:
    """What all workloads of the suite are judged by."""
    scores = {workload.score for workload in resolved.workloads}
    if len(scores) > 1:
        raise UsageError(
            f"suite '{suite.name}' has workloads judged by accuracy and others by loss, which make no mean; "
            "tune them in suites of their own."
        )
    return scores.pop()


def searches_of(resolved: Resolved, suite: Suite, score: str, search_seed: int) -> list[Search]:
    """One search for each method that can run. Raises UsageError where one says nowhere to search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searches = []
    for spec, method in zip(suite.methods, with_variants(resolved.methods), strict=True):
        if not method.runs:
            raise UsageError(f"{method.name} cannot be tried: {method.missing or method.broken}")
        own = flat(method.settings)
        # The outer rule in force may have other settings than the one that the class had in mind.
        space = {name: where for name, where in method.search_space.items() if name in own}
        if not space:
            raise UsageError(
                f"method '{method.name}' declares nothing to search; give its class a line such as "
                '`search_space = {"inner_lr": Range(0.01, 1.0)}`, or leave it out with --method.'
            )
        sampler = optuna.samplers.TPESampler(
            seed=zlib.crc32(f"{method.name} {method.variant} {search_seed}".encode()),
            n_startup_trials=RANDOM_TRIALS,
        )
        better = optuna.study.StudyDirection
        direction = better.MAXIMIZE if score == "accuracy" else better.MINIMIZE
        study = optuna.create_study(sampler=sampler, direction=direction)
        own = {name: own[name] for name in space}
        searches.append(Search(_label(method), spec, space, own, score, study))
    return searches


def changed(spec: MethodSpec, changes: dict[str, Any]) -> MethodSpec:
    """The method as asked for, with these settings."""
    settings = copy.deepcopy(spec.settings)
    for name, value in changes.items():
        set_dotted(settings, name, value)
    return replace(spec, settings=settings)


def ask_each(
    specs: Sequence[MethodSpec], ask: Callable[[Iterable[MethodSpec]], Resolved]
) -> tuple[Resolved, dict[int, str]]:
    """What the preflight found of those that it takes, and why it refuses the others, by their place: an
    adapter need not take all that its search space has. Raises UsageError where no method is to blame."""
    try:
        return ask(specs), {}
    except UsageError:
        refused: dict[int, str] = {}
        for i, spec in enumerate(specs):
            try:
                ask([spec])
            except UsageError as refusal:
                refused[i] = str(refusal)
        return ask(spec for i, spec in enumerate(specs) if i not in refused), refused


def cells_of(spec: MethodSpec, resolved: Resolved, cells: Sequence[Cell]) -> list[str]:
    """The ids of the method's cells, which it may share with another that means the same."""
    method = next(m for m in resolved.methods if m.spec == spec)
    meant = (method.name, method.settings, method.source)

    def means(cell: Cell) -> bool:
        found = cell.points[0].method
        return (found.name, found.settings, found.source) == meant

    return [cell.id for cell in cells if means(cell)]


def scores_in(folder: RunFolder, score: str) -> dict[str, tuple[float | None, str]]:
    """Best validation score of each finished cell after its first meta-step, or why there is none.

    That of the untrained initialisation does not count: it says nothing of how a setting learns.
    """
    curves: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for row in folder.rows():
        if row.metric == f"selected_validation_{score}" and row.status != "ok":
            failed[row.cell_id] = f"{row.status}: {row.detail}"
        elif row.metric == f"validation_{score}" and row.repeat and row.value is not None:
            curves.setdefault(row.cell_id, []).append(row.value)
    best = max if score == "accuracy" else min
    scored = {cell: (best(curve), "") for cell, curve in curves.items()}
    return scored | {cell: (None, reason) for cell, reason in failed.items()}


def judge(cells: Sequence[str], read: dict[str, tuple[float | None, str]]) -> tuple[float | None, str]:
    """The mean score of a trial's cells; None with the reason where one of them has none."""
    scores = []
    for cell in cells:
        value, reason = read.get(cell, (None, "interrupted"))
        if value is None:
            return None, reason
        scores.append(value)
    return math.fsum(scores) / len(scores), ""


def _manifest(plan: Plan, suite: Suite, searches: list[Search], trials: int, seed: int) -> dict[str, Any]:
    """The plan so far, and beside it what the search is and has found."""
    found = [
        {
            "method": search.label,
            "space": {name: str(where) for name, where in search.space.items()},
            "own": search.own,
            "best": None if search.best is None else search.best.number,
            "trials": [vars(trial) for trial in search.trials],
        }
        for search in searches
    ]
    tuning = {
        "trials": trials,
        "search_seed": seed,
        "judged_by": _validation_in_words(suite, searches[0].score),
        "score": searches[0].score,
        "methods": found,
    }
    return plan.manifest(suite, environment.command_line()) | {"tuning": tuning}


def _validation_in_words(suite: Suite, score: str) -> str:
    told = [part.content.accuracy for part in suite.parts if part.content.accuracy is not None]
    tasks = _either(f"{settings.validation_tasks:,}" for settings in told)
    steps = _either(f"{settings.meta_steps:,}" for settings in told)
    each = f" of each of {len(told)} workloads" if len(told) > 1 else ""
    seeds = ", ".join(map(str, suite.content.seeds))
    return (
        f"mean {score} of {tasks} validation tasks{each}, at its best after the first of up to {steps} "
        f"meta-steps, seed {seeds}; no test task was looked at"
    )


def _either(numbers: Iterable[str]) -> str:
    *others, last = dict.fromkeys(numbers)
    return f"{', '.join(others)} or {last}" if others else last


def _label(method: ResolvedMethod) -> str:
    return f"{method.name}[{method.variant}]" if method.variant else method.name


def _rounded(value: Any, where: Range | Choice) -> Any:
    """A proposed number in few digits, within its range all the same."""
    if not isinstance(value, float) or not isinstance(where, Range):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), where.low), where.high)
