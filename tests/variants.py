"""The built-in methods, with the settings that make other code of theirs run."""

import importlib
from typing import Any

import pytest

from harness.core.method import Method
from methods import BUILT_IN

SETTINGS: dict[str, dict[str, Any]] = {
    "maml": {"lam": 0.5},
    "reptile": {"batch_size": 4},
    "maml-checkpointed": {"lam": 0.5, "segment": 1},
    "maml-truncated": {"lam": 0.5, "backward_steps": 2},
    "imaml-neumann": {"step_size": 0.4},
    "imaml@authors": {"cg_steps": 1},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in BUILT_IN]
VARIANTS += [(name, SETTINGS[name]) for name in SETTINGS]
VARIANTS += [("imaml-gd", {"optimiser": kind}) for kind in ("momentum", "nesterov", "accelerated", "adam")]
VARIANTS += [("reptile", {"optimiser": "adam"})]
VARIANTS += [
    ("maml-replay", {"product": product, "lam": lam})
    for product, lam in (("reverse-over-reverse", 0.5), ("forward-over-reverse", 0.0))
]

every_method = pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=[f"{n}{'-'.join(['', *map(str, s.values())])}" for n, s in VARIANTS]
)


def load(name: str) -> type[Method]:
    module, _, attribute = BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
