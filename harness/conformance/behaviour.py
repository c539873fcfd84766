"""How a method behaves over a training, and as its inner loop grows."""

import math

import torch

from harness.conformance.clusters import Clusters
from harness.conformance.finding import Read
from harness.conformance.subject import Subject
from harness.selfcheck.probes import Regression, bench
from harness.training.evaluation import evaluate
from harness.training.meta_learner import MetaLearner

META_STEPS, META_BATCH, INNER_STEPS = 60, 8, 3
VALIDATION_TASKS = 50
LEARNED = 0.9  # validation loss after over before; the built-in methods come to 0.15 (Reptile) to 0.7

MEMORY_STEPS = (16, 64, 256)
"""Each 4 times the last: if the peak is a + b K^p, its increments are in the ratio 4^p. Long enough to be
past a truncation window, and squares, as segments of sqrt(K) steps want them."""

FLAT = 0.01  # relative growth of the peak from one of them to the next, up to which it is constant
POWERS = {"constant": 0.0, "sqrt": 0.5, "linear": 1.0}
BETWEEN = 0.25  # half the distance of two powers

CPU = torch.device("cpu")


def learns(subject: Subject) -> Read:
    """Mean validation loss after adaptation, at the end of a short training over its start."""
    method, workload = subject.at(INNER_STEPS), Clusters()
    tasks, model = workload.open(None), workload.model()
    learner = MetaLearner(method, model, workload.loss_function, seed=0, device=CPU, total_steps=META_STEPS)

    def loss() -> float:
        scores = evaluate(
            method,
            workload,
            model,
            tasks,
            learner.meta,
            split="validation",
            seed=0,
            count=VALIDATION_TASKS,
            chunk=VALIDATION_TASKS,
        )
        return float(scores.mean())

    before = loss()
    for step in range(META_STEPS):
        learner.step(tasks.sample("train", 0, step * META_BATCH, META_BATCH))
    ratio = loss() / before
    remedy = (
        f"{META_STEPS} meta-steps left the validation loss at {ratio:.2f} of what it was: the outer rule "
        "subtracts what meta_gradient returns, so mind its sign; then the default step sizes."
    )
    return Read("validation loss after over before training", ratio, LEARNED, remedy)


def memory_order(subject: Subject) -> Read:
    """The power of the inner steps with which the peak of a meta-step grows, against the declared one.

    The network is one whose activations outweigh its parameters twenty times.
    """
    workload = Regression(widths=(8, 16, 16, 1), examples=128)
    first, *others = MEMORY_STEPS

    def peak(steps: int) -> int:
        return bench(subject.at(steps), workload, CPU).track().peak

    peaks = [peak(first), peak(others[0])]
    growth = peaks[1] / peaks[0] - 1
    declared = subject.cls.memory_order
    what = f"growth of the peak from {first} to {others[0]} steps"
    if declared == "constant" and growth <= FLAT:
        return Read(what, growth, FLAT, "", "relative")
    peaks.append(peak(others[1]))
    power = 0.0 if growth <= FLAT else growth_power(peaks)
    true = min(POWERS, key=lambda order: abs(POWERS[order] - power))
    said = ", ".join(f"{peak:,} at {steps}" for steps, peak in zip(MEMORY_STEPS, peaks, strict=True))
    remedy = (
        f"bytes at the peak: {said} inner steps; that is about steps^{power:.2f}: "
        f'declare memory_order = "{true}", or keep less.'
    )
    if declared == "constant":
        return Read(what, growth, FLAT, remedy, "relative")
    away = abs(power - POWERS[declared])
    return Read(f"the peak grows as steps^{power:.2f}, off by", away, BETWEEN, remedy)


def growth_power(peaks: list[int]) -> float:
    """p of peaks a + b K^p at three K, each 4 times the last; 0 where the growth ends at the second.

    The second is above the first.
    """
    first, second = peaks[1] - peaks[0], peaks[2] - peaks[1]
    return math.log(second / first, 4) if second > 0 else 0.0
