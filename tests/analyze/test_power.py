"""Fits of a + b x^p against a general optimiser, on values of which some are known only to exceed a bound."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from harness.analyze.scaling.power import Values, fit_level, fit_lines, fit_power


def deviance(values: Values, a: float, b: float, p: float) -> float:
    """-2 log likelihood, less that of values that lie on the law."""
    total = 0.0
    for x, y, sigma, exceeded in zip(values.x, values.y, values.sigma, values.exceeded, strict=True):
        z = (a + b * x**p - y) / sigma
        total += -2 * norm.logcdf(z) if exceeded else z**2
    return total


def drawn(seed: int, censored: int, noise: float = 0.03) -> Values:
    """Values of 3 + 0.5 x^p with noise; of the last ones a bound that the law may or may not exceed."""
    rng = np.random.default_rng(seed)
    x = np.array([1.0, 2, 3, 5, 8, 13, 21])
    law = 3 + 0.5 * x ** rng.uniform(0.3, 1.5)
    sigma = noise * law
    exceeded = np.arange(len(x)) >= len(x) - censored
    y = law + sigma * rng.normal(size=len(x))
    return Values(x, np.where(exceeded, law * rng.uniform(0.8, 1.05), y), sigma, exceeded)


@pytest.mark.parametrize("censored", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_law_is_that_of_a_general_optimiser(seed: int, censored: int) -> None:
    values = drawn(seed, censored)
    fit = fit_power(values, lambda best: best + 4)
    assert fit.deviance == pytest.approx(deviance(values, fit.a, fit.b, fit.p), rel=1e-6, abs=1e-8)
    for start in ((3, 0.5, 0.5), (3, 0.5, 1.2), (fit.a, fit.b, fit.p)):
        found = minimize(
            lambda t: deviance(values, *t), start, method="Nelder-Mead",
            options={"maxiter": 4000, "xatol": 1e-10, "fatol": 1e-10},
        )  # fmt: skip
        outside = not 1e-4 <= found.x[2] <= 4
        assert outside or fit.deviance <= found.fun + 1e-5


@pytest.mark.parametrize("censored", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_ends_of_the_intervals_are_where_the_best_other_numbers_reach_the_limit(
    seed: int, censored: int
) -> None:
    values = drawn(seed, censored, noise=0.004)
    fit = fit_power(values, lambda best: best + 4)
    assert (fit.p_low > 0, fit.p_high < 4) == (True, True)
    at_ends = fit_lines(values, np.array([fit.p_low, fit.p_high])).deviance
    assert at_ends == pytest.approx(fit.deviance + 4, abs=0.01)

    def profile(b: float) -> float:
        grid = [
            minimize(lambda t, p=p: deviance(values, t[0], b, p), [fit.a], method="Nelder-Mead").fun
            for p in np.linspace(fit.p_low, fit.p_high, 60)
        ]
        return min(grid)

    assert profile(fit.b_low) == pytest.approx(fit.deviance + 4, abs=0.4)
    assert profile(fit.b_high) == pytest.approx(fit.deviance + 4, abs=0.4)


@pytest.mark.parametrize("censored", [0, 2])
def test_the_best_constant_is_that_of_a_general_optimiser(censored: int) -> None:
    values = drawn(0, censored)
    found = minimize(lambda t: deviance(values, t[0], 0.0, 1.0), [4.0], method="Nelder-Mead")
    assert fit_level(values) == pytest.approx(found.fun, rel=1e-5)


def test_a_bound_far_above_what_any_law_reaches_is_no_trouble() -> None:
    """A flat curve to rounding, and a bound a million standard deviations above it."""
    x = np.array([1.0, 2, 4, 8, 16])
    y = np.array([60.0, 60, 60, 60, 1e6])
    values = Values(x, y, np.full(5, 0.01), np.arange(5) == 4)
    fit = fit_power(values, lambda best: 5.0)
    assert np.isfinite([fit.a, fit.b, fit.deviance]).all()
    assert fit.p == pytest.approx(4)
    assert fit.deviance > 1e6
