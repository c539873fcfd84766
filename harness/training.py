"""The outer loop: meta-steps, selection on validation tasks, evaluation on fresh ones."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.adapter_files import defined_at
from harness.core import phases, trees, work
from harness.core.episodes import TaskBatch
from harness.core.method import Method
from harness.core.model import Model
from harness.core.objective import Execution, LossFunction, task_objectives
from harness.core.trees import Params
from harness.measure_settings import AccuracySettings
from harness.workloads.base import Split, Tasks, Workload

EVALUATION_CHUNK = 30  # tasks adapted at once in an evaluation; fixed, for the last bit depends on it


class Diverged(Exception):
    """A value that is no longer finite: the point's status, not an error."""


class MetaLearner:
    """Meta-parameters, the outer rule's state, and the step that changes both.

    Every measure steps through here, so that all of them speak of the same meta-step.
    """

    def __init__(
        self,
        method: Method,
        model: Model,
        loss_function: LossFunction,
        *,
        seed: int,
        device: torch.device,
        total_steps: int,
        task_chunk: int | None = None,
        execution: Execution = "vectorized",
    ) -> None:
        self.method = method
        self.model = model
        self.loss_function = loss_function
        self.task_chunk = task_chunk
        self.execution = execution
        self._checked = False
        initial = method.meta_parameters(model.initial(seed))
        # A copy: an initial tensor may be a view, and the outer rule writes in place.
        self.meta: Params = {n: p.to(device, copy=True) for n, p in initial.items()}
        self.optimiser = method.outer.optimiser(list(self.meta.values()))
        self.schedule = method.outer.schedule(self.optimiser, total_steps)

    def step(self, batch: TaskBatch) -> None:
        """One meta-step: the mean meta-gradient over `batch`, chunk by chunk, then the outer rule."""
        mean: Params | None = None
        phases.begin()
        for chunk in batch.chunks(self.task_chunk or len(batch)):
            work.begin(len(chunk))
            tasks = task_objectives(chunk, self.model, self.loss_function, execution=self.execution)
            gradient = self.method.meta_gradient(tasks, trees.repeat_for_tasks(self.meta, len(chunk)))
            if not self._checked:  # once, so that no timed step pays for it
                check_returned(gradient, self.meta, len(chunk), "meta_gradient", self.method)
                self._checked = True
            with phases.phase("outer update"):
                share = len(chunk) / len(batch)
                part = {name: gradient[name].mean(0) for name in self.meta}
                if share < 1:
                    part = trees.scale(share, part) if mean is None else trees.axpy(share, part, mean)
                mean = part
            del gradient, part, tasks
            phases.begin()  # of the next chunk
        assert mean is not None, "a meta-batch has at least one task"
        with phases.phase("outer update"):
            self._update(mean)
        if self.schedule is not None:
            self.schedule.step()

    def prime(self) -> None:
        """Give the outer rule the state that it keeps between meta-steps, without a meta-step.

        An update by a zero gradient: the meta-parameters stay as they are.
        """
        self._update({name: torch.zeros_like(p) for name, p in self.meta.items()})

    def _update(self, mean: Params) -> None:
        for name, p in self.meta.items():
            p.grad = mean[name]
        self.optimiser.step()
        for p in self.meta.values():
            p.grad = None

    def check_finite(self, when: str) -> None:
        """Raise Diverged if a meta-parameter is no longer finite."""
        if not all(bool(torch.isfinite(p).all()) for p in self.meta.values()):
            raise Diverged(f"the meta-parameters are not finite after {when}")

    def state_tensors(self) -> list[Tensor]:
        """Meta-parameters and the outer rule's tensors: what stays between meta-steps."""
        state = [
            value
            for each in self.optimiser.state.values()
            for value in each.values()
            if isinstance(value, Tensor)
        ]
        return [*self.meta.values(), *state]


def evaluate(
    method: Method,
    workload: Workload,
    model: Model,
    tasks: Tasks,
    meta: Params,
    *,
    split: Split,
    seed: int,
    count: int,
    chunk: int,
    execution: Execution = "vectorized",
) -> Tensor:
    """Score of every one of `count` tasks after adaptation [count], float64 on the CPU.

    An accuracy (fraction of the query set) or a loss, as the workload has it.
    """
    device = next(iter(meta.values())).device
    wanted = model.initial(seed)
    scores = []
    for start in range(0, count, chunk):
        batch = tasks.sample(split, seed, start, min(chunk, count - start)).to(device)
        objectives = task_objectives(batch, model, workload.loss_function, execution=execution)
        phi = method.adapt(objectives.support, trees.repeat_for_tasks(meta, len(batch)))
        if not start:
            check_returned(phi, wanted, len(batch), "adapt", method)
        if workload.score == "loss":
            with torch.no_grad():
                scores.append(objectives.query.loss(phi).double().cpu())
        else:
            outputs = objectives.query.predict(phi)
            if not torch.isfinite(outputs).all():
                raise Diverged(
                    f"a prediction on {split} tasks {start} to {start + len(batch) - 1} is not finite"
                )
            hits = outputs.argmax(-1) == batch.query.targets
            scores.append(hits.double().mean(1).cpu())
    return torch.cat(scores)


