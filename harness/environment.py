"""What machine, versions and settings a run saw."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness import __version__

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "seaborn",
    "pydantic",
    "typer",
    # What the readings of resident and of device memory come from.
    "memory-profiler",
    "psutil",
    "nvidia-ml-py",
)


def describe_machine() -> dict[str, Any]:
    """What can be told without torch, and is in no cell's id. What the system does not tell is None."""
    return {
        "innerloop": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "affinity": affinity(),
        "memory_bytes": memory_bytes(),
        "load_average": load_average(),
        "gpus": gpus(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def describe_hardware() -> dict[str, Any]:
    """What times depend on and a cell's id does not hold: two machines may have a device of one name."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": memory_bytes(),
        "gpus": [gpu["name"] for gpu in gpus()],
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def affinity() -> list[int] | None:
    """The CPUs that this process and its workers may run on; None where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return None


def load_average() -> list[float] | None:
    """Over 1, 5 and 15 minutes until now; None where the system does not tell."""
    try:
        return list(os.getloadavg())
    except (OSError, AttributeError):
        return None


def gpus() -> list[dict[str, Any]]:
    """Name, memory and driver of each NVIDIA GPU of this machine; empty where the driver tells of none."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no such package, no driver, no permission: there is no GPU to tell of
        return []
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "name": _text(pynvml.nvmlDeviceGetName(handle)),
                "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                "driver": driver,
            }
            for handle in handles
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Physical memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def command_line() -> str:
    """The command that was issued, fit for a shell."""
    import shlex

    return shlex.join(["innerloop", *sys.argv[1:]])


def _text(told: str | bytes) -> str:
    """Older releases of NVML's package tell bytes."""
    return told.decode() if isinstance(told, bytes) else told


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
