"""Synthetic runs whose right answers are known: five methods with costs like those measured on conv4."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.rows import Row
from harness.store import RunFolder

MIB = 2**20
GLYPHS = "glyphs[shots=1,ways=20]"
METHODS = ("maml", "fomaml", "reptile", "imaml-gd", "imaml-hf")
BASELINE = 12 * MIB
MIB_A_STEP = {"maml": 26.35, "fomaml": 0.0, "reptile": 0.0, "imaml-gd": 0.0, "imaml-hf": 0.0}
FLAT_MIB = {"maml": 40.0, "fomaml": 61.0, "reptile": 48.0, "imaml-gd": 74.0, "imaml-hf": 96.0}
SECONDS = {"maml": (0.021, 0.034), "fomaml": (0.012, 0.0135), "reptile": (0.004, 0.0132),
           "imaml-gd": (0.13, 0.0138), "imaml-hf": (0.03, 0.16)}  # fmt: skip
ACCURACY = {"maml": 0.83, "fomaml": 0.79, "reptile": 0.72, "imaml-gd": 0.80, "imaml-hf": 0.845}
SETTINGS: dict[str, dict[str, Any]] = {
    "maml": {"inner_lr": 0.1, "lam": 0.0},
    "fomaml": {"inner_lr": 0.1},
    "reptile": {"inner_lr": 0.1},
    "imaml-gd": {"inner_lr": 0.1, "lam": 2.0, "cg_steps": 5},
    "imaml-hf": {"lam": 2.0, "cg_steps": 5},
}


def row(**changes: Any) -> Row:
    """A memory row of maml, with changes."""
    values: dict[str, Any] = {
        "run_id": "synthetic",
        "cell_id": "cell",
        "attempt": 1,
        "suite": "quick",
        "workload": GLYPHS,
        "method": "maml",
        "settings": {"lam": 0.0},
        "inner_steps": 4,
        "seed": 0,
        "repeat": 0,
        "measure": "memory",
        "metric": "peak_bytes",
        "value": 1.0 * MIB,
        "unit": "bytes",
    }
    return Row(**(values | changes))


def memory_cell(method: str, steps: int, *, budget_mib: float = float("inf"), **changes: Any) -> list[Row]:
    """Peak = baseline + constant + slope x steps, exactly; `oom` above the budget."""
    cell = {"cell_id": f"memory-{method}-{steps}", "method": method, "settings": SETTINGS[method]}
    point = cell | {"inner_steps": steps} | changes
    peak = BASELINE / MIB + FLAT_MIB[method] + MIB_A_STEP[method] * steps
    if peak > budget_mib:
        reason = f"needs {peak:.0f} MiB, the virtual budget is {budget_mib:.0f} MiB"
        return [row(**point, value=None, status="oom", detail=reason)]
    values = {"peak_bytes": peak * MIB, "baseline_bytes": BASELINE, "tracked_peak_bytes": peak * MIB * 0.98}
    return [row(**{**point, "metric": metric, "value": value}) for metric, value in values.items()]


def accuracy_cell(
    method: str, steps: int, seed: int = 0, *, metric: str = "accuracy", trained: int = 200, **changes: Any
) -> list[Row]:
    """Accuracy grows with log2(steps) and scatters by 1% over seeds; `trained`: for how many meta-steps."""
    cell = {"cell_id": f"accuracy-{method}-{steps}-{seed}", "method": method, "settings": SETTINGS[method]}
    point = cell | {"inner_steps": steps, "seed": seed, "measure": "accuracy", "unit": "fraction"} | changes
    noise = np.random.default_rng([seed, steps, METHODS.index(method)]).normal(0, 0.01)
    values = {
        metric: ACCURACY[method] + 0.02 * np.log2(steps / 4) + noise,
        f"{metric}_ci95": 0.011,
        f"untrained_{metric}": 0.31 + 0.01 * np.log2(steps / 4),
        f"untrained_{metric}_ci95": 0.012,
        "train_seconds": 33.0,
        "meta_steps": float(trained),
    }
    if metric == "accuracy":
        # Each seed has test tasks of its own, as a floor that differs tells.
        values |= {"neighbour_accuracy": 0.42 + 1e-6 * seed, "neighbour_accuracy_ci95": 0.013}
    rows = [row(**{**point, "metric": name, "value": float(value)}) for name, value in values.items()]
    for step in (trained // 2, trained):
        value = 0.7 + 0.1 * step / trained
        validation = {"metric": f"validation_{metric}", "repeat": step, "value": value}
        rows.append(row(**{**point, **validation}))
    return rows


def time_cell(
    block: int,
    points: Iterable[tuple[str, int]],
    *,
    rounds: int = 9,
    run: int = 0,
    slower: float = 1.0,
    block_noise: float = 0.0,
    **changes: Any,
) -> list[Row]:
    """One block: all points, with the right-skewed noise of a shared machine.

    `run` draws other noise, `block_noise` is the standard deviation of the logarithm of what all points of a
    block share: it was 0.03 to 0.1 on two shared cores.
    """
    rng = np.random.default_rng([7, block, run] if run else [7, block])
    slower *= float(np.exp(rng.normal(0, block_noise))) if block_noise else 1.0
    rows = []
    for method, steps in points:
        constant, slope = SECONDS[method]
        for i in range(rounds):
            seconds = slower * (constant + slope * steps) * (1 + rng.gamma(1.0, 0.03))
            cell = {"cell_id": f"time-{block}", "measure": "time", "metric": "step_seconds", "unit": "s"}
            point = {"method": method, "settings": SETTINGS[method], "inner_steps": steps}
            repeat = {"repeat": block * rounds + i, "value": float(seconds)}
            rows.append(row(**{**cell, **point, **repeat, **changes}))
    return rows


def regression(condition: float, dimension: int = 20) -> str:
    return f"linear-regression[condition={condition},dimension={dimension},noise=0.1,queries=40,shots=40]"


LAM = 0.001
SOLVER_FLOORS = {2: 3e-2, 5: 4e-4, 10: 2e-8, 20: 3e-15}
"""What this many CG steps leave of the error of iMAML, at the condition number 10."""


def inner_kappa(condition: float, lam: float = LAM) -> float:
    return (1 + lam) / (1 / condition + lam)


def gradient_cell(method: str, steps: int, seed: int = 0, **changes: Any) -> list[Row]:
    """One point; `values` in `changes` are its metrics. A metric that is None is a row `skipped`."""
    values = changes.pop("values")
    cell = {
        "cell_id": "-".join(map(str, ("gradient", method, steps, seed, *changes.values()))),
        "method": method,
        "measure": "gradient",
        "unit": "ratio",
        "inner_steps": steps,
        "seed": seed,
    }
    return [
        row(
            **cell
            | changes
            | {"metric": metric, "value": value, "status": "skipped" if value is None else "ok"}
        )
        for metric, value in values.items()
    ]


def imaml_point(rate: float, cg: int, steps: int, seed: int = 0, **changes: Any) -> list[Row]:
    """The inner loop's part falls as (1 - rate)^steps, the solver's is a floor: both add up."""
    truncation = float((1 - rate) ** steps) * (1 + 0.1 * seed)
    values = {
        "rel_error_implicit": max(truncation, 1e-16) + SOLVER_FLOORS[cg],
        "cosine_implicit": 1 - 0.5 * (truncation + SOLVER_FLOORS[cg]) ** 2,
        "inner_residual": max(truncation, 1e-17),
        "solver_residual": 2 * SOLVER_FLOORS[cg],
        "solver_matvecs": float(cg),
        "meta_gradient_norm": 0.8 + 0.4 * truncation,
        "gradient_evaluations": steps + 1.0,
        "hessian_products": float(cg),
    }
    settings = {"settings": {"cg_steps": cg, "inner_lr": 0.5, "lam": LAM}}
    return gradient_cell("imaml-gd", steps, seed, **{"values": values} | settings | changes)


def maml_point(rate: float, steps: int, seed: int = 0, **changes: Any) -> list[Row]:
    """Falls at the same rate, from twice the height; it is the unrolled derivative, to rounding."""
    truncation = float((1 - rate) ** steps) * (1 + 0.1 * seed)
    values = {
        "rel_error_implicit": 2 * truncation * steps + 1e-16,
        "cosine_implicit": 1 - 0.5 * truncation**2,
        "rel_error_unrolled": 2e-16,
        "cosine_unrolled": 1.0,
        "inner_residual": max(truncation, 1e-17),
        "meta_gradient_norm": 0.8 + 0.4 * truncation,
        "gradient_evaluations": steps + 1.0,
        "hessian_products": float(steps),
    }
    settings = {"settings": {"inner_lr": 0.5, "lam": LAM}}
    return gradient_cell("maml", steps, seed, **{"values": values} | settings | changes)


def meta_gradient_run(seeds: int = 1) -> list[list[Row]]:
    """Figure 2 a: iMAML with 2, 5, 10 and 20 CG steps and MAML, at two condition numbers."""
    cells = []
    for condition in (10.0, 100.0):
        place = {"workload": regression(condition)}
        rate = 1.5 / inner_kappa(condition)
        for steps in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
            for seed in range(seeds):
                cells += [imaml_point(rate, cg, steps, seed, **place) for cg in SOLVER_FLOORS]
                cells.append(maml_point(rate, steps, seed, **place))
    return cells


RATES = {"gradient-descent": (1.0, 1.0), "accelerated": (0.5, 1.5), "adam": (1.2, 2.0)}
"""Of each inner optimiser: its error falls as exp(-steps / (factor * kappa^exponent))."""


def optimisers_run(
    steps: Iterable[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), cg: int = 20
) -> list[list[Row]]:
    """Table 1: inner optimisers at three condition numbers, with as many products in every solve."""
    cells = []
    for condition in (10.0, 100.0, 1000.0):
        for optimiser, (exponent, factor) in RATES.items():
            rate = 1 - np.exp(-1 / (factor * inner_kappa(condition) ** exponent))
            settings = {"cg_steps": cg, "inner_lr": 0.5, "lam": LAM, "optimiser": optimiser}
            place = {"workload": regression(condition), "settings": settings}
            cells += [imaml_point(rate, cg, k, **place) for k in steps]
    return cells


def whole_run(*, budget_mib: float = 400.0, seeds: int = 3, **changes: Any) -> list[list[Row]]:
    """The cells of a run of all measures: maml runs out of memory at 16 steps, diverges at 32."""
    grid = [(method, steps) for method in METHODS for steps in (1, 2, 4, 8, 16)]
    cells = [memory_cell(method, steps, budget_mib=budget_mib, **changes) for method, steps in grid]
    cells += [time_cell(block, [p for p in grid if p != ("maml", 16)], **changes) for block in range(3)]
    over = {"metric": "step_seconds", "measure": "time", "unit": "s", "method": "maml", "inner_steps": 16}
    skip = {"settings": SETTINGS["maml"], "value": None, "status": "oom"}
    skip["detail"] = "did not fit the virtual budget"
    cells[-1].append(row(**{**over, **skip, "cell_id": "time-2", "repeat": 18, **changes}))
    for method in METHODS:
        for steps in (1, 2, 4) if method == "imaml-hf" else (4, 8, 16):
            cells += [accuracy_cell(method, steps, seed, **changes) for seed in range(seeds)]
    diverged = {"metric": "accuracy", "measure": "accuracy", "unit": "fraction", "method": "maml"}
    reason = {
        "inner_steps": 32,
        "value": None,
        "status": "diverged",
        "detail": "loss was nan at meta-step 40",
    }
    settings = {"settings": SETTINGS["maml"], "cell_id": "accuracy-maml-32-0"}
    cells.append([row(**{**diverged, **reason, **settings, **changes})])
    return cells


def trace_of(method: str, steps: int, operators: int = 300) -> pd.DataFrame:
    """Live bytes over one meta-step that peak at the method's peak: an unrolled loop climbs to its end, an
    implicit method peaks in its solve, the others in the backward pass."""
    peak = BASELINE + (FLAT_MIB[method] + MIB_A_STEP[method] * steps) * MIB
    x = np.linspace(0, 1, operators)
    saw = 0.25 + 0.1 * np.abs(np.sin(np.pi * steps * x / 0.6))
    if method == "maml":
        ends = {"inner loop": 0.45, "query": 0.5, "backward": 0.96, "outer update": 1.0}
        height = np.interp(x, [0, 0.44, 0.5, 0.96, 1], [0, 1, 0.97, 0.05, 0.02])
    elif method.startswith("imaml"):
        ends = {"inner loop": 0.6, "query": 0.66, "solve": 0.97, "outer update": 1.0}
        height = np.where(x < 0.66, saw, np.where(x < 0.97, 0.9 + 0.1 * np.sin(40 * x), 0.05))
        height[np.searchsorted(x, 0.8)] = 1.0
    else:
        ends = {"inner loop": 0.7, "query": 0.8, "backward": 0.95, "outer update": 1.0}
        height = np.where(x < 0.7, saw, np.interp(x, [0.7, 0.85, 0.95, 1], [0.3, 1, 0.1, 0.05]))
    height = height / height.max()
    phases = np.array(list(ends))[np.searchsorted(list(ends.values()), x)]
    live = BASELINE + height * (peak - BASELINE)
    return pd.DataFrame({"operator": np.arange(1.0, operators + 1), "live_bytes": live, "phase": phases})


def write_trace(run: Path, cell_id: str, trace: pd.DataFrame) -> None:
    """Leave a trace where a memory cell does."""
    trace.to_csv(RunFolder(run).cell_folder(cell_id) / "memory_trace.csv", index=False)


def write_run(
    path: Path,
    cells: list[list[Row]],
    *,
    unfinished: int = 0,
    suite: str = "quick",
    environment: dict[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """A run folder with these cells, of a plan that may hold more; `manifest` and `environment` have further
    keys."""
    folder = RunFolder.create(path)
    plan = [{"id": cell[0].cell_id, "measure": cell[0].measure} for cell in cells]
    plan += [{"id": f"unfinished-{i}", "measure": "memory"} for i in range(unfinished)]
    folder.write_manifest({"suite": suite, "cells": plan} | manifest)
    machine = {"device_name": "Example CPU", "threads": 2, "torch": "2.12.0"}
    folder.write_environment(machine | (environment or {}))
    for cell in cells:
        folder.append_cell(cell[0].cell_id, cell[0].attempt, cell)
    return path
