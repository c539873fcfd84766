"""One meta-step: the mean meta-gradient of a meta-batch, then the outer rule."""

import copy
from typing import Any

import torch
from torch import Tensor

from harness.core import phases, trees, work
from harness.core.episodes import TaskBatch
from harness.core.method import Method
from harness.core.model import Model
from harness.core.objective import Execution, LossFunction, task_objectives
from harness.core.trees import Params
from harness.training.returned import check_returned


class Diverged(Exception):
    """A value that is no longer finite: the point's status, not an error."""


class MetaLearner:
    """Meta-parameters, the outer rule's state, and the step that changes both.

    Every measure steps through here, so that all of them speak of the same meta-step.
    """

    def __init__(
        self,
        method: Method,
        model: Model,
        loss_function: LossFunction,
        *,
        seed: int,
        device: torch.device,
        total_steps: int,
        task_chunk: int | None = None,
        execution: Execution = "vectorized",
    ) -> None:
        self.method = method
        self.model = model
        self.loss_function = loss_function
        self.task_chunk = task_chunk
        self.execution = execution
        self._checked = False
        initial = method.meta_parameters(model.initial(seed))
        # A copy: an initial tensor may be a view, and the outer rule writes in place.
        self.meta: Params = {n: p.to(device, copy=True) for n, p in initial.items()}
        self.optimiser = method.outer.optimiser(list(self.meta.values()))
        self.schedule = method.outer.schedule(self.optimiser, total_steps)

    def step(self, batch: TaskBatch) -> None:
        """One meta-step: the mean meta-gradient over `batch`, chunk by chunk, then the outer rule."""
        mean: Params | None = None
        phases.begin()
        for chunk in batch.chunks(self.task_chunk or len(batch)):
            work.begin(len(chunk))
            tasks = task_objectives(chunk, self.model, self.loss_function, execution=self.execution)
            gradient = self.method.meta_gradient(tasks, trees.repeat_for_tasks(self.meta, len(chunk)))
            if not self._checked:  # once, so that no timed step pays for it
                check_returned(gradient, self.meta, len(chunk), "meta_gradient", self.method)
                self._checked = True
            with phases.phase("outer update"):
                share = len(chunk) / len(batch)
                part = {name: gradient[name].mean(0) for name in self.meta}
                if share < 1:
                    part = trees.scale(share, part) if mean is None else trees.axpy(share, part, mean)
                mean = part
            del gradient, part, tasks
            phases.begin()  # of the next chunk
        assert mean is not None, "a meta-batch has at least one task"
        with phases.phase("outer update"):
            self._update(mean)
        if self.schedule is not None:
            self.schedule.step()

    def prime(self) -> None:
        """Give the outer rule the state that it keeps between meta-steps, without a meta-step.

        An update by a zero gradient: the meta-parameters stay as they are.
        """
        self._update({name: torch.zeros_like(p) for name, p in self.meta.items()})

    def _update(self, mean: Params) -> None:
        for name, p in self.meta.items():
            p.grad = mean[name]
        self.optimiser.step()
        for p in self.meta.values():
            p.grad = None

    def check_finite(self, when: str) -> None:
        """Raise Diverged if a meta-parameter is no longer finite."""
        if not all(bool(torch.isfinite(p).all()) for p in self.meta.values()):
            raise Diverged(f"the meta-parameters are not finite after {when}")

    def state_tensors(self) -> list[Tensor]:
        """Meta-parameters and the outer rule's tensors: what stays between meta-steps."""
        state = [
            value
            for each in self.optimiser.state.values()
            for value in each.values()
            if isinstance(value, Tensor)
        ]
        return [*self.meta.values(), *state]

    def state(self) -> dict[str, Any]:
        """A copy of all that a meta-step changes: meta-parameters, the outer rule's state, its schedule."""
        schedule = None if self.schedule is None else self.schedule.state_dict()
        return copy.deepcopy(
            {"meta": self.meta, "optimiser": self.optimiser.state_dict(), "schedule": schedule}
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken, of a learner like this one."""
        for name, p in self.meta.items():
            p.copy_(state["meta"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
