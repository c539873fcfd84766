"""Runs on workloads that have published figures: accuracies that are set, and curves that end where they are
told to."""

from collections.abc import Mapping, Sequence
from typing import Any

from rows import SETTINGS, row

from harness.rows import Row

NETWORK = "down=stride,filters=64,norm=batch-stats,queries=15,rotations=true"
FIVE_WAY = f"omniglot[{NETWORK},shots=1,ways=5]"
TWENTY_WAY = f"omniglot[{NETWORK},shots=1,ways=20]"
MINIMAL = f"omniglot-minimal[{NETWORK},shots=1,ways=5]"
OFFICIAL = f"omniglot-official-runs[{NETWORK},shots=1,ways=20]"
ADAM = {"rule": "adam", "lr": 1e-3, "eps": 1e-3}


def trained_cell(
    accuracy: float,
    seed: int,
    *,
    method: str = "imaml-gd",
    workload: str = FIVE_WAY,
    inner_steps: int = 16,
    curve: Mapping[int, float] | None = None,
    tasks: int = 600,
    half: float = 0.004,
    floors: Mapping[str, float] | None = None,
    **changes: Any,
) -> list[Row]:
    """One training: `curve` has validation accuracies by meta-step, the best of which is selected."""
    curve = curve or {0: 0.3, 10_000: 0.97, 20_000: 0.98}
    settings = SETTINGS[method] | {"outer": ADAM}
    point: dict[str, Any] = {
        "cell_id": f"{method}-{inner_steps}-{seed}-{len(workload)}{workload[-9:]}",
        "method": method,
        "settings": settings,
        "workload": workload,
        "inner_steps": inner_steps,
        "seed": seed,
        "measure": "accuracy",
        "unit": "fraction",
    }
    values = {"accuracy": accuracy, "accuracy_ci95": half}
    for name, value in (floors or {}).items():
        values |= {f"{name}_accuracy": value, f"{name}_accuracy_ci95": 0.05}
    every = ", all that there are" if workload == OFFICIAL else ""
    tested = f"{tasks} test tasks{every}, {inner_steps} inner steps"
    rows = [row(**point | {"metric": m, "value": v, "detail": tested} | changes) for m, v in values.items()]
    for step, value in curve.items():
        validated = {"metric": "validation_accuracy", "repeat": step, "value": value}
        rows.append(row(**point | validated | changes))
    best = max(curve, key=lambda step: curve[step])
    return [*rows, row(**point | {"metric": "selected_meta_step", "value": float(best)} | changes)]


def trained_cells(accuracies: Sequence[float], **changes: Any) -> list[list[Row]]:
    """One a seed."""
    return [trained_cell(accuracy, seed, **changes) for seed, accuracy in enumerate(accuracies)]
