"""What an inner step is: where steps are no common axis."""

NEWTON_METHODS = frozenset({"imaml-hf"})
"""An inner step of theirs is a Newton step, which costs several gradients and products: said wherever steps
are an axis, and held against no other method's."""
