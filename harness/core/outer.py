"""Outer rules: how the mean meta-gradient of a meta-batch changes the meta-parameters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from harness.core.checks import require_fraction, require_positive


class Outer(ABC):
    """A rule with its settings. The optimiser's `step()` subtracts what it makes of `.grad`."""

    @abstractmethod
    def optimiser(self, meta: list[Tensor]) -> Optimizer:
        """An optimiser over the meta-parameters `meta`, with its own fresh state."""

    def schedule(self, optimiser: Optimizer, total_steps: int) -> LRScheduler | None:
        """What changes the rate over `total_steps` meta-steps; None for a constant one."""
        return None


@dataclass(frozen=True, kw_only=True)
class Adam(Outer):
    """Kingma and Ba 2015. `eps` matters: the authors' iMAML code uses 1e-3, so that scale counts."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        require_positive(self, "lr", "eps")
        require_fraction(self, "beta1", "beta2")

    def optimiser(self, meta: list[Tensor]) -> Optimizer:
        # One tensor after another: `foreach` would hold temporaries of all at once, in the peak that we read.
        return torch.optim.Adam(meta, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, foreach=False)


@dataclass(frozen=True, kw_only=True)
class SGD(Outer):
    """theta <- theta - lr * g, with optional heavy-ball momentum."""

    lr: float = 1e-2
    momentum: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "lr")
        require_fraction(self, "momentum")

    def optimiser(self, meta: list[Tensor]) -> Optimizer:
        return torch.optim.SGD(meta, lr=self.lr, momentum=self.momentum, foreach=False)


@dataclass(frozen=True, kw_only=True)
class Interpolate(Outer):
    """theta <- theta + rate * mean(phi - theta): Reptile's rule (Nichol et al. 2018).

    With `anneal` the rate falls linearly to zero over the training, as published.
    """

    rate: float = 1.0
    anneal: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "rate")

    def optimiser(self, meta: list[Tensor]) -> Optimizer:
        return torch.optim.SGD(meta, lr=self.rate, foreach=False)

    def schedule(self, optimiser: Optimizer, total_steps: int) -> LRScheduler | None:
        if not self.anneal:
            return None
        return LambdaLR(optimiser, lambda step: max(0.0, 1 - step / total_steps))


RULES: dict[str, type[Outer]] = {"adam": Adam, "sgd": SGD, "interpolate": Interpolate}
