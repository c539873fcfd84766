from collections.abc import Callable

import pytest
import torch
from problems import gaussian

from harness.core.trees import Params
from methods.solvers.cg import CG


def definite(seed: int, tasks: int, d: int) -> torch.Tensor:
    q = gaussian(seed, tasks, d, d)
    return q @ q.mT / d + 0.5 * torch.eye(d, dtype=torch.float64)


def product(matrices: torch.Tensor, calls: list[int] | None = None) -> Callable[[Params], Params]:
    """x -> A x for parameters in two entries."""

    def matvec(x: Params) -> Params:
        if calls is not None:
            calls.append(1)
        return split((matrices @ joined(x).unsqueeze(-1)).squeeze(-1))

    return matvec


def split(x: torch.Tensor) -> Params:
    return {"w": x[:, :4].reshape(len(x), 2, 2), "b": x[:, 4:]}


def joined(x: Params) -> torch.Tensor:
    return torch.cat([x["w"].flatten(1), x["b"]], 1)


def test_as_many_steps_as_dimensions_solve_every_tasks_system() -> None:
    a, b = definite(0, 5, 7), gaussian(1, 5, 7)
    solution = CG(steps=7).solve(product(a), split(b))
    exact = torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(joined(solution.x), exact, rtol=1e-8, atol=1e-8)
    assert bool((solution.residual < 1e-8).all())
    assert not bool(solution.negative_curvature.any())


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_reported_residual_is_the_true_one(steps: int) -> None:
    a, b = definite(0, 5, 7), gaussian(1, 5, 7)
    solution = CG(steps=steps).solve(product(a), split(b))
    left = b - (a @ joined(solution.x).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(solution.residual, left.norm(dim=1) / b.norm(dim=1), rtol=1e-10, atol=0)
    assert bool((solution.matvecs == steps).all())


def test_each_task_stops_by_itself_once_its_residual_is_small_enough() -> None:
    """With k distinct eigenvalues CG is done after k products."""
    spectra = torch.tensor(
        [[2.0] * 7, [1.0] * 3 + [3.0] * 4, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]], dtype=torch.float64
    )
    q = torch.linalg.qr(gaussian(2, 3, 7, 7))[0]
    a, b, calls = q @ torch.diag_embed(spectra) @ q.mT, gaussian(3, 3, 7), list[int]()
    solution = CG(steps=20).solve(product(a, calls), split(b))
    assert solution.matvecs.tolist() == [1, 2, 3]
    assert len(calls) == 3, "the loop went on after the last task was solved"
    exact = torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(joined(solution.x), exact, rtol=1e-10, atol=1e-10)


def test_a_tolerance_for_each_task_replaces_the_common_one() -> None:
    a, b = definite(0, 3, 7), gaussian(1, 3, 7)
    tolerance = torch.tensor([0.5, 1e-2, 1e-6], dtype=torch.float64)
    solution = CG(steps=20).solve(product(a), split(b), tolerance=tolerance)
    assert bool((solution.residual <= tolerance).all())
    assert solution.matvecs[0] < solution.matvecs[1] < solution.matvecs[2]
    assert float(solution.residual[0]) > 1e-3


def test_no_product_is_made_beyond_the_bound() -> None:
    calls: list[int] = []
    solution = CG(steps=4, tolerance=0.0).solve(product(definite(0, 2, 7), calls), split(gaussian(1, 2, 7)))
    assert len(calls) == 4
    assert solution.matvecs.tolist() == [4, 4]


def test_negative_curvature_in_the_first_direction_leaves_zero() -> None:
    a = torch.stack([-torch.eye(7, dtype=torch.float64), definite(0, 1, 7)[0]])
    b = gaussian(1, 2, 7)
    solution = CG(steps=7).solve(product(a), split(b))
    assert solution.negative_curvature.tolist() == [True, False]
    assert torch.equal(joined(solution.x)[0], torch.zeros(7, dtype=torch.float64))
    assert solution.matvecs.tolist() == [1, 7]
    assert float(solution.residual[0]) == 1.0
    exact = torch.linalg.solve(a[1], b[1])
    torch.testing.assert_close(joined(solution.x)[1], exact, rtol=1e-8, atol=1e-8)


