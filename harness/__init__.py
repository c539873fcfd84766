"""innerloop: a benchmarking and comparison harness for gradient-based meta-learning.

The public surface. Names load on first use, so importing `harness` imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Adam": "harness.core.outer",
    "Choice": "harness.core.search",
    "Interpolate": "harness.core.outer",
    "Method": "harness.core.method",
    "Objective": "harness.core.objective",
    "Outer": "harness.core.outer",
    "Params": "harness.core.trees",
    "Proximal": "harness.core.objective",
    "Range": "harness.core.search",
    "SGD": "harness.core.outer",
    "Shots": "harness.core.episodes",
    "TaskBatch": "harness.core.episodes",
    "TaskModule": "harness.core.model",
    "TaskObjectives": "harness.core.objective",
    "load_library": "harness.core.libraries",
    "load_run": "harness.analyze.loaded",
    "phase": "harness.core.phases",
    "record": "harness.core.record",
    "trees": "harness.core",
}

__all__ = [
    "SGD",
    "Adam",
    "Choice",
    "Interpolate",
    "Method",
    "Objective",
    "Outer",
    "Params",
    "Proximal",
    "Range",
    "Shots",
    "TaskBatch",
    "TaskModule",
    "TaskObjectives",
    "__version__",
    "load_library",
    "load_run",
    "phase",
    "record",
    "trees",
]

if TYPE_CHECKING:
    from harness.analyze.loaded import load_run
    from harness.core import trees
    from harness.core.episodes import Shots, TaskBatch
    from harness.core.libraries import load_library
    from harness.core.method import Method
    from harness.core.model import TaskModule
    from harness.core.objective import Objective, Proximal, TaskObjectives
    from harness.core.outer import SGD, Adam, Interpolate, Outer
    from harness.core.phases import phase
    from harness.core.record import record
    from harness.core.search import Choice, Range
    from harness.core.trees import Params


def __getattr__(name: str) -> Any:
    if name == "trees":
        return importlib.import_module("harness.core.trees")
    if name not in _HOME:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
