"""The switch that makes every `adapt` differentiable, for oracles that need the derivative of its result."""

from collections.abc import Iterator
from contextlib import contextmanager

_kept = False


@contextmanager
def differentiable() -> Iterator[None]:
    """Inside, what a method computes through objectives and `trees` stays connected to what it was given.

    `trees.detach` and `trees.leaves` cut nothing off, gradients and Hessian products can be differentiated
    again: `adapt` then returns phi as a function of the meta-parameters. A method that cuts its graph by
    other means (its own `detach`, `no_grad`) is not made differentiable: who relies on it must look.
    """
    global _kept
    before, _kept = _kept, True
    try:
        yield
    finally:
        _kept = before


def is_kept() -> bool:
    """Whether graphs are kept now."""
    return _kept
