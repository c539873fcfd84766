"""How calm the machine was while a block was timed: what others used of the CPUs that it ran on. No torch."""

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.protocol import Reading

STAT = Path("/proc/stat")

BUSY_SHARE = 0.1
"""Of the CPUs that the cell may use; above it its times carry a flag.

A tenth is the spread of the slopes on a shared two-core machine (see TimeSettings.rounds): what disturbs less
is within the instrument's own noise. Of the CPUs, not of the threads, because a thread finds a CPU that is
free: while another process used a whole core of two, the median of a matrix product with one thread stayed
where it was, the minimum of one with two threads doubled. A quiet machine of two cores read at most 0.03
cores over half a second or more, 0.08 over a fifth of one: the kernel counts in ticks.
"""

# user, nice, system, irq, softirq, steal of a line `cpuN`: not idle, not iowait, and not the guest times,
# which user and nice contain. What the hypervisor stole was another's too.
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)


class Unreadable(Exception):
    """This system does not tell what its CPUs do: the reason in a sentence."""


@dataclass(frozen=True)
class Clocks:
    """One moment, in seconds: of the wall, of all that ran on our CPUs, of this process and its children."""

    wall: float
    busy: float
    own: float


def read_clocks() -> Clocks:
    """Raises Unreadable."""
    return Clocks(time.monotonic(), busy_seconds(STAT), own_seconds())


def busy_seconds(stat: Path) -> float:
    """CPU time since the start of the system, of anyone, on the CPUs that this process may run on."""
    try:
        lines = stat.read_text().splitlines()
        cpus, ticks_a_second = os.sched_getaffinity(0), os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        raise Unreadable(f"this system has no {stat}, which tells the CPU time of others") from None
    ticks = {}
    for line in lines:
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks[int(name.removeprefix("cpu"))] = sum(int(fields[i]) for i in BUSY_FIELDS)
    if missing := cpus - ticks.keys():
        raise Unreadable(f"{stat} does not list CPU {min(missing)}, which this process may use")
    return sum(ticks[cpu] for cpu in cpus) / ticks_a_second


def own_seconds() -> float:
    """CPU time of this process and of its children that have ended; a living one counts as another's."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def competing_cores(before: Clocks, after: Clocks) -> float:
    """Cores that others kept busy between two moments; ticks can make the difference a little negative."""
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, others / (after.wall - before.wall))


class CalmCheck:
    """Reads the clocks where it is made and again where `readings` asks."""

    def __init__(self) -> None:
        self.load = _load_average()
        self.before: Clocks | Unreadable
        try:
            self.before = read_clocks()
        except Unreadable as failure:
            self.before = failure

    def readings(self, points: Iterable[int], block: int) -> list[Reading]:
        """`competing_cores`, `load_average` and, above `BUSY_SHARE`, a `flag`; skipped where it is not told.

        For every point, though it is one observation of the block: whoever looks at one method alone finds
        how calm it was, and no point's rows depend on which other points were there.
        """
        found = [*self._competition(block), self._load(block)]
        return [replace(reading, point=point) for point in points for reading in found]

    def _competition(self, block: int) -> list[Reading]:
        try:
            if isinstance(self.before, Unreadable):
                raise self.before
            cores = competing_cores(self.before, read_clocks())
        except Unreadable as failure:
            return [Reading(0, "competing_cores", None, "core", block, "skipped", str(failure))]
        cpus = len(os.sched_getaffinity(0))
        detail = f"CPU seconds of others a second, on this cell's {cpus} CPUs, during the block's rounds"
        readings = [Reading(0, "competing_cores", cores, "core", block, detail=detail)]
        if cores > BUSY_SHARE * cpus:
            said = (
                f"the machine was busy: other processes used {cores:.1f} cores while block {block} was timed"
            )
            readings.append(Reading(0, "flag", None, "", block, detail=said))
        return readings

    def _load(self, block: int) -> Reading:
        if self.load is None:
            return Reading(0, "load_average", None, "", block, "skipped", "this system tells no load average")
        return Reading(0, "load_average", self.load, "", block, detail="over a minute, before the rounds")


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None
