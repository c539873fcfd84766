"""What is asked of every method, whatever it computes: each function reads one figure of a method."""

import gc
import pickle
from collections.abc import Iterable, Iterator

import torch

from harness.conformance.finding import Read, Unread
from harness.conformance.problems import (
    copy_of,
    executed,
    only,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)
from harness.conformance.subject import NotFinite, Subject, adapt, fresh, meta_gradient, meta_of, seeded
from harness.core import trees
from harness.core.method import Method
from harness.core.objective import TaskObjectives
from harness.core.outer import RULES
from harness.core.trees import Params
from harness.measure.tracker import LiveStorages
from harness.settings import build, not_plain, settings_of
from harness.training.returned import WrongReturn

STEPS = 3  # inner steps where one number says it all: more than one, so that steps follow each other
CALLS = 5
ROUNDING = 1e-10  # relative, float64: the order of summation, and no more


def comes_back(subject: Subject) -> Read:
    """The instance made anew from its settings, and the one that comes out of a pickle."""
    method = subject.at(STEPS)
    settings = settings_of(method, RULES)
    if fault := not_plain(settings):
        return Read("settings that do not come back", None, 0, f"{fault}.")
    again = settings_of(build(subject.cls, settings, subject.cls.__name__, RULES), RULES)
    try:
        pickled = settings_of(pickle.loads(pickle.dumps(method)), RULES)
    except (pickle.PicklingError, TypeError, AttributeError) as failure:
        remedy = f"it cannot be pickled ({failure}): keep only plain values as settings."
        return Read("settings that a pickle loses", None, 0, remedy)
    lost = sorted(n for n in settings if not settings[n] == again.get(n) == pickled.get(n))
    remedy = f"{', '.join(lost)}: leave settings as they are given; do not change them in __post_init__."
    return Read("settings that do not come back", len(lost), 0, remedy)


def returns(subject: Subject) -> Read:
    """Names, shapes and dtype of both results."""
    wrong = [failure for failure in _ill_results(subject, (0, STEPS)) if isinstance(failure, WrongReturn)]
    remedy = str(wrong[0]) if wrong else ""
    return Read("results of wrong names, shapes or dtype", len(wrong), 0, remedy)


def is_finite(subject: Subject) -> Read:
    bad = []
    for failure in _ill_results(subject, (0, 1, STEPS, 10)):
        if isinstance(failure, WrongReturn):
            raise failure  # whether it is finite was not looked at
        bad.append(failure)
    first = bad[0] if bad else ""
    remedy = f"{first}: look for a division by zero, a root of a negative number, or too large a step."
    return Read("results that are not finite", len(bad), 0, remedy)


def _ill_results(subject: Subject, inner_steps: Iterable[int]) -> Iterator[WrongReturn | NotFinite]:
    """What is wrong with each result of either call that is not as it must be."""
    tasks = smooth_mlp()
    for steps in inner_steps:
        method = subject.at(steps)
        meta = meta_of(method, tasks.model, 3)
        for call in (adapt, meta_gradient):
            try:
                call(method, tasks, meta)
            except (WrongReturn, NotFinite) as failure:
                yield failure


def is_deterministic(subject: Subject) -> Read:
    """Equal bits in two calls between which the global generators were seeded differently.

    Where equal calls under equal seeds differ too, it is not the generators: `keeps_no_state` says so.
    """
    method, tasks, meta = _example(subject)
    first, again, other = (_joined(method, tasks, meta, seed) for seed in (1, 1, 2))
    if not _equal(first, again):
        raise Unread("equal calls under equal seeds differ: see 'keeps no state'")
    remedy = (
        "it draws from a global generator: draw with numpy.random.default_rng(support.seeds[t]) for task t, "
        "so that results are a function of the episode alone."
    )
    return Read("entries that change with the global seed", _different(first, other), 0, remedy)


def keeps_no_state(subject: Subject) -> Read:
    """Equal bits in three calls under equal seeds: at once again, and with a call on other tasks between."""
    method, tasks, meta = _example(subject)
    others = smooth_mlp(seed=11)
    first, at_once = (_joined(method, tasks, meta, 1) for _ in range(2))
    _joined(method, others, trees.scale(0.5, meta), 1)
    later = _joined(method, tasks, meta, 1)
    changed = max(_different(first, again) for again in (at_once, later))
    remedy = (
        "a result depends on earlier calls, or on a generator that nobody seeds: keep nothing on the class, "
        "the instance or the module between calls."
    )
    return Read("entries that change after another call", changed, 0, remedy)


