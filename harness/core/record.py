"""Diagnostics that a method leaves behind; outside a cell `record` does nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Records:
    """Running mean and maximum of every recorded name."""

    count: dict[str, int] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)
    maximum: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: Tensor) -> None:
        self.count[name] = self.count.get(name, 0) + values.numel()
        self.total[name] = self.total.get(name, 0.0) + float(values.sum())
        self.maximum[name] = max(self.maximum.get(name, -float("inf")), float(values.max()))

    def mean(self, name: str) -> float:
        return self.total[name] / self.count[name]

    def average(self, name: str) -> float:
        """The mean, or 0 if nothing of that name was recorded."""
        return self.mean(name) if name in self.count else 0.0


_records: ContextVar[Records | None] = ContextVar("records", default=None)


def record(name: str, value: Tensor | float) -> None:
    """Leave a diagnostic: a number, or one a task [T] (solver iterations, residuals, stops).

    In an `accuracy` or `gradient` cell its mean over tasks and calls becomes a row; in a memory or time cell
    nothing is kept, for an instrument would read it.
    """
    records = _records.get()
    if records is not None:
        records.add(name, torch.as_tensor(value).detach().double())


@contextmanager
def recording(into: Records | None = None) -> Iterator[Records]:
    """Collect what is recorded inside the block, into what was collected before if there is any."""
    records = Records() if into is None else into
    token = _records.set(records)
    try:
        yield records
    finally:
        _records.reset(token)
