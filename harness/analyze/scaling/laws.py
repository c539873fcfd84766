"""How memory and time grow with inner steps: `a + b * steps^p` with intervals, and in words.

Memory is exact but for the allocator's rounding, so its intervals hold all laws within that rounding: no
chance is involved. Time is noisy: its intervals are 95% ones, from the spread of its blocks or, where the law
misses the points by more than that, from what it misses them by. Points that failed are censored (see
`bounds`).

Short loops may peak elsewhere than in the loop. A law of memory is therefore that of the longest stretch that
ends at the largest number of steps, and the words say where it begins.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import fdtri, stdtrit

from harness.analyze.scaling.bounds import exceeded_by
from harness.analyze.scaling.growth import FLAT, NAMED, POINTS_FOR_A_SHAPE, Scaling
from harness.analyze.scaling.noise import Curve, block_minima, curve_of
from harness.analyze.scaling.power import PowerFit, Values, fit_level, fit_power, least_deviance
from harness.analyze.scaling.products import bent_products, products_of
from harness.analyze.scaling.slopes import time_slopes
from harness.analyze.summary import LEVEL, POINT

FLAT_SECONDS = 0.1  # half-width of a change in time, below which "flat" says something
ROUNDING, ROUNDING_BYTES = 2e-4, 4096
"""What memory may lie off a law: relative, and in bytes. The CPU's allocator rounds a tensor by up to 63
bytes, CUDA's by up to 511; a step of a network keeps some dozens."""
POINTS_FOR_AN_EXPONENT = 4  # and three on a curve of some exponent
UNLIKELY_TO_EXCEED = 1.4  # -2 log(1/2): the deviance of a law that passes through a bound
WELL_KNOWN = 0.2  # width of an exponent's interval: a wider one about 0.5 says sublinear, no more
MISFIT = 0.95  # quantile of F: a law that misses the points by more than blocks differ


def scaling_fits(summary: pd.DataFrame, rows: pd.DataFrame | None = None) -> list[Scaling]:
    """One a method and workload, from `memory_summary` or `time_summary`.

    Of time the run's `rows` tell how far its blocks differ; without them the noise is what the law leaves.
    """
    is_memory = "peak_bytes" in summary
    measure, value = ("memory", "peak_bytes") if is_memory else ("time", "minimum")
    slopes = {} if is_memory else {(s.workload, s.method_label): s for s in time_slopes(summary)}
    blocks: dict[tuple[str, str], pd.DataFrame] = {}
    products: dict[tuple[str, str], dict[int, float]] = {}
    if rows is not None and not is_memory:
        products = products_of(rows)
        by_curve = block_minima(rows).groupby(["workload", "method_label"], sort=False)
        blocks = {(str(workload), str(label)): part for (workload, label), part in by_curve}
    found = []
    for (workload, method, label), curve in summary.groupby(POINT[:3], sort=False):
        bare = Scaling(
            measure=measure,
            workload=str(workload),
            method=str(method),
            method_label=str(label),
            shape="unknown",
            steps=tuple(int(step) for step in curve.inner_steps),
            slope=slopes.get((str(workload), str(label))),
            products=bent_products(products.get((str(workload), str(label)), {})),
        )
        measured, missing = curve.dropna(subset=value), curve[curve[value].isna()]
        steps, values = measured.inner_steps.to_numpy(float), measured[value].to_numpy(float)
        bounds = exceeded_by(missing, measure)
        informed = np.isfinite(bounds)
        censored = missing.inner_steps.to_numpy(float)[informed], bounds[informed]
        if is_memory:
            fitted = fit_memory(bare, steps, values, *censored)
        else:
            fitted = fit_time(bare, steps, values, blocks.get((str(workload), str(label))), *censored)
        found.append(_with_failure(fitted, missing, bounds))
    return found


