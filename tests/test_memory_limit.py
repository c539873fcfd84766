import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from runs import rows_of, start, statuses, write_adapter, write_suite

from harness import memory_limit
from harness.memory_limit import SHORT_BYTES, available_bytes, held_bytes, limited_to_available

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")

GIB = 2**30
MEMINFO = f"MemTotal: {8 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {2 * 2**20} kB\nHugePages_Total: 0\n"
NOTHING_CACHED = "anon 5\nactive_file 0\ninactive_file 0\n"

Machine = Callable[[dict[str, str]], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Makes a machine with 2 GiB available and the files it is given; the limit is that of this process."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(memory_limit, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory_limit, "CGROUPS", tmp_path / "cgroup")

    def write(files: dict[str, str]) -> None:
        own = {"proc/meminfo": MEMINFO, "proc/self/status": Path("/proc/self/status").read_text()}
        for name, text in (own | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield write
    resource.setrlimit(resource.RLIMIT_DATA, before)


def soft_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


# No page of these tensors is touched.


def test_a_tensor_larger_than_what_is_available_is_refused_and_a_smaller_one_is_not(machine: Machine) -> None:
    machine({})
    before = soft_limit()
    with limited_to_available():
        assert soft_limit() == held_bytes() + 2 * GIB
        torch.empty(GIB, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match=rf"DefaultCPUAllocator: .* allocate {3 * GIB} bytes"):
            torch.empty(3 * GIB, dtype=torch.uint8)
        with pytest.raises(MemoryError):
            bytearray(3 * GIB)
    assert soft_limit() == before
    torch.empty(3 * GIB, dtype=torch.uint8)


def test_many_tensors_that_fit_one_by_one_are_refused_together(machine: Machine) -> None:
    machine({})
    with limited_to_available():
        held = [torch.empty(int(0.6 * GIB), dtype=torch.uint8) for _ in range(3)]
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
            held.append(torch.empty(int(0.6 * GIB), dtype=torch.uint8))


def test_a_users_lower_limit_stays(machine: Machine) -> None:
    machine({})
    lower = held_bytes() + GIB
    resource.setrlimit(resource.RLIMIT_DATA, (lower, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    with limited_to_available():
        assert soft_limit() == lower
    assert soft_limit() == lower


def test_without_proc_nothing_is_limited(machine: Machine) -> None:
    before = soft_limit()
    with limited_to_available():
        assert soft_limit() == before


V2 = {"proc/self/cgroup": "0::/user/me\n"}
V1 = {"proc/self/cgroup": "4:cpu:/other\n3:memory,hugetlb:/box\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 2.0),
        (V2, 2.0),  # groups without a controller of memory
        (V2 | {"cgroup/user/me/memory.max": "max\n"}, 2.0),
        (V2 | {"cgroup/user/me/memory.max": f"{3 * GIB}\n"}, 1.0),
        (V2 | {"cgroup/user/me/memory.max": f"{9 * GIB}\n"}, 2.0),
        (V2 | {"cgroup/user/me/memory.max": "max\n", "cgroup/user/memory.max": f"{3 * GIB}\n"}, 1.0),
        (V2 | {"cgroup/user/me/memory.max": f"{GIB}\n"}, 0.0),  # the limit was lowered below the usage
        (V1 | {"cgroup/memory/box/memory.limit_in_bytes": f"{3 * GIB}\n"}, 1.0),
        (V1 | {"cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n"}, 1.0),  # a container sees its own as /
        (V1 | {"cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n"}, 2.0),
    ],
)
def test_a_control_groups_room_counts_where_it_is_smaller(
    machine: Machine, files: dict[str, str], available: float
) -> None:
    """Each group uses 2 GiB, and none of it is a file's."""
    usage = {}
    for name in files:
        if name.startswith("cgroup/"):
            folder = name.rpartition("/")[0]
            kind = "memory.current" if name.endswith("memory.max") else "memory.usage_in_bytes"
            usage |= {f"{folder}/{kind}": f"{2 * GIB}\n", f"{folder}/memory.stat": NOTHING_CACHED}
    machine(files | usage)
    assert available_bytes() == available * GIB


@pytest.mark.parametrize(("own", "prefix"), [(V2, ""), (V1, "total_")])
def test_pages_of_files_are_no_use_of_a_control_group(
    machine: Machine, own: dict[str, str], prefix: str
) -> None:
    folder = "cgroup/memory/box" if prefix else "cgroup/user/me"
    most, used = ("limit_in_bytes", "usage_in_bytes") if prefix else ("max", "current")
    machine(
        {
            **own,
            f"{folder}/memory.{most}": str(3 * GIB),
            f"{folder}/memory.{used}": str(2 * GIB),
            f"{folder}/memory.stat": f"{prefix}active_file {GIB // 4}\n{prefix}inactive_file {GIB // 4}\n",
        }
    )
    assert available_bytes() == 1.5 * GIB


@pytest.mark.parametrize(("left", "raised"), [(SHORT_BYTES // 2, MemoryError), (GIB, RuntimeError)])
def test_onednn_means_memory_where_little_was_left(
    machine: Machine, left: int, raised: type[Exception]
) -> None:
    """It says the same of whatever goes wrong."""
    machine({"proc/meminfo": f"MemAvailable: {left // 1024} kB\n"})
    with pytest.raises(raised, match="could not create a primitive"), limited_to_available():
        raise RuntimeError("could not create a primitive")


# --- whole runs -------------------------------------------------------------------------------------------

# Each of two tensors fits what is available, together they do not; the kernel itself would grant both.
TWO_TOO_MANY = (
    "from harness.memory_limit import available_bytes; "
    "held = [torch.empty(int(0.6 * available_bytes()), dtype=torch.uint8) for _ in range(2)]"
)
FOUR_GIB = "torch.empty(4 * 2**30, dtype=torch.uint8)"


def three_gib() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (3 * GIB, resource.getrlimit(resource.RLIMIT_DATA)[1]))


@pytest.mark.parametrize(
    ("measure", "trouble", "before", "asked"),
    [
        ("time", TWO_TOO_MANY, None, r"[\d,]+"),
        ("memory", FOUR_GIB, three_gib, "4,294,967,296"),
    ],
    ids=["available", "ulimit"],
)
def test_a_step_too_large_for_the_machine_is_oom_and_the_other_points_are_fine(
    tmp_path: Path, measure: str, trouble: str, before: Callable[[], None] | None, asked: str
) -> None:
    adapter = write_adapter(tmp_path, "Greedy", trouble)
    suite = write_suite(tmp_path, methods="maml = {}", measures=[measure], inner_steps="[1]")
    command = ["run", str(suite), "-m", f"+{adapter}", "--out", str(tmp_path / "run")]
    process = start(command, "greedy", tmp_path, preexec_fn=before)
    said, complaint = process.communicate(timeout=300)
    assert process.returncode == 3, said + complaint
    assert statuses(tmp_path / "run") == {(measure, "maml", 1): "ok", (measure, "greedy", 1): "oom"}
    sentence = rf"DefaultCPUAllocator was asked for {asked} bytes, more than was left \(greedy.py, line \d+\)"
    for row in rows_of(tmp_path / "run"):
        assert row.status != "oom" or re.fullmatch(sentence, row.detail)
