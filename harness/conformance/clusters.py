"""A workload that any meta-learner learns within seconds: what its tasks have in common is plain to see."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.objective import cross_entropy
from harness.core.seeds import generator
from harness.workloads.base import Score, Split, Tasks, Workload
from harness.workloads.models import MLP

WAYS, DIMENSION = 4, 16
SUPPORT, QUERY = 2 * WAYS, 3 * WAYS


class Clusters(Workload):
    """4-way 2-shot classification of points around centres that are half the same in every task.

    A smooth network under the cross-entropy, whose gradients are bounded: usual inner step sizes are stable.
    """

    name: ClassVar[str] = "clusters"
    score: ClassVar[Score] = "loss"
    loss_function = staticmethod(cross_entropy)

    def model(self) -> Model:
        return MLP(widths=(DIMENSION, 16, WAYS), activation="softplus")

    def open(self, data_root: Path | None) -> Tasks:
        return ClusterTasks()


class ClusterTasks(Tasks):
    fingerprint = "clusters-1"

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        common = generator("clusters").normal(size=(WAYS, DIMENSION))
        labels = np.arange(SUPPORT + QUERY) % WAYS
        points = []
        for i in range(start, start + count):
            draw = generator("episode", "clusters", split, seed, i)
            centres = common + draw.normal(size=(WAYS, DIMENSION))
            points.append((centres[labels] + draw.normal(size=(len(labels), DIMENSION))) / 2)
        x, y = torch.from_numpy(np.stack(points)).float(), torch.from_numpy(labels).repeat(count, 1)
        return TaskBatch(
            Shots(x[:, :SUPPORT], y[:, :SUPPORT]),
            Shots(x[:, SUPPORT:], y[:, SUPPORT:]),
            tuple(range(start, start + count)),
        )
