"""What a method's `kind` promises of its meta-gradient, held against oracles that share no code with it."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from harness.conformance.finding import Read, Unread
from harness.conformance.problems import (
    Watched,
    dense_hessian,
    linear,
    relative_error,
    sine,
    smooth_mlp,
)
from harness.conformance.subject import Subject, adapt, meta_gradient, meta_of
from harness.core import trees
from harness.core.method import Method
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.measure.oracles import central_differences
from harness.workloads.linear_regression import implicit_meta_gradient

UNROLLED_STEPS = (1, 3, 10)
FIRST_ORDER_STEPS = (0, 1, 5)

DIFFERENCES, CLOSED_FORM, SAME = 1e-8, 1e-8, 1e-12
DENSE = 1e-4  # a network's Hessian has directions flat enough for a solver that sums a series to be slow


def same_inner_map(subject: Subject) -> Read:
    """The parameters at which `meta_gradient` evaluates the query, against the phi of `adapt`."""
    if subject.cls.kind == "pseudo":
        raise Unread("kind 'pseudo': its meta-gradient need not evaluate the query")
    tasks = sine(1)
    method = subject.at(4)
    meta = meta_of(method, tasks.model, 1)
    phi = adapt(method, tasks, meta)
    watched = Watched(tasks.model, tasks.query.shots.inputs)
    meta_gradient(method, replace(tasks, query=replace(tasks.query, model=watched)), meta)
    if not watched.seen:
        raise Unread("it evaluates the query by means of its own, not through tasks.query")
    away = min(relative_error({n: seen[n] for n in phi}, phi) for seen in watched.seen)
    remedy = "take the meta-gradient at the phi that `adapt` returns: share the loop between both."
    return Read("phi of meta_gradient against adapt's", away, SAME, remedy, "relative")


def promise(subject: Subject) -> Read:
    """Whatever the method's kind says of its meta-gradient."""
    return PROMISES[subject.cls.kind](subject)


def is_the_derivative(subject: Subject) -> Read:
    """unrolled: central differences of query.loss(adapt(support, meta)) over all meta-parameters."""
    tasks = smooth_mlp(1)
    errors = {}
    for steps in UNROLLED_STEPS:
        method = subject.at(steps)
        meta = meta_of(method, tasks.model, 1)

        def loss(at: Params, method: Method = method) -> Tensor:
            phi = adapt(method, tasks, at)
            with torch.no_grad():
                return tasks.query.loss(phi)

        exact, _ = central_differences(loss, meta)
        errors[steps] = relative_error(meta_gradient(method, tasks, meta), exact)
    worst = max(errors, key=lambda k: errors[k])
    remedy = (
        f"the meta-gradient is not the derivative of query.loss(adapt(support, meta)), by "
        f"{errors[worst]:.1e} at {worst} inner steps: keep the graph through every step (graph=True), mind "
        'its sign, or declare another `kind`, such as "first-order".'
    )
    return Read("meta-gradient against central differences", errors[worst], DIFFERENCES, remedy, "relative")


def is_the_implicit_one(subject: Subject) -> Read:
    """implicit, under the settings that the method calls converged: the closed form on linear regression, and
    a dense solve on a network. The figure is the one that comes nearer to its tolerance."""
    what = "meta-gradient against the closed form"
    if not subject.cls.converged:
        remedy = (
            "name the settings under which both the inner problem and the linear system are solved on a "
            "ridge problem of 6 weights and condition number 10: converged = {'inner_steps': 100, ...}."
        )
        return Read(what, None, CLOSED_FORM, remedy, "relative")
    changes = dict(subject.cls.converged)
    method = subject.at(changes.pop("inner_steps", 100), changes)
    lam = getattr(method, "lam", None)
    if lam is None:
        remedy = "an implicit method names its proximal strength `lam`, as in `lam: float = 2.0`."
        return Read(what, None, CLOSED_FORM, remedy, "relative")
    tasks = linear()
    meta = meta_of(method, tasks.model, 3)
    if more := _beside_the_model(tasks, meta):
        return Read(what, None, CLOSED_FORM, f"implicit {more}", "relative")
    (name,) = tasks.model.initial(0)
    exact = implicit_meta_gradient(tasks.batch, meta[name].mT, lam).mT
    error = relative_error(meta_gradient(method, tasks, meta), {name: exact})
    remedy = (
        f"under `converged` the meta-gradient is not (I + H/lam)^-1 v at the inner solution, by {error:.1e}: "
        "let both solvers run longer there, and mind its sign."
    )
    closed_form = Read(what, error, CLOSED_FORM, remedy, "relative")
    return closed_form if not closed_form.fits else max(closed_form, _at_phi(method, lam), key=_share)


def _at_phi(method: Method, lam: float) -> Read:
    """The dense linear system at the phi of `adapt`, where the Hessian is not the same everywhere."""
    tasks = smooth_mlp(2)
    meta = meta_of(method, tasks.model, 2)
    phi = adapt(method, tasks, meta)
    hessian = dense_hessian(tasks.support, phi)
    system = torch.eye(hessian.shape[-1], dtype=hessian.dtype) + hessian / lam
    v = trees.flatten(tasks.query.gradient(phi))
    exact = trees.unflatten(torch.linalg.solve(system, v), phi)
    error = relative_error(trees.subset(meta_gradient(method, tasks, meta), phi), exact)
    remedy = (
        f"under `converged` the meta-gradient of a network is not (I + H/lam)^-1 v, by {error:.1e}: take "
        "the Hessian H of the support loss and the query gradient v at the phi that `adapt` returns, and let "
        "the linear solver run longer there."
    )
    return Read("meta-gradient against a dense solve at phi", error, DENSE, remedy, "relative")


def _share(read: Read) -> float:
    """How much of its tolerance a figure takes."""
    assert read.figure is not None
    assert read.tolerance is not None
    return read.figure / read.tolerance


def _beside_the_model(tasks: TaskObjectives, meta: Params) -> str:
    """What to say of meta-parameters that are not the model's, of which only `unrolled` promises anything."""
    more = [name for name in meta if name not in tasks.model.initial(0)]
    if not more:
        return ""
    return (
        f"says nothing of the derivative with respect to {', '.join(more)}, which is none of the model's: "
        'declare kind = "unrolled", whose derivatives are all checked, or "approximate".'
    )


def is_first_order(subject: Subject) -> Read:
    """first-order: the query gradient at the phi of `adapt`."""
    what = "meta-gradient against the query's at phi"
    tasks = smooth_mlp()
    errors = []
    for steps in FIRST_ORDER_STEPS:
        method = subject.at(steps)
        meta = meta_of(method, tasks.model, 3)
        if more := _beside_the_model(tasks, meta):
            return Read(what, None, SAME, f"first-order {more}", "relative")
        phi = adapt(method, tasks, meta)
        gradient = meta_gradient(method, tasks, meta)
        errors.append(relative_error(trees.subset(gradient, phi), tasks.query.gradient(phi)))
    remedy = (
        "the meta-gradient is not tasks.query.gradient(adapt(tasks.support, meta)): mind its sign and scale, "
        "or declare another `kind`."
    )
    return Read(what, max(errors), SAME, remedy, "relative")


def nothing_exact(subject: Subject) -> Read:
    raise Unread(
        f"kind '{subject.cls.kind}': nothing exact is promised; shapes, determinism and learning are checked"
    )


PROMISES: dict[str, Callable[[Subject], Read]] = {
    "unrolled": is_the_derivative,
    "implicit": is_the_implicit_one,
    "first-order": is_first_order,
    "approximate": nothing_exact,
    "pseudo": nothing_exact,
}
