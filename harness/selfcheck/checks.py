"""The checks themselves. One that raises has failed, with what it raised as its note."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness import registry
from harness.core.method import Method
from harness.measure import allocator, prediction, resident, tracker
from harness.measure import time as clock
from harness.measure.bench import Bench
from harness.preflight import choose_device
from harness.protocol import SelfCheck
from harness.selfcheck import known
from harness.selfcheck.probes import PLAIN, Images, Null, Regression, Script, Sleep, bench
from harness.verdicts import Check, Checks, unchecked
from harness.workloads.base import Workload

KIB, MIB = 2**10, 2**20

SCRIPT = Script((300 * KIB, 500 * KIB, None, 200 * KIB, None, None, 700 * KIB + 64, 200 * KIB, None, None))
"""The peak is neither at the start nor at the end, nor the largest tensor, nor the sum of all. Multiples of
64 bytes, which is what the CPU's allocator aligns to; below 1 MiB, where CUDA's splits its blocks exactly."""

TOUCHED = 256 * MIB  # far above what the interpreter itself allocates in between
HELD_S = 0.2  # twenty of the sampler's intervals
SLEEP_S = 0.05
LATE_S = 0.02  # what a busy machine may be late to wake a sleeper, the best of several times
REPEATS = 3
QUICK_STEPS = 10  # of a null method, for one real step
FEW_STEPS, MANY_STEPS = 3, 6  # from two on, the peak lies in the backward pass through the last step
CUDA_BLOCK = 512  # bytes: the unit of the CUDA caching allocator (kMinBlockSize in its source)
LOOP_PERCENT = 1.0  # of the fastest real step: what the harness itself may cost

EXACT, TRACKED, ALLOCATED, RESIDENT = 0.0, 1e-4, 1e-3, 0.02


def selfcheck(asked: SelfCheck) -> Checks:
    """What came of every check that fits the device."""
    torch.set_num_threads(asked.threads)
    device = choose_device(asked.device)
    found: list[Check] = []
    for subject in subjects(device, asked.quick):
        try:
            found += subject.check(device)
        except Exception as failure:
            first = str(failure).strip().partition("\n")[0]
            found.append(unchecked(subject.instrument, f"{type(failure).__name__}: {first}"))
    return Checks(str(device), found)


@dataclass(frozen=True)
class Subject:
    """What is checked, and how. `quick` ones are checked before every run."""

    instrument: str
    check: Callable[[torch.device], Iterator[Check]]
    quick: bool = True


def subjects(device: torch.device, quick: bool) -> list[Subject]:
    """What there is to check on a device, in an order that matters: a fresh process comes first."""
    from harness.selfcheck import cuda  # which needs this module's words

    every = [
        Subject("resident peak", check_resident, quick=False),
        Subject("CPU allocator", check_allocator),
        Subject("tracker", check_tracker),
        Subject("clock", check_clock),
        Subject("null method", check_null_memory),
        Subject("MAML on an MLP", check_mlp),
        Subject("MAML on conv4", check_conv4, quick=False),
        Subject("prediction", check_prediction, quick=False),
        Subject("loop time", check_loop, quick=False),
    ]
    if device.type == "cuda":
        every += [
            Subject("CUDA allocator", cuda.check_allocator),
            # Not before every run: work for the device, and memory of it that others may need.
            Subject("CUDA clock", cuda.check_clock, quick=False),
            Subject("NVML", cuda.check_nvml, quick=False),
        ]
    return [subject for subject in every if subject.quick or not quick]


def compare(
    instrument: str,
    quantity: str,
    expected: float,
    read: float,
    unit: str,
    tolerance: float,
    *,
    relative: bool = True,
    low: float | None = None,
    note: str = "",
) -> Check:
    """A reading against what it should be. `tolerance` and `low`, the least error allowed (minus the
    tolerance if None), are shares of what is expected or, if not `relative`, in its unit."""
    error = (read - expected) / expected if relative else read - expected
    fits = (-tolerance if low is None else low) <= error <= tolerance
    return Check(
        instrument,
        quantity,
        expected,
        read,
        unit,
        error,
        tolerance,
        "ok" if fits else "failed",
        relative,
        note,
    )


def check_allocator(device: torch.device) -> Iterator[Check]:
    cpu = torch.device("cpu")
    SCRIPT.play(cpu)  # what a first tensor makes
    read = allocator.allocator_peak(lambda: SCRIPT.play(cpu))
    yield compare("CPU allocator", "allocations of a script", SCRIPT.peak(), read, "byte", EXACT)


def check_tracker(device: torch.device) -> Iterator[Check]:
    with tracker.LiveStorages([]) as live:
        SCRIPT.play(device)
    yield compare("tracker", "allocations of a script", SCRIPT.peak(), live.peak, "byte", EXACT)


def check_resident(device: torch.device) -> Iterator[Check]:
    quantity = f"{TOUCHED // MIB} MiB touched, held for {HELD_S} s"

    def touch() -> None:
        held = np.ones(TOUCHED, np.uint8)
        time.sleep(HELD_S)
        del held

    try:
        read = resident.FreshProcess(lambda: touch).read()
    except resident.Unreadable as failure:
        yield unchecked("resident peak", str(failure), "skipped")
        return
    for name, peak in (("resident peak", read.peak), ("resident samples", read.sampled)):
        yield compare(name, quantity, TOUCHED, peak - read.before, "byte", RESIDENT)


def check_clock(device: torch.device) -> Iterator[Check]:
    sleeper = bench(_made(Sleep, seconds=SLEEP_S), Regression(widths=(2, 2), examples=2), device)
    contestant = clock.warm_up(sleeper, 0)
    read = min(clock.time_step(contestant, device) for _ in range(REPEATS))
    quantity = f"a step that sleeps, best of {REPEATS}"
    yield compare("clock", quantity, SLEEP_S, read, "s", LATE_S, relative=False, low=0.0)


def check_null_memory(device: torch.device) -> Iterator[Check]:
    """Of T tasks and one weight of P bytes, a meta-step holds T P of gradients while it makes their mean over
    the tasks (P), above the baseline of P and the meta-batch."""
    tasks, width, n, queries = 3, 64, 6, 4
    weight = width * width * known.FLOAT
    batch = tasks * (n + queries) * 2 * width * known.FLOAT
    workload = Regression(widths=(width, width), examples=n, queries=queries)
    read = read_peaks(bench(_made(Null), workload, device, tasks)).tracked
    expected = weight + batch + tasks * weight + weight
    yield compare("tracker", "a meta-step of a null method", expected, read, "byte", EXACT)


@dataclass(frozen=True)
class Derived:
    """Unrolled MAML on a workload whose kept tensors are derived, in bytes (see `known`)."""

    what: str
    workload: Workload
    tasks: int
    kept: list[int]

    def at(self, inner_steps: int, device: torch.device) -> Bench:
        return bench(_method("maml", inner_steps), self.workload, device, self.tasks)


def maml_on_mlp(tasks: int = 3) -> Derived:
    w = Regression(widths=(4, 32, 24, 3), examples=20)
    return Derived(
        "MAML on an MLP", w, tasks, known.kept_by_mlp_step(w.widths, w.activation, w.examples, tasks)
    )


def maml_on_conv4(tasks: int = 2) -> Derived:
    w = Images(ways=5, filters=8, channels=3, size=14, examples=10, queries=5)
    kept = known.kept_by_conv4_step(
        ways=w.ways,
        filters=w.filters,
        channels=w.channels,
        size=w.size,
        activation=w.activation,
        examples=w.examples,
        tasks=tasks,
    )
    return Derived("MAML on conv4", w, tasks, kept)


def check_mlp(device: torch.device) -> Iterator[Check]:
    yield from check_slope(maml_on_mlp(), device)


def check_conv4(device: torch.device) -> Iterator[Check]:
    yield from check_slope(maml_on_conv4(), device)


def check_slope(derived: Derived, device: torch.device) -> Iterator[Check]:
    """Bytes of a further inner step against the tensors that it is derived to keep, and the tracker against
    the allocator."""
    low, high = (read_peaks(derived.at(steps, device)) for steps in (FEW_STEPS, MANY_STEPS))

    def slope(instrument: str, first: int, last: int, expected: int, tolerance: float) -> Check:
        read = (last - first) / (MANY_STEPS - FEW_STEPS)
        return compare(instrument, f"{derived.what}: an inner step", expected, read, "byte", tolerance)

    yield slope("tracker", low.tracked, high.tracked, sum(derived.kept), TRACKED)
    if device.type == "cuda":
        yield slope("CUDA requested", low.requested, high.requested, sum(derived.kept), ALLOCATED)
        blocks = known.in_blocks(derived.kept, CUDA_BLOCK)
        yield slope("CUDA allocator", low.allocated, high.allocated, blocks, ALLOCATED)
    else:
        yield slope("CPU allocator", low.allocated, high.allocated, sum(derived.kept), ALLOCATED)
    quantity = f"{derived.what}: at most the allocator's"
    yield compare("tracker", quantity, high.allocated, high.tracked, "byte", EXACT, low=-1.0)


def check_prediction(device: torch.device) -> Iterator[Check]:
    for derived in (maml_on_mlp(), maml_on_conv4()):
        point = derived.at(FEW_STEPS, device)
        expected, read = read_peaks(point).tracked, prediction.predicted_peak(point).peak
        yield compare("prediction", f"{derived.what}: the tracked peak", expected, read, "byte", TRACKED)


def check_loop(device: torch.device) -> Iterator[Check]:
    """What the harness itself costs of a meta-step, beside the fastest of the suite `time-scaling`: that of
    first-order MAML at one inner step. Both with the plain outer rule: Adam's work is not the harness's."""
    workload = Images(
        ways=20, filters=64, size=28, examples=100, queries=20, activation="relu", norm="batch-stats"
    )
    methods = (_made(Null), replace(_method("fomaml", 1), outer=PLAIN))
    null, real = (clock.warm_up(bench(method, workload, device), i) for i, method in enumerate(methods))
    loop = min(clock.time_step(null, device) for _ in range(REPEATS * QUICK_STEPS))
    step = min(clock.time_step(real, device) for _ in range(REPEATS))
    check = compare(
        "loop time",
        "a null method's step, of a real one's",
        0.0,
        100 * loop / step,
        "%",
        LOOP_PERCENT,
        relative=False,
        note=f"{loop * 1e3:.2f} of {step * 1e3:.1f} ms: FOMAML, one inner step, conv4, 20-way 5-shot",
    )
    if device.type == "cuda":
        why = f"no limit is set where launching a step takes as long as the step itself: {check.note}"
        check = replace(check, status="skipped", note=why)
    yield check


@dataclass(frozen=True)
class Peaks:
    """Bytes at the peak of a meta-step. `requested`: of the CUDA allocator, before rounding."""

    tracked: int
    allocated: int
    requested: int


def read_peaks(point: Bench) -> Peaks:
    """Read as the memory measure does, each instrument in a pass of its own."""
    learner, batch = point.learner(total_steps=4), point.meta_batch()
    learner.step(batch)
    here = point.resident(learner, batch)
    if point.device.type == "cuda":
        peaks = allocator.cuda_peaks(lambda: learner.step(batch), point.device)
        allocated, requested = peaks.allocated, peaks.requested
    else:
        above = allocator.allocator_peak(lambda: learner.step(batch))
        allocated = requested = tracker.storage_bytes(here) + above
    with tracker.LiveStorages(here, device=point.device.type) as live:
        learner.step(batch)
    return Peaks(live.peak, allocated, requested)


def _made(cls: type[Method], **settings: float) -> Method:
    """A probe with the plain outer rule."""
    make: Callable[..., Method] = cls
    return make(inner_steps=1, outer=PLAIN, **settings)


def _method(name: str, inner_steps: int) -> Method:
    """A method of the registry with its defaults."""
    make: Callable[..., Method] = registry.load_method(name, "selfcheck")[1]
    return make(inner_steps=inner_steps)
