"""Fits of `a + b * x^p` to values with noise of a known size, some of them known only to exceed a bound.

For each p the law is linear in a and b, so a fit is the best of the lines over a grid of exponents, and an
interval is all that a bound on the deviance (-2 log likelihood) leaves possible. A censored value enters the
likelihood as the probability of exceeding its bound: it is neither dropped nor made up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

SPACING = 0.02
EXPONENTS = np.append(1e-4, SPACING * np.arange(1, 201))  # from the logarithm, but for rounding, to k^4
ZOOMS = 6  # each is ten times as fine around the best exponent: in the end 1e-8
NEWTON_STEPS = 60
FAR = -50.0  # standard deviations below a bound, where the normal tail's asymptote is exact to rounding
EVEN = 1e-14  # of a matrix's trace, put on its diagonal: two equal columns must not stop a whole grid


@dataclass(frozen=True)
class Values:
    """What a law is fitted to. `y` is a value or, where `exceeded`, what it exceeds; `sigma` is its noise."""

    x: np.ndarray
    y: np.ndarray
    sigma: np.ndarray
    exceeded: np.ndarray  # bool

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest x of a known value."""
        known = self.x[~self.exceeded]
        return float(known.min()), float(known.max())


@dataclass(frozen=True)
class Lines:
    """Of each exponent the best line in x^p scaled to run from 0 to 1 between the ends."""

    p: np.ndarray
    start: np.ndarray
    rise: np.ndarray
    deviance: np.ndarray
    covariance: np.ndarray  # [len(p), 2, 2], of start and rise


@dataclass(frozen=True)
class PowerFit:
    """The best law and, of each of its numbers, all that the noise leaves possible."""

    p: float
    p_low: float  # 0 where nothing bounds it from below
    p_high: float  # infinite where nothing bounds it from above
    a: float
    a_low: float
    a_high: float
    b: float
    b_low: float
    b_high: float
    deviance: float

    def at(self, x: float) -> float:
        return float(self.a + self.b * x**self.p)

    def allows(self, p: float) -> bool:
        return self.p_low <= p <= self.p_high


def fit_power(
    values: Values, possible: Callable[[float], float], *, exponent: float | None = None
) -> PowerFit:
    """The best law, of this exponent where one is given.

    `possible` takes the best deviance to the largest that a law may have: what is above is outside the
    intervals.
    """
    if exponent is not None:
        best, i = fit_lines(values, np.array([exponent])), 0
        low = high = exponent
    else:
        lines = fit_lines(values, EXPONENTS)
        best, i = _zoom_in(values, lines)
        limit = possible(float(best.deviance[i]))
        inside = np.append(EXPONENTS[lines.deviance <= limit], best.p[i])
        low = _where_it_ends(values, float(inside.min()), -1, limit)
        high = _where_it_ends(values, float(inside.max()), 1, limit)
    return _with_intervals(values, best, i, (low, high), possible(float(best.deviance[i])))


def least_deviance(values: Values) -> float:
    """That of the best law of any exponent: `fit_power` without its intervals."""
    best, i = _zoom_in(values, fit_lines(values, EXPONENTS))
    return float(best.deviance[i])


def fit_level(values: Values) -> float:
    """The deviance of the best constant."""
    design = np.ones((1, len(values.y), 1)) / values.sigma[None, :, None]
    _, deviance, _ = _minimise(design, values.y / values.sigma, ~values.exceeded)
    return float(deviance[0])


def fit_lines(values: Values, p: np.ndarray) -> Lines:
    """The best line for each of these exponents."""
    low, high = (end**p for end in values.ends)
    scaled = (values.x[None, :] ** p[:, None] - low[:, None]) / (high - low)[:, None]
    design = np.stack([np.ones_like(scaled), scaled], axis=2) / values.sigma[None, :, None]
    theta, deviance, hessian = _minimise(design, values.y / values.sigma, ~values.exceeded)
    return Lines(p, theta[:, 0], theta[:, 1], deviance, np.linalg.inv(_regular(hessian)))