def test_negative_curvature_later_keeps_the_last_iterate() -> None:
    spectrum = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -0.05], dtype=torch.float64)
    a, b = torch.diag(spectrum).unsqueeze(0), torch.ones(1, 7, dtype=torch.float64)
    solution = CG(steps=30).solve(product(a), split(b))
    stopped = int(solution.matvecs[0])
    assert bool(solution.negative_curvature[0])
    assert 1 < stopped <= 7
    before = CG(steps=stopped - 1).solve(product(a), split(b))
    assert not bool(before.negative_curvature[0])
    assert torch.equal(joined(solution.x), joined(before.x))


def test_zero_curvature_stops_too() -> None:
    a = torch.zeros(1, 7, 7, dtype=torch.float64)
    solution = CG(steps=5).solve(product(a), split(gaussian(1, 1, 7)))
    assert bool(solution.negative_curvature[0])
    assert torch.equal(joined(solution.x), torch.zeros(1, 7, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_right_hand_side_gives_zero_without_a_product(dtype: torch.dtype) -> None:
    a, b = definite(0, 2, 7).to(dtype), gaussian(1, 2, 7).to(dtype)
    b[0] = 0
    solution = CG(steps=9).solve(product(a), split(b))
    assert torch.equal(joined(solution.x)[0], torch.zeros(7, dtype=dtype))
    assert solution.matvecs[0] == 0
    assert solution.residual[0] == 0
    assert bool(torch.isfinite(joined(solution.x)).all())
    assert bool(torch.isfinite(solution.residual).all())


def test_many_more_steps_than_needed_do_no_harm() -> None:
    a, b = definite(0, 3, 7), gaussian(1, 3, 7)
    exact = torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1)
    solution = CG(steps=200, tolerance=0.0).solve(product(a), split(b))
    torch.testing.assert_close(joined(solution.x), exact, rtol=1e-10, atol=1e-10)


def test_a_product_that_is_not_finite_is_seen_in_its_tasks_solution_alone() -> None:
    """Were it hidden, training would go on with a wrong meta-gradient instead of ending as diverged."""
    a, b = definite(0, 2, 7), gaussian(1, 2, 7)
    healthy = CG(steps=7).solve(product(a[1:]), split(b[1:]))
    a[0] = torch.nan
    for solution in (
        CG(steps=7).solve(product(a), split(b)),
        CG(steps=7).solve(product(a[:1]), split(b[:1])),
    ):
        assert bool(joined(solution.x)[0].isnan().all())
        assert bool(solution.residual[0].isnan())
        assert not bool(solution.negative_curvature[0])
    together = CG(steps=7).solve(product(a), split(b))
    torch.testing.assert_close(joined(together.x)[1:], joined(healthy.x), rtol=1e-10, atol=1e-12)


def test_a_right_hand_side_that_is_not_finite_is_seen_in_its_tasks_solution_alone() -> None:
    a, b = definite(0, 2, 7), gaussian(1, 2, 7)
    healthy = CG(steps=7).solve(product(a[1:]), split(b[1:]))
    b[0, 3] = torch.nan
    solution = CG(steps=7).solve(product(a), split(b))
    assert bool(joined(solution.x)[0].isnan().all())
    assert bool(solution.residual[0].isnan())
    torch.testing.assert_close(joined(solution.x)[1:], joined(healthy.x), rtol=1e-10, atol=1e-12)


def test_it_never_reports_divergence() -> None:
    a, b = torch.stack([-torch.eye(7, dtype=torch.float64), definite(0, 1, 7)[0]]), gaussian(1, 2, 7)
    assert CG(steps=7).solve(product(a), split(b)).diverged.tolist() == [False, False]
