"""How calm the machine was while a block was timed: what others used of the CPUs that it ran on, and whether
the block itself was kept off them. No torch."""

import contextlib
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.protocol import Reading

STAT = Path("/proc/stat")
OWN_GROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")

BUSY_SHARE = 0.1
"""Of the CPUs that the cell may use; above it its times carry a flag.

A tenth is the spread of the slopes on a shared two-core machine (see TimeSettings.rounds): what disturbs less
is within the instrument's own noise. Of the CPUs, not of the threads, because a thread finds a CPU that is
free: while another process used a whole core of two, the median of a matrix product with one thread stayed
where it was, the minimum of one with two threads doubled.
"""

SHORTEST_S = 0.5
"""Of rounds, for a word on competition. The kernel counts in ticks, an error that is the same however short
the block: a quiet machine of two cores read at most 0.03 cores over half a second or more, 0.08 over a fifth
of one, and over a few hundredths would read as busy."""

THROTTLED_S = 0.01  # a group's quota is dealt out by the millisecond: less, over a block, moves no median

# user, nice, system, irq, softirq, steal of a line `cpuN`: not idle, not iowait, and not the guest times,
# which user and nice contain. What the hypervisor stole was another's too.
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)


class Unreadable(Exception):
    """It is not told what the CPUs did: the reason in a sentence."""


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


def throttled_seconds() -> dict[Path, float]:
    """How long each control group of this process, its own or one above, was kept off the CPUs because its
    quota was used up, summed over the CPUs; empty where none tells."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            root, name, unit = CGROUPS, "throttled_usec", 1e-6
        elif "cpu" in controllers.split(","):
            root, name, unit = CGROUPS / "cpu", "throttled_time", 1e-9
        else:
            continue
        folder = root.joinpath(*(part for part in path.split("/") if part != ".."))
        for group in (folder, *folder.parents):
            # Absent at the root, and where a container does not see the path that it is told.
            with contextlib.suppress(OSError, ValueError, KeyError):
                counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
                found[group] = int(counts[name]) * unit
            if group == root:
                break
    return found


class CalmCheck:
    """Reads the clocks where it is made and again where `readings` asks."""

    def __init__(self) -> None:
        self.load = _load_average()
        self.throttled = throttled_seconds()
        self.before: Clocks | Unreadable
        try:
            self.before = read_clocks()
        except Unreadable as failure:
            self.before = failure

    def readings(self, points: Iterable[int], block: int) -> list[Reading]:
        """`competing_cores`, `load_average` and a `flag` for each: others used more than `BUSY_SHARE`; this
        process was throttled. Skipped where it is not told.

        For every point, though it is one observation of the block: whoever looks at one method alone finds
        how calm it was, and no point's rows depend on which other points were there.
        """
        found = [*self._competition(block), self._load(block), *self._throttling(block)]
        return [replace(reading, point=point) for point in points for reading in found]

    def _competition(self, block: int) -> list[Reading]:
        try:
            if isinstance(self.before, Unreadable):
                raise self.before
            after = read_clocks()
            if (took := after.wall - self.before.wall) < SHORTEST_S:
                raise Unreadable(
                    f"the block's rounds took {took:.2f} s; the kernel's ticks tell the CPU time of others "
                    f"from {SHORTEST_S:g} s on"
                )
            cores = competing_cores(self.before, after)
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

    def _throttling(self, block: int) -> list[Reading]:
        """Where groups within one another were throttled, the one that was for longest speaks for them."""
        before, after = self.throttled, throttled_seconds()
        longest = max((after[group] - before[group] for group in before.keys() & after), default=0.0)
        if longest < THROTTLED_S:
            return []
        said = (
            f"the control group throttled this process for {longest:.2f} s, summed over CPUs, "
            f"while block {block} was timed"
        )
        return [Reading(0, "flag", None, "", block, detail=said)]

    def _load(self, block: int) -> Reading:
        if self.load is None:
            return Reading(0, "load_average", None, "", block, "skipped", "this system tells no load average")
        return Reading(0, "load_average", self.load, "", block, detail="over a minute, before the rounds")


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None
