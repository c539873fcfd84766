"""What the parent and its workers agree upon: cells, points, messages.

No torch here: both sides load it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.core.search import SearchSpace
from harness.measure_settings import AccuracySettings, GradientSettings, Measure, MeasureSettings, Profile
from harness.verdicts import Checks, Conformed, Finding

Status = Literal["ok", "oom", "timeout", "diverged", "error", "skipped", "interrupted"]


@dataclass(frozen=True)
class MethodSpec:
    """A method as asked for: a built-in or entry-point name, or `path.py:Class`, with settings."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    """The suite's defaults: taken where the method has such a setting."""

    where: str = "--method"
    """For errors: the file and key, or the option, that asked for it."""


@dataclass(frozen=True)
class ResolvedMethod:
    """A method as the preflight found it."""

    spec: MethodSpec
    name: str
    settings: dict[str, Any]
    """All of them, `inner_steps` left out."""

    source: str
    """Hash of the adapter's file, its base classes' and the modules beside it that it imports."""

    missing: str | None = None
    """What to install, if its library is absent, too old or broken: its points are skipped."""

    libraries: dict[str, str] = field(default_factory=dict)
    """Package -> version, of the libraries that the adapter names; in `source` too."""

    broken: str | None = None
    """What is wrong with its adapter, and where, if it is no method as it is: its points are errors."""

    search_space: SearchSpace = field(default_factory=dict)
    """Where its settings may be looked for."""

    variant: str = ""
    """What tells it from others of its name in the same plan, for progress lines."""

    @property
    def runs(self) -> bool:
        """Whether there is a class to make instances of."""
        return self.missing is None and self.broken is None


@dataclass(frozen=True)
class WorkloadSpec:
    """A workload as asked for."""

    name: str
    settings: dict[str, Any]
    where: str = "the suite"


@dataclass(frozen=True)
class ResolvedWorkload:
    """A workload as the preflight found it. `label` carries its settings, as rows do."""

    spec: WorkloadSpec
    label: str
    score: str
    fingerprint: str
    batching: str
    variant: str = ""
    """What tells it from others of its name in the same plan, for progress lines."""


@dataclass(frozen=True)
class MetaStep:
    """A meta-step as some cell takes it: a method on a workload, so many tasks at a time."""

    method: MethodSpec
    workload: WorkloadSpec
    meta_batch_size: int


@dataclass(frozen=True)
class Request:
    """What the preflight checks."""

    methods: tuple[MethodSpec, ...]
    workloads: tuple[WorkloadSpec, ...]
    inner_steps: tuple[int, ...]
    device: str
    threads: int
    data_root: str | None
    memory_budget: int | None = None
    meta_steps: tuple[MetaStep, ...] = ()
    deterministic: bool = False
    tf32: bool = False
    precisions: frozenset[str] = frozenset()
    """Of the measures that have one."""


@dataclass(frozen=True)
class Resolved:
    """The preflight's answer."""

    methods: tuple[ResolvedMethod, ...]
    workloads: tuple[ResolvedWorkload, ...]
    device: str
    environment: dict[str, Any]
    """What only a process with torch can know: versions, device, thread count."""


@dataclass(frozen=True)
class Point:
    """One method at one number of inner steps."""

    method: ResolvedMethod
    inner_steps: int

    @property
    def label(self) -> str:
        variant = f"[{self.method.variant}]" if self.method.variant else ""
        return f"{self.method.name}{variant} {self.inner_steps}"


@dataclass(frozen=True)
class Cell:
    """One point of a grid; for `time`, one block that holds all points."""

    measure: Measure
    settings: MeasureSettings
    workload: ResolvedWorkload
    points: tuple[Point, ...]
    seed: int
    device: str
    threads: int
    data_root: str | None
    memory_budget: int | None
    block: int
    code: str
    """Hash of the harness's own sources that decide a number."""

    deterministic: bool
    """Whether a GPU may use deterministic kernels only."""

    tf32: bool
    """Whether it may round the factors of float32 products to TF32."""

    identity: str
    """What else the cell's id depends on: versions, device name, thread count."""

    @property
    def headline(self) -> str:
        """The metric that says how a point of this cell fared."""
        match self.measure:
            case "memory":
                return "peak_bytes"
            case "time":
                return "step_seconds"
            case "gradient":
                assert isinstance(self.settings, GradientSettings)
                # Every method with a meta-gradient has the first; the second takes a `lam`.
                oracle = "unrolled" if "unrolled" in self.settings.oracles else "implicit"
                return f"rel_error_{oracle}"
            case "accuracy":
                assert isinstance(self.settings, AccuracySettings)
                score = self.workload.score
                return score if self.settings.test else f"selected_validation_{score}"

    @property
    def id(self) -> str:
        """Content address: equal for equal work, different after any change that may change a number."""
        settings = self.settings.model_dump(exclude={"inner_steps"})
        content = {
            "measure": self.measure,
            "settings": settings,
            "workload": [self.workload.label, self.workload.fingerprint, self.workload.batching],
            "points": [
                [p.method.name, p.method.settings, p.method.source, p.inner_steps] for p in self.points
            ],
            "seed": self.seed,
            "block": self.block,
            "memory_budget": self.memory_budget,
            "code": self.code,
            "deterministic": self.deterministic,
            "tf32": self.tf32,
            "identity": self.identity,
        }
        return digest(content)

    @property
    def label(self) -> str:
        """For progress lines: `accuracy glyphs maml 8 seed 0`."""
        what = self.points[0].label if len(self.points) == 1 else f"block {self.block}"
        variant = f"[{self.workload.variant}]" if self.workload.variant else ""
        return f"{self.measure} {self.workload.spec.name}{variant} {what} seed {self.seed}"


