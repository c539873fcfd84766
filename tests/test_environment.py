import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runs import run_here, write_adapter, write_suite

from harness import environment
from harness.store import RunFolder

TELL = """
import json, os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
from harness.preflight import preflight
from harness.protocol import Request
print(json.dumps(preflight(Request((), (), (1,), "cpu", 1, None)).environment))
"""


def test_what_is_recorded_of_torch_is_what_the_cells_had(tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    told = "json.dumps(numerics.describe_numerics())"
    tell = f"import json; from harness import numerics; Path({str(seen)!r}).write_text({told})"
    suite = write_suite(
        tmp_path, measures=["memory"], inner_steps="[1]", more="threads = 2\ndeterministic = true"
    )
    run_here(suite, tmp_path / "run", methods=[write_adapter(tmp_path, "Tells", tell)])
    in_the_cell = json.loads(seen.read_text())
    recorded = RunFolder(tmp_path / "run").environment()
    assert {name: recorded[name] for name in in_the_cell} == in_the_cell
    assert in_the_cell == {
        "threads": 2,
        "interop_threads": 1,
        "cudnn_benchmark": False,
        "cudnn_allow_tf32": False,
        "cudnn_deterministic": True,
        "matmul_allow_tf32": False,
    }


def test_the_packages_that_readings_come_from_are_recorded_with_their_versions() -> None:
    packages = environment.describe_machine()["packages"]
    assert {"torch", "memory-profiler", "psutil", "nvidia-ml-py"} <= set(packages)
    assert all(packages[name] for name in ("memory-profiler", "psutil", "nvidia-ml-py"))


def test_the_machine_is_recorded_with_the_run(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, measures=["memory"], methods="fomaml = {}", inner_steps="[1]")
    run_here(suite, tmp_path / "run")
    recorded = RunFolder(tmp_path / "run").environment()
    assert recorded["affinity"] == sorted(os.sched_getaffinity(0))
    assert len(recorded["load_average"]) == 3
    assert recorded["gpus"] == environment.gpus()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs to choose from")
def test_which_cpus_a_run_may_use_is_in_no_cells_id() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    told = []
    for mask in (cpus, cpus[:1]):
        command = [sys.executable, "-c", TELL, ",".join(map(str, mask))]
        told.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    assert told[0] == told[1]


class FakeNVML:
    """One GPU, of a driver that may refuse."""

    NVMLError = RuntimeError
    nvmlInit = nvmlShutdown = staticmethod(lambda: None)
    nvmlSystemGetDriverVersion = staticmethod(lambda: b"570.1")
    nvmlDeviceGetCount = staticmethod(lambda: 1)
    nvmlDeviceGetHandleByIndex = staticmethod(lambda index: index)
    nvmlDeviceGetName = staticmethod(lambda handle: "Example GPU")

    def __init__(self, refuses: bool) -> None:
        self.refuses = refuses

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if self.refuses:
            raise self.NVMLError("no permission")
        return SimpleNamespace(total=2**30)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (FakeNVML(False), [{"name": "Example GPU", "memory_bytes": 2**30, "driver": "570.1"}]),
        (FakeNVML(True), []),
        (None, []),  # no such package
    ],
)
def test_gpus_are_told_with_memory_and_driver(
    monkeypatch: pytest.MonkeyPatch, module: Any, told: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert environment.gpus() == told
