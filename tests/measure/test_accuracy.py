import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from problems import make
from scipy import stats

from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.objective import task_objectives
from harness.core.outer import Adam
from harness.core.record import Records
from harness.measure.accuracy import half_width, measure_accuracy
from harness.measure.bench import Bench
from harness.measure.doubts import doubts
from harness.measure.tracker import VirtualOutOfMemory
from harness.measure_settings import AccuracySettings
from harness.protocol import Reading, Samples
from harness.training.evaluation import evaluate, evaluation_chunk
from harness.training.meta_learner import Diverged
from harness.workloads.base import Split, Tasks, Workload
from harness.workloads.floors import neighbour_accuracy
from harness.workloads.glyphs import Glyphs
from harness.workloads.sinusoid import Sinusoid
from methods.fomaml import FOMAML
from methods.maml import MAML

QUICK = AccuracySettings(
    meta_batch_size=4, meta_steps=100, validate_every=50, validation_tasks=20, test_tasks=60
)
FAST = make(FOMAML, inner_steps=1, inner_lr=0.1, outer=Adam(lr=1e-2))
LETTERS = Glyphs(ways=2, shots=1, queries=5, filters=8)


def bench(
    workload: Workload,
    method: Any,
    settings: AccuracySettings = QUICK,
    device: str = "cpu",
    memory_budget: int | None = None,
) -> Bench:
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=settings,
        seed=0,
        device=torch.device(device),
        memory_budget=memory_budget,
    )


def run(point: Bench) -> tuple[dict[tuple[str, int], Reading], dict[str, list[float]]]:
    readings: dict[tuple[str, int], Reading] = {}
    samples: dict[str, list[float]] = {}
    for said in measure_accuracy(point, lambda told: None):
        if isinstance(said, Samples):
            samples = said.columns
        else:
            readings[said.metric, said.repeat] = said
    return readings, samples


def values(readings: dict[tuple[str, int], Reading]) -> dict[tuple[str, int], float | None]:
    """All but the wall-clock."""
    clocks = ("train_seconds", "meta_steps_per_second")
    return {key: r.value for key, r in readings.items() if r.metric not in clocks}