def fit_memory(
    bare: Scaling, steps: np.ndarray, peaks: np.ndarray, late: np.ndarray, bounds: np.ndarray
) -> Scaling:
    """`bare` with the law of these peaks, of which those `late` are known to exceed `bounds`."""
    n = len(steps)
    bare = _over(bare, steps, peaks, 0)
    if n < 2:
        return bare
    for start in range(max(n - POINTS_FOR_A_SHAPE, 0) + 1):
        stretch = _over(bare, steps, peaks, start)
        if _is_flat(peaks[start:]):
            if not (bounds > peaks[start:].max() * (1 + FLAT)).any():
                return replace(stretch, shape="constant", exact=True)
        elif n >= POINTS_FOR_A_SHAPE:
            law = _exact_law(stretch, _rounded(steps[start:], peaks[start:], late, bounds), n - start == n)
            if law is not None:
                return law
    flat = int(np.argmin(np.append(peaks <= (1 + FLAT) * peaks[0], False)))
    level = peaks[:flat].max() * (1 + FLAT)
    if flat >= 2 and (peaks[flat:] > level).all() and (flat < n or (bounds > level).any()):
        start = flat if n - flat > 1 else flat - 1
        return replace(_over(bare, steps, peaks, start), shape="late", flat_until=int(steps[flat - 1]))
    if n < POINTS_FOR_A_SHAPE:
        return _of_two(bare, _rounded(steps, peaks, late, bounds)) if len(late) else bare
    return _by_residuals(replace(bare, shape="uneven"), _rounded(steps, peaks, late, bounds))


def _exact_law(bare: Scaling, values: Values, is_whole: bool) -> Scaling | None:
    """The law that all values lie on to within their rounding, if there is one. Three of them lie on a curve
    of some exponent anyway: where they are not the whole curve, only a named one counts."""
    limit = int((~values.exceeded).sum()) + UNLIKELY_TO_EXCEED * int(values.exceeded.sum())
    fit = fit_power(values, lambda best: limit)
    shape = _shape(fit)
    enough = (~values.exceeded).sum() >= POINTS_FOR_AN_EXPONENT or is_whole or shape in NAMED
    if fit.deviance > limit or not enough:
        return None
    named = fit_power(values, lambda best: limit, exponent=NAMED[shape]) if shape in NAMED else fit
    return replace(_with_law(bare, fit, named, shape), exact=True)


def fit_time(
    bare: Scaling,
    steps: np.ndarray,
    minima: np.ndarray,
    blocks: pd.DataFrame | None,
    late: np.ndarray,
    bounds: np.ndarray,
) -> Scaling:
    """`bare` with the law of these times and their noise. Points `late` are known to exceed `bounds`."""
    bare = _over(bare, steps, minima, 0)
    if bare.slope is not None:
        bare = replace(bare, per_step=bare.slope.seconds_per_step)
    if len(steps) < POINTS_FOR_A_SHAPE:
        return bare
    curve = curve_of(blocks) if blocks is not None and len(blocks) else None
    if curve is None or not curve.freedom or not curve.spread:
        ones = Values(
            np.append(steps, late),
            np.append(minima, bounds),
            np.append(minima, bounds),
            np.arange(len(steps) + len(late)) >= len(steps),
        )
        return _by_residuals(bare, ones)
    sigma = curve.spread * np.append(curve.seconds / np.sqrt(curve.blocks), bounds)
    values = Values(
        np.append(curve.steps, late),
        np.append(curve.seconds, bounds),
        sigma,
        np.arange(len(curve.steps) + len(late)) >= len(curve.steps),
    )
    bare = _with_change(bare, curve)
    freedom = len(steps) - 3
    best = least_deviance(values)
    if freedom > 0 and best / freedom > fdtri(freedom, curve.freedom, MISFIT):
        return _widened(_by_residuals(bare, values), curve.common)
    return _widened(_judge(bare, values, curve.freedom), curve.common)


def _with_change(bare: Scaling, curve: Curve) -> Scaling:
    """With the interval of the change, in which the factor of a block cancels."""
    error = curve.spread * np.sqrt(1 / curve.blocks[0] + 1 / curve.blocks[-1])
    half = float(stdtrit(curve.freedom, (1 + LEVEL) / 2) * error)
    ratio = float(curve.seconds[-1] / curve.seconds[0])
    low, high = ratio * np.exp(-half) - 1, ratio * np.exp(half) - 1
    return replace(bare, change=ratio - 1, change_low=float(low), change_high=float(high))


def _by_residuals(bare: Scaling, values: Values) -> Scaling:
    """With the noise that the best law leaves, which takes a point more than the law has numbers."""
    freedom = int((~values.exceeded).sum()) - 3
    if freedom < 1:
        return bare
    best = least_deviance(values)
    sigma = values.sigma * max(np.sqrt(best / freedom), 1e-9)
    return _judge(bare, replace(values, sigma=sigma), freedom)


