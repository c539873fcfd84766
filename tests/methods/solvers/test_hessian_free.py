from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from problems import copy_of, formula, gaussian, linear, parameters, relative_error, smooth_mlp

from harness.core import trees
from harness.core.objective import Objective, Proximal
from harness.core.record import recording
from harness.core.trees import Params
from harness.workloads.linear_regression import inner_solution
from methods.solvers.cg import CG
from methods.solvers.hessian_free import BACKTRACKS, HessianFree, armijo
from methods.solvers.inner import Smooth


def points(*rows: list[float]) -> Params:
    return {"x": torch.tensor(rows, dtype=torch.float64)}


def no_constants(tasks: int) -> torch.Tensor:
    return torch.zeros(tasks, 1, dtype=torch.float64)


def rosenbrock(tasks: int) -> Objective:
    """(1 - x)^2 + 100 (y - x^2)^2: a curved valley of condition 2500, minimum 0 at (1, 1)."""
    return formula(
        lambda x, c: (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2, no_constants(tasks), 2
    )


def double_well(tasks: int) -> Objective:
    """(x^2 - 1)^2 / 4 + y^2 / 2: curvature -1 along x at the origin; minima 0 at (+-1, 0)."""
    return formula(lambda x, c: (x[:, 0] ** 2 - 1) ** 2 / 4 + x[:, 1] ** 2 / 2, no_constants(tasks), 2)


def minimised(objective: Smooth, start: Params, steps: int) -> Params:
    return HessianFree(cg_steps=5).minimise(lambda k: objective, start, steps)


def path(objective: Objective, start: Params, steps: int, solver: HessianFree) -> list[Params]:
    """The parameters after 0, 1, 2, and then every seventh of `steps` Newton steps."""
    counts = [0, 1, 2, *range(7, steps + 1, 7)]
    return [solver.minimise(lambda k: objective, start, k) for k in counts]


def assert_never_increases(objective: Objective, iterates: list[Params]) -> None:
    losses = torch.stack([objective.loss(p) for p in iterates])
    assert bool((losses.diff(dim=0) <= 0).all())


def test_one_newton_step_minimises_a_quadratic_of_one_curvature() -> None:
    bowl = formula(lambda x, c: 3.0 * (x - c).square().sum(1), gaussian(0, 4, 3), 3)
    phi = HessianFree(cg_steps=1).minimise(lambda k: bowl, {"x": gaussian(1, 4, 3)}, 1)
    torch.testing.assert_close(phi["x"], gaussian(0, 4, 3), rtol=1e-12, atol=1e-12)


def test_it_converges_superlinearly_on_ridge_tasks() -> None:
    tasks = linear(dimension=6, condition=50.0)
    theta = parameters(tasks.model, 3)
    ridge = Proximal(tasks.support, theta, 0.1)
    exact = {"layer0.weight": inner_solution(tasks.batch.support, theta["layer0.weight"].mT, 0.1).mT}
    iterates = [HessianFree(6).minimise(lambda k: ridge, theta, k) for k in range(13)]
    errors = [relative_error(phi, exact) for phi in iterates]
    assert errors[-1] < 1e-9
    ratios = [b / a for a, b in pairwise(errors) if b > 1e-9]
    assert ratios[-1] < 0.1 * max(ratios), "no faster at the end than at the start"


def test_a_direction_solves_newtons_equation_to_the_forcing_tolerance() -> None:
    tasks = linear(dimension=6)
    for size in (1.0, 1e-3, 1e-6):
        theta = parameters(tasks.model, 3)
        ridge = Proximal(tasks.support, theta, 0.1)
        exact = inner_solution(tasks.batch.support, theta["layer0.weight"].mT, 0.1).mT
        near = {"layer0.weight": exact + size * gaussian(3, *exact.shape)}
        hessian = ridge.hessian(near)
        norm = trees.norm(hessian.gradient)
        d = HessianFree(cg_steps=6).direction(hessian, hessian.gradient, norm)
        residual = trees.norm(trees.axpy(1.0, hessian.gradient, hessian(d))) / norm
        assert bool((residual <= norm.sqrt().clamp_max(0.5)).all())
        assert bool((trees.dot(d, hessian.gradient) < 0).all())


def test_rosenbrocks_valley_is_followed_to_its_minimum_without_ever_climbing() -> None:
    start = points([-1.2, 1.0], [0.0, 0.0], [2.0, -3.0])
    objective = rosenbrock(3)
    iterates = path(objective, start, 70, HessianFree(cg_steps=5))
    assert_never_increases(objective, iterates)
    torch.testing.assert_close(iterates[-1]["x"], torch.ones(3, 2, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_ill_conditioned_bowls_are_solved_whatever_their_scale() -> None:
    scales = torch.tensor([[1e-2, 1.0, 1e2], [1.0, 1e2, 1e4]], dtype=torch.float64)
    bowl = formula(lambda x, c: (c * x.square()).sum(1) + (x**4).sum(1), scales, 3)
    start = {"x": 2 * gaussian(5, 2, 3)}
    iterates = path(bowl, start, 28, HessianFree(cg_steps=3))
    assert_never_increases(bowl, iterates)
    assert float(bowl.loss(iterates[-1]).max()) < 1e-10


def test_a_start_with_negative_curvature_falls_back_to_steepest_descent_and_decreases() -> None:
    objective, start = double_well(2), points([0.1, 0.0], [-0.2, 0.0])
    hessian = objective.hessian(start)
    g = hessian.gradient
    assert bool((trees.dot(g, hessian(g)) < 0).all())
    d = HessianFree(cg_steps=5).direction(hessian, g, trees.norm(g))
    assert torch.equal(d["x"], -g["x"])
    with recording() as records:
        iterates = path(objective, start, 28, HessianFree(cg_steps=5))
    assert records.maximum["newton_negative_curvature"] == 1
    assert_never_increases(objective, iterates)
    assert bool((objective.loss(iterates[1]) < objective.loss(start)).all())
    torch.testing.assert_close(iterates[-1]["x"], points([1.0, 0.0], [-1.0, 0.0])["x"], rtol=1e-6, atol=1e-6)


def test_negative_curvature_after_some_progress_keeps_the_progress() -> None:
    objective, start = double_well(1), points([0.3, 2.0])
    hessian = objective.hessian(start)
    g = hessian.gradient
    solution = CG(5).solve(hessian, trees.scale(-1.0, g))
    assert bool(solution.negative_curvature[0])
    assert int(solution.matvecs[0]) == 2
    d = HessianFree(cg_steps=5).direction(hessian, g, torch.full((1,), 1e-12, dtype=torch.float64))
    assert torch.equal(d["x"], solution.x["x"])
    assert not torch.equal(d["x"], -g["x"])


def test_tasks_keep_their_own_step_sizes_and_stops() -> None:
    """Far, near, at the minimum, and in negative curvature: each as if it were alone."""
    rows = [[-5.0, 5.0], [1.0 + 1e-4, 1.0], [1.0, 1.0], [0.0, 40.0]]
    solver = HessianFree(cg_steps=5)
    for steps in (1, 2, 5, 20):
        together = solver.minimise(lambda k: rosenbrock(4), points(*rows), steps)
        for t, row in enumerate(rows):
            alone = solver.minimise(lambda k: rosenbrock(1), points(row), steps)
            torch.testing.assert_close(alone["x"][0], together["x"][t], rtol=1e-10, atol=1e-10)


def test_a_network_task_does_not_depend_on_its_neighbours() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    # One task is solved beforehand and stops at once, while the others go on.
    solved = HessianFree(27).minimise(lambda k: Proximal(tasks.support, theta, 1.0), theta, 40)
    start = {n: torch.cat([solved[n][:1], theta[n][1:]]) for n in theta}
    ours = HessianFree(5).minimise(lambda k: Proximal(tasks.support, theta, 1.0), start, 3)
    for t, chunk in enumerate(tasks.batch.chunks(1)):
        support = Objective(tasks.model, chunk.support, tasks.support.loss_function, chunk.seeds)
        own = Proximal(support, trees.take_task(theta, t), 1.0)
        alone = minimised(own, trees.take_task(start, t), 3)
        assert relative_error(alone, trees.take_task(ours, t)) < 1e-10


def test_a_solved_task_is_left_where_it_is() -> None:
    start = points([1.0, 1.0], [-1.2, 1.0])
    phi = HessianFree(5).minimise(lambda k: rosenbrock(2), start, 10)
    assert torch.equal(phi["x"][0], start["x"][0])
    assert not torch.equal(phi["x"][1], start["x"][1])


def test_the_loop_ends_when_every_task_is_solved() -> None:
    asked = []
    objective = rosenbrock(1)

    def count(k: int) -> Objective:
        asked.append(k)
        return objective

    HessianFree(5).minimise(count, points([0.0, 0.0]), 500)
    assert len(asked) < 40


CLIFFS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nan": lambda x: torch.full_like(x, torch.nan),
    "inf": lambda x: torch.full_like(x, torch.inf),
    "-inf": lambda x: torch.full_like(x, -torch.inf),
}


@pytest.mark.parametrize("beyond", CLIFFS.values(), ids=list(CLIFFS))
def test_the_line_search_never_accepts_a_loss_that_is_not_finite(
    beyond: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """x^2 where |x - 4| < 1.9, beyond it a cliff: along -6 from 4 the step 1/4 is the first inside."""
    cliff = formula(
        lambda x, c: torch.where((x[:, 0] - 4).abs() < 1.9, x[:, 0] ** 2, beyond(x[:, 0])), no_constants(1), 1
    )
    phi = points([4.0])
    slope = torch.tensor([8.0 * -6.0], dtype=torch.float64)
    moved, active = armijo(cliff, phi, points([-6.0]), slope, torch.tensor([True]))
    assert bool(active[0])
    assert float(moved["x"]) == 4.0 - 6.0 / 4
    everywhere = formula(
        lambda x, c: torch.where(x[:, 0] == 4, x[:, 0] ** 2, beyond(x[:, 0])), no_constants(1), 1
    )
    moved, active = armijo(everywhere, phi, points([-6.0]), slope, torch.tensor([True]))
    assert not bool(active[0])
    assert float(moved["x"]) == 4.0


def test_the_line_search_takes_the_first_half_step_that_decreases_enough() -> None:
    bowl = formula(lambda x, c: x[:, 0] ** 2, no_constants(3), 1)
    phi, d = points([1.0], [1.0], [1.0]), points([-1.0], [-15.0], [-1.0])
    slope = 2 * d["x"][:, 0]
    with recording() as records:
        moved, active = armijo(bowl, phi, d, slope, torch.tensor([True, True, False]))
    # 1 - 15 s decreases x^2 by 1e-4 * 30 s from s = 1/8 on.
    assert moved["x"][:, 0].tolist() == [0.0, 1 - 15 / 8, 1.0]
    assert active.tolist() == [True, True, False]
    assert records.maximum["line_search_trials"] == 4
    assert records.total["line_search_trials"] == 1 + 4 + 0


def test_where_no_step_decreases_the_loss_the_task_stays_and_stops() -> None:
    bowl = formula(lambda x, c: x[:, 0] ** 2, no_constants(1), 1)
    uphill = points([1.0])
    with recording() as records:
        moved, active = armijo(
            bowl, points([1.0]), uphill, torch.tensor([-2.0], dtype=torch.float64), torch.tensor([True])
        )
    assert float(moved["x"]) == 1.0
    assert not bool(active[0])
    assert records.total["line_search_trials"] == 1 + BACKTRACKS


def test_a_start_is_left_as_it_was_and_zero_steps_are_the_identity() -> None:
    start = points([-1.2, 1.0])
    before = copy_of(start)
    HessianFree(5).minimise(lambda k: rosenbrock(1), start, 5)
    assert torch.equal(start["x"], before["x"])
    assert torch.equal(HessianFree(5).minimise(lambda k: rosenbrock(1), start, 0)["x"], before["x"])
