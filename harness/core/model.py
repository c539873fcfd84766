"""What a workload's model owes the harness: a pure function of its parameters, for T tasks at once."""

from abc import ABC, abstractmethod
from operator import attrgetter

import torch
from torch import Tensor, nn

from harness.core.trees import Params
from harness.core.work import count


class Model(ABC):
    """A network without state: parameters in, outputs out."""

    head_names: tuple[str, ...] = ()
    """Parameters of the last layer (what ANIL adapts)."""

    batching: str = "native"
    """How T tasks are one call: "native" (the model's own layers batch them) or "vmap"."""

    @abstractmethod
    def initial(self, seed: int) -> Params:
        """Initial meta-parameters, float32 on the CPU, without a task axis; a pure function of `seed`."""

    @abstractmethod
    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        """Outputs [T, n, out] for `inputs` [T, n, ...] under `params` [T, ...].

        `reference` [T, m, ...] are other inputs whose statistics normalise these (batch-norm mode
        `support-stats`); gradients pass through them. Models without such a mode ignore it.
        """


class ModuleModel(Model):
    """Any `nn.Module` without buffers, batched over tasks by `torch.func.vmap`.

    Correct for every module, but `vmap` breaks fused layers such as batch norm into pieces that autograd
    keeps: for conv4 it takes half as much memory again per inner step as `workloads.models.Conv4`.
    """

    batching = "vmap"

    def __init__(self, module: nn.Module, head_names: tuple[str, ...] = ()) -> None:
        if any(True for _ in module.buffers()):
            raise ValueError(
                "a module with buffers keeps state between calls; set track_running_stats=False in its norms"
            )
        self.module = module.to("cpu", torch.float32)
        self.head_names = head_names

    def initial(self, seed: int) -> Params:
        """The module's own reset, under a forked generator seeded with `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for part in self.module.modules():
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
        return {name: p.detach().clone() for name, p in self.module.named_parameters()}

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        def one(own: Params, x: Tensor) -> Tensor:
            return torch.func.functional_call(self.module, own, (x,))

        return torch.func.vmap(one)(params, inputs)


class Layer(nn.Module):
    """The parameters that share a prefix. A class of its own: `higher` patches no bare `nn.Module`."""


class TaskModule(nn.Module):
    """One task's parameters and their model as an `nn.Module`, for libraries that want one.

    `params` [1, ...] become `nn.Parameter`s of the same names, `conv0.weight` that of a submodule `conv0`.
    They share the tensors' memory: a library that writes in place writes into what it was given.
    """

    def __init__(self, model: Model, params: Params) -> None:
        super().__init__()
        self._model = model
        self._names = tuple(params)
        for name, p in params.items():
            path, _, own = name.rpartition(".")
            holder: nn.Module = self
            for part in filter(None, path.split(".")):
                if part not in holder._modules:
                    holder.add_module(part, Layer())
                holder = holder.get_submodule(part)
            holder.register_parameter(own, nn.Parameter(p.detach().squeeze(0)))

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """Outputs [n, out] of one task for its inputs [n, ...]; `reference` [m, ...] is `Model.forward`'s."""
        count(library_calls=1)
        # Looked up as attributes: that is where libraries put the tensors that take the parameters' place.
        params = {name: attrgetter(name)(self).unsqueeze(0) for name in self._names}
        return self._model.forward(
            params, x.unsqueeze(0), None if reference is None else reference.unsqueeze(0)
        )[0]
