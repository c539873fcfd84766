"""Table 1's orders on rows that bear them out, rows that refute them and rows that do not say."""

from collections.abc import Callable

import numpy as np
import pytest
from claims import line, lines, loaded
from rows import (
    MIB,
    gradient_cell,
    imaml_point,
    inner_kappa,
    maml_point,
    meta_gradient_run,
    optimisers_run,
    regression,
    row,
)

from harness.store import Row

PLAIN, ACCELERATED = "compute, gradient descent", "compute, accelerated"
MEMORY = "memory"
Peak = Callable[[int], float]
UNROLLED, TRUNCATED, IMPLICIT = "error, MAML", "error, truncated MAML", "error, implicit MAML"
GRID = [2**i for i in range(17)]


def conditioned(
    optimiser: str, exponent: float, conditions: tuple[float, ...] = (10.0, 100.0, 1000.0)
) -> list:
    cells = []
    for condition in conditions:
        rate = 1 - np.exp(-1 / inner_kappa(condition) ** exponent)
        settings = {"cg_steps": 20, "lam": 0.001, "optimiser": optimiser}
        cells += [imaml_point(rate, 20, k, workload=regression(condition), settings=settings) for k in GRID]
    return cells


def test_the_orders_of_both_inner_loops_are_found_in_one_run() -> None:
    run = loaded(optimisers_run(GRID))
    for claim, optimiser in ((PLAIN, "gradient-descent"), (ACCELERATED, "accelerated")):
        found = line(claim, run)
        assert found.verdict == "reproduced"
        assert found.evidence[0].methods == (f"imaml-gd[optimiser={optimiser}]",)
        assert len(found.evidence) == 3  # a workload each


@pytest.mark.parametrize(
    ("claim", "optimiser", "exponent", "verdict"),
    [
        (PLAIN, "gradient-descent", 1.0, "reproduced"),
        (PLAIN, "gradient-descent", 0.5, "not reproduced"),
        (PLAIN, "gradient-descent", 1.5, "not reproduced"),
        (ACCELERATED, "accelerated", 0.5, "reproduced"),
        (ACCELERATED, "accelerated", 1.0, "not reproduced"),
    ],
)
def test_another_order_refutes_it(claim: str, optimiser: str, exponent: float, verdict: str) -> None:
    assert line(claim, conditioned(optimiser, exponent)).verdict == verdict


def test_a_narrow_span_cannot_tell_the_orders_apart() -> None:
    found = line(PLAIN, conditioned("gradient-descent", 1.0, (10.0, 30.0, 100.0)))
    assert found.verdict == "not measured"
    assert "Too weak to call: takes 3 condition numbers over a factor of 16" in found.sentence
    assert line(PLAIN, conditioned("gradient-descent", 1.0, (10.0, 1000.0))).verdict == "not measured"
    assert (
        "no error was seen to be crossed at condition numbers a factor of 16 apart"
        in line(PLAIN, conditioned("gradient-descent", 1.0, (10.0,))).sentence
    )


def test_mamls_own_loop_shows_the_order_of_gradient_descent() -> None:
    cells = [
        maml_point(1 / inner_kappa(condition), k, workload=regression(condition))
        for condition in (10.0, 100.0, 1000.0)
        for k in GRID
    ]
    assert line(PLAIN, cells).verdict == "reproduced"


@pytest.mark.parametrize(("error", "verdict"), [(3e-15, "reproduced"), (1e-6, "not reproduced")])
def test_the_unrolled_derivative_leaves_nothing_in_any_seed(error: float, verdict: str) -> None:
    cells = [
        gradient_cell("maml", steps, seed, values={"rel_error_unrolled": error if seed else 0.0})
        for steps in (1, 64)
        for seed in range(3)
    ]
    assert line(UNROLLED, cells).verdict == verdict


