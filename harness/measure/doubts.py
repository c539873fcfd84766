"""Warnings that come with the numbers of any measure that sees a method's linear solver at work."""

from collections.abc import Iterator

from harness.core.record import Records
from harness.protocol import Reading

UNSOLVED = 1.0  # relative residual of the zero vector
OFTEN = 0.1  # share of solves


def doubts(records: Records) -> Iterator[Reading]:
    """Warnings where a method's linear solver did not do what its name says."""
    found = []
    residual, curved = records.average("solver_residual"), records.average("solver_negative_curvature")
    if residual > UNSOLVED:
        found.append(
            f"the linear solver left a mean relative residual of {residual:.2g}, where 1 is no solution at "
            "all: raise cg_steps or lam before taking this for an implicit gradient"
        )
    if curved > OFTEN:
        found.append(
            f"{curved:.0%} of the linear solves met negative curvature and stopped there: I + H/lam is not "
            "positive definite, raise lam"
        )
    too_long = records.average("solver_diverged") - curved  # negative curvature makes a series diverge too
    if too_long > OFTEN:
        found.append(
            f"{too_long:.0%} of the linear solves diverged and stopped there: the step of the series is too "
            "long for I + H/lam, lower step_size or inner_lr"
        )
    for repeat, detail in enumerate(found):
        yield Reading(0, "flag", None, "", repeat=repeat, detail=detail)
