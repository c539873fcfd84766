"""What a method returns is checked before it is used, and the documents' example of unrolling is MAML."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from problems import make, parameters, relative_error, smooth_mlp

from harness import Method, Objective, Params, TaskObjectives, trees
from harness.training.returned import WrongReturn, check_returned
from methods.maml import MAML

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
META = {"w": torch.zeros(3, 2), "b": torch.zeros(2)}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, r"maml\.py, line \d+: meta_gradient returned NoneType, not a dictionary"),
        ({"w": None, "b": torch.zeros(4, 2)}, r"maml\.py, line \d+: .*'w' as NoneType, not as a tensor"),
        ({"w": torch.zeros(4, 3, 2)}, "missing or too many: b"),
        (
            {"w": torch.zeros(4, 3, 2), "b": torch.zeros(2)},
            r"returned 'b' as \(2,\), not as \[T, ...\] = \(4, 2\)",
        ),
    ],
)
def test_what_is_no_meta_gradient_is_refused_with_its_remedy(returned: Any, said: str) -> None:
    with pytest.raises(WrongReturn, match=said):
        check_returned(returned, META, 4, "meta_gradient", MAML(inner_steps=1))


def test_one_entry_a_meta_parameter_and_task_is_a_meta_gradient() -> None:
    returned = {"w": torch.zeros(4, 3, 2), "b": torch.zeros(4, 2)}
    check_returned(returned, META, 4, "meta_gradient", MAML(inner_steps=1))


def test_wrt_takes_names_and_nothing_else() -> None:
    tasks = smooth_mlp(2)
    theta = parameters(tasks.model, 2)
    with pytest.raises(ValueError, match="wrt takes names"):
        tasks.query.gradient(theta, wrt=theta)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wrt takes names"):
        tasks.query.gradient(theta, wrt=("no such name",))


def test_the_unrolled_example_of_contributing_is_maml() -> None:
    (example,) = re.findall(r"```python\n(def meta_gradient.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    names: dict[str, Any] = {
        "torch": torch,
        "trees": trees,
        "TaskObjectives": TaskObjectives,
        "Params": Params,
    }
    exec(example, names)

    class Example(Method):
        kind = "unrolled"
        memory_order = "linear"
        inner_lr: float = 0.1

        def adapt(self, support: Objective, meta: Params) -> Params:
            return meta

        meta_gradient = names["meta_gradient"]

    tasks = smooth_mlp(2)
    theta = parameters(tasks.model, 2)
    ours = Example(inner_steps=3, inner_lr=0.05).meta_gradient(tasks, theta)
    assert relative_error(ours, make(MAML, inner_steps=3, inner_lr=0.05).meta_gradient(tasks, theta)) < 1e-12