def digest(content: Any) -> str:
    """16 hexadecimal digits of a SHA-256 over canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return asdict(value)


@dataclass(frozen=True)
class Reading:
    """What an instrument says of a point; the parent makes a row of it."""

    point: int
    metric: str
    value: float | None
    unit: str
    repeat: int = 0
    status: Status = "ok"
    detail: str = ""


@dataclass(frozen=True)
class Samples:
    """A table kept beside the rows, as `<name>.csv` in the cell's folder."""

    name: str
    columns: dict[str, list[Any]]

    def __post_init__(self) -> None:
        if len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError(f"the columns of {self.name} are of different lengths")


@dataclass(frozen=True)
class At:
    """The worker begins with a point: the clock of `--timeout` starts anew, and a death from here on is
    this point's."""

    point: int


@dataclass(frozen=True)
class Progress:
    """Fraction of the cell that is done, with a word on how it goes."""

    fraction: float
    note: str = ""
    left_s: float | None = None
    """Seconds until it is done, at most, where the cell knows better than its fraction tells."""


@dataclass(frozen=True)
class Done:
    """The cell came to its end; points that failed have their readings."""


@dataclass(frozen=True)
class Refused:
    """The preflight found bad input: one sentence."""

    sentence: str


@dataclass(frozen=True)
class Crashed:
    """The worker's own code raised where no point is to blame. Its traceback is in the log."""

    sentence: str


@dataclass(frozen=True)
class Keeping:
    """Files in which a training keeps what is to outlive its process."""

    checkpoint: str
    every_s: float
    """Seconds between two checkpoints; one after a validation may come sooner."""

    parameters: str | None = None
    """For the selected meta-parameters, where they are to stay."""


@dataclass(frozen=True)
class Launch:
    """Asks for a cell, without the points at which an earlier process of it ended."""

    cell: Cell
    without: frozenset[int] = frozenset()
    keeping: Keeping | None = None
    """None keeps nothing: a training that is cut short begins anew."""


@dataclass(frozen=True)
class Listing:
    """Name, summary and settings of each thing that was asked for."""

    entries: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Search:
    """Asks how many inner steps of a memory cell's method fit a budget, by prediction."""

    cell: Cell
    budget: int
    profile: Profile
    """Of the device whose budget it is."""

    up_to: int
    patience_s: float
    verify: bool
    """Whether to run the step at both neighbours too."""


@dataclass(frozen=True)
class Wall:
    """Where a method outgrows a budget: it fits at `fits` inner steps (None: not at 1) and not at `fails`
    (None: no wall was met, and `note` says how far was looked)."""

    fits: int | None = None
    fails: int | None = None
    peaks: dict[int, int] = field(default_factory=dict)
    """Predicted peak in bytes of every number of inner steps that was looked at."""

    note: str = ""
    verified: str = ""


@dataclass(frozen=True)
class SelfCheck:
    """Asks for the instruments to be held against known quantities; `quick`: only what takes no second."""

    device: str
    threads: int
    quick: bool = False


@dataclass(frozen=True)
class Sampling:
    """Asks what the episodes of a meta-batch cost beside a meta-step and beside another library's loader."""

    workload: WorkloadSpec
    method: MethodSpec
    inner_steps: int
    meta_batch_size: int
    rounds: int
    threads: int
    data_root: str | None


@dataclass(frozen=True)
class Sampled:
    """CPU seconds of a meta-batch of episodes, or of a meta-step, by who took them: one a round."""

    seconds: dict[str, list[float]]
    missing: str = ""
    """What to install, if the other library is absent."""


@dataclass(frozen=True)
class Conformance:
    """Asks for a method to be held against its contract. Answered by a Finding a check, each announced by a
    Progress with its name."""

    spec: MethodSpec
    threads: int


Task = Request | Launch | Search | SelfCheck | Sampling | Conformance | Literal["methods", "workloads"]
"""What a worker may be asked for."""

Message = (
    Reading
    | Samples
    | At
    | Progress
    | Done
    | Refused
    | Crashed
    | Resolved
    | Listing
    | Wall
    | Checks
    | Sampled
    | Finding
    | Conformed
)
"""What a worker may say."""
