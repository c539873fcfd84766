"""`gradient`: a method's meta-gradient in float64, beside what it should be.

Of the first meta-batch at the initial parameters, as in the memory measure. Each figure is the mean over the
tasks of the per-task figure; the per-task ones are kept.
"""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.core import trees
from harness.core.episodes import TaskBatch
from harness.core.method import Method
from harness.core.objective import Proximal, TaskObjectives, task_objectives
from harness.core.record import recording
from harness.core.trees import Params
from harness.core.work import Work, begin, counting
from harness.measure.bench import Bench
from harness.measure.doubts import doubts
from harness.measure.oracles import NoOracle, Truth, implicit, unrolled
from harness.measure.work import work_readings
from harness.measure_settings import GradientSettings, Oracle
from harness.protocol import Reading, Samples
from harness.training.meta_learner import Diverged
from harness.training.returned import check_returned

UNITS = {"inner_residual": "norm", "meta_gradient_norm": "norm"}  # all else here is a ratio
COUNTED = ("solver_matvecs", "line_search_trials")


@dataclass
class Observed:
    """What was seen of all chunks of a meta-batch: metric -> a value a task, or why there is none."""

    values: dict[str, list[Tensor]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    absent: dict[Oracle, str] = field(default_factory=dict)

    def add(self, metric: str, values: Tensor, detail: str = "") -> None:
        self.values.setdefault(metric, []).append(values.detach().cpu())
        self.details[metric] = detail


def measure_gradient(bench: Bench) -> Iterator[Reading | Samples]:
    """Errors against both oracles, residuals, norm and work of one meta-gradient.

    `rel_error_*`: ||g - truth|| / ||truth||, `cosine_*`: of the angle between them. `inner_residual`:
    ||grad G(phi_K)||, how far the inner loop is from its end; `solver_residual`: the linear solver's.
    """
    settings = bench.settings
    assert isinstance(settings, GradientSettings)
    method = bench.method
    if method.kind == "pseudo":
        why = "its update is the gradient of no loss, so it has no meta-gradient to be wrong about"
        for oracle in settings.oracles:
            yield Reading(0, f"rel_error_{oracle}", None, "", status="skipped", detail=why)
        return
    bench.check_budget()
    meta = {name: p.double() for name, p in bench.learner(1).meta.items()}
    batch = bench.meta_batch().to(bench.device, torch.float64)
    seen = Observed()
    work = []
    with recording() as records:
        for chunk in batch.chunks(settings.task_chunk or len(batch)):
            work.append(_observe(bench, settings, chunk, meta, seen))
    for oracle in seen.absent:  # for some of the tasks is for none: a mean over the others would mislead
        for metric in (f"rel_error_{oracle}", f"cosine_{oracle}"):
            seen.values.pop(metric, None)
    if not seen.absent and not any(f"rel_error_{oracle}" in seen.values for oracle in settings.oracles):
        seen.absent["implicit"] = (
            "without a lam above 0 there is no inner problem whose solution has a gradient"
        )
    for metric, parts in seen.values.items():
        values = torch.cat(parts)
        detail = f"mean over {len(values)} tasks, float64; largest {float(values.max()):.3g}"
        how = seen.details[metric]
        unit = UNITS.get(metric, "ratio")
        yield Reading(0, metric, float(values.mean()), unit, detail=f"{detail}; {how}" if how else detail)
    for oracle, why in seen.absent.items():
        yield Reading(0, f"rel_error_{oracle}", None, "", status="skipped", detail=why)
    yield from work_readings(0, work, "one meta-gradient")
    for name in records.count:
        unit = "count" if name in COUNTED else "ratio"
        detail = f"mean over tasks and calls; largest {records.maximum[name]:.4g}"
        yield Reading(0, name, records.mean(name), unit, detail=detail)
    yield from doubts(records)
    columns = {metric: torch.cat(parts).tolist() for metric, parts in seen.values.items()}
    yield Samples("per_task", {"task": list(range(len(batch))), **columns})


def _observe(
    bench: Bench, settings: GradientSettings, chunk: TaskBatch, meta: Params, seen: Observed
) -> Work:
    """Everything of one chunk but what the method records. Returns what its meta-gradient asked for."""
    method = bench.method
    tasks = task_objectives(chunk, bench.model, bench.workload.loss_function, execution=settings.execution)
    theta = trees.repeat_for_tasks(meta, len(chunk))
    with counting() as work:
        begin(len(chunk))
        gradient = method.meta_gradient(tasks, theta)
    check_returned(gradient, meta, len(chunk), "meta_gradient", method)
    if not all(bool(torch.isfinite(g).all()) for g in gradient.values()):
        raise Diverged("the meta-gradient is not finite")
    seen.add("meta_gradient_norm", trees.norm(gradient))
    lam = float(getattr(method, "lam", 0.0))
    with recording():  # what `adapt` records again is not the meta-gradient's
        phi = method.adapt(tasks.support, theta)
        names = bench.model.initial(bench.seed)
        check_returned(phi, {name: meta[name] for name in names}, len(chunk), "adapt", method)
        if not all(bool(torch.isfinite(p).all()) for p in phi.values()):
            raise Diverged(f"phi is not finite after {method.inner_steps} inner steps")
        if lam > 0 and phi.keys() == theta.keys():
            seen.add("inner_residual", trees.norm(Proximal(tasks.support, theta, lam).gradient(phi)))
        for oracle in settings.oracles:
            try:
                truth = _truth(oracle, method, tasks, theta, phi, lam)
            except NoOracle as failure:
                seen.absent[oracle] = str(failure)
                continue
            except (RuntimeError, ValueError, MemoryError) as failure:
                # An oracle may need more memory than its method, or a solver not converge: the method's own
                # figures stand.
                traceback.print_exc()
                first = str(failure).strip().partition("\n")[0]
                seen.absent[oracle] = f"the oracle itself failed: {type(failure).__name__}: {first}"
                continue
            if truth is not None:
                _compare(oracle, gradient, truth, seen)
    return work


def _truth(
    oracle: Oracle, method: Method, tasks: TaskObjectives, theta: Params, phi: Params, lam: float
) -> Truth | None:
    """None for the implicit one of a method without an inner problem."""
    if oracle == "unrolled":
        return unrolled(method, tasks, theta)
    return implicit(tasks, theta, phi, lam) if lam > 0 else None


def _compare(oracle: Oracle, gradient: Params, truth: Truth, seen: Observed) -> None:
    size = trees.norm(truth.gradient)
    if not bool((size > 0).all()):
        seen.absent[oracle] = "the true meta-gradient of a task is zero, so no error is relative to it"
        return
    error = trees.norm(trees.subtract(gradient, truth.gradient)) / size
    seen.add(f"rel_error_{oracle}", error, truth.how)
    own = trees.norm(gradient)
    cosine = trees.dot(gradient, truth.gradient) / (own * size)
    # A meta-gradient of zero has no angle to anything.
    seen.add(f"cosine_{oracle}", torch.where(own > 0, cosine, torch.zeros_like(cosine)))
