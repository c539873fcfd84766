"""The difference of two means that were measured apart, and whose spreads need not be equal."""

import numpy as np
from scipy.special import stdtrit

from harness.analyze.intervals import LEVEL, Interval, two_sided_p


def difference_of_means(
    first: tuple[np.ndarray, np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Interval:
    """Of the second mean less the first; each side is its means, their standard errors, and of how many
    independent values they are. NaN where a side has a single one.

    Welch's t interval with Satterthwaite's degrees of freedom: a busy machine widens one side only.
    """
    squares = [np.asarray(error, float) ** 2 for _, error, _ in (first, second)]
    free = [np.where(np.asarray(count) > 1, np.asarray(count, float) - 1, np.nan)
            for _, _, count in (first, second)]  # fmt: skip
    total = squares[0] + squares[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (squares[0] ** 2 / free[0] + squares[1] ** 2 / free[1])
    freedom = np.where(total == 0, free[0] + free[1], freedom)  # nothing scatters
    error = np.sqrt(total)
    half = stdtrit(freedom, (1 + LEVEL) / 2) * error
    difference = np.asarray(second[0], float) - np.asarray(first[0], float)
    return Interval(low=difference - half, high=difference + half, p=two_sided_p(difference, error, freedom))
