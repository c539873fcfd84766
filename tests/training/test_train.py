"""When a training ends, what it selects, and what it says on its way."""

from typing import Any

import pytest
import torch
from problems import make

from harness.core.outer import SGD
from harness.measure_settings import AccuracySettings
from harness.protocol import Progress
from harness.training import train as module
from harness.training.meta_learner import MetaLearner
from harness.training.train import Course, train
from harness.workloads.base import Split, Tasks
from harness.workloads.sinusoid import Sinusoid
from methods.fomaml import FOMAML

WORKLOAD = Sinusoid()
SETTINGS = AccuracySettings(
    meta_batch_size=1, meta_steps=20, validate_every=2, validation_tasks=4, test_tasks=8
)


def trained(
    monkeypatch: pytest.MonkeyPatch,
    losses: list[float],
    tasks: Tasks | None = None,
    **changes: Any,
) -> tuple[Course, list[Progress], list[torch.Tensor]]:
    """A training whose validations come to `losses`, one after another; what it said; the parameters that
    each validation saw."""
    left, seen, said = iter(losses), [], []

    def scripted(method: Any, workload: Any, model: Any, tasks: Any, meta: Any, **rest: Any) -> torch.Tensor:
        seen.append(torch.cat([p.flatten() for p in meta.values()]))
        return torch.full((4,), next(left), dtype=torch.float64)

    monkeypatch.setattr(module, "evaluate", scripted)
    learner = MetaLearner(
        make(FOMAML, inner_steps=1, inner_lr=0.01, outer=SGD(lr=0.1)),
        WORKLOAD.model(),
        WORKLOAD.loss_function,
        seed=0,
        device=torch.device("cpu"),
        total_steps=20,
    )
    course = train(
        learner,
        WORKLOAD,
        tasks or WORKLOAD.open(None),
        SETTINGS.model_copy(update=changes),
        seed=0,
        device=torch.device("cpu"),
        progress=said.append,
    )
    return course, said, seen


@pytest.mark.parametrize(
    ("losses", "patience", "steps", "best"),
    [
        ([3, 2, 1, 5, 4, 3], 3, 10, 4),  # the third in a row without a better one
        ([1, 1, 1], 2, 4, 0),  # as good is not better
        ([3, 4, 2, 4, 1, 4, 4], 2, 12, 8),  # a better one begins the count anew
        ([3, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2], None, 20, 4),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.5, 0.25], 1, 20, 20),
    ],
)
def test_a_training_ends_with_its_patience_and_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], patience: int | None, steps: int, best: int
) -> None:
    course, _, seen = trained(monkeypatch, losses, patience=patience)
    assert (course.step, course.best_step, course.best_score) == (steps, best, min(losses))
    assert [value for _, value in course.validation] == losses
    selected = torch.cat([p.flatten() for p in course.best.values()])
    assert selected.equal(seen[losses.index(min(losses))])


def test_where_patience_may_end_it_sooner_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience, words in ((None, "meta-step 2 of 20, "), (5, "meta-step 2 of at most 20, ")):
        _, said, _ = trained(monkeypatch, [3.0] * 11, patience=patience)
        assert said[1].note.startswith(words)


class TwoTestTasks(Tasks):
    """A test split that ends."""

    def __init__(self) -> None:
        self.all = WORKLOAD.open(None)
        self.fingerprint = self.all.fingerprint

    def count(self, split: Split) -> int | None:
        return 2 if split == "test" else None

    def sample(self, split: Split, seed: int, start: int, count: int) -> Any:
        return self.all.sample(split, seed, start, count)


def test_the_time_left_is_that_of_the_meta_steps_the_validations_and_the_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that ticks once a reading: a meta-step and a validation take a second each."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    for tasks, test, left in ((None, True, 2.0), (TwoTestTasks(), True, 0.5), (None, False, 0.0)):
        _, said, _ = trained(monkeypatch, [3.0] * 11, tasks, test=test)
        assert [s.left_s for s in said] == [(20 - k) + (10 - k // 2) + left for k in range(1, 21)]
        assert [s.fraction for s in said] == [k / 20 for k in range(1, 21)]
