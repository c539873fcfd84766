"""Every method that innerloop brings, with the settings that make other code run, against the whole kit."""

from typing import Any

import pytest

from harness import registry
from harness.conformance import CHECKS, Check
from harness.core.method import Method
from harness.errors import LibraryMissing
from harness.names import method_names

VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in method_names()]
VARIANTS += [
    ("maml", {"lam": 0.5}),
    ("reptile", {"batch_size": 4}),
    ("reptile", {"optimiser": "adam"}),
    *(("imaml-gd", {"optimiser": kind}) for kind in ("momentum", "nesterov", "accelerated", "adam")),
    ("maml-replay", {"product": "forward-over-reverse"}),
    ("maml-replay", {"product": "reverse-over-reverse", "lam": 0.5}),
    ("maml-checkpointed", {"lam": 0.5}),
    ("maml-truncated", {"lam": 0.5, "backward_steps": 2}),
    ("imaml-neumann", {"step_size": 0.5}),
    ("imaml@authors", {"cg_steps": 1}),
]
IDS = [f"{name}{'-'.join(['', *map(str, settings.values())])}" for name, settings in VARIANTS]


def load(name: str) -> type[Method]:
    try:
        return registry.load_method(name, "the test")[1]
    except LibraryMissing as failure:
        pytest.skip(str(failure))


@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=IDS)
def test_a_method_conforms(name: str, settings: dict[str, Any], check: Check) -> None:
    check(load(name), **settings)
