import pytest
import torch
from problems import flat, linear, make, parameters, relative_error, smooth_mlp, unflat

from harness.core import trees
from harness.core.objective import TaskObjectives
from harness.core.outer import Adam
from harness.core.record import recording
from harness.core.trees import Params
from harness.workloads.linear_regression import normal_equations, unrolled_iterate
from methods.imaml import ImamlGD
from methods.imaml_authors import ImamlAuthors

LAM, DAMPING, LR = 2.0, 1.0, 0.1


def dense_hessian(tasks: TaskObjectives, phi: Params, t: int) -> torch.Tensor:
    """Of the support loss of one task, by torch's own."""
    one = trees.take_task(phi, t)
    shots = tasks.batch.support.tasks(t, t + 1)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        outputs = tasks.model.forward(unflat(vector, one), shots.inputs)
        return torch.nn.functional.cross_entropy(outputs[0], shots.targets[0])

    return torch.autograd.functional.hessian(loss, flat(one))  # type: ignore[no-untyped-call]


def test_it_solves_its_own_operator_not_the_papers() -> None:
    """((1 + damping) I + H / (lam + 10)) g = v; with lam 2 and damping 1 that is 2 (I + H / 24)."""
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    method = make(ImamlAuthors, inner_steps=4, cg_steps=60)
    result = method.meta_gradient(tasks, theta)
    phi = method.adapt(tasks.support, theta)
    v = tasks.query.gradient(phi)
    for t in range(3):
        h = dense_hessian(tasks, phi, t)
        eye = torch.eye(len(h), dtype=h.dtype)
        expected = torch.linalg.solve(2 * (eye + h / 24), flat(trees.take_task(v, t)))
        # The code's CG stops at an absolute residual of 1e-5.
        torch.testing.assert_close(flat(trees.take_task(result, t)), expected, rtol=0, atol=1e-5)
    papers = make(ImamlGD, inner_steps=4, lam=LAM, cg_steps=60).meta_gradient(tasks, theta)
    assert relative_error(result, papers) > 0.1


def test_its_inner_loop_is_plain_descent_and_one_step_back_towards_theta() -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    plain = unrolled_iterate(tasks.batch.support, w, LR, 9)
    pulled = plain - LR * LAM * (plain - w)
    phi = make(ImamlAuthors, inner_steps=9, inner_lr=LR, lam=LAM).adapt(tasks.support, theta)
    assert relative_error(phi, {"layer0.weight": pulled.mT}) < 1e-12
    regularised = unrolled_iterate(tasks.batch.support, w, LR, 10, LAM)
    assert relative_error(phi, {"layer0.weight": regularised.mT}) > 1e-2


@pytest.mark.parametrize(("lam", "damping"), [(0.0, 0.0), (2.0, 1.0), (100.0, 0.5)])
def test_on_linear_regression_lambda_and_damping_stand_where_the_code_has_them(
    lam: float, damping: float
) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    # A learning rate at which lam = 100 pulls by 1/5.
    method = make(ImamlAuthors, inner_steps=3, inner_lr=2e-3, lam=lam, cg_damping=damping, cg_steps=40)
    a, _ = normal_equations(tasks.batch.support)
    aq, bq = normal_equations(tasks.batch.query)
    plain = unrolled_iterate(tasks.batch.support, w, 2e-3, 3)
    v = aq @ (plain - 2e-3 * lam * (plain - w)) - bq
    operator = (1 + damping) * torch.eye(a.shape[-1], dtype=a.dtype) + a / (lam + 10)
    exact = torch.linalg.solve(operator, v)
    result = method.meta_gradient(tasks, theta)["layer0.weight"].mT
    torch.testing.assert_close(result, exact, rtol=0, atol=1e-5)


def test_at_one_cg_step_it_is_the_query_gradient_without_a_solve() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    method = make(ImamlAuthors, inner_steps=4, cg_steps=1)
    with recording() as records:
        result = method.meta_gradient(tasks, theta)
    v = tasks.query.gradient(method.adapt(tasks.support, theta))
    assert all(torch.equal(result[n], v[n]) for n in v)
    assert records.count == {}


def test_its_outer_rule_is_adam_with_the_codes_eps() -> None:
    assert make(ImamlAuthors, inner_steps=1).outer == Adam(lr=1e-3, eps=1e-3)


def test_a_query_gradient_of_zero_gives_zero() -> None:
    tasks = linear(noise=0.0)
    for shots in (tasks.batch.support, tasks.batch.query):
        shots.targets.zero_()
    solved = {"layer0.weight": torch.zeros(3, 1, 6, dtype=torch.float64)}
    result = make(ImamlAuthors, inner_steps=2).meta_gradient(tasks, solved)
    assert torch.equal(result["layer0.weight"], solved["layer0.weight"])
