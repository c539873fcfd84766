"""What `show` says of cost: meta-steps in gradients where a product has a price, else the counts alone."""

from typing import Any

import pandas as pd
from rich.console import RenderableType

from harness.analyze.cost import COUNTS, LOSS, CostModel, cost_models
from harness.analyze.finding import Doubts
from harness.present.tables.grid import grid, section


def cost_sections(table: pd.DataFrame, timed: Doubts) -> dict[str, list[RenderableType]]:
    """One a workload of which any point was counted, from `costs`; `timed`: of the rows of time."""
    return {
        model.workload: [_section(model, table, timed.about(model.evidence))] for model in cost_models(table)
    }


def _section(model: CostModel, table: pd.DataFrame, doubted: str) -> RenderableType:
    points = table[table.workload == model.workload]
    points = points.assign(status="skipped", failed=0)
    notes = [f"{model.sentence} {doubted[:1].upper()}{doubted[1:]}." if doubted else model.sentence]
    if points.gradients.notna().any():
        notes.append(
            "In gradients of the support loss, Hessian products at the fitted price, a loss as a third; in "
            "brackets how far the measured time is from the model's."
        )
    else:
        notes.append(
            "Gradients of the support loss, a loss as a third of one, + Hessian products, of a task."
        )
    reasons = points[points[COUNTS].isna().any(axis=1) & (points.reason != "")]
    for reason, part in reasons.groupby("reason", sort=False):
        notes.append(f"{', '.join(dict.fromkeys(part.method_label))}: {reason}.")
    if points.gradients.notna().any():
        return section("Cost of a meta-step, in gradients", grid(points, "gradients", _gradients), notes)
    points["counted"] = points[COUNTS].sum(axis=1, skipna=False)
    return section("Gradients and Hessian products of a meta-step", grid(points, "counted", _counts), notes)


def _gradients(point: Any) -> str:
    return f"{point.gradients:.3g} ({100 * point.error:+.0f}%)"


def _counts(point: Any) -> str:
    gradients = f"{point.support_gradients + LOSS * point.loss_evaluations:.3g}"
    return f"{gradients} + {point.hessian_products:.3g}" if point.hessian_products else gradients