@pytest.mark.parametrize("n", [2, 3, 25, 600])
def test_half_width_is_that_of_students_interval(n: int) -> None:
    sample = np.random.default_rng(n).normal(3.0, 2.0, n)
    low, high = stats.t.interval(0.95, n - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert half_width(torch.from_numpy(sample)) == pytest.approx((high - low) / 2, rel=1e-10)


class Fixed(Tasks):
    """Two-pixel images. Task i: classes 0, 1, 2 at (0, 0), (10, 0), (0, 10), shifted by i; four queries."""

    fingerprint = "fixed"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        self.asked.append((split, start, count))
        support = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
        query = torch.tensor([[4.0, 0.0], [6.0, 0.0], [1.0, 7.0], [9.0, 8.0]])
        shift = torch.arange(start, start + count).view(-1, 1, 1, 1, 1)
        # Even tasks: the fourth query is of class 1, its nearest; odd tasks: of class 2.
        last = torch.where(torch.arange(start, start + count) % 2 == 0, 1, 2)
        targets = torch.cat([torch.tensor([[0, 0, 2]]).expand(count, 3), last.unsqueeze(1)], 1)
        return TaskBatch(
            Shots(support.view(1, 3, 1, 1, 2) + shift, torch.tensor([[0, 1, 2]]).expand(count, 3)),
            Shots(query.view(1, 4, 1, 1, 2) + shift, targets),
            tuple(range(start, start + count)),
        )


def test_the_neighbour_takes_the_class_of_the_nearest_support_image() -> None:
    """To (4,0), (6,0), (1,7), (9,8) the nearest are of classes 0, 1, 2, 1; theirs are 0, 0, 2 and 1 or 2."""
    tasks = Fixed()
    assert neighbour_accuracy(tasks, 0, 5).tolist() == [0.75, 0.5, 0.75, 0.5, 0.75]
    assert tasks.asked == [("test", 0, 5)]


def test_the_neighbour_sees_every_task_once_whatever_the_chunk() -> None:
    tasks = Fixed()
    assert neighbour_accuracy(tasks, 0, 250).tolist() == [0.75, 0.5] * 125
    assert sum(count for _, _, count in tasks.asked) == 250


@pytest.fixture(scope="module")
def trained() -> tuple[dict[tuple[str, int], Reading], dict[str, list[float]]]:
    return run(bench(LETTERS, FAST))


def test_training_beats_the_untrained_initialisation(trained: Any) -> None:
    readings, _ = trained
    gain = readings["accuracy", 0].value - readings["untrained_accuracy", 0].value
    assert gain > 2 * readings["accuracy_ci95", 0].value
    assert 0.5 < readings["neighbour_accuracy", 0].value <= 1


def test_accuracies_repeat_bit_for_bit(trained: Any) -> None:
    readings, samples = trained
    again, samples_again = run(bench(LETTERS, FAST))
    assert values(again) == values(readings)
    assert samples_again == samples


def test_readings_summarise_the_kept_per_task_accuracies(trained: Any) -> None:
    readings, samples = trained
    assert set(samples) == {"task", "accuracy", "untrained_accuracy", "neighbour_accuracy"}
    for metric in ("accuracy", "untrained_accuracy", "neighbour_accuracy"):
        assert len(samples[metric]) == 60
        assert readings[metric, 0].value == pytest.approx(np.mean(samples[metric]), rel=1e-12)
        low, high = stats.t.interval(0.95, 59, scale=stats.sem(samples[metric]))
        assert readings[f"{metric}_ci95", 0].value == pytest.approx((high - low) / 2, rel=1e-9)


def test_the_validation_curve_begins_untrained_and_its_best_step_is_selected(trained: Any) -> None:
    readings, _ = trained
    curve = {repeat: r.value for (metric, repeat), r in readings.items() if metric == "validation_accuracy"}
    assert list(curve) == [0, 50, 100]
    assert curve[readings["selected_meta_step", 0].value] == max(curve.values())


def test_a_regressions_score_is_its_loss_and_it_has_no_neighbour() -> None:
    method = make(MAML, inner_steps=1, inner_lr=0.01)
    readings, samples = run(bench(Sinusoid(), method, QUICK))
    before, after = readings["untrained_loss", 0].value, readings["loss", 0].value
    assert before is not None
    assert after is not None
    assert after < before
    assert set(samples) == {"task", "loss", "untrained_loss"}
    assert readings["loss", 0].unit == "loss"


def test_other_inner_steps_may_be_taken_at_test_time() -> None:
    settings = QUICK.model_copy(update={"meta_steps": 1, "test_inner_steps": 7})
    readings, _ = run(bench(Sinusoid(), make(FOMAML, inner_steps=1), settings))
    assert "7 inner steps" in readings["loss", 0].detail


@pytest.mark.parametrize("workload", [LETTERS, Sinusoid()], ids=["classes", "values"])
def test_an_absurd_learning_rate_diverges(workload: Workload) -> None:
    settings = QUICK.model_copy(update={"meta_steps": 3})
    with pytest.raises(Diverged, match="not finite"):
        run(bench(workload, make(FOMAML, inner_steps=20, inner_lr=1e30), settings))


class Overflow(Sinusoid):
    """Sines whose test episodes alone are too large for float32."""

    def open(self, data_root: Any) -> Tasks:
        inside = super().open(data_root)

        class Large(Tasks):
            fingerprint = "large"

            def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
                batch = inside.sample(split, seed, start, count)
                factor = 1e30 if split == "test" else 1.0
                query = Shots(batch.query.inputs, batch.query.targets * factor)
                return dataclasses.replace(batch, query=query)

        return Large()


def test_a_test_loss_that_is_not_finite_is_divergence_not_a_number() -> None:
    settings = QUICK.model_copy(update={"meta_steps": 1})
    with pytest.raises(Diverged, match="not finite"):
        run(bench(Overflow(), make(FOMAML, inner_steps=1, inner_lr=0.01), settings))


@pytest.mark.parametrize("workload", [LETTERS, Sinusoid()], ids=["classes", "values"])
def test_evaluation_takes_every_task_once_whatever_the_chunk(workload: Workload) -> None:
    model, tasks = workload.model(), workload.open(None)
    meta, method = model.initial(0), make(FOMAML, inner_steps=2, inner_lr=0.01)

    def scores(chunk: int) -> torch.Tensor:
        return evaluate(method, workload, model, tasks, meta, split="test", seed=0, count=7, chunk=chunk)

    whole = scores(7)
    assert whole.shape == (7,)
    assert whole.dtype == torch.float64
    for chunk in (1, 3, 100):
        torch.testing.assert_close(scores(chunk), whole, rtol=1e-4, atol=1e-6)
    objectives = task_objectives(tasks.sample("test", 0, 4, 1), model, workload.loss_function)
    phi = method.adapt(objectives.support, trees.repeat_for_tasks(meta, 1))
    if workload.score == "loss":
        expected = objectives.query.loss(phi).double()
    else:
        expected = (
            (objectives.query.predict(phi).argmax(-1) == objectives.query.shots.targets).double().mean(1)
        )
    torch.testing.assert_close(whole[4:5], expected.detach(), rtol=1e-4, atol=1e-6)


class Finite(Glyphs):
    """Letters with seven test episodes and a floor of its own."""

    def open(self, data_root: Any) -> Tasks:
        inside = super().open(data_root)

        class Seven(Tasks):
            fingerprint = "seven"

            def count(self, split: Split) -> int | None:
                return 7 if split == "test" else None

            def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
                assert split != "test" or start + count <= 7
                return inside.sample(split, seed, start, count)

            def floors(self, seed: int, count: int) -> dict[str, torch.Tensor]:
                return {"coin_accuracy": torch.full((count,), 0.5, dtype=torch.float64)}

        return Seven()


@pytest.mark.parametrize("asked", [3, 60])
def test_a_test_split_that_ends_is_taken_whole_with_the_floors_that_its_workload_has(asked: int) -> None:
    settings = QUICK.model_copy(update={"meta_steps": 1, "test_tasks": asked})
    workload = Finite(ways=2, shots=1, queries=5, filters=8)
    readings, samples = run(bench(workload, FAST, settings))
    assert set(samples) == {"task", "accuracy", "untrained_accuracy", "coin_accuracy"}
    assert samples["task"] == list(range(7))
    assert [readings["coin_accuracy", 0].value, readings["coin_accuracy_ci95", 0].value] == [0.5, 0.0]
    assert readings["accuracy", 0].detail == "7 test tasks, all that there are, 1 inner steps"
    assert readings["coin_accuracy", 0].detail == "7 test tasks, all that there are"
    assert readings["accuracy", 0].value == pytest.approx(np.mean(samples["accuracy"]), rel=1e-12)
    low, high = stats.t.interval(0.95, 6, scale=stats.sem(samples["accuracy"]))
    assert readings["accuracy_ci95", 0].value == pytest.approx((high - low) / 2, rel=1e-9)


# --- the memory budget ------------------------------------------------------------------------------------

ONE_TASK = QUICK.model_copy(update={"meta_batch_size": 1, "meta_steps": 2, "validation_tasks": 40})
ENOUGH_FOR_ONE = 300_000  # bytes; 30 tasks have twice as many in their adapted parameters and gradients


def test_the_budget_covers_the_evaluation_too() -> None:
    method = make(FOMAML, inner_steps=1, inner_lr=0.01)
    small = bench(Sinusoid(), method, ONE_TASK, memory_budget=ENOUGH_FOR_ONE)
    small.check_budget()  # a meta-step of one task fits
    with pytest.raises(VirtualOutOfMemory, match="exceed the virtual budget of 300,000"):
        run(small)


def test_a_task_chunk_makes_the_evaluation_fit_the_budget() -> None:
    method = make(FOMAML, inner_steps=1, inner_lr=0.01)
    chunked = ONE_TASK.model_copy(update={"task_chunk": 1})
    readings, _ = run(bench(Sinusoid(), method, chunked, memory_budget=ENOUGH_FOR_ONE))
    assert readings["loss", 0].value is not None
    assert (evaluation_chunk(chunked), evaluation_chunk(ONE_TASK)) == (1, 30)


class Counting(Sinusoid):
    """Sines that write down how many episodes of which split are asked for at once."""

    asked: ClassVar[set[tuple[str, int]]] = set()

    def open(self, data_root: Any) -> Tasks:
        inside, asked = super().open(data_root), self.asked

        class Counted(Tasks):
            fingerprint = inside.fingerprint

            def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
                asked.add((split, count))
                return inside.sample(split, seed, start, count)

        return Counted()


@pytest.mark.parametrize(("task_chunk", "at_once"), [(4, 4), (None, 30)])
def test_evaluation_takes_as_many_tasks_at_once_as_the_task_chunk(
    task_chunk: int | None, at_once: int
) -> None:
    Counting.asked.clear()
    settings = QUICK.model_copy(
        update={"meta_steps": 1, "task_chunk": task_chunk, "validation_tasks": 60, "test_tasks": 60}
    )
    run(bench(Counting(), make(FOMAML, inner_steps=1, inner_lr=0.01), settings))
    assert Counting.asked == {("train", 4), ("validation", at_once), ("test", at_once)}


# --- doubts -----------------------------------------------------------------------------------------------


def flags(residuals: list[float], curved: list[float]) -> list[Reading]:
    records = Records()
    for name, recorded in (("solver_residual", residuals), ("solver_negative_curvature", curved)):
        if recorded:
            records.add(name, torch.tensor(recorded, dtype=torch.float64))
    return list(doubts(records))


@pytest.mark.parametrize(
    ("residuals", "curved"),
    [
        ([], []),
        ([0.3, 1e-8], []),
        ([1.0, 1.0], [0.0] * 4),
        ([1.5, 0.4], [0.0] * 9 + [1.0]),
    ],
    ids=["nothing recorded", "solved", "at the bounds", "one task beyond"],
)
def test_a_solver_that_solves_raises_no_doubt(residuals: list[float], curved: list[float]) -> None:
    assert flags(residuals, curved) == []


@pytest.mark.parametrize(
    ("residuals", "curved", "said"),
    [
        ([3.0, 1.0], [0.0], ["mean relative residual of 2, where 1 is no solution at all: raise cg_steps"]),
        ([0.5], [0.0] * 4 + [1.0], ["20% of the linear solves met negative curvature"]),
        ([1.1], [1.0], ["mean relative residual of 1.1", "100% of the linear solves"]),
    ],
    ids=["unsolved", "curved", "both"],
)
def test_a_solver_that_does_not_solve_is_flagged(
    residuals: list[float], curved: list[float], said: list[str]
) -> None:
    found = flags(residuals, curved)
    assert [(r.metric, r.value, r.status, r.repeat) for r in found] == [
        ("flag", None, "ok", i) for i in range(len(said))
    ]
    assert all(text in r.detail for text, r in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("diverged", "curved", "said"),
    [
        ([0.0] * 9 + [1.0], [0.0] * 10, []),
        ([0.0, 1.0], [0.0, 0.0], ["50% of the linear solves diverged and stopped there"]),
        ([0.0, 1.0], [0.0, 1.0], ["50% of the linear solves met negative curvature"]),
    ],
    ids=["seldom", "a step too long", "for its negative curvature alone"],
)
def test_a_series_that_diverges_is_flagged_with_its_reason(
    diverged: list[float], curved: list[float], said: list[str]
) -> None:
    records = Records()
    records.add("solver_diverged", torch.tensor(diverged))
    records.add("solver_negative_curvature", torch.tensor(curved))
    found = list(doubts(records))
    assert len(found) == len(said)
    assert all(text in r.detail for text, r in zip(said, found, strict=True))


@pytest.mark.gpu
def test_on_a_gpu_episodes_and_the_neighbour_are_those_of_the_cpu(trained: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    readings, _ = run(bench(LETTERS, FAST, device="cuda"))
    on_cpu, _ = trained
    assert readings["neighbour_accuracy", 0].value == on_cpu["neighbour_accuracy", 0].value
    untrained = readings["untrained_accuracy", 0].value
    assert untrained == pytest.approx(on_cpu["untrained_accuracy", 0].value, abs=0.02)
