"""Checks of settings: a number that makes no sense is refused before anything runs."""

import math


def require_positive(owner: object, *names: str) -> None:
    """Raise ValueError unless each of these settings is a finite number above 0."""
    for name in names:
        value = getattr(owner, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be above 0, not {value}")


def require_at_least(owner: object, bound: int, *names: str) -> None:
    """Raise ValueError unless each of these settings is `bound` or more."""
    for name in names:
        if getattr(owner, name) < bound:
            raise ValueError(f"{name} must be at least {bound}, not {getattr(owner, name)}")
