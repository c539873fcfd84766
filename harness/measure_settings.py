"""What a suite may say of each measure: the settings of the instruments, checked.

No torch here: both the parent and its workers load it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Measure = Literal["memory", "time", "gradient", "accuracy"]
Positive = Annotated[int, Field(ge=1, strict=True)]
PositiveSteps = Annotated[list[Positive], Field(min_length=1)]
InnerSteps = PositiveSteps | dict[str, PositiveSteps]
"""A list for all methods, or a table of them by method name, "*" being all others."""

ALL_OTHERS = "*"  # in a table by method: every method that it does not name


class MeasureSettings(BaseModel):
    """What all measures have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    without: ClassVar[dict[str, str]] = {}
    """Keys of other measures that somebody may look for here -> why they are not."""

    inner_steps: InnerSteps | None = None
    """Narrows the suite's inner steps for this measure."""

    meta_batch_size: Positive = 4
    """Tasks of one meta-step."""

    task_chunk: Positive | None = None
    """Tasks that a method sees at once; None for the whole meta-batch."""

    execution: Literal["vectorized", "loop"] = "vectorized"
    """How the tasks of a chunk are evaluated: in one call of the model, or one after another."""


def _refuse_float16(precision: str) -> str:
    if precision == "float16":
        raise ValueError(
            "float16 holds nothing below 6e-8, and a loss scale that lifts a gradient above that presses "
            "what its derivative is made of as far below; take bfloat16, which has the range of float32"
        )
    return precision


Precision = Literal["float32", "bfloat16"]


class SteppingSettings(MeasureSettings):
    """Of a measure that takes the meta-steps of a training; that of the gradient computes in float64."""

    precision: Annotated[Precision | Literal["float16"], AfterValidator(_refuse_float16)] = "float32"
    """Of the forward passes, by torch's autocast; meta-parameters and the outer rule stay float32."""


class AccuracySettings(SteppingSettings):
    """Meta-train, select on validation tasks, test on fresh ones."""

    meta_steps: Positive = 1000
    validate_every: Positive = 100
    validation_tasks: Positive = 100
    test_tasks: Annotated[int, Field(ge=2, strict=True)] = 600
    test_inner_steps: Positive | dict[str, Positive] | None = None
    """Inner steps at validation and test; None for those of training. In a suite also a table by method
    name, "*" being all others; in a cell its method's own."""

    patience: Positive | None = None
    """Validations in a row without a better one after which training ends; None for never. A rate that is
    annealed falls over `meta_steps` all the same, so that such a training ends before its rate is down."""

    untrained: bool = True
    """Also test the untrained initialisation, as a floor."""

    test: bool = True
    """False leaves the test split alone: a search for settings reads validation scores only."""


MemoryMetric = Literal[
    "scratch_bytes",
    "predicted_peak_bytes",
    "resident_peak_bytes",
    "requested_bytes",
    "reserved_bytes",
    "workspace_bytes",
    "nvml_bytes",
]
"""Readings of the memory measure beside `peak_bytes`, `baseline_bytes` and `tracked_peak_bytes`."""


Profile = Literal["tensors", "cuda", "cuda-hopper"]
"""Devices whose allocators a prediction can take into account; `tensors` adds nothing."""


class MemorySettings(SteppingSettings):
    """Peak of allocated bytes during one meta-step."""

    metrics: list[MemoryMetric] | None = None
    """The readings beside the peak, its baseline and the tracked peak; None for all that the device gives.
    One that is named and cannot be given is a row `skipped`, with the reason."""


class TimeSettings(SteppingSettings):
    """Wall-clock of a meta-step, in blocks of interleaved rounds."""

    # Theil-Sen on 9 minima: its spread was 10% on a shared 2-core machine (DESIGN, section 6).
    rounds: Positive = 9
    blocks: Positive = 3


Oracle = Literal["implicit", "unrolled"]
"""The derivative at the inner problem's solution phi*, and that of the map from theta to phi_K."""


class GradientSettings(MeasureSettings):
    """The meta-gradient of one meta-batch, in float64, beside what it should be."""

    without: ClassVar[dict[str, str]] = {"precision": "method and oracles compute in float64"}

    oracles: Annotated[
        list[Oracle], Field(min_length=1), AfterValidator(lambda named: list(dict.fromkeys(named)))
    ] = ["implicit", "unrolled"]
    """What it is held against. The implicit one exists for methods with a `lam` above 0."""


SETTINGS: dict[Measure, type[MeasureSettings]] = {
    "memory": MemorySettings,
    "time": TimeSettings,
    "gradient": GradientSettings,
    "accuracy": AccuracySettings,
}
"""In the order in which a run takes them: time learns from memory what does not fit."""