def leaves_inputs(subject: Subject) -> Read:
    """Meta-parameters and tasks are bit for bit what they were, no leaves of anyone's graph."""
    what = "inputs that a call changes"
    method, tasks, meta = _example(subject)
    given = fresh(tasks)
    inputs = {f"meta['{n}']": p for n, p in copy_of(meta).items()}
    parts = ("support.inputs", "support.targets", "query.inputs", "query.targets")
    inputs |= dict(zip(parts, given.batch.tensors(), strict=True))
    before = {name: t.clone() for name, t in inputs.items()}
    theta = {n: inputs[f"meta['{n}']"] for n in meta}
    for_adapt, for_meta_gradient = dict(theta), dict(theta)
    with seeded(0):
        method.adapt(given.support, for_adapt)
        method.meta_gradient(given, for_meta_gradient)
    touched = [
        name
        for name, t in inputs.items()
        if not torch.equal(t.detach(), before[name]) or t.requires_grad or t.grad is not None
    ]
    if any(not _same_entries(handed, theta) for handed in (for_adapt, for_meta_gradient)):
        return Read(
            what, 1 + len(touched), 0, "`meta` has other entries after a call: change a copy, dict(meta)."
        )
    remedy = (
        f"{', '.join(touched)} changed, or was made to require grad: work on trees.detach(meta) or "
        "trees.leaves(meta), and use no operator that ends in an underscore."
    )
    return Read(what, len(touched), 0, remedy)


def zero_steps(subject: Subject) -> Read:
    """phi is theta where no step is taken."""
    tasks = smooth_mlp()
    method = subject.at(0)
    meta = meta_of(method, tasks.model, 3)
    phi = adapt(method, tasks, meta)
    meta_gradient(method, tasks, meta)
    away = max(float((phi[n] - meta[n]).abs().max()) for n in phi)
    remedy = "with inner_steps = 0 `adapt` must return the model's parameters in `meta` as they are."
    return Read("largest change by zero inner steps", away, 0, remedy)


def batches(subject: Subject) -> Read:
    """One call of the model for all tasks against one after another."""
    tasks = smooth_conv4(2, norm="none")
    method = subject.at(STEPS)
    meta = meta_of(method, tasks.model, 2)
    looped, vectorised = (
        _joined(method, executed(tasks, "loop"), meta, 0),
        _joined(method, executed(tasks, "vectorized"), meta, 0),
    )
    remedy = "evaluate losses through `support` and `tasks.query` only, whose two executions agree."
    return Read(
        "vectorised against looped",
        relative_error(looped, vectorised),
        ROUNDING,
        remedy,
        "relative",
    )


def ignores_neighbours(subject: Subject) -> Read:
    """Each task alone against the same task among others."""
    tasks = sine()
    method = subject.at(STEPS)
    meta = meta_of(method, tasks.model, 3)
    together = _joined(method, tasks, meta, 0)
    errors = [
        relative_error(
            _joined(method, only(tasks, t), trees.take_task(meta, t), 0), trees.take_task(together, t)
        )
        for t in range(3)
    ]
    remedy = (
        "a task's result depends on the tasks beside it: reduce over all axes but the first, as trees.dot "
        "and trees.norm do, and scale with trees.axpy and a tensor [T]."
    )
    return Read("a task alone against among others", max(errors), ROUNDING, remedy, "relative")


def retains_nothing(subject: Subject) -> Read:
    """Bytes that each further call leaves alive, once the first has made what a library may keep."""
    method, tasks, meta = _example(subject)
    graphs = [
        f"{call}: '{n}'"
        for call, result in results(method, tasks, meta)
        for n, p in result.items()
        if p.requires_grad
    ]
    if graphs:
        remedy = f"{graphs[0]} still holds its graph: return trees.detach(...) of it."
        return Read("results that hold a graph", len(graphs), 0, remedy)
    with LiveStorages([]) as alive:
        for call in range(1 + CALLS):
            for _ in results(method, tasks, meta):
                pass
            if not call:
                gc.collect()
                once = alive.live
        gc.collect()
        kept = alive.live - once
    remedy = (
        "tensors outlive a call: keep none in lists or attributes beyond it, and no graph; with graph=True "
        "take the last derivative within the call."
    )
    return Read(f"bytes that {CALLS} calls leave alive", kept, 0, remedy, "byte")


def results(method: Method, tasks: TaskObjectives, meta: Params) -> Iterator[tuple[str, Params]]:
    """Both results as they are returned, graphs and all, once they are known to be well-formed."""
    for call, checked in (("adapt", adapt), ("meta_gradient", meta_gradient)):
        checked(method, tasks, meta)
        given, theta = fresh(tasks), copy_of(meta)
        with seeded(0):
            result = (
                method.adapt(given.support, theta) if call == "adapt" else method.meta_gradient(given, theta)
            )
        yield call, result


def _example(subject: Subject) -> tuple[Method, TaskObjectives, Params]:
    tasks = smooth_mlp()
    method = subject.at(STEPS)
    return method, tasks, meta_of(method, tasks.model, 3)


def _joined(method: Method, tasks: TaskObjectives, meta: Params, seed: int) -> Params:
    """Both results of a method, side by side."""
    phi = adapt(method, tasks, meta, seed=seed)
    gradient = meta_gradient(method, tasks, meta, seed=seed)
    return {f"phi {n}": p for n, p in phi.items()} | {f"gradient {n}": p for n, p in gradient.items()}


def _same_entries(x: Params, y: Params) -> bool:
    """Whether two dictionaries hold the very same tensors, in the same order."""
    return list(x) == list(y) and all(x[name] is y[name] for name in y)


def _equal(x: Params, y: Params) -> bool:
    return not _different(x, y)


def _different(x: Params, y: Params) -> int:
    return sum(int((x[n] != y[n]).sum()) for n in x)
