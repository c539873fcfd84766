"""What a method asks of its objectives, counted: the unit in which the field states computational cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Work:
    """Evaluations for every task.

    gradients: of a loss, by whatever call. hessian_products: v -> H v, also those that a backward pass
    through an unrolled loop makes, one for each gradient whose graph was kept. losses: no derivative.
    """

    gradients: int = 0
    hessian_products: int = 0
    losses: int = 0


_work: Work | None = None


@contextmanager
def counting() -> Iterator[Work]:
    """Count what objectives are asked for inside the block; a library's own calls of the model are not."""
    global _work
    before, _work = _work, Work()
    try:
        yield _work
    finally:
        _work = before


def count(*, gradients: int = 0, hessian_products: int = 0, losses: int = 0) -> None:
    """Add to the count that is being taken, if any is."""
    if _work is not None:
        _work.gradients += gradients
        _work.hessian_products += hessian_products
        _work.losses += losses
