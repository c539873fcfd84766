"""What a workload owes the harness."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, dataclass_transform

from torch import Tensor

from harness.core.episodes import TaskBatch
from harness.core.model import Model

Split = Literal["train", "validation", "test"]
Score = Literal["accuracy", "loss"]


class Tasks(ABC):
    """The opened data of a workload: a numbered supply of episodes, endless where `count` does not end it."""

    fingerprint: str
    """Hash of the data and its splits; part of every cell's id."""

    @abstractmethod
    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        """Episodes `start` to `start + count` of `split` under `seed`, on the CPU, in float32.

        Episode i is a pure function of (workload, split, seed, i): equal for every method, batch size,
        process and machine.
        """

    def count(self, split: Split) -> int | None:
        """How many episodes `split` has, the same under every seed; None: endlessly many."""
        return None

    def floors(self, seed: int, count: int) -> dict[str, Tensor]:
        """What learning must clear: scores [count] on test episodes 0 to `count` of classifiers that learn
        nothing, by the name of their metric."""
        return {}


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """A distribution of tasks and the model that learns them. A subclass declares its settings as fields."""

    name: ClassVar[str]
    score: ClassVar[Score]
    """What adaptation is judged by: "accuracy" (a fraction, higher is better) or "loss" (lower is)."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    @staticmethod
    @abstractmethod
    def loss_function(outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of every task [T] from outputs [T, n, out] and targets."""

    @abstractmethod
    def model(self) -> Model:
        """The network that learns these tasks."""

    @abstractmethod
    def open(self, data_root: Path | None) -> Tasks:
        """The data; UsageError if it is missing, damaged or too small for the settings."""
