"""The counts of what a method asked of its objectives, as readings: one definition for every measure."""

from collections.abc import Iterator, Sequence

from harness.core.work import Work
from harness.protocol import Reading

COUNTED = {
    "gradient_evaluations": "gradients of a support or query loss",
    "hessian_products": "with those of a backward pass through a loop",
    "loss_evaluations": "losses without a derivative",
    "support_gradients": "gradients, each by its examples over those of the support set",
}
OF_A_LIBRARY = "its library calls the model by itself: what that differentiates is not counted"
NOT_ASKED = "it asked no objective for a gradient: what a method differentiates by itself is not counted"


def work_readings(
    point: int, parts: Sequence[Work], of: str, repeat: int = 0, *, support: int | None = None
) -> Iterator[Reading]:
    """Evaluations a task of what `of` names: of the slowest task of a chunk, the mean over chunks by tasks.

    Skipped where a library, or the method itself, differentiates the model: a part of the work is no measure
    of all of it. With `support`, the examples of a task's support set, also gradients in units of one of its.
    """
    tasks = sum(each.tasks for each in parts)
    totals: dict[str, float] = {
        "gradient_evaluations": sum(each.gradients for each in parts),
        "hessian_products": sum(each.hessian_products for each in parts),
        "loss_evaluations": sum(each.losses for each in parts),
    }
    if support is not None:
        totals["support_gradients"] = sum(each.gradient_examples for each in parts) / support
    of_a_library = any(each.library_calls for each in parts)
    if of_a_library or not totals["gradient_evaluations"]:
        why = OF_A_LIBRARY if of_a_library else NOT_ASKED
        for metric in totals:
            yield Reading(point, metric, None, "", repeat, status="skipped", detail=why)
        return
    for metric, total in totals.items():
        detail = f"of {of}, the slowest task of a chunk; {COUNTED[metric]}"
        yield Reading(point, metric, total / tasks, "count", repeat, detail=detail)
