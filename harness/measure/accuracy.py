"""`accuracy`: meta-train, select on validation tasks alone, test on fresh tasks."""

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from scipy.special import stdtrit
from torch import Tensor

from harness.core.trees import Params
from harness.files import replace_file
from harness.measure.bench import Bench
from harness.measure.doubts import doubts
from harness.measure.tracker import LiveStorages
from harness.measure_settings import AccuracySettings
from harness.protocol import Progress, Reading, Samples
from harness.training.checkpoint import Checkpoints
from harness.training.evaluation import evaluate, evaluation_chunk, for_testing
from harness.training.meta_learner import Diverged
from harness.training.train import Course, train
from harness.workloads.base import Split


def measure_accuracy(
    bench: Bench,
    progress: Callable[[Progress], None],
    *,
    checkpoints: Checkpoints | None = None,
    keep_at: Path | None = None,
) -> Iterator[Reading | Samples]:
    """Test score of the trained and of the untrained parameters, the workload's floors, and the validation
    curve. A test split that ends is taken whole, however many tasks are asked for.

    `keep_at`: where the selected meta-parameters are kept, for `torch.load`.
    """
    settings = bench.settings
    assert isinstance(settings, AccuracySettings)
    bench.check_budget()
    score = bench.workload.score
    unit = "fraction" if score == "accuracy" else "loss"
    method = for_testing(bench.method, settings)
    all_tasks = bench.tasks.count("test")
    test_tasks = all_tasks or settings.test_tasks

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
        progress(Progress(0.0, "testing the untrained initialisation"))
        per_task[f"untrained_{score}"] = test(learner.meta)
    course = train(
        learner,
        bench.workload,
        bench.tasks,
        settings,
        seed=bench.seed,
        device=bench.device,
        progress=progress,
        checkpoints=checkpoints,
    )
    if settings.test:
        progress(Progress(1.0, "testing", course.seconds_of(test_tasks / settings.validation_tasks)))
        per_task = {score: test(course.best), **per_task}

    tested = f"{test_tasks} test tasks" + (", all that there are" if all_tasks else "")
    adapted = f"{tested}, {method.inner_steps} inner steps"
    if bench.arithmetic:
        adapted += f", {bench.arithmetic}"
    floors = bench.tasks.floors(bench.seed, test_tasks) if settings.test else {}
    for metric, values in (per_task | floors).items():
        detail = tested if metric in floors else adapted
        yield Reading(0, metric, float(values.mean()), unit, detail=detail)
        if test_tasks > 1:
            yield Reading(0, f"{metric}_ci95", half_width(values), unit, detail="95% half-width over tasks")
    for step, value in course.validation:
        yield Reading(0, f"validation_{score}", value, unit, repeat=step)
    selected = (
        f"of {settings.validation_tasks} validation tasks, the best of {len(course.validation)} readings"
    )
    yield Reading(0, f"selected_validation_{score}", course.best_score, unit, detail=selected)
    yield Reading(0, "selected_meta_step", course.best_step, "step", detail="best on validation tasks")
    yield from _pace(course)
    for name in course.records.count:
        detail = f"mean over tasks and meta-steps; largest {course.records.maximum[name]:.4g}"
        yield Reading(0, name, course.records.mean(name), "", detail=detail)
    yield from doubts(course.records)
    if keep_at is not None:
        yield from _kept(course.best, keep_at)
    if settings.test:
        scores = {metric: values.tolist() for metric, values in (per_task | floors).items()}
        yield Samples("per_task", {"task": list(range(test_tasks)), **scores})


def _pace(course: Course) -> Iterator[Reading]:
    """The wall-clock of a training: of one machine, with whatever else ran on it."""
    resumed = ", ".join(map(str, course.resumed_at))
    lost = f"; gone on from a checkpoint at meta-step {resumed}, what was done twice counted once"
    trained = f"{course.step} meta-steps and validation{lost if resumed else ''}"
    yield Reading(0, "meta_steps", course.step, "step", detail="taken in training")
    yield Reading(0, "train_seconds", course.stepping_s + course.validating_s, "s", detail=trained)
    pace = f"{course.step} meta-steps with their sampling, without validation; cells may have run beside it"
    yield Reading(0, "meta_steps_per_second", course.steps_per_second, "1/s", detail=pace)


def _kept(meta: Params, path: Path) -> Iterator[Reading]:
    """Write the meta-parameters; a row where there is no room for them, which spoils no figure."""
    buffer = io.BytesIO()
    torch.save({name: p.cpu() for name, p in meta.items()}, buffer)
    try:
        replace_file(path, buffer.getvalue())
    except OSError as failure:
        why = f"{path} could not be written ({failure.strerror})"
        yield Reading(0, "meta_parameters", None, "", status="skipped", detail=why)


def half_width(values: Tensor) -> float:
    """Half the 95% t interval of the mean of `values` [n], n >= 2."""
    n = len(values)
    return float(stdtrit(n - 1, 0.975)) * float(values.std()) / math.sqrt(n)
