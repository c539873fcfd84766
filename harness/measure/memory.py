"""`memory`: peak of allocated bytes during one meta-step, each reading in a pass of its own."""

from collections.abc import Callable, Iterator

from harness.measure import nvml
from harness.measure.allocator import CudaPeaks, allocator_peak, cuda_peaks
from harness.measure.bench import Bench
from harness.measure.prediction import PROFILES, Unpredictable, cuda_profile, predicted_peak
from harness.measure.resident import FreshProcess, Unreadable
from harness.measure.tracker import LiveStorages, storage_bytes
from harness.measure_settings import MemoryMetric, MemorySettings
from harness.protocol import Reading, Samples, Status

MIB = 2**20
EXACT = 1e-4  # relative: how close a prediction must come to the tracker
SAMPLED_ABOVE = 0.01  # relative: the kernel counts pages in batches, so a sample may be ahead of its peak
SAMPLED_BELOW = 0.1  # relative: what 10 ms between two samples may miss
FEW_PAGES = 16 * MIB  # below which the C heap's habits outweigh the tensors in a resident peak


def measure_memory(bench: Bench) -> Iterator[Reading | Samples]:
    """Every reading that the settings ask for, in bytes.

    The step includes the outer update with its state present. The baseline is meta-parameters, outer state
    and meta-batch: all that stays on the device between meta-steps.
    """
    asked = Asked(bench)
    fresh = asked.fresh_process(bench)  # forked before anything is computed here, and run last
    predicted = None
    if asked.for_("predicted_peak_bytes"):
        # First: it needs no memory to speak of, so it is known even where the step does not fit.
        for reading in _predictions(bench):
            predicted = reading.value if reading.metric == "predicted_peak_bytes" else predicted
            yield reading
    bench.check_budget()

    learner, batch = bench.learner(total_steps=4), bench.meta_batch()
    learner.prime()
    start = {name: p.cpu().clone() for name, p in learner.meta.items()}
    resident = bench.resident(learner, batch)
    baseline = storage_bytes(resident)

    def rewind() -> None:
        """Every pass steps from the same parameters: what a solver needs may depend on them."""
        for name, p in learner.meta.items():
            p.copy_(start[name])

    def step() -> None:
        learner.step(batch)

    if bench.device.type == "cuda":
        step()  # for the workspaces and plans that libraries make once
        rewind()
        peaks = cuda_peaks(step, bench.device)
        peak = peaks.allocated
        readings = list(_cuda_readings(peaks, bench, baseline, asked))
    else:
        peak = baseline + allocator_peak(step)
        detail = f"CPU allocator through torch.profiler; {bench.step_in_words}"
        readings = [Reading(0, "peak_bytes", peak, "byte", detail=detail)]
    learner.check_finite("one meta-step")
    yield Reading(0, "baseline_bytes", baseline, "byte", detail=bench.step_in_words)
    yield from readings
    rewind()
    with LiveStorages(resident, device=bench.device.type) as tracker:
        step()
    yield from _tracked(tracker, bench, peak, predicted, asked)
    yield from _resident_readings(fresh, tracker.peak - baseline)
    yield from asked.in_vain()


class Asked:
    """Which readings the settings ask for: those that they name, or all that the device can give."""

    def __init__(self, bench: Bench) -> None:
        assert isinstance(bench.settings, MemorySettings)
        self.device = bench.device
        self.named = bench.settings.metrics

    def for_(self, metric: MemoryMetric) -> bool:
        return self.named is None or metric in self.named

    def fresh_process(self, bench: Bench) -> FreshProcess | Unreadable | None:
        """For the resident peak, on a CPU: a GPU would have to hold a second step, and it reads the host."""
        if not self.for_("resident_peak_bytes") or self.device.type != "cpu":
            return None
        try:
            return FreshProcess(lambda: _first_step(bench))
        except Unreadable as failure:
            return failure

    def in_vain(self) -> Iterator[Reading]:
        """A row for what was named and cannot be read on this device: never a zero, never nothing."""
        others: tuple[MemoryMetric, ...] = (
            ("resident_peak_bytes",)
            if self.device.type == "cuda"
            else ("requested_bytes", "reserved_bytes", "workspace_bytes", "nvml_bytes")
        )
        for metric in others:
            if self.named is not None and metric in self.named:
                kind = "CPU cells" if self.device.type == "cuda" else "CUDA devices"
                yield skipped(metric, f"a reading of {kind}; this cell ran on {self.device}")


def skipped(metric: str, why: str) -> Reading:
    return Reading(0, metric, None, "", status="skipped", detail=why)


def flag(number: int, warning: str) -> Reading:
    return Reading(0, "flag", None, "", repeat=number, detail=warning)


