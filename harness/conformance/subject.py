"""The method that is checked, and how a check calls it: on copies of everything, under seeded generators.

So a method that changes its inputs, or draws from a global generator, is found by the check that looks for
it, and does not fail all others beside.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from harness.conformance.problems import copy_of, gaussian, parameters
from harness.core import trees
from harness.core.episodes import Shots
from harness.core.method import Method
from harness.core.model import Model
from harness.core.objective import TaskObjectives
from harness.core.outer import RULES
from harness.core.trees import Params
from harness.settings import build, merged
from harness.training.returned import check_returned

EXTRA_SPREAD = 0.1  # relative, of meta-parameters that are not the model's: step sizes stay positive


class NotFinite(Exception):
    """A result holds a number that is not finite: the parameter and the call in a sentence."""


@dataclass(frozen=True)
class Subject:
    """A method class with settings; `inner_steps` is each check's own."""

    cls: type[Method]
    settings: Mapping[str, Any] = field(default_factory=dict)
    where: str = "the settings"
    """For errors: who gave them."""

    def at(self, inner_steps: int, changes: Mapping[str, Any] | None = None) -> Method:
        """An instance. Raises UsageError for settings that the class refuses."""
        settings = merged(merged(self.settings, changes or {}), {"inner_steps": inner_steps})
        return build(self.cls, settings, self.where, RULES)


def meta_of(method: Method, model: Model, tasks: int) -> Params:
    """Meta-parameters [T, ...] in float64, different for every task."""
    own = parameters(model, tasks)
    meta = method.meta_parameters({name: p.double() for name, p in model.initial(0).items()})
    return {
        name: own[name] if name in own else p.double() * (1 + EXTRA_SPREAD * gaussian(i, tasks, *p.shape))
        for i, (name, p) in enumerate(meta.items())
    }


def adapt(method: Method, tasks: TaskObjectives, meta: Params, *, seed: int = 0) -> Params:
    """What `adapt` returns, checked. Raises WrongReturn and NotFinite."""
    with seeded(seed):
        phi = method.adapt(fresh(tasks).support, copy_of(meta))
    names = tasks.model.initial(0)
    check_returned(phi, {n: meta[n][0] for n in names}, len(tasks.batch), "adapt", method)
    check_finite(phi, "adapt", method)
    return trees.detach(phi)


def meta_gradient(method: Method, tasks: TaskObjectives, meta: Params, *, seed: int = 0) -> Params:
    """What `meta_gradient` returns, checked. Raises WrongReturn and NotFinite."""
    with seeded(seed):
        gradient = method.meta_gradient(fresh(tasks), copy_of(meta))
    check_returned(gradient, {n: p[0] for n, p in meta.items()}, len(tasks.batch), "meta_gradient", method)
    check_finite(gradient, "meta_gradient", method)
    return trees.detach(gradient)


def check_finite(result: Params, call: str, method: Method) -> None:
    """Raise NotFinite naming the first parameter that holds NaN or infinity."""
    for name, p in result.items():
        if not bool(torch.isfinite(p).all()):
            bad = "NaN" if bool(torch.isnan(p).any()) else "an infinity"
            raise NotFinite(f"{call} returned {bad} in '{name}' at {method.inner_steps} inner steps")


def fresh(tasks: TaskObjectives) -> TaskObjectives:
    """The same tasks on copies of their tensors."""
    support, query = (
        Shots(shots.inputs.clone(), shots.targets.clone())
        for shots in (tasks.batch.support, tasks.batch.query)
    )
    return TaskObjectives(
        replace(tasks.support, shots=support),
        replace(tasks.query, shots=query, reference=support),
        tasks.model,
        replace(tasks.batch, support=support, query=query),
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of torch, numpy and Python begin at `seed` inside, and are as before after."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
