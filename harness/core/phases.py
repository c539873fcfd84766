"""The parts of a meta-step, so that a memory instrument can tell in which of them the peak lies.

Objectives mark their own evaluations, so an adapter need not: what the harness sees of the support set is the
inner loop, a backward pass that no objective asked for is the backward pass through the loop. A method whose
parts have other names says so, `with phase("solve"):`, and the outermost mark holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Phase = Literal["inner loop", "query", "backward", "solve", "outer update"]

NO_BACKWARD = -1  # torch's number of the backward pass at work where there is none

# Private to torch: without it a backward pass counts to the part before it, and no number changes.
_backward_pass = getattr(torch._C, "_current_graph_task_id", lambda: NO_BACKWARD)

# Not a context variable: autograd runs a GPU's backward pass in threads of its own, which must see the mark.
_phase: Phase = "inner loop"
_depth = 0


def begin() -> None:
    """A meta-step begins, in its inner loop."""
    global _phase, _depth
    _phase, _depth = "inner loop", 0


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """What runs inside belongs to `name`, and so does what follows until something else is marked."""
    global _phase, _depth
    if not _depth:
        _phase = name
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def current() -> Phase:
    """The part at work."""
    return "backward" if not _depth and _backward_pass() != NO_BACKWARD else _phase
