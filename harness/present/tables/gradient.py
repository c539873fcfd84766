"""The tables of meta-gradients: their errors, where those come from, and the work that they cost."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyze.gradient import error_floors, error_in_words
from harness.analyze.loaded import LoadedRun
from harness.analyze.summary import POINT
from harness.analyze.work import TARGETS, Order, orders_in, work_in
from harness.present.palette import NEWTON_METHODS, label_order
from harness.present.tables.grid import PARTLY, bare_table, grid, section

NONE = "-"
TITLES = {
    "rel_error_implicit": "Error against the exact implicit meta-gradient",
    "rel_error_unrolled": "Error against the derivative of phi_K",
}
READINGS = {
    "cosine_implicit": "1 - cos",
    "inner_residual": "inner",
    "solver_residual": "solver",
    "meta_gradient_norm": "norm",
    "solver_matvecs": "matvecs",
    "gradient_evaluations": "gradients",
    "hessian_products": "products",
}
MEANING = {
    "cosine_implicit": "1 - cos: of the angle to the implicit meta-gradient",
    "inner_residual": "inner: ||grad G(phi_K)||, what the inner loop has left (truncation)",
    "solver_residual": "solver: relative residual of the linear solve (solver error)",
    "meta_gradient_norm": "norm: of the meta-gradient",
    "solver_matvecs": "matvecs: Hessian products of the linear solver, the mean over tasks",
    "gradient_evaluations": "gradients: of support and query losses, a task",
    "hessian_products": "products: with a Hessian, the slowest task's, the solver's among them",
}
COUNTS = ("solver_matvecs", "gradient_evaluations", "hessian_products")


def gradient_sections(run: LoadedRun) -> list[RenderableType]:
    """Of each workload its errors, residuals and work; then how work grows with the condition number."""
    shown: list[RenderableType] = []
    summary, work = run.gradient, work_in(run.gradient)
    for workload, part in summary.groupby("workload"):
        for metric, title in TITLES.items():
            if part[metric].notna().any():
                shown.append(_errors(part, metric, f"{title}: {workload}"))
        if part[[*TITLES]].notna().any(axis=None):
            shown.append(_readings(part))
        reached = work[work.workload == workload]
        if reached.work.notna().any():
            shown.append(_work(reached))
    if found := orders_in(work, run.rows):
        shown.append(_growth(found))
    return shown


def _errors(part: pd.DataFrame, metric: str, title: str) -> RenderableType:
    has_it = part[metric].notna().groupby(part.method_label).transform("any")
    points = part[has_it & (part[metric].notna() | ~part.status.isin(("ok", "skipped")))]
    floors = sorted(error_floors(points, metric), key=lambda f: label_order(f.method, f.method_label))
    notes = ["Relative L2 error in float64, the mean over the tasks of a meta-batch."]
    if part.seeds.max() > 1:
        notes.append(f"Geometric mean over {part.seeds.max()} seeds.")
    notes += [floor.sentence for floor in floors]
    if ((points.failed > 0) & points[metric].notna()).any():
        notes.append(f"{PARTLY} some runs of this point failed; the value is of the others.")
    if newton := sorted(set(points.method) & NEWTON_METHODS):
        notes.append(f"An inner step of {', '.join(newton)} is a Newton step.")
    return section(title, grid(points, metric, lambda point: error_in_words(vars(point)[metric])), notes)


def _readings(part: pd.DataFrame) -> RenderableType:
    """Of each method at its most inner steps: its residuals tell truncation from solver error."""
    errors = part[part[[*TITLES]].notna().any(axis=1)]
    last = errors.loc[errors.groupby(POINT[1:3]).inner_steps.idxmax()]
    metrics = [metric for metric in READINGS if last[metric].notna().any()]
    rows = sorted(last.to_dict("records"), key=lambda r: label_order(r["method"], r["method_label"]))
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    table.add_column("steps", justify="right", min_width=5)
    cells = {metric: [_reading(row[metric], metric) for row in rows] for metric in metrics}
    for metric in metrics:
        width = max(map(len, [READINGS[metric], *cells[metric]]))
        table.add_column(READINGS[metric], justify="right", min_width=width)
    for i, row in enumerate(rows):
        table.add_row(
            Text(row["method_label"]), f"{row['inner_steps']:,}", *(cells[metric][i] for metric in metrics)
        )
    notes = [f"{'; '.join(MEANING[metric] for metric in metrics)}."]
    residuals = {"inner_residual", "solver_residual"} & set(metrics)
    what = "Where an error comes from" if residuals else "The meta-gradient and its cost"
    return section(f"{what}, at the most inner steps", table, notes)


def _reading(value: Any, metric: str) -> str:
    if pd.isna(value):
        return NONE
    if metric in COUNTS:
        return _count(value)
    if metric.startswith("cosine"):
        return error_in_words(max(0.0, 1 - value))
    return error_in_words(value)


def _count(value: float) -> str:
    """A mean over tasks may have a fraction."""
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def _work(reached: pd.DataFrame) -> RenderableType:
    # Errors against two truths do not belong side by side: an unrolled method has the second by definition.
    implicit = reached[reached.target == "rel_error_implicit"]

    def cell(line: Any) -> str:
        if pd.isna(line.work):
            return NONE
        products = f" + {_count(line.hessian_products)}" if line.hessian_products else ""
        return _count(line.gradient_evaluations) + products

    notes = [
        "Gradient evaluations + Hessian products of a task, at the cheapest measured inner steps from which "
        f"on the error stays so small; {NONE}: never."
    ]
    against = "the exact implicit meta-gradient" if len(implicit) else "the derivative of phi_K"
    notes.append(f"Errors are those against {against}, products the slowest task's.")
    return section("Work to reach an error", _by_error(implicit if len(implicit) else reached, cell), notes)


def _growth(found: list[Order]) -> RenderableType:
    lines = pd.DataFrame([vars(order) | {"sentence": order.sentence} for order in found])
    table = _by_error(lines, lambda line: f"{line.exponent:.2f}" + _without_solver(line))
    kappas = f"{lines.lowest.min():.3g} to {lines.highest.max():.3g}"
    # In words once a method, at the smallest error of which most condition numbers are known.
    best = lines.sort_values(["points", "error"], ascending=[False, True]).drop_duplicates("method_label")
    ordered = sorted(best.to_dict("records"), key=lambda r: label_order(r["method"], r["method_label"]))
    notes = [
        f"The exponent of the inner problem's condition number ({kappas}), by least squares; in brackets "
        "without the linear solver's products: the slowest task's less the solver's mean over tasks.",
        *(line["sentence"] for line in ordered),
    ]
    return section("Work grows with the condition number kappa as kappa to the power of", table, notes)


def _without_solver(line: Any) -> str:
    inner = f"{line.inner_exponent:.2f}"
    return "" if inner in ("nan", f"{line.exponent:.2f}") else f" ({inner})"


def _by_error(lines: pd.DataFrame, show: Callable[[Any], str]) -> Table:
    """Methods down, errors across."""
    table = bare_table()
    table.add_column("error", overflow="fold", min_width=8)
    errors = [error for error in TARGETS if (lines.error == error).any()]
    cells = {
        (str(line.method), str(line.method_label), line.error): show(line) for line in lines.itertuples()
    }
    for error in errors:
        column = [text for (_, _, at), text in cells.items() if at == error]
        width = max(len(word) for text in column for word in text.split(" + "))
        table.add_column(f"{error:.0e}".replace("e-0", "e-"), justify="right", min_width=width)
    methods = sorted({key[:2] for key in cells}, key=lambda key: label_order(*key))
    for key in methods:
        table.add_row(Text(key[1]), *(cells.get((*key, error), NONE) for error in errors))
    return table
