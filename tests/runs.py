"""Tiny real runs: a suite of seconds on `sinusoid`, adapters that misbehave, processes told by a mark."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.executors.local import Worker
from harness.plan import Plan
from harness.protocol import Cell, Progress, Reading, Resolved, ResolvedMethod, ResolvedWorkload, WorkloadSpec
from harness.rows import Row
from harness.run import Options, Outcome, Result
from harness.run import run as run_suite
from harness.settings import format_settings
from harness.store import RunFolder
from harness.suite import Overrides, Suite
from harness.verdicts import Checks

MEASURES = {
    "memory": "[memory]\n",
    "time": "[time]\nrounds = 2\nblocks = 2\n",
    "accuracy": "[accuracy]\nmeta_steps = 3\nvalidate_every = 2\nvalidation_tasks = 4\ntest_tasks = 4\n",
}


def write_suite(
    folder: Path,
    *,
    methods: str = "maml = { inner_lr = 0.01 }\nfomaml = {}",
    measures: Sequence[str] = ("memory", "time", "accuracy"),
    inner_steps: str = "[1, 2]",
    more: str = "",
    name: str = "tiny",
) -> Path:
    """A suite file whose every cell takes a fraction of a second."""
    text = f'workloads = ["sinusoid"]\ninner_steps = {inner_steps}\ndevice = "cpu"\n{more}\n'
    text += f"[methods]\n{methods}\n"
    path = folder / f"{name}.toml"
    path.write_text(text + "".join(MEASURES[m] for m in measures))
    return path


ADAPTER = '''"""An adapter of a test."""
import ctypes, os, sys, time
from pathlib import Path
import torch
from harness import Method, trees

class {name}(Method):
    """Zero inner steps, first order."""
    kind = "first-order"
    memory_order = "constant"
    rate: float = 1.0

    def adapt(self, support, meta):
        {trouble}
        return trees.detach(meta)

    def meta_gradient(self, tasks, meta):
        {trouble}
        return tasks.query.gradient(meta)
'''


def write_adapter(folder: Path, name: str, trouble: str = "pass") -> str:
    """A file with the method `name`, which does `trouble` first. Returns how a suite asks for it."""
    path = folder / f"{name.lower()}.py"
    path.write_text(ADAPTER.format(name=name, trouble=trouble))
    return f"{path}:{name}"


@dataclass
class Notes:
    """A watcher that keeps what it is told; `during` may disturb the run."""

    during: Callable[[list[Worker]], None] = lambda workers: None
    todo: list[str] = field(default_factory=list)
    started_cells: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    found: list[Checks] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)

    def preparing(self, progress: Progress) -> None:
        self.prepared.append(progress.note)

    def planned(self, plan: Plan, folder: Path, todo: list[Cell], jobs: int) -> None:
        self.todo = [cell.id for cell in todo]

    def checked(self, found: Checks) -> None:
        self.found.append(found)

    def started(self, cell: Cell) -> None:
        self.started_cells.append(cell.id)

    def progressed(self, workers: list[Worker]) -> None:
        self.during(workers)

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def run_here(suite: Path, out: Path, notes: Notes | None = None, **options: Any) -> Result:
    """The run of `innerloop run SUITE --out OUT`, in this process: its forkserver is started once for all."""
    overrides = Overrides(tuple(options.pop("methods", ())), tuple(options.pop("settings", ())))
    return run_suite(Options(str(suite), overrides, out=out, **options), notes or Notes())


def rows_of(folder: Path) -> list[Row]:
    return RunFolder(folder).rows()


def statuses(folder: Path) -> dict[tuple[str, str, int], str]:
    """(measure, method, inner steps) -> status of the headline rows; several are joined."""
    found: dict[tuple[str, str, int], set[str]] = {}
    for row in rows_of(folder):
        if row.is_headline:
            found.setdefault((row.measure, row.method, row.inner_steps), set()).add(row.status)
    return {key: "+".join(sorted(value)) for key, value in found.items()}


def assert_complete(result: Result) -> None:
    """Every cell of the plan has its rows once, of one attempt, none interrupted."""
    folder = RunFolder(result.folder)
    finished = folder.finished()
    assert {cell.id for cell in result.plan.cells} <= set(finished)
    assert not any(record.interrupted for record in finished.values())
    keys = [(r.cell_id, r.method, r.settings_json, r.inner_steps, r.metric, r.repeat) for r in folder.rows()]
    assert len(keys) == len(set(keys))
    closings = [line for line in folder.rows_path.read_text().splitlines() if '"cell_done"' in line]
    assert len(closings) == len(set(closings))


# --- processes --------------------------------------------------------------------------------------------


def start(arguments: Sequence[str], mark: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """`innerloop ARGUMENTS` in a process whose descendants all carry `mark`."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        env=os.environ | {"INNERLOOP_TEST_MARK": mark},
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def carrying(mark: str) -> list[int]:
    """Living processes that carry `mark`."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids


def until(condition: Callable[[], Any], what: str, within_s: float = 60.0) -> None:
    """Wait for `condition`; a test that waits in vain fails with `what`."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)


def closed_cells(folder: Path) -> int:
    path = folder / "rows.jsonl"
    return path.read_text().count('"cell_done"') if path.exists() else 0


# --- without any process ----------------------------------------------------------------------------------


def resolve(suite: Suite, **changes: Any) -> Resolved:
    """What a preflight might have answered to `suite`. `settings`, `source`: of every method."""
    settings, source = changes.pop("settings", {}), changes.pop("source", "source")
    fingerprint = changes.pop("fingerprint", "data")
    environment = {"torch": "2.13.0", "threads": 1, "device_name": "a CPU", "code": "code"} | changes
    asked = suite.request(None)
    methods = [ResolvedMethod(s, s.name, settings | s.settings, source) for s in asked.methods]
    workloads = [ResolvedWorkload(w, _label(w), "loss", fingerprint, "native") for w in asked.workloads]
    return Resolved(tuple(methods), tuple(workloads), "cpu", environment)


def _label(workload: WorkloadSpec) -> str:
    return f"{workload.name}[{format_settings(workload.settings)}]" if workload.settings else workload.name


def ok_readings(cell: Cell) -> list[Reading]:
    metric = {"memory": "peak_bytes", "time": "step_seconds", "accuracy": "loss"}[cell.measure]
    return [Reading(i, metric, 1.0, "") for i in range(len(cell.points))]
