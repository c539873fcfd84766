"""The harness's own models. They batch tasks natively: every layer takes a task axis.

Grouped convolutions, one batch norm over T x C channels and a batched linear layer keep what a loop over
tasks keeps for the backward pass, no more; `vmap` keeps half as much again (DESIGN, section 3).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core.model import Model
from harness.core.seeds import generator
from harness.core.trees import Params

Norm = Literal["batch-stats", "support-stats", "none"]
Down = Literal["stride", "max-pool"]
Activation = Literal["relu", "tanh", "softplus"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
}
BLOCKS = 4
BATCH_NORM_EPS = 1e-5


def xavier_uniform(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Glorot and Bengio's uniform initialisation of a weight [out, in, ...], keyed by `seed, name`."""
    receptive = math.prod(shape[2:])
    bound = math.sqrt(6 / ((shape[0] + shape[1]) * receptive))
    return torch.from_numpy(generator("initial", seed, name).uniform(-bound, bound, shape)).float()


class Conv4(Model):
    """The 4-layer convolutional network of MAML and its successors (Finn et al. 2017, after Vinyals 2016).

    Four blocks of 3x3 convolution, batch norm and activation, each halving the image by its stride or by
    max-pooling, then a linear head on the flattened features.

    Inputs [T, n, channels, size, size]; outputs logits [T, n, ways].
    """

    head_names = ("head.weight", "head.bias")

    def __init__(
        self,
        *,
        ways: int,
        filters: int = 64,
        channels: int = 1,
        size: int = 28,
        down: Down = "stride",
        norm: Norm = "batch-stats",
        activation: Activation = "relu",
    ) -> None:
        self.ways = ways
        self.filters = filters
        self.channels = channels
        self.down = down
        self.norm = norm
        self.activation = ACTIVATIONS[activation]
        for _ in range(BLOCKS):
            size = (size + 1) // 2 if down == "stride" else size // 2
        self.features = filters * size * size

    def initial(self, seed: int) -> Params:
        params: Params = {}
        width = self.channels
        for i in range(BLOCKS):
            shape = (self.filters, width, 3, 3)
            params[f"conv{i}.weight"] = xavier_uniform(seed, f"conv{i}.weight", shape)
            params[f"conv{i}.bias"] = torch.zeros(self.filters)
            if self.norm != "none":
                params[f"norm{i}.weight"] = torch.ones(self.filters)
                params[f"norm{i}.bias"] = torch.zeros(self.filters)
            width = self.filters
        params["head.weight"] = xavier_uniform(seed, "head.weight", (self.ways, self.features))
        params["head.bias"] = torch.zeros(self.ways)
        return params

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        tasks, examples = inputs.shape[:2]
        # Under support-stats the reference images travel first in the same batch.
        first = 0
        if self.norm == "support-stats" and reference is not None:
            first = reference.shape[1]
            inputs = torch.cat([reference, inputs], 1)
        # [T, n, C, h, w] -> [n, T*C, h, w]: one group of channels a task.
        x = inputs.transpose(0, 1).flatten(1, 2)
        for i in range(BLOCKS):
            x = F.conv2d(
                x,
                params[f"conv{i}.weight"].flatten(0, 1),
                params[f"conv{i}.bias"].flatten(),
                stride=2 if self.down == "stride" else 1,
                padding=1,
                groups=tasks,
            )
            if self.norm != "none":
                x = normalise(
                    x, params[f"norm{i}.weight"].flatten(), params[f"norm{i}.bias"].flatten(), first
                )
            x = self.activation(x)
            if self.down == "max-pool":
                x = F.max_pool2d(x, 2)
        x = x[first:].view(examples, tasks, self.features).transpose(0, 1)
        return torch.baddbmm(params["head.bias"].unsqueeze(1), x, params["head.weight"].transpose(1, 2))


def normalise(x: Tensor, weight: Tensor, bias: Tensor, first: int) -> Tensor:
    """Batch norm of [n, C, h, w] by its own statistics or, if `first` > 0, by those of its first rows."""
    if first == 0:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=BATCH_NORM_EPS)
    variance, mean = torch.var_mean(x[:first], (0, 2, 3), correction=0, keepdim=True)
    shape = (1, -1, 1, 1)
    return (x - mean) * torch.rsqrt(variance + BATCH_NORM_EPS) * weight.view(shape) + bias.view(shape)


class MLP(Model):
    """A fully connected network. Inputs [T, n, widths[0]]; outputs [T, n, widths[-1]].

    One width pair and no hidden layer make it the linear model.
    """

    def __init__(
        self, *, widths: tuple[int, ...], activation: Activation = "relu", bias: bool = True
    ) -> None:
        self.widths = widths
        self.bias = bias
        self.activation = ACTIVATIONS[activation]
        self.layers = len(widths) - 1
        last = self.layers - 1
        self.head_names = (f"layer{last}.weight", f"layer{last}.bias")[: 2 if bias else 1]

    def initial(self, seed: int) -> Params:
        params: Params = {}
        for i, (inputs, outputs) in enumerate(pairwise(self.widths)):
            name = f"layer{i}.weight"
            params[name] = xavier_uniform(seed, name, (outputs, inputs))
            if self.bias:
                params[f"layer{i}.bias"] = torch.zeros(outputs)
        return params

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        x = inputs
        for i in range(self.layers):
            weight = params[f"layer{i}.weight"].transpose(1, 2)
            if self.bias:
                x = torch.baddbmm(params[f"layer{i}.bias"].unsqueeze(1), x, weight)
            else:
                x = torch.bmm(x, weight)
            if i < self.layers - 1:
                x = self.activation(x)
        return x
