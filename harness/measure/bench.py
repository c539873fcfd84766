"""What every instrument is handed: one point of a cell, ready to step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.core.episodes import TaskBatch
from harness.core.method import Method
from harness.core.model import Model
from harness.measure.tracker import LiveStorages, storage_bytes
from harness.measure_settings import MeasureSettings, SteppingSettings
from harness.numerics import arithmetic_in_words
from harness.training.meta_learner import MetaLearner
from harness.workloads.base import Tasks, Workload


@dataclass(frozen=True)
class Bench:
    """A method on a workload, with the settings of the measure that is to observe it."""

    method: Method
    workload: Workload
    tasks: Tasks
    model: Model
    """Already in the precision of the settings."""

    settings: MeasureSettings
    seed: int
    device: torch.device
    memory_budget: int | None

    @property
    def step_in_words(self) -> str:
        """What one meta-step is here: how many tasks, how many at once, how they are batched, and what is
        reduced in its arithmetic."""
        s = self.settings
        chunks = f" in chunks of {s.task_chunk}" if s.task_chunk else ""
        said = f"meta-batch of {s.meta_batch_size}{chunks}, {s.execution}, {self.model.batching} batching"
        return ", ".join(filter(None, (said, self.arithmetic)))

    @property
    def precision(self) -> str:
        """Of the forward passes of a meta-step."""
        return self.settings.precision if isinstance(self.settings, SteppingSettings) else "float32"

    @property
    def arithmetic(self) -> str:
        """What is reduced in it, in words; empty for plain float32."""
        return arithmetic_in_words(self.precision)

    def learner(self, total_steps: int) -> MetaLearner:
        """A fresh meta-learner at the initial parameters of this seed."""
        return MetaLearner(
            self.method,
            self.model,
            self.workload.loss_function,
            seed=self.seed,
            device=self.device,
            total_steps=total_steps,
            task_chunk=self.settings.task_chunk,
            execution=self.settings.execution,
        )

    def meta_batch(self) -> TaskBatch:
        """The first meta-batch of training, on the device."""
        return self.tasks.sample("train", self.seed, 0, self.settings.meta_batch_size).to(self.device)

    def resident(self, learner: MetaLearner, batch: TaskBatch) -> list[Tensor]:
        """What stays on the device between meta-steps: meta-parameters, outer state and meta-batch.

        torch keeps the outer rule's counters, scalars, in host memory where the parameters are not.
        """
        tensors = [*learner.state_tensors(), *batch.tensors()]
        return tensors if self.device.type == "cpu" else [t for t in tensors if t.dim()]

    def baseline(self) -> int:
        """Bytes of what is resident."""
        learner = self.learner(2)
        learner.prime()
        return storage_bytes(self.resident(learner, self.meta_batch()))

    def check_budget(self) -> None:
        """Raise VirtualOutOfMemory if one meta-step does not fit the virtual budget, on any device."""
        if self.memory_budget is not None:
            self.track(self.memory_budget)

    def track(self, limit: int | None = None, *, block: int = 1) -> LiveStorages:
        """The tracker after one meta-step that was run, with the outer rule's state present.

        `limit` and `block` are LiveStorages's; raises VirtualOutOfMemory as it does.
        """
        learner, batch = self.learner(2), self.meta_batch()
        learner.prime()
        resident = self.resident(learner, batch)
        with LiveStorages(resident, limit, block=block, device=self.device.type) as tracker:
            learner.step(batch)
        return tracker
