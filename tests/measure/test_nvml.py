"""NVML where it is absent, forbidden or blind: a reason, never a zero. A real reading takes a GPU."""

import os
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from harness.measure import nvml


def a_driver(monkeypatch: pytest.MonkeyPatch, processes: Any) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(nvml, "_handle", lambda index: object())
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", processes)


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def test_without_a_driver_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    with pytest.raises(nvml.Unreadable, match="NVML cannot be used here: NVML Shared Library Not Found"):
        nvml.process_bytes(0)


def test_where_processes_may_not_be_listed_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(handle: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)

    a_driver(monkeypatch, forbidden)
    with pytest.raises(nvml.Unreadable, match="the processes of GPU 0: Insufficient Permissions"):
        nvml.process_bytes(0)


def test_a_container_hides_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    a_driver(monkeypatch, lambda handle: [process(1, 5)])
    with pytest.raises(nvml.Unreadable, match="does not see this process"):
        nvml.process_bytes(0)


def test_a_driver_that_hides_sizes_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    a_driver(monkeypatch, lambda handle: [process(os.getpid(), None)])
    with pytest.raises(nvml.Unreadable, match="hides the memory of processes"):
        nvml.process_bytes(0)


def test_of_several_processes_this_ones_bytes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    a_driver(monkeypatch, lambda handle: [process(1, 7), process(os.getpid(), 12 * 2**20)])
    assert nvml.process_bytes(0) == 12 * 2**20
