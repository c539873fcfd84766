import itertools

import pytest
import torch
from problems import linear, make, parameters, relative_error, smooth_mlp

from harness.core import trees
from harness.core.record import recording
from harness.workloads.linear_regression import implicit_meta_gradient, normal_equations
from methods.imaml import ImamlGD
from methods.imaml_neumann import ImamlNeumann
from methods.maml import MAML


@pytest.mark.parametrize("dimension", [1, 8])
def test_converged_it_equals_the_closed_form_implicit_gradient(dimension: int) -> None:
    tasks = linear(dimension=dimension)
    theta = parameters(tasks.model, 3)
    method = make(ImamlNeumann, **ImamlNeumann.converged)
    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, theta["layer0.weight"].mT, method.lam).mT}
    with recording() as records:
        assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-8
    assert records.mean("solver_residual") < 1e-8
    assert records.mean("solver_diverged") == 0


def test_its_error_falls_as_terms_are_added() -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    settings = ImamlNeumann.converged
    exact = {
        "layer0.weight": implicit_meta_gradient(tasks.batch, theta["layer0.weight"].mT, settings["lam"]).mT
    }
    errors = [
        relative_error(make(ImamlNeumann, **{**settings, "terms": n}).meta_gradient(tasks, theta), exact)
        for n in (1, 2, 4, 8, 16)
    ]
    assert all(later < 0.8 * earlier for earlier, later in itertools.pairwise(errors))
    assert errors[0] > 0.1


def test_a_step_that_is_too_long_is_recorded_as_divergence_of_every_task() -> None:
    """The eigenvalues of I + H/lam reach 1 + 1/lam = 3: a step above 2/3 is too long."""
    tasks = linear()
    theta = parameters(tasks.model, 3)
    for step_size, diverged in ((0.6, 0.0), (0.7, 1.0), (5.0, 1.0)):
        method = make(ImamlNeumann, inner_steps=400, inner_lr=0.6, lam=0.5, terms=500, step_size=step_size)
        with recording() as records:
            result = method.meta_gradient(tasks, theta)
        assert records.mean("solver_diverged") == diverged
        assert (records.mean("solver_residual") < 1e-8) == (not diverged)
        assert bool(torch.isfinite(trees.norm(result)).all())


def test_with_its_own_step_it_differentiates_the_inner_descents_last_steps() -> None:
    """At phi*, N terms are the derivative through the last N steps on G with what came before held fixed."""
    tasks = linear()
    theta = parameters(tasks.model, 3)
    lam, lr, terms = 0.5, 0.6, 4
    method = make(ImamlNeumann, inner_steps=400, inner_lr=lr, lam=lam, terms=terms)
    a, _ = normal_equations(tasks.batch.support)
    step = torch.eye(a.shape[-1], dtype=a.dtype) * (1 - lr * lam) - lr * a
    v = tasks.query.gradient(method.adapt(tasks.support, theta))["layer0.weight"].mT
    expected = sum(lr * lam * torch.linalg.matrix_power(step, j) @ v for j in range(terms))
    assert isinstance(expected, torch.Tensor)
    result = method.meta_gradient(tasks, theta)
    assert relative_error(result, {"layer0.weight": expected.mT}) < 1e-10
    unrolled = make(MAML, inner_steps=terms, inner_lr=lr, lam=lam).meta_gradient(tasks, theta)
    assert relative_error(result, unrolled) > 1e-2


def test_on_a_network_many_terms_agree_with_conjugate_gradient() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    series = make(ImamlNeumann, inner_steps=4, lam=3.0, terms=300)
    cg = make(ImamlGD, inner_steps=4, lam=3.0, cg_steps=60)
    assert relative_error(series.meta_gradient(tasks, theta), cg.meta_gradient(tasks, theta)) < 1e-8
