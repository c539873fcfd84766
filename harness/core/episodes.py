"""Episodes: support and query shots of T tasks at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shots:
    """Examples of T tasks: `inputs` [T, n, ...] and `targets` [T, n] (classes) or [T, n, out] (values)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Number of tasks."""
        return self.inputs.shape[0]

    @property
    def per_task(self) -> int:
        """Number of examples of each task."""
        return self.inputs.shape[1]

    def tasks(self, start: int, stop: int) -> "Shots":
        """The tasks `start:stop`, as views."""
        return Shots(self.inputs[start:stop], self.targets[start:stop])

    def take(self, index: Tensor) -> "Shots":
        """Examples `index` [T, m] of every task."""
        row = torch.arange(len(self), device=index.device).unsqueeze(1)
        return Shots(self.inputs[row, index], self.targets[row, index])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Shots":
        """On `device`; floating-point tensors also as `dtype`."""

        def move(t: Tensor) -> Tensor:
            return t.to(device, dtype if t.is_floating_point() else None)

        return Shots(move(self.inputs), move(self.targets))

    def and_then(self, other: "Shots") -> "Shots":
        """These shots followed by `other`'s, task by task."""
        return Shots(torch.cat([self.inputs, other.inputs], 1), torch.cat([self.targets, other.targets], 1))


@dataclass(frozen=True)
class TaskBatch:
    """T episodes. `seeds` are the episodes' own, for what a method draws (mini-batches)."""

    support: Shots
    query: Shots
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.support)

    def chunks(self, size: int) -> Iterator["TaskBatch"]:
        """Consecutive batches of at most `size` tasks, as views."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield TaskBatch(
                self.support.tasks(start, stop), self.query.tasks(start, stop), self.seeds[start:stop]
            )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "TaskBatch":
        return TaskBatch(self.support.to(device, dtype), self.query.to(device, dtype), self.seeds)

    def tensors(self) -> list[Tensor]:
        """Every tensor of the batch: what it keeps alive on its device."""
        return [self.support.inputs, self.support.targets, self.query.inputs, self.query.targets]