def _minimise(
    design: np.ndarray, target: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares [g, n, k] with censored rows, by Newton's method: the likelihood is log-concave."""
    rows = design[:, known]
    hessian = np.einsum("gni,gnj->gij", rows, rows)
    theta = _solve(hessian, np.einsum("gni,n->gi", rows, target[known]))
    deviance = _deviance(design, target, known, theta)
    if known.all():
        return theta, deviance, hessian
    for _ in range(NEWTON_STEPS):
        gradient, hessian = _derivatives(design, target, known, theta)
        step = _solve(hessian, gradient)
        best, moved = deviance, theta
        for length in (1.0, 0.5, 0.1, 0.01):
            trial = theta - length * step
            found = _deviance(design, target, known, trial)
            better = found < best
            best, moved = np.where(better, found, best), np.where(better[:, None], trial, moved)
        settled = bool((deviance - best <= 1e-9 * (1 + best)).all())
        theta, deviance = moved, best
        if settled:
            break
    return theta, deviance, hessian


def _deviance(design: np.ndarray, target: np.ndarray, known: np.ndarray, theta: np.ndarray) -> np.ndarray:
    away = np.einsum("gni,gi->gn", design, theta) - target
    return (away[:, known] ** 2).sum(1) - 2 * log_ndtr(away[:, ~known]).sum(1)


def _derivatives(
    design: np.ndarray, target: np.ndarray, known: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and second, of half the deviance."""
    slope = np.einsum("gni,gi->gn", design, theta) - target
    curve = np.ones_like(slope)
    z = slope[:, ~known]
    near = np.maximum(z, FAR)
    mills = np.exp(-0.5 * near**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(near))
    slope[:, ~known] = np.where(z < FAR, z, -mills)
    curve[:, ~known] = np.where(z < FAR, 1.0, mills * (near + mills))
    gradient = np.einsum("gni,gn->gi", design, slope)
    return gradient, np.einsum("gni,gn,gnj->gij", design, curve, design)


def _regular(matrix: np.ndarray) -> np.ndarray:
    trace = np.trace(matrix, axis1=1, axis2=2)[:, None, None]
    return matrix + EVEN * trace * np.eye(matrix.shape[-1])


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(_regular(matrix), right[..., None])[..., 0]


def _zoom_in(values: Values, lines: Lines) -> tuple[Lines, int]:
    """The lines of ever finer grids around the best exponent, and which is the best."""
    best, i = lines, int(np.argmin(lines.deviance))
    width = SPACING
    for _ in range(ZOOMS):
        near = np.clip(best.p[i] + np.linspace(-width, width, 21), EXPONENTS[0], EXPONENTS[-1])
        best = fit_lines(values, near)
        i, width = int(np.argmin(best.deviance)), width / 10
    return best, i


def _where_it_ends(values: Values, inside: float, direction: int, limit: float) -> float:
    """The exponent beyond `inside` at which the deviance crosses the limit."""
    last = float(EXPONENTS[0] if direction < 0 else EXPONENTS[-1])
    outside = inside + direction * SPACING
    if (outside - last) * direction >= 0:
        outside = last
        if fit_lines(values, np.array([last])).deviance[0] <= limit:
            return 0.0 if direction < 0 else float("inf")
    for _ in range(6):  # each finds the tenth in which it lies
        between = np.linspace(inside, outside, 11)
        over = fit_lines(values, between).deviance > limit
        over[0], over[-1] = False, True
        k = int(np.argmax(over))
        inside, outside = float(between[k - 1]), float(between[k])
    return inside


def _with_intervals(values: Values, best: Lines, i: int, ends: tuple[float, float], limit: float) -> PowerFit:
    """a and b of the best line, and the least and largest of all lines between the ends that are possible."""
    low, high = max(ends[0], EXPONENTS[0]), min(ends[1], EXPONENTS[-1])
    p = np.unique([*np.linspace(low, high, 41), best.p[i]])
    lines = fit_lines(values, p)
    first, last = (end**p for end in values.ends)
    b = lines.rise / (last - first)
    a = lines.start - b * first
    left = np.sqrt(np.maximum(limit - lines.deviance, 0))
    of_start, of_both, of_rise = (lines.covariance[:, r, c] for r, c in ((0, 0), (0, 1), (1, 1)))
    share = first / (last - first)
    half_a = left * np.sqrt(np.maximum(of_start - 2 * share * of_both + share**2 * of_rise, 0))
    half_b = left * np.sqrt(of_rise) / (last - first)
    chosen = int(np.argmin(np.abs(p - best.p[i])))
    return PowerFit(
        p=float(best.p[i]),
        p_low=ends[0],
        p_high=ends[1],
        a=float(a[chosen]),
        a_low=float((a - half_a).min()),
        a_high=float((a + half_a).max()),
        b=float(b[chosen]),
        b_low=float((b - half_b).min()),
        b_high=float((b + half_b).max()),
        deviance=float(best.deviance[i]),
    )