class WrongReturn(Exception):
    """A method returned what its contract does not allow: where and what, in a sentence with the remedy."""


def check_returned(returned: object, wanted: Params, tasks: int, call: str, method: Method) -> None:
    """Raise WrongReturn for what is no result of `tasks` tasks in names, shapes and types of `wanted` [...].

    `call` is the name of the method's function that returned it.
    """

    def wrong(what: str) -> WrongReturn:
        return WrongReturn(f"{defined_at(type(method), call)}: {call} {what}")

    if not isinstance(returned, dict):
        raise wrong(f"returned {type(returned).__name__}, not a dictionary of tensors [T, ...]")
    if returned.keys() != wanted.keys():
        names = ", ".join(sorted(map(str, returned.keys() ^ wanted.keys())))
        whose = "`meta`" if call == "meta_gradient" else "the model"
        raise wrong(f"must return the names of {whose}; missing or too many: {names}")
    for name, p in wanted.items():
        if not isinstance(returned[name], Tensor):
            raise wrong(f"returned '{name}' as {type(returned[name]).__name__}, not as a tensor [T, ...]")
        shape, expected = tuple(returned[name].shape), (tasks, *p.shape)
        if shape != expected:
            raise wrong(f"returned '{name}' as {shape}, not as [T, ...] = {expected}")
        if returned[name].dtype != p.dtype:
            raise wrong(f"returned '{name}' in {returned[name].dtype}, not in the {p.dtype} of `meta`")


@dataclass(frozen=True)
class Trained:
    """What meta-training leaves."""

    meta: Params
    """The meta-parameters that did best on validation tasks."""

    best_step: int
    steps: int
    """Meta-steps taken: fewer than asked for where validation stopped improving."""

    validation: list[tuple[int, float]]
    """Meta-step and mean validation score, in order; step 0 is the untrained initialisation."""

    @property
    def best_score(self) -> float:
        """The validation score of the selected meta-step."""
        return dict(self.validation)[self.best_step]


def train(
    learner: MetaLearner,
    workload: Workload,
    tasks: Tasks,
    settings: AccuracySettings,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[float, str], None],
) -> Trained:
    """Meta-train for `settings.meta_steps` or until the patience is out; select on validation tasks alone.

    Raises Diverged.
    """
    tester = for_testing(learner.method, settings)
    better = (lambda a, b: a > b) if workload.score == "accuracy" else (lambda a, b: a < b)
    validation: list[tuple[int, float]] = []
    best: Params = {}
    best_step = steps = 0

    def validate(step: int) -> None:
        nonlocal best, best_step
        scores = evaluate(
            tester,
            workload,
            learner.model,
            tasks,
            learner.meta,
            split="validation",
            seed=seed,
            count=settings.validation_tasks,
            chunk=evaluation_chunk(settings),
            execution=settings.execution,
        )
        score = float(scores.mean())
        if not torch.isfinite(scores).all():
            raise Diverged(f"the validation {workload.score} is not finite at meta-step {step}")
        if not validation or better(score, dict(validation)[best_step]):
            best, best_step = copy.deepcopy(learner.meta), step
        validation.append((step, score))

    validate(0)
    for step in range(1, settings.meta_steps + 1):
        start = (step - 1) * settings.meta_batch_size
        learner.step(tasks.sample("train", seed, start, settings.meta_batch_size).to(device))
        learner.check_finite(f"meta-step {step}")
        steps = step
        if step % settings.validate_every == 0 or step == settings.meta_steps:
            validate(step)
        progress(step / settings.meta_steps, f"validation {workload.score} {validation[-1][1]:.3f}")
        if settings.patience is not None and _without_a_better(validation, best_step) >= settings.patience:
            break
    return Trained(best, best_step, steps, validation)


def _without_a_better(validation: list[tuple[int, float]], best_step: int) -> int:
    """How many validations there were since the best."""
    return sum(step > best_step for step, _ in validation)


def evaluation_chunk(settings: AccuracySettings) -> int:
    """Tasks adapted at once in validation and test: the user's choice for training, where there is one."""
    return settings.task_chunk or EVALUATION_CHUNK


def for_testing(method: Method, settings: AccuracySettings) -> Method:
    """The method with the inner steps of validation and test."""
    if settings.test_inner_steps is None:
        return method
    return dataclasses.replace(method, inner_steps=settings.test_inner_steps)
