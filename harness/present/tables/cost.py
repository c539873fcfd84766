"""What `show` says of cost: meta-steps in gradients, beside the time that a gradient's price foretells."""

from typing import Any

import pandas as pd
from rich.console import RenderableType

from harness.analyze.cost import CostModel, cost_models
from harness.present.tables.grid import grid, section


def cost_sections(table: pd.DataFrame) -> dict[str, list[RenderableType]]:
    """One a workload of which any point was counted, from `costs`."""
    return {model.workload: [_section(model, table)] for model in cost_models(table)}


def _section(model: CostModel, table: pd.DataFrame) -> RenderableType:
    points = table[table.workload == model.workload]
    points = points.assign(status="skipped", failed=0)
    notes = [model.sentence]
    if points.gradients.notna().any():
        notes.append(
            "In gradients of the support loss, Hessian products at the fitted price, a loss as a third; in "
            "brackets how far the measured time is from the model's."
        )
    reasons = points[points.gradients.isna() & (points.reason != "")]
    for reason, part in reasons.groupby("reason", sort=False):
        notes.append(f"{', '.join(dict.fromkeys(part.method_label))}: {reason}.")
    return section("Cost of a meta-step, in gradients", grid(points, "gradients", _gradients), notes)


def _gradients(point: Any) -> str:
    return f"{point.gradients:.3g} ({100 * point.error:+.0f}%)"
