"""What a method asks of its objectives, counted: the unit in which the field states computational cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Work:
    """Evaluations, each times the tasks that it was made for at once (1 where nobody said, see `begin`).

    gradients: of a loss, by whatever call; gradient_examples: of how many examples those losses are.
    hessian_products: v -> H v, also those that a backward pass through an unrolled loop makes, one for each
    gradient whose graph was kept. losses: no derivative.
    library_calls: of the model by another library, of which nobody knows what it differentiates.
    tasks: those of all chunks.
    """

    gradients: int = 0
    gradient_examples: int = 0
    hessian_products: int = 0
    losses: int = 0
    library_calls: int = 0
    tasks: int = 0


_work: Work | None = None
_tasks = 1


@contextmanager
def counting() -> Iterator[Work]:
    """Count what objectives are asked for inside the block."""
    global _work, _tasks
    before, _work, _tasks = _work, Work(), 1
    try:
        yield _work
    finally:
        _work, _tasks = before, 1


def begin(tasks: int) -> None:
    """A chunk of so many tasks begins. Where tasks end by themselves, it works as long as its slowest."""
    global _tasks
    _tasks = tasks
    if _work is not None:
        _work.tasks += tasks


def count(
    *,
    gradients: int = 0,
    examples: int = 0,
    hessian_products: int = 0,
    losses: int = 0,
    library_calls: int = 0,
) -> None:
    """Add to the count that is being taken, if any is. `examples`: those of each of the gradients."""
    if _work is not None:
        _work.gradients += _tasks * gradients
        _work.gradient_examples += _tasks * gradients * examples
        _work.hessian_products += _tasks * hessian_products
        _work.losses += _tasks * losses
        _work.library_calls += _tasks * library_calls
