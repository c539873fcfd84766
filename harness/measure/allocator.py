"""What torch's allocators hand out: the exact peaks, of a CPU and of a CUDA device."""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

MEMORY_EVENT = "[memory]"  # the profiler's name for an allocation or a release


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


@dataclass(frozen=True)
class CudaPeaks:
    """Bytes of the CUDA caching allocator, over one step.

    allocated: handed out, in its blocks of 512 bytes. requested: asked for. reserved: taken from the driver.
    before: handed out as the step began. disturbed: how often it had to retry or failed, where that is not 0.
    """

    allocated: int
    requested: int
    reserved: int
    before: int
    disturbed: dict[str, int]


def cuda_peaks(step: Callable[[], None], device: torch.device) -> CudaPeaks:
    """Peaks of the caching allocator during `step`; a whole step has warmed the device up before."""
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    after = torch.cuda.memory_stats(device)
    return CudaPeaks(
        allocated=after["allocated_bytes.all.peak"],
        requested=after["requested_bytes.all.peak"],
        reserved=after["reserved_bytes.all.peak"],
        before=before["allocated_bytes.all.current"],
        disturbed={
            name: after[name] - before[name]
            for name in ("num_alloc_retries", "num_ooms")
            if after[name] != before[name]
        },
    )
