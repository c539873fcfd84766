"""`sinusoid`: few-shot regression of Finn, Abbeel and Levine 2017, section 5.1."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.objective import squared_error
from harness.core.seeds import generator
from harness.workloads.base import Score, Split, Tasks, Workload
from harness.workloads.models import MLP, Activation


class Sinusoid(Workload):
    """y = amplitude * sin(x - phase), amplitude in [0.1, 5], phase in [0, pi], x in [-5, 5].

    shots, queries: points of the support and of the query set.
    activation: of the MLP 40-40; "relu" as published, a smooth one for checking derivatives.
    """

    name: ClassVar[str] = "sinusoid"
    score: ClassVar[Score] = "loss"
    loss_function = staticmethod(squared_error)

    shots: int = 10
    queries: int = 10
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        for setting in ("shots", "queries"):
            if getattr(self, setting) < 1:
                raise ValueError(f"{setting} must be at least 1, not {getattr(self, setting)}")

    def model(self) -> Model:
        return MLP(widths=(1, 40, 40, 1), activation=self.activation)

    def open(self, data_root: Path | None) -> Tasks:
        return SinusoidTasks(self)


class SinusoidTasks(Tasks):
    fingerprint = "sinusoid-1"

    def __init__(self, workload: Sinusoid) -> None:
        self.workload = workload

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        n = self.workload.shots + self.workload.queries
        x = np.empty((count, n, 1))
        y = np.empty((count, n, 1))
        seeds = []
        for row in range(count):
            draw = generator("episode", "sinusoid", split, seed, start + row)
            amplitude, phase = draw.uniform(0.1, 5.0), draw.uniform(0.0, np.pi)
            x[row] = draw.uniform(-5.0, 5.0, (n, 1))
            y[row] = amplitude * np.sin(x[row] - phase)
            seeds.append(int(draw.integers(2**62)))
        k = self.workload.shots
        inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
        return TaskBatch(
            Shots(inputs[:, :k], targets[:, :k]), Shots(inputs[:, k:], targets[:, k:]), tuple(seeds)
        )
