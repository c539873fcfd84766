"""How well a method does after adaptation to tasks that it has not been trained on."""

import dataclasses

import torch
from torch import Tensor

from harness.core import trees
from harness.core.method import Method
from harness.core.model import Model
from harness.core.objective import Execution, task_objectives
from harness.core.trees import Params
from harness.measure_settings import AccuracySettings
from harness.training.meta_learner import Diverged
from harness.training.returned import check_returned
from harness.workloads.base import Split, Tasks, Workload

EVALUATION_CHUNK = 30  # tasks adapted at once in an evaluation; fixed, for the last bit depends on it


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


def evaluation_chunk(settings: AccuracySettings) -> int:
    """Tasks adapted at once in validation and test: the user's choice for training, where there is one."""
    return settings.task_chunk or EVALUATION_CHUNK


def for_testing(method: Method, settings: AccuracySettings) -> Method:
    """The method with the inner steps of validation and test."""
    if settings.test_inner_steps is None:
        return method
    assert isinstance(settings.test_inner_steps, int), "a cell has its method's own"
    return dataclasses.replace(method, inner_steps=settings.test_inner_steps)
