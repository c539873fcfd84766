"""`memory`: peak of allocated bytes during one meta-step, each reading in a pass of its own."""

import gc
from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from harness.measure.bench import Bench
from harness.measure.tracker import LiveStorages, storage_bytes
from harness.protocol import Reading

MEMORY_EVENT = "[memory]"  # the profiler's name for an allocation or a release


def measure_memory(bench: Bench) -> Iterator[Reading]:
    """Peak, baseline and tracked peak, in bytes.

    The step includes the outer update with its state present (a whole step has run before). The baseline is
    meta-parameters, outer state and meta-batch: all that stays on the device between meta-steps.
    """
    bench.check_budget()
    learner, batch = bench.learner(total_steps=4), bench.meta_batch()
    learner.step(batch)
    learner.check_finite("one meta-step")
    resident = [t for t in (*learner.state_tensors(), *batch.tensors()) if t.device.type == bench.device.type]
    baseline = storage_bytes(resident)

    def step() -> None:
        learner.step(batch)

    how = bench.step_in_words
    if bench.device.type == "cuda":
        yield from _cuda_peaks(step, bench.device, baseline, how)
    else:
        peak = baseline + allocator_peak(step)
        yield Reading(0, "peak_bytes", peak, "byte", detail=f"CPU allocator through torch.profiler; {how}")
    yield Reading(0, "baseline_bytes", baseline, "byte", detail=how)
    with LiveStorages(resident) as tracker:
        step()
    yield Reading(0, "tracked_peak_bytes", tracker.peak, "byte", detail=how)


def allocator_peak(step: Callable[[], None]) -> int:
    """Peak of what torch's CPU allocator hands out during `step`, bytes above what it held before.

    Sums the profiler's `[memory]` events in time order: exact for all that goes through the allocator,
    kernel scratch included.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    events = trace.profiler.kineto_results.events()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in events
        if event.name() == MEMORY_EVENT and event.device_type() == torch.autograd.DeviceType.CPU
    ]
    if not changes:
        raise RuntimeError("the profiler saw no allocation: this torch does not report memory events")
    changes.sort(key=lambda change: change[0])
    held = peak = 0
    for _, size in changes:
        held += size
        peak = max(peak, held)
    return peak


def _cuda_peaks(step: Callable[[], None], device: torch.device, baseline: int, how: str) -> Iterator[Reading]:
    """Peaks of the caching allocator during `step`; the first step has warmed the device up.

    What is allocated before it beyond the baseline are library workspaces (cuBLAS takes its from the same
    allocator): they are part of the peak, and a row of their own.
    """
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    stats = torch.cuda.memory_stats(device)
    workspaces = before["allocated_bytes.all.current"] - baseline
    yield Reading(
        0, "workspace_bytes", workspaces, "byte", detail="allocated between steps beyond the baseline"
    )
    disturbed = {
        name: stats[name] - before[name]
        for name in ("num_alloc_retries", "num_ooms")
        if stats[name] != before[name]
    }
    for metric, key in (
        ("peak_bytes", "allocated_bytes.all.peak"),
        ("requested_bytes", "requested_bytes.all.peak"),
        ("reserved_bytes", "reserved_bytes.all.peak"),
    ):
        yield Reading(0, metric, stats[key], "byte", detail=f"torch.cuda.memory_stats {key}; {how}")
    if disturbed:
        yield Reading(0, "flag", None, "", detail=f"the allocator had to retry during the step: {disturbed}")
