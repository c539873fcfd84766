"""What a method's `kind` promises of its meta-gradient, held against oracles that share no code with it."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from harness.conformance.finding import Read, Unread
from harness.conformance.problems import Watched, linear, relative_error, sine, smooth_mlp
from harness.conformance.subject import Subject, adapt, meta_gradient, meta_of
from harness.core.method import Method
from harness.core.trees import Params
from harness.measure.oracles import central_differences
from harness.workloads.linear_regression import implicit_meta_gradient

UNROLLED_STEPS = (1, 3, 10)
FIRST_ORDER_STEPS = (0, 1, 5)

DIFFERENCES, CLOSED_FORM, SAME = 1e-8, 1e-8, 1e-12


def same_inner_map(subject: Subject) -> Read:
    """The parameters at which `meta_gradient` evaluates the query, against the phi of `adapt`."""
    if subject.cls.kind == "pseudo":
        raise Unread("kind 'pseudo': its meta-gradient need not evaluate the query")
    tasks = sine(1)
    method = subject.at(4)
    meta = meta_of(method, tasks.model, 1)
    phi = adapt(method, tasks, meta)
    watched = Watched(tasks.model)
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
    """implicit: the closed form on linear regression, under the settings that the method calls converged."""
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
    (name,) = tasks.model.initial(0)
    exact = implicit_meta_gradient(tasks.batch, meta[name].mT, lam).mT
    error = relative_error({name: meta_gradient(method, tasks, meta)[name]}, {name: exact})
    remedy = (
        f"under `converged` the meta-gradient is not (I + H/lam)^-1 v at the inner solution, by {error:.1e}: "
        "let both solvers run longer there, and mind its sign."
    )
    return Read(what, error, CLOSED_FORM, remedy, "relative")


def is_first_order(subject: Subject) -> Read:
    """first-order: the query gradient at the phi of `adapt`."""
    tasks = smooth_mlp()
    errors = []
    for steps in FIRST_ORDER_STEPS:
        method = subject.at(steps)
        meta = meta_of(method, tasks.model, 3)
        phi = adapt(method, tasks, meta)
        gradient = meta_gradient(method, tasks, meta)
        errors.append(relative_error({n: gradient[n] for n in phi}, tasks.query.gradient(phi)))
    remedy = (
        "the meta-gradient is not tasks.query.gradient(adapt(tasks.support, meta)): mind its sign and scale, "
        "or declare another `kind`."
    )
    return Read("meta-gradient against the query's at phi", max(errors), SAME, remedy, "relative")


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
