"""A run of 100,000 rows as a suite of all measures leaves them: what `show` and `report` must be quick at.

`python tests/big_run.py DIR` writes it, and times `innerloop show` and `innerloop report` of it, in all.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rows import MIB, accuracy_cell, gradient_cell, memory_cell, row, time_cell

from harness.files import dumps
from harness.rows import Row
from harness.store import RunFolder

SEEDS = range(7)
BLOCKS = range(4)
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
BUDGET_MIB = 1024.0  # maml has none of it left from 64 inner steps on
WORKLOADS = tuple(
    f"glyphs[down=stride,filters={filters},norm=batch-stats,queries=5,rotations=true,shots={shots},ways=20]"
    for filters in (16, 64)
    for shots in (1, 5)
)
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "lr": 0.01, "rule": "adam"}
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("maml", {"inner_lr": 0.4, "lam": 0.0, "outer": ADAM}),
    ("fomaml", {"inner_lr": 0.4, "outer": ADAM}),
    ("reptile", {"inner_lr": 0.3, "outer": {"rate": 1.0, "rule": "interpolate"}}),
    *(("imaml-gd", {"cg_steps": cg, "inner_lr": 0.1, "lam": 0.5, "outer": ADAM}) for cg in (2, 5, 10, 20)),
    ("imaml-hf", {"cg_steps": 5, "lam": 0.5, "outer": ADAM}),
)
BUSY = "other processes used {:.2f} of the cores that this block may use"


def cells_of_a_big_run() -> Iterator[list[Row]]:
    """Of all measures, with what goes wrong in a long run: out of memory, diverged, too slow, a library that
    is absent, a busy machine, a cell that was measured twice and one that was interrupted."""
    grid = [(*variant, steps) for variant in VARIANTS for steps in STEPS]
    for number, workload in enumerate(WORKLOADS):
        for seed in SEEDS:
            place = {"workload": workload, "seed": seed}
            for i, (method, settings, steps) in enumerate(grid):
                point: dict[str, Any] = place | {"settings": settings}
                name = f"{number}-{seed}-{i}"
                yield memory(method, steps, **point, cell_id=f"memory-{name}")
                yield gradient(method, steps, **point, cell_id=f"gradient-{name}")
                yield accuracy(method, steps, **point, cell_id=f"accuracy-{name}")
            for block in BLOCKS:
                yield timed(grid, block, **place, cell_id=f"time-{number}-{seed}-{block}")
    absent = {"method": "maml@higher", "measure": "memory", "metric": "peak_bytes", "value": None}
    for workload in WORKLOADS:
        yield [row(**absent, workload=workload, cell_id=f"absent-{workload}", status="skipped",
                   detail="higher is not installed: pip install higher")]  # fmt: skip
    yield memory("maml", 1, workload=WORKLOADS[0], seed=0, settings=VARIANTS[0][1], cell_id="memory-0-0-0",
                 attempt=2)  # fmt: skip
    yield [row(cell_id="interrupted", value=None, status="interrupted", detail="the run was interrupted")]


def memory(method: str, steps: int, **changes: Any) -> list[Row]:
    rows = memory_cell(method, steps, budget_mib=BUDGET_MIB, **changes)
    peak = rows[0].value
    if peak is None:
        return rows
    place = "in backward, after aten.convolution_backward.default; meta-batch of 1, vectorized"
    readings = {"scratch_bytes": 0.02 * peak, "predicted_peak_bytes": 0.98 * peak}
    readings |= {"resident_peak_bytes": peak + 400 * MIB, "resident_sampled_bytes": peak + 399 * MIB}
    for metric, value in readings.items():
        more = {"method": method, "inner_steps": steps, "metric": metric, "value": value, "detail": place}
        rows.append(row(**changes | more))
    return rows


def gradient(method: str, steps: int, **changes: Any) -> list[Row]:
    if method == "reptile":
        return gradient_cell(method, steps, **changes, values={"rel_error_unrolled": None})
    rng = np.random.default_rng([changes["seed"], steps])
    left = 0.9**steps * (1 + 0.1 * rng.random())
    values = {
        "rel_error_unrolled": left + 1e-16,
        "cosine_unrolled": 1 - left**2 / 2,
        "rel_error_implicit": None if method == "fomaml" else left + 1e-3,
        "cosine_implicit": None if method == "fomaml" else 1 - left**2 / 2,
        "inner_residual": left,
        "solver_residual": 1e-3 if method.startswith("imaml") else None,
        "solver_matvecs": 5.0 if method.startswith("imaml") else None,
        "meta_gradient_norm": 1.0 + left,
        "gradient_evaluations": steps + 1.0,
        "hessian_products": float(steps) if method == "maml" else 5.0,
    }
    rows = gradient_cell(method, steps, **changes, values=values)
    if method == "imaml-gd" and steps > 16:
        flag = f"{rng.integers(2, 90)}% of the solves ended on negative curvature"
        rows.append(row(**vars(rows[0]) | {"metric": "flag", "value": None, "unit": "", "detail": flag}))
    return rows


def accuracy(method: str, steps: int, **changes: Any) -> list[Row]:
    rows = accuracy_cell(method, steps, **changes)
    fate = {("maml", 128): ("diverged", "loss was nan at meta-step 40"),
            ("imaml-hf", 128): ("timeout", "took longer than 600 s")}.get((method, steps))  # fmt: skip
    if fate is None or changes["seed"] % 2:
        return rows
    return [row(**vars(rows[0]) | {"value": None, "status": fate[0], "detail": fate[1]})]


def timed(grid: list[tuple[str, dict[str, Any], int]], block: int, **changes: Any) -> list[Row]:
    rows = []
    for method, settings, steps in grid:
        if method == "maml" and steps >= 64:
            point = {"method": method, "settings": settings, "inner_steps": steps, "measure": "time"}
            lost = {"metric": "step_seconds", "value": None, "unit": "s", "status": "oom"}
            rows.append(row(**changes | point | lost | {"detail": "did not fit the virtual budget"}))
            continue
        rows += time_cell(block, [(method, steps)], settings=settings, **changes)
        if block == 3:
            warning = {"metric": "flag", "value": None, "unit": "", "detail": BUSY.format(0.3 + 0.01 * steps)}
            rows.append(row(**vars(rows[-1]) | warning))
    return rows


def write_big_run(path: Path) -> int:
    """How many rows it has. Written at one go: to append some five thousand cells is as many fsyncs."""
    folder = RunFolder.create(path)
    lines, planned = [], {}
    rows = 0
    for cell in cells_of_a_big_run():
        first = cell[0]
        planned[first.cell_id] = {"id": first.cell_id, "measure": first.measure}
        rows += len(cell)
        lines += [row.to_json() for row in cell]
        lines.append(dumps({"cell_done": first.cell_id, "attempt": first.attempt}, sort_keys=False))
    folder.write_manifest({"suite": "big", "run_id": path.name, "cells": list(planned.values())})
    folder.write_environment({"device_name": "Example CPU", "threads": 2, "torch": "2.12.0"})
    folder.rows_path.write_text("".join(f"{line}\n" for line in lines))
    return rows


def main() -> None:
    """Write it where it is not there yet, and time a command on it, or all that a command has to do."""
    path, *command = Path(sys.argv[1]), *sys.argv[2:]
    if not RunFolder(path).is_run():
        print(f"{write_big_run(path):,} rows are written to {path}.")
    for words in [command] if command else (["show"], ["report"]):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "harness", *words, str(path)], capture_output=True)
        print(
            f"innerloop {' '.join(words)}: {time.perf_counter() - started:.2f} s, exit code {done.returncode}"
        )


if __name__ == "__main__":
    main()
