"""Steps whose cost is known: workloads of a given shape, and methods that do nothing, or only sleep."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.method import Kind, Method, Order
from harness.core.model import Model
from harness.core.objective import Objective, TaskObjectives, cross_entropy, squared_error
from harness.core.outer import SGD
from harness.core.trees import Params
from harness.measure.bench import Bench
from harness.measure_settings import MeasureSettings
from harness.workloads.base import Score, Split, Tasks, Workload
from harness.workloads.models import MLP, Activation, Conv4, Norm

PLAIN = SGD(lr=1e-3)  # no state and no temporaries: Adam's work is a method's own, not the harness's


class Noise(Tasks):
    """Tasks of normal inputs; `targets` makes the targets of a task's n examples."""

    fingerprint = "noise"

    def __init__(
        self, shape: tuple[int, ...], targets: Callable[[int, int], Tensor], support: int, query: int
    ) -> None:
        self.shape, self.targets = shape, targets
        self.sizes = (support, query)

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        source = torch.Generator().manual_seed(seed + start)
        support, query = (
            Shots(torch.randn(count, n, *self.shape, generator=source), self.targets(count, n))
            for n in self.sizes
        )
        return TaskBatch(support, query, tuple(range(start, start + count)))


class Regression(Workload):
    """An MLP of `widths` on `examples` points of support."""

    name: ClassVar[str] = "known-regression"
    score: ClassVar[Score] = "loss"
    loss_function = staticmethod(squared_error)

    widths: tuple[int, ...]
    examples: int
    queries: int = 4
    activation: Activation = "tanh"
    bias: bool = False

    def model(self) -> Model:
        return MLP(widths=self.widths, activation=self.activation, bias=self.bias)

    def open(self, data_root: Path | None) -> Tasks:
        def zeros(tasks: int, n: int) -> Tensor:
            return torch.zeros(tasks, n, self.widths[-1])

        return Noise(self.widths[:1], zeros, self.examples, self.queries)


class Images(Workload):
    """A conv4 on `examples` images of support, every class in turn."""

    name: ClassVar[str] = "known-images"
    score: ClassVar[Score] = "accuracy"
    loss_function = staticmethod(cross_entropy)

    ways: int
    filters: int
    size: int
    examples: int
    queries: int
    channels: int = 1
    activation: Activation = "tanh"
    norm: Norm = "none"

    def model(self) -> Model:
        return Conv4(
            ways=self.ways,
            filters=self.filters,
            channels=self.channels,
            size=self.size,
            norm=self.norm,
            activation=self.activation,
        )

    def open(self, data_root: Path | None) -> Tasks:
        def classes(tasks: int, n: int) -> Tensor:
            return torch.arange(n).remainder(self.ways).repeat(tasks, 1)

        return Noise((self.channels, self.size, self.size), classes, self.examples, self.queries)


class Null(Method):
    """No inner work and a meta-gradient of zeros: what is left of a meta-step is the harness's own."""

    kind: ClassVar[Kind] = "pseudo"
    memory_order: ClassVar[Order] = "constant"

    def adapt(self, support: Objective, meta: Params) -> Params:
        return trees.detach(meta)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.combine(torch.zeros_like, meta)


class Sleep(Null):
    """Sleeps for a known time, then answers with zeros."""

    seconds: float

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        time.sleep(self.seconds)
        return super().meta_gradient(tasks, meta)


def bench(method: Method, workload: Workload, device: torch.device, tasks: int = 1) -> Bench:
    """A method on a meta-batch of `tasks` tasks of a known workload."""
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MeasureSettings(meta_batch_size=tasks),
        seed=0,
        device=device,
        memory_budget=None,
    )


@dataclass(frozen=True)
class Script:
    """Allocations and releases of uint8 tensors, in order: a size allocates, None releases the oldest."""

    sizes: tuple[int | None, ...]

    def play(self, device: torch.device) -> None:
        held: list[Tensor] = []
        for size in self.sizes:
            if size is None:
                held.pop(0)
            else:
                held.append(torch.empty(size, dtype=torch.uint8, device=device))

    def peak(self, block: int = 1) -> int:
        """The most bytes alive at once, in whole blocks."""
        held: list[int] = []
        peak = 0
        for size in self.sizes:
            if size is None:
                held.pop(0)
            else:
                held.append(-(-size // block) * block)
            peak = max(peak, sum(held))
        return peak