def _predictions(bench: Bench) -> Iterator[Reading]:
    """Of the tensors, and on CUDA of what its allocator makes of them."""
    try:
        peak = predicted_peak(bench).peak
        detail = f"on fake tensors; {bench.step_in_words}"
        yield Reading(0, "predicted_peak_bytes", peak, "byte", detail=detail)
        if bench.device.type == "cuda":
            name = cuda_profile(bench.device)
            allocated = predicted_peak(bench, profile=PROFILES[name]).peak
            detail = f"on fake tensors, {PROFILES[name].source} (profile {name})"
            yield Reading(0, "predicted_allocated_bytes", allocated, "byte", detail=detail)
    except Unpredictable as failure:
        yield skipped("predicted_peak_bytes", str(failure))


def _cuda_readings(peaks: CudaPeaks, bench: Bench, baseline: int, asked: Asked) -> Iterator[Reading]:
    """What is allocated before the step beyond the baseline are library workspaces (cuBLAS takes its own from
    the same allocator): they are part of the peak, and a row of their own."""
    statistic = "torch.cuda.memory_stats {}.all.peak; " + bench.step_in_words
    yield Reading(0, "peak_bytes", peaks.allocated, "byte", detail=statistic.format("allocated_bytes"))
    if asked.for_("requested_bytes"):
        detail = statistic.format("requested_bytes")
        yield Reading(0, "requested_bytes", peaks.requested, "byte", detail=detail)
    if asked.for_("reserved_bytes"):
        yield Reading(0, "reserved_bytes", peaks.reserved, "byte", detail=statistic.format("reserved_bytes"))
    if asked.for_("workspace_bytes"):
        detail = "allocated between steps beyond the baseline"
        yield Reading(0, "workspace_bytes", peaks.before - baseline, "byte", detail=detail)
    if peaks.disturbed:
        yield flag(0, f"the allocator had to retry during the step: {peaks.disturbed}")
    if asked.for_("nvml_bytes"):
        try:
            used = nvml.process_bytes(bench.device.index or 0)
            detail = "what the driver holds for this process, its context included, after the step"
            yield Reading(0, "nvml_bytes", used, "byte", detail=detail)
            if used < peaks.reserved:
                yield flag(1, f"NVML saw {used:,} bytes, fewer than torch reserved ({peaks.reserved:,})")
        except nvml.Unreadable as failure:
            yield skipped("nvml_bytes", str(failure))


def _tracked(
    tracker: LiveStorages, bench: Bench, peak: int, predicted: float | None, asked: Asked
) -> Iterator[Reading | Samples]:
    where = f"in {tracker.peak_phase}, after {tracker.peak_operator}"
    detail = f"{where}; {bench.step_in_words}"
    yield Reading(0, "tracked_peak_bytes", tracker.peak, "byte", detail=detail)
    yield Samples("memory_trace", tracker.short_trace())
    if asked.for_("scratch_bytes"):
        if tracker.peak <= peak:
            yield Reading(0, "scratch_bytes", peak - tracker.peak, "byte", detail="allocator less tracker")
        else:
            why = (
                f"the tracker is {tracker.peak - peak:,} bytes above the allocator: under it autograd adds "
                "gradients up out of place"
            )
            yield skipped("scratch_bytes", why)
            yield flag(2, why)
    if predicted is not None and abs(predicted - tracker.peak) > EXACT * tracker.peak:
        yield flag(3, f"the prediction is off by {predicted / tracker.peak - 1:+.2%} from the tracked peak")


def _first_step(bench: Bench) -> Callable[[], None]:
    """In a fresh process: the step that it takes first, with the outer rule's state present."""
    learner, batch = bench.learner(total_steps=4), bench.meta_batch()
    learner.prime()
    return lambda: learner.step(batch)


def _resident_readings(fresh: FreshProcess | Unreadable | None, live: int) -> Iterator[Reading]:
    """`live`: bytes by which the tracked peak is above the baseline. What goes wrong here is said of this
    reading alone: the exact ones stand."""
    metric = "resident_peak_bytes"
    if fresh is None:
        return
    if isinstance(fresh, Unreadable):
        yield skipped(metric, str(fresh))
        return
    try:
        read = fresh.read()
    except Exception as failure:
        status: Status = "oom" if isinstance(failure, MemoryError) else "error"
        detail = f"{type(failure).__name__}: {failure}"
        yield Reading(0, metric, None, "", status=status, detail=detail)
        return
    detail = (
        f"VmHWM of a fresh process during its first step, {read.before / MIB:.1f} MiB before it; coarse: "
        "whole pages of the whole process"
    )
    yield Reading(0, metric, read.peak, "byte", detail=detail)
    yield Reading(
        0, "resident_sampled_bytes", read.sampled, "byte", detail="memory_profiler, a sample every 10 ms"
    )
    high, low = (1 + SAMPLED_ABOVE) * read.peak + MIB, (1 - SAMPLED_BELOW) * read.peak
    if not low <= read.sampled <= high:
        yield flag(4, f"memory_profiler saw {read.sampled:,} resident bytes, the kernel {read.peak:,}")
    if live > FEW_PAGES and read.peak - read.before < (1 - SAMPLED_BELOW) * live:
        rise = read.peak - read.before
        yield flag(
            5, f"resident memory rose by {rise:,} bytes, live tensors by {live:,}: pages were never touched"
        )
