"""What only a CUDA device has: its allocator, the synchronised clock, the driver's own count."""

import time
from collections.abc import Iterator

import torch

from harness.measure import allocator, nvml
from harness.measure import time as clock
from harness.selfcheck.checks import CUDA_BLOCK, EXACT, KIB, LATE_S, MIB, compare
from harness.selfcheck.probes import Script
from harness.verdicts import Check, unchecked

SCRIPT = Script((300 * KIB + 100, 500 * KIB, None, 200 * KIB, None, None, 700 * KIB + 1, 200 * KIB))
"""As on a CPU, with sizes that are no multiple of the allocator's blocks."""

DRIVEN = 512 * MIB  # whole segments of the driver, far above what its context changes by
DRIVER = 0.02
SIDE = 4096  # of a matrix: a product takes milliseconds, its launch microseconds
PRODUCTS = 20


def check_allocator(device: torch.device) -> Iterator[Check]:
    SCRIPT.play(device)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_stats(device)["requested_bytes.all.current"]
    read = allocator.cuda_peaks(lambda: SCRIPT.play(device), device)
    quantity = "allocations of a script"
    yield compare("CUDA requested", quantity, SCRIPT.peak(), read.requested - before, "byte", EXACT)
    rounded = SCRIPT.peak(CUDA_BLOCK)
    yield compare("CUDA allocator", quantity, rounded, read.allocated - read.before, "byte", EXACT)


def check_clock(device: torch.device) -> Iterator[Check]:
    """The device's own events against the host's clock around the same work: one that does not wait for the
    device reads the launches alone."""
    matrix = torch.ones(SIDE, SIDE, device=device)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    errors = []
    for _ in range(3):  # the first warms up
        clock.synchronise(device)
        started = time.perf_counter()
        begin.record()
        for _ in range(PRODUCTS):
            matrix @ matrix
        end.record()
        clock.synchronise(device)
        read = time.perf_counter() - started
        torch.cuda.synchronize(device)
        expected = begin.elapsed_time(end) / 1e3
        errors.append((read - expected, expected, read))
    _, expected, read = min(errors)
    quantity = f"{PRODUCTS} matrix products, by the device's events"
    # The events' own resolution is half a microsecond.
    yield compare("CUDA clock", quantity, expected, read, "s", LATE_S, relative=False, low=-1e-6)


def check_nvml(device: torch.device) -> Iterator[Check]:
    quantity = f"{DRIVEN // MIB} MiB taken from the driver"
    torch.cuda.empty_cache()
    index = device.index or 0
    try:
        before = nvml.process_bytes(index)
        held = torch.empty(DRIVEN, dtype=torch.uint8, device=device)
        read = nvml.process_bytes(index) - before
        del held
    except nvml.Unreadable as failure:
        yield unchecked("NVML", str(failure), "skipped")
        return
    yield compare("NVML", quantity, DRIVEN, read, "byte", DRIVER)
