"""The contract of a method: what an adapter implements, and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, dataclass_transform

from harness.core.objective import Objective, TaskObjectives
from harness.core.outer import Adam, Outer
from harness.core.search import SearchSpace
from harness.core.trees import Params

Kind = Literal["unrolled", "implicit", "first-order", "approximate", "pseudo"]
Order = Literal["constant", "sqrt", "linear"]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A meta-learning algorithm with its settings.

    A subclass declares its settings as annotated fields with defaults; it becomes a frozen, keyword-only
    dataclass by itself. Parameters are `dict[str, Tensor]` with a leading task axis [T, ...], so one
    adapter serves a single task and a batch. A method holds no state between calls.
    """

    kind: ClassVar[Kind]
    """What the method's meta-gradient is, which decides what is proven of it."""

    memory_order: ClassVar[Order]
    """How its peak memory grows with the number of inner steps."""

    converged: ClassVar[Mapping[str, Any]] = {}
    """Of an implicit method: the settings, `inner_steps` among them, under which it solves both its problems.

    On linear regression in float64, with up to 8 weights and the eigenvalues of the support Hessian in
    [0.1, 1], its meta-gradient then equals the closed form of the implicit one to 1e-8; on a network of 27
    parameters it solves (I + H/lam) g = v at the phi of `adapt` to 1e-4.
    """

    search_space: ClassVar[SearchSpace] = {}
    """Where `innerloop tune` looks for this method's settings: every one that its accuracy hangs on."""

    inner_steps: int
    """Steps of the inner optimiser; the axis of every curve. 0 is the identity."""

    outer: Outer = Adam(lr=1e-3)
    """The rule that applies the mean meta-gradient."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        if self.inner_steps < 0:
            raise ValueError(f"inner_steps must not be negative, not {self.inner_steps}")

    def meta_parameters(self, initial: Params) -> Params:
        """What is meta-learned, given the model's initial parameters [...] (no task axis): just those."""
        return initial

    @abstractmethod
    def adapt(self, support: Objective, meta: Params) -> Params:
        """phi for each task [T, ...], the model's names only; no graph outlives the call."""

    @abstractmethod
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        """What the outer rule subtracts, per task [T, ...], in the names of `meta`.

        Uses the same inner map as `adapt`.
        """
