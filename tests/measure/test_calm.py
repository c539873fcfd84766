import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import until

from harness.measure import calm
from harness.measure.calm import CalmCheck, Clocks, busy_seconds, competing_cores, own_seconds, read_clocks

# user nice system idle iowait irq softirq steal guest guest_nice
STAT = """cpu  60000 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 4000 500 6 7 8 90 10
cpu1 50000 0 0 0 0 0 0 0 0 0
cpu2 1000 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""
SPIN = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's table of three CPUs, of which this process may use the first and the third."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    path = tmp_path / "stat"
    path.write_text(STAT)
    return path


def test_all_but_idle_and_waiting_is_busy_on_the_cpus_of_this_process_alone(stat: Path) -> None:
    ticks = (100 + 20 + 30 + 6 + 7 + 8) + 1000
    assert busy_seconds(stat) == ticks / os.sysconf("SC_CLK_TCK")


def test_what_this_process_used_is_no_competition() -> None:
    before = Clocks(wall=10.0, busy=100.0, own=50.0)
    assert competing_cores(before, Clocks(wall=14.0, busy=107.0, own=55.0)) == 0.5
    assert competing_cores(before, Clocks(wall=14.0, busy=104.9, own=55.0)) == 0.0  # ticks are coarse


def test_own_time_is_that_of_threads_and_of_ended_children_too() -> None:
    before = own_seconds()
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert own_seconds() - before >= 0.3


@pytest.mark.skipif(not calm.STAT.exists(), reason="this system has no /proc/stat")
def test_a_busy_process_on_the_same_cpu_is_seen_with_what_it_used() -> None:
    cpu = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", SPIN % cpu]) as other:
        try:
            until(lambda: used_by(other.pid) > 0.1, "the other process is at work")
            before, used = read_clocks(), used_by(other.pid)
            until(lambda: used_by(other.pid) > used + 0.5, "it has used half a second more")
            after, used = read_clocks(), used_by(other.pid) - used
        finally:
            other.kill()
    # No upper bound: whoever else is at work on the machine is seen as well.
    assert competing_cores(before, after) > 0.8 * used / (after.wall - before.wall)


def used_by(pid: int) -> float:
    """CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_after(
    monkeypatch: pytest.MonkeyPatch, others_s: float, points: list[int], *, wall_s: float = 10.0
) -> list[calm.Reading]:
    """The readings of block 2 in whose `wall_s` seconds others used `others_s` of two CPUs."""
    clocks = iter([Clocks(0.0, 0.0, 0.0), Clocks(wall_s, wall_s + others_s, wall_s)])
    monkeypatch.setattr(calm, "read_clocks", lambda: next(clocks))
    monkeypatch.setattr(calm, "throttled_seconds", dict)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    return CalmCheck().readings(points, block=2)


def test_every_point_of_a_block_is_told_how_calm_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = check_after(monkeypatch, 1.0, [0, 3])
    assert [(r.point, r.metric, r.value, r.unit, r.repeat, r.status) for r in readings] == [
        (point, *rest)
        for point in (0, 3)
        for rest in (("competing_cores", 0.1, "core", 2, "ok"), ("load_average", 1.5, "", 2, "ok"))
    ]


def test_a_busy_machine_is_a_flag_on_every_point_in_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = check_after(monkeypatch, 8.04, [0, 1, 3])
    flags = [r for r in readings if r.metric == "flag"]
    assert [(r.point, r.value, r.status) for r in flags] == [(i, None, "ok") for i in (0, 1, 3)]
    assert {r.detail for r in flags} == {
        "the machine was busy: other processes used 0.8 cores while block 2 was timed"
    }


@pytest.mark.parametrize(("others_s", "flagged"), [(1.9, False), (2.1, True)])
def test_the_flag_is_raised_from_a_tenth_of_the_cpus_on(
    monkeypatch: pytest.MonkeyPatch, others_s: float, flagged: bool
) -> None:
    assert ("flag" in {r.metric for r in check_after(monkeypatch, others_s, [0])}) == flagged