def _judge(bare: Scaling, values: Values, freedom: int) -> Scaling:
    """The law and its shape by 95% intervals; the noise `sigma` is known to so many degrees of freedom."""
    slack = float(stdtrit(freedom, (1 + LEVEL) / 2) ** 2)
    fit = fit_power(values, lambda best: best + slack)
    # Of memory it is known: the noise is what a law misses, not what a reading may be off by.
    grows = bare.measure == "memory" or (fit_level(values) - fit.deviance > 2 * fdtri(2, freedom, LEVEL))
    if not grows:
        line = fit_power(values, lambda best: best + slack, exponent=1.0)
        first, last = values.ends
        middle = line.at(first)
        low, high = (rate * (last - first) / middle for rate in (line.b_low, line.b_high))
        shape = "constant" if max(abs(low), abs(high)) <= FLAT_SECONDS else "uneven"
        judged = replace(_with_law(bare, fit, line, shape), change_low=low, change_high=high)
        return replace(judged, exponent=np.nan, exponent_low=0.0, exponent_high=np.inf)
    shape = _shape(fit)
    law = fit_power(values, lambda best: best + slack, exponent=NAMED[shape]) if shape in NAMED else fit
    return _with_law(bare, fit, law, shape)


def _of_two(bare: Scaling, values: Values) -> Scaling:
    """Two points lie on a curve of any exponent, but what failed may leave only some."""
    limit = 2 + UNLIKELY_TO_EXCEED * int(values.exceeded.sum())
    fit = fit_power(values, lambda best: max(limit, best))
    return replace(bare, exponent_low=fit.p_low, exponent_high=fit.p_high)


def _shape(fit: PowerFit) -> str:
    possible = [name for name, exponent in NAMED.items() if fit.allows(exponent)]
    if possible == ["linear"] or (len(possible) == 1 and fit.p_high - fit.p_low <= WELL_KNOWN):
        return possible[0]
    return "sublinear" if fit.p_high < 1 else "superlinear" if fit.p_low > 1 else "uneven"


def _rounded(steps: np.ndarray, peaks: np.ndarray, late: np.ndarray, bounds: np.ndarray) -> Values:
    y = np.append(peaks, bounds)
    sigma = ROUNDING_BYTES + ROUNDING * y
    return Values(np.append(steps, late), y, sigma, np.arange(len(y)) >= len(steps))


def _over(bare: Scaling, steps: np.ndarray, values: np.ndarray, start: int) -> Scaling:
    """With what is known of the stretch from index `start` on, whatever its law; a flat part before it."""
    if not len(steps):
        return bare
    before = values[:start]
    is_flat = len(before) >= 2 and _is_flat(before)
    tail, levels = steps[start:], values[start:]
    several = len(tail) > 1
    return replace(
        bare,
        points=len(steps),
        first_step=int(tail[0]),
        last_step=int(tail[-1]),
        flat_until=int(steps[start - 1]) if is_flat else None,
        per_step=float(np.polyfit(tail, levels, 1)[0]) if several else np.nan,
        change=float(levels[-1] / levels[0] - 1) if levels[0] else 0.0 if not levels.any() else np.nan,
    )


def _is_flat(values: np.ndarray) -> bool:
    return bool(values.max() <= (1 + FLAT) * values.min())


def _with_law(bare: Scaling, fit: PowerFit, law: PowerFit, shape: str) -> Scaling:
    return replace(
        bare,
        shape=shape,
        exponent=fit.p,
        exponent_low=fit.p_low,
        exponent_high=fit.p_high,
        a=law.a,
        a_low=law.a_low,
        a_high=law.a_high,
        b=law.b,
        b_low=law.b_low,
        b_high=law.b_high,
    )


def _widened(fitted: Scaling, common: float) -> Scaling:
    """a and b with the uncertainty of the factor that all points share."""

    def both(value: float, low: float, high: float) -> tuple[float, float]:
        shared = abs(value) * common
        return value - np.hypot(value - low, shared), value + np.hypot(high - value, shared)

    a_low, a_high = both(fitted.a, fitted.a_low, fitted.a_high)
    b_low, b_high = both(fitted.b, fitted.b_low, fitted.b_high)
    return replace(fitted, a_low=a_low, a_high=a_high, b_low=b_low, b_high=b_high)


def _with_failure(fitted: Scaling, missing: pd.DataFrame, bounds: np.ndarray) -> Scaling:
    if missing.empty:
        return fitted
    step = int(missing.inner_steps.iloc[0])
    exponent = NAMED.get(fitted.shape, fitted.exponent)
    predicted = float(missing.predicted_bytes.iloc[0]) if "predicted_bytes" in missing else np.nan
    return replace(
        fitted,
        failed_at=step,
        failure=str(missing.status.iloc[0]),
        bound=float(bounds[0]),
        foretold=fitted.a + fitted.b * step**exponent,
        predicted=predicted,
    )
