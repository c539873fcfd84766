"""What an inner step is: where steps are no common axis."""

import pandas as pd

NEWTON_METHODS = frozenset({"imaml-hf"})
"""An inner step of theirs is a Newton step, which costs several gradients and products: said wherever steps
are an axis, and held against no other method's."""


def on_one_axis(points: pd.DataFrame) -> pd.DataFrame:
    """Those that equal inner steps make equal: without Newton methods, unless there is no other."""
    newton = points.method.isin(NEWTON_METHODS)
    return points if newton.all() else points[~newton]


def share_an_axis(first: str, second: str) -> bool:
    """Whether equal inner steps make these two methods equal."""
    return (first in NEWTON_METHODS) == (second in NEWTON_METHODS)