@pytest.mark.parametrize(("wall_s", "told"), [(0.05, False), (0.49, False), (0.51, True)])
def test_rounds_too_short_for_the_kernels_ticks_are_skipped_and_not_flagged(
    monkeypatch: pytest.MonkeyPatch, wall_s: float, told: bool
) -> None:
    """On a quiet machine the ticks' error is as large as here, however short the block."""
    readings = check_after(monkeypatch, 0.016, [0], wall_s=wall_s)
    assert [r.metric for r in readings] == ["competing_cores", "load_average"]
    if told:
        assert (readings[0].status, readings[0].value) == ("ok", pytest.approx(0.016 / wall_s))
    else:
        assert (readings[0].status, readings[0].value) == ("skipped", None)
        assert readings[0].detail == (
            f"the block's rounds took {wall_s} s; the kernel's ticks tell the CPU time of "
            "others from 0.5 s on"
        )


GROUPS_V2 = "0::/user/me\n"
GROUPS_V1 = "5:cpuset:/other\n4:cpu,cpuacct:/box/me\n0::/\n"


def tell_throttled(groups: Path, lines: str, folder: str, told: str) -> None:
    """As the kernel does: which groups, and how long `folder` was throttled."""
    (groups / folder).mkdir(parents=True, exist_ok=True)
    (groups / "of-me").write_text(lines)
    (groups / folder / "cpu.stat").write_text(f"nr_periods 100\nnr_throttled 7\n{told}\n")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(calm, "OWN_GROUPS", tmp_path / "of-me")
    monkeypatch.setattr(calm, "CGROUPS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "folder", "told", "later"),
    [
        (GROUPS_V2, "user/me", "throttled_usec 5000000", "throttled_usec 6204000"),
        (GROUPS_V2, "user", "throttled_usec 5000000", "throttled_usec 6204000"),  # the one above
        (GROUPS_V1, "cpu/box/me", "throttled_time 5000000000", "throttled_time 6204000000"),
        (GROUPS_V1, "cpu", "throttled_time 5000000000", "throttled_time 6204000000"),  # within a container
    ],
)
def test_a_block_that_was_throttled_is_flagged_at_every_point(
    groups: Path, lines: str, folder: str, told: str, later: str
) -> None:
    tell_throttled(groups, lines, folder, told)
    check = CalmCheck()
    tell_throttled(groups, lines, folder, later)
    flags = [r for r in check.readings([0, 2], block=1) if r.metric == "flag"]
    said = "the control group throttled this process for 1.20 s, summed over CPUs, while block 1 was timed"
    assert [(r.point, r.value, r.repeat, r.detail) for r in flags] == [(0, None, 1, said), (2, None, 1, said)]


def test_what_was_throttled_before_the_block_or_in_another_group_is_no_flag(groups: Path) -> None:
    tell_throttled(groups, GROUPS_V2, "user/me", "throttled_usec 5000000")
    tell_throttled(groups, GROUPS_V2, "user/other", "throttled_usec 0")
    check = CalmCheck()
    tell_throttled(groups, GROUPS_V2, "user/other", "throttled_usec 9000000")
    assert "flag" not in {r.metric for r in check.readings([0], block=1)}


@pytest.mark.parametrize("told", ["", "throttled_usec much", "throttled_usec 1 2"])
def test_groups_that_do_not_tell_are_no_flag(groups: Path, told: str) -> None:
    assert calm.throttled_seconds() == {}
    tell_throttled(groups, GROUPS_V2, "user/me", told)
    assert calm.throttled_seconds() == {}


def competition(points: list[int]) -> list[tuple[int, float | None, str, str]]:
    readings = CalmCheck().readings(points, 0)
    assert "flag" not in {r.metric for r in readings}
    return [(r.point, r.value, r.status, r.detail) for r in readings if r.metric == "competing_cores"]


def test_without_the_kernels_table_it_is_skipped_and_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm, "STAT", tmp_path / "nothing")
    why = f"this system has no {tmp_path}/nothing, which tells the CPU time of others"
    assert competition([0, 1]) == [(0, None, "skipped", why), (1, None, "skipped", why)]


def test_a_table_without_our_cpus_is_skipped_and_not_zero(
    stat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose table is another's."""
    monkeypatch.setattr(calm, "STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5})
    assert competition([0]) == [
        (0, None, "skipped", f"{stat} does not list CPU 5, which this process may use")
    ]


def test_a_system_without_load_average_is_skipped_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", refuse)
    (reading,) = [r for r in CalmCheck().readings([0], 0) if r.metric == "load_average"]
    assert (reading.value, reading.status) == (None, "skipped")
