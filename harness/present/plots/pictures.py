"""The pictures of a run: which column of a measure's summary each draws, against what, in which unit."""

from dataclasses import dataclass

from harness.analyze.scaling.growth import MIB


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture; a measure may have several, whose first stands for it in the overview."""

    measure: str
    metrics: tuple[str, ...]  # of the rows that it draws
    shows: tuple[str, ...]  # those of them that stand along its axis of values
    value: str  # column of the summary, as are those that follow
    low: str = "low"
    high: str = "high"
    across: str = "inner_steps"
    subject: str  # for titles that have nothing to say
    ylabel: str
    xlabel: str = "inner steps"
    truth: str = ""  # what a relative error is relative to
    unit: float = 1.0  # what a value is multiplied by to be in the unit of the axis
    is_error: bool = False  # a relative error: orders of magnitude, whatever the values
    is_partial: bool = False  # a quantity that not every method has: those without are left out


def _error(of: str, truth: str, *, of_work: bool = False) -> Picture:
    value = f"rel_error_{of}"
    work = ("gradient_evaluations", "hessian_products") if of_work else ()
    return Picture(
        measure="gradient",
        metrics=(value, *work),
        shows=(value,),
        value=value,
        low=f"{value}_low",
        high=f"{value}_high",
        across="work" if of_work else "inner_steps",
        subject="Error of the meta-gradient",
        ylabel="relative error of the meta-gradient",
        xlabel="gradients and Hessian products of a task" if of_work else "inner steps",
        truth=truth,
        is_error=True,
        is_partial=True,
    )


IMPLICIT, UNROLLED = "error against the exact implicit meta-gradient", "error against the derivative of phi_K"
PICTURES = {
    "accuracy": Picture(
        measure="accuracy",
        metrics=(
            "accuracy",
            "loss",
            "untrained_accuracy",
            "untrained_loss",
            "neighbour_accuracy",
            "hausdorff_accuracy",
        ),
        shows=("accuracy", "loss"),
        value="mean",
        subject="Test accuracy",
        ylabel="accuracy on fresh tasks (%)",
        unit=100.0,
    ),
    "memory": Picture(
        measure="memory",
        metrics=("peak_bytes", "predicted_peak_bytes"),
        shows=("peak_bytes",),
        value="peak_bytes",
        subject="Peak memory",
        ylabel="peak memory of a meta-step (MiB)",
        unit=1 / MIB,
    ),
    "time": Picture(
        measure="time",
        metrics=("step_seconds",),
        shows=("step_seconds",),
        value="median",
        subject="Time of a meta-step",
        ylabel="time of a meta-step (ms)",
        unit=1e3,
    ),
    "gradient": _error("implicit", IMPLICIT),
    "gradient-unrolled": _error("unrolled", UNROLLED),
    "gradient-norm": Picture(
        measure="gradient",
        metrics=("meta_gradient_norm",),
        shows=("meta_gradient_norm",),
        value="meta_gradient_norm",
        low="meta_gradient_norm_low",
        high="meta_gradient_norm_high",
        subject="Norm of the meta-gradient",
        ylabel="norm of the meta-gradient",
        is_partial=True,
    ),
    "gradient-work": _error("implicit", IMPLICIT, of_work=True),
}
OVERVIEW, PARETO, TRACE, TRAINING = "overview", "pareto", "memory-trace", "training"
ALL_PICTURES = (*PICTURES, OVERVIEW, PARETO, TRACE, TRAINING)
