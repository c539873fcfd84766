"""`accuracy`: meta-train, select on validation tasks alone, test on fresh tasks."""

import math
import time
from collections.abc import Callable, Iterator

import torch
from scipy.special import stdtrit
from torch import Tensor

from harness.core.record import recording
from harness.core.trees import Params
from harness.measure.bench import Bench
from harness.measure.doubts import doubts
from harness.measure.tracker import LiveStorages
from harness.measure_settings import AccuracySettings
from harness.protocol import Reading, Samples
from harness.training import Diverged, evaluate, evaluation_chunk, for_testing, train
from harness.workloads.base import Split


def measure_accuracy(bench: Bench, progress: Callable[[float, str], None]) -> Iterator[Reading | Samples]:
    """Test score of the trained and of the untrained parameters, the workload's floors, and the validation
    curve. A test split that ends is taken whole, however many tasks are asked for."""
    settings = bench.settings
    assert isinstance(settings, AccuracySettings)
    bench.check_budget()
    score = bench.workload.score
    unit = "fraction" if score == "accuracy" else "loss"
    method = for_testing(bench.method, settings)
    test_tasks = bench.tasks.count("test") or settings.test_tasks

    def test(meta: Params, split: Split = "test", count: int = test_tasks) -> Tensor:
        scores = evaluate(
            method,
            bench.workload,
            bench.model,
            bench.tasks,
            meta,
            split=split,
            seed=bench.seed,
            count=count,
            chunk=evaluation_chunk(settings),
            execution=settings.execution,
        )
        if not torch.isfinite(scores).all():
            raise Diverged(f"the {score} of a {split} task is not finite")
        return scores

    learner = bench.learner(settings.meta_steps)
    if bench.memory_budget is not None:
        with LiveStorages(learner.state_tensors(), bench.memory_budget, device=bench.device.type):
            test(
                learner.meta,
                "validation",
                min(evaluation_chunk(settings), max(settings.validation_tasks, test_tasks)),
            )
    per_task: dict[str, Tensor] = {}
    if settings.test and settings.untrained:
        progress(0.0, "testing the untrained initialisation")
        per_task[f"untrained_{score}"] = test(learner.meta)
    begin = time.perf_counter()
    with recording() as records:
        trained = train(
            learner,
            bench.workload,
            bench.tasks,
            settings,
            seed=bench.seed,
            device=bench.device,
            progress=progress,
        )
    seconds = time.perf_counter() - begin
    if settings.test:
        progress(1.0, "testing")
        per_task = {score: test(trained.meta), **per_task, **bench.tasks.floors(bench.seed, test_tasks)}

    tested = f"{test_tasks} test tasks, {method.inner_steps} inner steps"
    for metric, values in per_task.items():
        yield Reading(0, metric, float(values.mean()), unit, detail=tested)
        yield Reading(0, f"{metric}_ci95", half_width(values), unit, detail="95% half-width over tasks")
    for step, value in trained.validation:
        yield Reading(0, f"validation_{score}", value, unit, repeat=step)
    selected = (
        f"of {settings.validation_tasks} validation tasks, the best of {len(trained.validation)} readings"
    )
    yield Reading(0, f"selected_validation_{score}", trained.best_score, unit, detail=selected)
    yield Reading(0, "selected_meta_step", trained.best_step, "step", detail="best on validation tasks")
    yield Reading(0, "train_seconds", seconds, "s", detail=f"{trained.steps} meta-steps and validation")
    for name in records.count:
        detail = f"mean over tasks and meta-steps; largest {records.maximum[name]:.4g}"
        yield Reading(0, name, records.mean(name), "", detail=detail)
    yield from doubts(records)
    if settings.test:
        scores = {metric: values.tolist() for metric, values in per_task.items()}
        yield Samples("per_task", {"task": list(range(test_tasks)), **scores})


def half_width(values: Tensor) -> float:
    """Half the 95% t interval of the mean of `values` [n], n >= 2."""
    n = len(values)
    return float(stdtrit(n - 1, 0.975)) * float(values.std()) / math.sqrt(n)
