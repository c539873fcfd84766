import pytest
import torch
from problems import gaussian

from harness.core.trees import Params
from methods.solvers.neumann import Neumann


def symmetric(spectrum: list[float], seed: int = 2, tasks: int = 3) -> torch.Tensor:
    """Matrices [T, d, d] with these eigenvalues and random eigenvectors."""
    q = torch.linalg.qr(gaussian(seed, tasks, len(spectrum), len(spectrum)))[0]
    return q @ torch.diag_embed(torch.tensor([spectrum] * tasks, dtype=torch.float64)) @ q.mT


def split(x: torch.Tensor) -> Params:
    return {"w": x[:, :4].reshape(len(x), 2, 2), "b": x[:, 4:]}


def joined(x: Params) -> torch.Tensor:
    return torch.cat([x["w"].flatten(1), x["b"]], 1)


class Product:
    """x -> A x for parameters in two entries; counts its calls."""

    def __init__(self, matrices: torch.Tensor) -> None:
        self.matrices = matrices
        self.calls = 0

    def __call__(self, x: Params) -> Params:
        self.calls += 1
        return split((self.matrices @ joined(x).unsqueeze(-1)).squeeze(-1))


SPECTRUM = [0.3, 0.5, 0.8, 1.0, 1.2, 1.5, 1.7]


def test_many_terms_agree_with_a_dense_solve() -> None:
    a, b = symmetric(SPECTRUM), gaussian(1, 3, 7)
    solution = Neumann(terms=200, step_size=1.0).solve(Product(a), split(b))
    exact = torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(joined(solution.x), exact, rtol=1e-8, atol=1e-8)
    assert bool((solution.residual < 1e-9).all())
    assert not bool(solution.diverged.any())
    assert not bool(solution.negative_curvature.any())


@pytest.mark.parametrize("terms", [1, 2, 6])
@pytest.mark.parametrize("step_size", [0.3, 1.0])
def test_it_is_the_sum_of_its_terms_and_reports_the_true_residual(terms: int, step_size: float) -> None:
    a, b = symmetric(SPECTRUM), gaussian(1, 3, 7)
    contraction = torch.eye(7, dtype=torch.float64) - step_size * a
    column = b.unsqueeze(-1)
    total = sum(step_size * torch.linalg.matrix_power(contraction, j) @ column for j in range(terms))
    assert isinstance(total, torch.Tensor)
    matvec = Product(a)
    solution = Neumann(terms, step_size).solve(matvec, split(b))
    torch.testing.assert_close(joined(solution.x), total.squeeze(-1), rtol=1e-12, atol=1e-12)
    left = (column - a @ total).squeeze(-1)
    torch.testing.assert_close(solution.residual, left.norm(dim=1) / b.norm(dim=1), rtol=1e-10, atol=0)
    assert solution.matvecs.tolist() == [terms] * 3
    assert matvec.calls == terms


def test_each_task_stops_by_itself_once_its_residual_is_small_enough() -> None:
    """With A = I / a every term but the first is zero."""
    a = torch.stack([symmetric([2.0] * 7, tasks=1)[0], symmetric(SPECTRUM, tasks=1)[0]])
    matvec = Product(a)
    solution = Neumann(terms=100, step_size=0.5, tolerance=1e-6).solve(matvec, split(gaussian(1, 2, 7)))
    assert solution.matvecs[0] == 1
    assert 1 < solution.matvecs[1] < 100
    assert matvec.calls == solution.matvecs[1], "the loop went on after the last task was solved"
    assert bool((solution.residual <= 1e-6).all())


def test_a_step_too_long_for_an_eigenvalue_is_seen_and_the_other_tasks_are_not_touched() -> None:
    good, bad = symmetric(SPECTRUM, tasks=1)[0], symmetric([*SPECTRUM[:-1], 2.5], tasks=1)[0]
    b = gaussian(1, 2, 7)
    solution = Neumann(terms=100, step_size=1.0).solve(Product(torch.stack([good, bad])), split(b))
    assert solution.diverged.tolist() == [False, True]
    assert not bool(solution.negative_curvature.any())
    exact = torch.linalg.solve(good, b[0])
    torch.testing.assert_close(joined(solution.x)[0], exact, rtol=1e-8, atol=1e-8)
    assert solution.matvecs[1] < 100
    assert 1e-3 < float(solution.residual[1]) <= 1


def test_a_series_that_diverges_keeps_its_last_sum_before_the_residual_grew() -> None:
    a, b = symmetric([*SPECTRUM[:-1], 2.2], tasks=1), gaussian(1, 1, 7)
    solution = Neumann(terms=100, step_size=1.0).solve(Product(a), split(b))
    stopped = int(solution.matvecs[0])
    assert bool(solution.diverged[0])
    assert 1 < stopped < 100
    before = Neumann(stopped - 1, step_size=1.0).solve(Product(a), split(b))
    assert not bool(before.diverged[0])
    assert torch.equal(joined(solution.x), joined(before.x))
    torch.testing.assert_close(solution.residual, before.residual)


def test_negative_curvature_is_counted_and_ends_the_series() -> None:
    a = torch.stack([-torch.eye(7, dtype=torch.float64), symmetric(SPECTRUM, tasks=1)[0]])
    solution = Neumann(terms=50, step_size=0.5).solve(Product(a), split(gaussian(1, 2, 7)))
    assert solution.negative_curvature.tolist() == [True, False]
    assert solution.diverged.tolist() == [True, False]
    assert torch.equal(joined(solution.x)[0], torch.zeros(7, dtype=torch.float64))
    assert solution.matvecs[0] == 1
    assert solution.residual[0] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_right_hand_side_gives_zero_without_a_product(dtype: torch.dtype) -> None:
    a, b = symmetric(SPECTRUM, tasks=2).to(dtype), gaussian(1, 2, 7).to(dtype)
    b[0] = 0
    solution = Neumann(terms=9, step_size=1.0).solve(Product(a), split(b))
    assert torch.equal(joined(solution.x)[0], torch.zeros(7, dtype=dtype))
    assert solution.matvecs[0] == 0
    assert solution.residual[0] == 0
    assert not bool(solution.diverged[0])


def test_what_is_not_finite_is_seen_in_its_tasks_solution_alone() -> None:
    a, b = symmetric(SPECTRUM, tasks=2), gaussian(1, 2, 7)
    healthy = Neumann(9, 1.0).solve(Product(a[1:]), split(b[1:]))
    broken_a, broken_b = a.clone(), b.clone()
    broken_a[0], broken_b[0] = torch.nan, torch.nan
    for solution in (
        Neumann(9, 1.0).solve(Product(broken_a), split(b)),
        Neumann(9, 1.0).solve(Product(a), split(broken_b)),
    ):
        assert bool(joined(solution.x)[0].isnan().all())
        assert bool(solution.residual[0].isnan())
        torch.testing.assert_close(joined(solution.x)[1:], joined(healthy.x), rtol=1e-12, atol=1e-14)
