"""Checks of settings: a number that makes no sense is refused before anything runs."""

import math


def require_positive(owner: object, *names: str) -> None:
    """Raise ValueError unless each of these settings is a finite number above 0."""
    for name in names:
        value = getattr(owner, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be above 0, not {value}")


def require_at_least(owner: object, bound: int, *names: str) -> None:
    """Raise ValueError unless each of these settings is a finite number of `bound` or more."""
    for name in names:
        value = getattr(owner, name)
        if not (math.isfinite(value) and value >= bound):
            raise ValueError(f"{name} must be at least {bound}, not {value}")


def require_fraction(owner: object, *names: str) -> None:
    """Raise ValueError unless each of these settings lies in [0, 1), as momenta do."""
    for name in names:
        if not 0 <= getattr(owner, name) < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(owner, name)}")
