"""Forward passes in fewer bits than float32."""

import torch
from torch import Tensor

from harness.core.model import Model
from harness.core.trees import Params


class Reduced(Model):
    """A model whose forward pass torch's autocast computes in `dtype` where it holds that to be safe.

    Parameters, outputs, losses and gradients by the parameters are float32, as in the model itself; what lies
    between may be `dtype`, and a backward pass computes in what the forward pass left. Casts are not cached:
    no memory stays from one pass to the next.
    """

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        self.model = model
        self.dtype = dtype
        self.head_names = model.head_names
        self.batching = model.batching

    def initial(self, seed: int) -> Params:
        return self.model.initial(seed)

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        with torch.autocast(inputs.device.type, self.dtype, cache_enabled=False):
            return self.model.forward(params, inputs, reference).float()