def truncated(errors: dict[int, float], steps: int = 64) -> list[list[Row]]:
    return [
        gradient_cell(
            "maml-truncated", steps, values={"rel_error_unrolled": error}, settings={"backward_steps": kept}
        )
        for kept, error in errors.items()
    ]


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ({4: 0.3, 16: 1e-2, 32: 1e-4}, "reproduced"),
        ({4: 0.3, 16: 1e-15, 32: 2e-15}, "reproduced"),
        ({4: 0.3, 16: 0.4}, "not reproduced"),
        ({4: 1e-15, 16: 1e-16}, "not reproduced"),
        ({4: 0.3}, "not measured"),
        ({4: 0.3, 64: 0.0}, "not measured"),
        ({4: 0.3, 128: 0.0}, "not measured"),
    ],
)
def test_truncation_leaves_what_its_steps_say(errors: dict[int, float], verdict: str) -> None:
    assert line(TRUNCATED, truncated(errors)).verdict == verdict


def test_truncation_of_another_loop_is_another_problem() -> None:
    """With a lambda less is left than without: no question of how many steps are differentiated."""
    cells = truncated({16: 0.4})
    for kept, error in {4: 0.3, 16: 1e-2}.items():
        settings = {"backward_steps": kept, "lam": 2.0}
        values = {"rel_error_unrolled": error}
        cells.append(gradient_cell("maml-truncated", 64, values=values, settings=settings))
    found = line(TRUNCATED, cells)
    assert found.verdict == "reproduced"
    assert "an error of 0.3 with the last 4 and 1.0e-2 with the last 16" in found.sentence


def followed(power: float, decades: int = 6) -> list[list[Row]]:
    """An error that falls as this power of the inner residual."""
    return [
        gradient_cell(
            "imaml-gd",
            2**i,
            values={
                "rel_error_implicit": 0.5 * 10.0 ** (-power * i),
                "inner_residual": 10.0**-i,
                "solver_residual": 1e-15,
            },
            settings={"lam": 1.0},
        )
        for i in range(decades + 1)
    ]


@pytest.mark.parametrize(
    ("power", "verdict"), [(1.0, "reproduced"), (0.5, "not reproduced"), (2.0, "not reproduced")]
)
def test_the_implicit_error_falls_with_the_inner_residual(power: float, verdict: str) -> None:
    found = line(IMPLICIT, followed(power, 4))
    assert found.verdict == verdict
    assert f"delta^{power:.2f} over 4 decades" in found.sentence


def test_few_decades_do_not_show_a_power() -> None:
    assert line(IMPLICIT, followed(1.0, 2)).verdict == "not measured"


def test_what_the_solver_leaves_is_not_held_against_delta() -> None:
    told = lines(IMPLICIT, loaded(meta_gradient_run()))
    assert {each.verdict for each in told} == {"reproduced"}
    assert "cg_steps=2]" not in told[0].sentence


@pytest.mark.parametrize(
    ("maml", "imaml", "verdict"),
    [
        (lambda s: 40 + 26 * s, lambda s: 80.0, "reproduced"),
        (lambda s: 40 + 26 * s**0.5, lambda s: 80.0, "not reproduced"),
        (lambda s: 40 + 26 * s**2, lambda s: 80.0, "not reproduced"),
        (lambda s: 80.0, lambda s: 80.0, "not reproduced"),
        (lambda s: 40 + 26 * s, lambda s: 80 + s, "not reproduced"),
    ],
    ids=["linear and flat", "square root", "square", "both flat", "both grow"],
)
def test_the_orders_of_memory_are_told_apart(maml: Peak, imaml: Peak, verdict: str) -> None:
    cells = [
        [row(method=method, inner_steps=s, value=peak(s) * MIB)]
        for method, peak in (("maml", maml), ("imaml-gd", imaml))
        for s in (1, 2, 4, 8, 16, 32)
    ]
    assert line(MEMORY, cells).verdict == verdict


def test_two_points_have_no_order() -> None:
    cells = [
        [row(method=method, inner_steps=s, value=peak * MIB)]
        for method, growth in (("maml", 2.0), ("imaml-gd", 1.0))
        for s, peak in ((1, 50.0), (8, 50.0 * growth))
    ]
    assert line(MEMORY, cells).verdict == "not measured"


def test_without_the_solvers_residual_its_floor_is_not_known() -> None:
    cells = [[r for r in cell if r.metric != "solver_residual"] for cell in meta_gradient_run()]
    assert {each.verdict for each in lines(IMPLICIT, loaded(cells))} == {"not measured"}
