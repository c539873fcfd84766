"""The largest number of inner steps that fits a memory budget, found without running a step."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.measure.bench import Bench
from harness.measure.prediction import PROFILES, DeviceProfile, Unpredictable, predicted_peak
from harness.measure.tracker import VirtualOutOfMemory
from harness.protocol import Search, Wall

FIRST = (1, 2, 4, 8)  # steps tried before anything is extrapolated: short loops may peak outside the loop


def find_wall(bench_at: Callable[[int], Bench], search: Search) -> Wall:
    """The wall of one method: the neighbours between which it stands, with their predicted peaks.

    `bench_at` makes the bench of a number of inner steps. With `search.verify` both neighbours are also run,
    on the cell's device, under the same budget.
    """
    profile = PROFILES[search.profile]
    try:
        climb = Climb(lambda k: predicted_peak(bench_at(k), profile=profile).peak, search)
        climb.run()
    except Unpredictable as failure:
        return Wall(note=str(failure))
    verified = ""
    if search.verify:
        told = [verify(bench_at(k), search.budget, profile, k) for k in (climb.fits, climb.fails) if k]
        verified = "; ".join(told)
    return Wall(climb.fits, climb.fails, dict(climb.peaks), climb.note, verified)


def verify(bench: Bench, budget: int, profile: DeviceProfile, steps: int) -> str:
    """Run the step under the budget and say what came of it."""
    try:
        tracker = bench.track(budget - profile.workspace, block=profile.block)
    except VirtualOutOfMemory:
        return f"run at {steps}: over the budget"
    except (RuntimeError, MemoryError) as failure:  # torch's own out-of-memory is a RuntimeError
        return f"not run at {steps}: {str(failure).partition(chr(10))[0]}"
    return f"run at {steps}: fits, {tracker.peak + profile.workspace:,} bytes"


@dataclass
class Climb:
    """Looks for the wall of `peak` (bytes of a number of steps), taken to grow or stay with the steps.

    The straight line through the two peaks nearest to the budget says where to look next, so a linear method
    takes few looks. A look costs time in proportion to its steps: where no wall is in sight none is begun
    that would outlast `search.patience_s`.
    """

    peak: Callable[[int], int]
    search: Search
    clock: Callable[[], float] = time.monotonic
    peaks: dict[int, int] = field(default_factory=dict)
    fits: int | None = None
    fails: int | None = None
    note: str = ""

    def run(self) -> None:
        began, cost = self.clock(), 0.0  # cost: seconds a step of the last look
        while not self._found():
            k = self._next()
            affordable = int((self.search.patience_s - (self.clock() - began)) / cost) if cost else k
            if k > affordable and not self._in_sight():
                k = affordable
                if k <= (self.fits or 0):
                    self.note = "no wall in sight; not looked further, for want of --patience"
                    return
            start = self.clock()
            self.peaks[k] = self.peak(k)
            cost = (self.clock() - start) / k
            if self.peaks[k] <= self.search.budget:
                self.fits = k
            else:
                self.fails = k
        if self.fails is None:
            self.note = f"no limit up to {self.search.up_to}"

    def _found(self) -> bool:
        at_the_wall = self.fails is not None and self.fails == (self.fits or 0) + 1
        return at_the_wall or self.fits == self.search.up_to

    def _in_sight(self) -> bool:
        return self.fails is not None or self._on_the_line() <= self.search.up_to

    def _next(self) -> int:
        if self.fails is None:
            for k in FIRST:
                if k not in self.peaks and k <= self.search.up_to:
                    return k
        low, high = self.fits or 0, self.fails or self.search.up_to + 1
        if self.fails is not None and len(self.peaks) % 3 == 0:
            return (low + high) // 2  # now and then the bracket is halved, should the curve not be straight
        return min(max(self._on_the_line(), low + 1), high - 1)

    def _on_the_line(self) -> int:
        """Where the line through the two peaks nearest to the budget crosses it; beyond all, if flat."""
        a, b = [0, 0, *sorted(self.peaks)][-2:] if self.fails is None else (self.fits or 0, self.fails)
        start = self.peaks.get(a, 0)
        rise = self.peaks.get(b, 0) - start
        return a + (self.search.budget - start) * (b - a) // rise if rise > 0 else self.search.up_to + 1
