"""Two ways to one product with a Hessian, H v, of which nothing outlives the call.

`Objective.hessian` keeps its graph for many products at one point; these serve one product at each of many.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch.autograd import forward_ad

from harness.core import trees
from harness.core.objective import Objective
from harness.core.trees import Params
from harness.core.work import count

Product = Literal["reverse-over-reverse", "forward-over-reverse"]


def reverse_over_reverse(objective: Objective, params: Params, v: Params) -> Params:
    """H v of every task: a backward pass through the graph of the gradient, freed as it is walked."""
    leaves = trees.leaves(params)
    gradient = objective.gradient(leaves, graph=True)
    # An entry that depends on no parameter has no graph, and its rows of H are zero.
    curved = [name for name, g in gradient.items() if g.requires_grad]
    if not curved:
        return trees.combine(torch.zeros_like, params)
    products = torch.autograd.grad(
        [gradient.pop(name) for name in curved],
        list(leaves.values()),
        [v[name] for name in curved],
        materialize_grads=True,
    )
    return dict(zip(leaves, products, strict=True))


def forward_over_reverse(objective: Objective, params: Params, v: Params) -> Params:
    """H v of every task: the derivative of the gradient along v, carried beside it in dual numbers.

    Raises NotImplementedError, with the remedy, for a model with an operator that torch cannot push forward.
    """
    count(hessian_products=1)
    # Tasks that share a theta share its storage, which a dual number of theirs cannot.
    leaves = trees.leaves(trees.combine(torch.Tensor.contiguous, params))
    # torch pushes batch norm's backward pass forward through TorchScript, of which it warns for its own sake.
    with forward_ad.dual_level(), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")  # its category changes between releases
        duals = {name: forward_ad.make_dual(leaves[name], v[name]) for name in leaves}
        try:
            gradient = torch.autograd.grad(
                objective.loss(duals).sum(), list(duals.values()), materialize_grads=True
            )
        except NotImplementedError as failure:
            reason = str(failure).partition("\n")[0].rstrip(".")
            raise NotImplementedError(
                f"set product = 'reverse-over-reverse': torch cannot push this model forward ({reason})"
            ) from failure
        tangents = [forward_ad.unpack_dual(g).tangent for g in gradient]
    # No tangent: the entry does not depend on the parameters.
    return {
        name: torch.zeros_like(leaves[name]) if tangent is None else tangent.detach()
        for name, tangent in zip(leaves, tangents, strict=True)
    }


PRODUCTS: dict[Product, Callable[[Objective, Params, Params], Params]] = {
    "reverse-over-reverse": reverse_over_reverse,
    "forward-over-reverse": forward_over_reverse,
}
