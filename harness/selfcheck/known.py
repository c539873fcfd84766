"""How many bytes unrolled MAML keeps for each inner step, counted from shapes alone.

No tensor is looked at here: what the tracker and the allocators read is held against these counts. They are
derivations, term by term, from what the derivative of a gradient step needs again. The first layers of both
networks show why the terms do not simply run over all layers.

Words: T tasks of n examples; phi_k, the parameters of inner step k; W_l and b_l, the weights and biases of
layer l = 1..L in phi_k; z_l, its outputs before and h_l after the activation s; g_l = dL/dh_l and
d_l = dL/dz_l, the loss's derivatives by them. The inner step is

    forward     z_l = W_l h_{l-1} + b_l,   h_l = s(z_l),   z_L the outputs,
    backward    d_L from the loss,   g_l = W_{l+1}' d_{l+1},   d_l = g_l s'(z_l),   dL/dW_l = d_l h_{l-1}',
    update      phi_{k+1} = phi_k - alpha dL/dphi_k.

The backward pass through the loop differentiates every product among these, for which it needs the other
factor. The update is linear in both of its terms, and so is adding a bias: neither keeps anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Keeps:
    """Which tensors of the size of its output an activation needs again besides that output.

    before: z, because s' is a function of it rather than of the output. gradient: g, the factor of s''; a
    piecewise linear activation has no s''.
    """

    before: bool
    gradient: bool


ACTIVATIONS = {
    "relu": Keeps(before=False, gradient=False),
    "tanh": Keeps(before=False, gradient=True),
    "softplus": Keeps(before=True, gradient=True),
}


def kept_by_mlp_step(widths: Sequence[int], activation: str, examples: int, tasks: int) -> list[int]:
    """Bytes of each tensor that an inner step of MAML keeps: an MLP under the mean squared error.

    With L layers, widths w_0..w_L, with or without biases:

    h_l, l < L      T n w_l      for dL/dW_{l+1}, and for s' where s' is a function of the output
    z_l, l < L      T n w_l      softplus only: there s' is a function of z
    g_l, l < L      T n w_l      the factor of s''; not with relu, whose s'' is 0
    d_l, l > 1      T n w_l      the factor of W_l in g_{l-1}, and of h_{l-1} in dL/dW_l. Not d_1: it meets
                                 only the inputs, of which nothing is differentiated
    e = z_L - y     T n w_L      torch squares by a power, whose derivative 2 e^1 keeps its base
    c = dL/d(e^2)   T n w_L      the factor of 2 e in d_L: 1 / (n w_L) at every entry
    W_l, l > 1      T w_l w_{l-1}  the factor of d_l in g_{l-1}. Not W_1, as nothing lies before it; not b_l
    """
    keeps = ACTIVATIONS[activation]
    hidden, outputs = list(widths[1:-1]), widths[-1]
    rows = [
        *hidden,  # h
        *(hidden if keeps.before else []),  # z
        *(hidden if keeps.gradient else []),  # g
        *widths[2:],  # d
        outputs,  # e
        outputs,  # c
    ]
    weights = [out * into for into, out in pairwise(widths[1:])]
    return [FLOAT * tasks * entries for entries in (*(examples * row for row in rows), *weights)]


def kept_by_conv4_step(
    *, ways: int, filters: int, channels: int, size: int, activation: str, examples: int, tasks: int
) -> list[int]:
    """Bytes of each tensor that an inner step of MAML keeps: a strided conv4 without batch norm, under the
    mean cross-entropy.

    Block i = 1..4 leaves images of a_i = n F s_i^2 entries, s_i = ceil(s_{i-1} / 2); the head takes the last
    ones as F s_4^2 features:

    x               T n C s_0^2  the inputs with the channels of all tasks side by side, for the grouped
                                 convolution: a copy that every step makes. With one task, one example or
                                 one channel it is a view, which keeps nothing of its own
    h_i             T a_i        for the weight gradient of the layer that follows, and for s'
    z_i             T a_i        softplus only
    g_i             T a_i        the factor of s''; not with relu
    d_i             T a_i        i = 1 too: autograd keeps all three of a convolution's tensors (inputs,
                                 weights, d) whichever of them is differentiated
    log p           T n ways     what the softmax's derivative is a function of
    dL/d(log p)     T n ways     the factor of that function
    dL/d(logits)    T n ways     the factor of the head's weights, and of its features
    conv W_i        T F c_i 9    c_1 = C, else F; the first too, see d_i
    head W          T ways F s_4^2
    """
    keeps = ACTIVATIONS[activation]
    sizes = [size]
    for _ in range(4):
        sizes.append((sizes[-1] + 1) // 2)
    images = [filters * s**2 for s in sizes[1:]]
    rows = [
        *([channels * size**2] if min(tasks, examples, channels) > 1 else []),  # x
        *images,  # h
        *(images if keeps.before else []),  # z
        *(images if keeps.gradient else []),  # g
        *images,  # d
        *[ways] * 3,  # log p and the derivatives by it and by the logits
    ]
    shapes = [(filters, channels, 9), *[(filters, filters, 9)] * 3, (ways, images[-1])]
    return [FLOAT * tasks * entries for entries in (*(examples * row for row in rows), *map(prod, shapes))]


def in_blocks(sizes: Sequence[int], block: int) -> int:
    """The bytes of tensors of these sizes from an allocator that hands out whole blocks."""
    return sum(-(-size // block) * block for size in sizes)
