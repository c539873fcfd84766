"""An adapter that is wrong in one way fails on the line that says so, and on no other."""

import broken
import pytest

from harness.conformance.kit import CHECKS
from harness.conformance.subject import Subject
from harness.core.method import Method

KIND, LEARNS, RETURNS = "what its kind promises", "learns", "returns what it must"

FAILURES: dict[type[Method], tuple[set[str], str]] = {
    broken.WrongSign: ({KIND, LEARNS}, "mind its sign"),
    broken.PassedOffAsUnrolled: ({KIND}, "keep the graph through every step"),
    broken.ForgetsItsStepSizes: ({KIND}, "is not the derivative of query.loss"),
    broken.ReturnsItsGraph: ({"nothing retained"}, "still holds its graph: return trees.detach"),
    broken.Leaks: ({"nothing retained"}, "tensors outlive a call"),
    broken.HiddenRandomness: ({"deterministic"}, "draws from a global generator"),
    # Whatever compares two calls must see it.
    broken.KeepsState: (
        {"keeps no state", "same inner map", KIND, "vectorised equals looped", "no neighbours"},
        "depends on earlier calls",
    ),
    broken.Alternates: (
        {"keeps no state", "vectorised equals looped", "no neighbours"},
        "depends on earlier calls",
    ),
    broken.EmptiesItsInput: ({"inputs untouched"}, "`meta` has other entries after a call"),
    broken.ChangesTargets: ({"inputs untouched"}, "support.inputs changed"),
    broken.MakesLeavesOfItsInputs: ({"inputs untouched"}, "work on trees.detach"),
    broken.WrongNames: ({RETURNS}, "must return the names of `meta`; missing or too many: layer0"),
    broken.WrongShapes: ({RETURNS}, r"returned 'layer0.weight' as (4, 2), not as [T, ...] = (3, 4, 2)"),
    broken.WrongDtype: ({RETURNS}, "returned 'layer0.weight' in torch.float32"),
    # Two checks train and measure, in float32 as every run does.
    broken.Float64Always: ({LEARNS, "memory order"}, "returned 'layer0.weight' in torch.float64"),
    broken.NotANumber: ({"finite results"}, "meta_gradient returned NaN in 'layer0.weight' at 0 inner"),
    broken.LiesAboutMemory: ({"memory order"}, 'declare memory_order = "linear"'),
    broken.ReplayIsNotSqrt: ({"memory order"}, 'declare memory_order = "linear"'),
    broken.FlatIsNotLinear: ({"memory order"}, 'declare memory_order = "constant"'),
    broken.Unconverged: ({KIND}, "let both solvers run longer there"),
    broken.DividesZeroByZero: ({KIND}, "meta_gradient returned NaN in 'layer0.weight' at 60 inner steps"),
    broken.NamesNothingConverged: ({KIND}, "name the settings under which"),
    broken.MindsItsNeighbours: ({"no neighbours"}, "depends on the tasks beside it"),
    broken.AnotherInnerMap: ({"same inner map"}, "at the phi that `adapt` returns"),
    broken.AnotherInnerMapOnTheQuerysModel: ({"same inner map"}, "at the phi that `adapt` returns"),
    broken.LearnsMoreThanTheModel: (
        {KIND},
        "says nothing of the derivative with respect to alpha",
    ),
    broken.HessianAtTheta: ({KIND}, "take the Hessian H of the support loss"),
    broken.AlwaysSteps: ({"zero inner steps"}, "with inner_steps = 0"),
    broken.MindsExecution: ({"vectorised equals looped"}, "whose two executions agree"),
    broken.ForgetsASetting: ({"comes back from its settings"}, "inner_lr: leave settings as they are"),
    broken.SettingIsNotPlain: (
        {"comes back from its settings"},
        "setting 'weighting' is <Weighting.EQUAL: 'equal'>, but settings are plain values",
    ),
}


@pytest.mark.parametrize("cls", FAILURES, ids=lambda cls: cls.__name__)
def test_a_broken_adapter_fails_on_the_right_line_and_only_there(cls: type[Method]) -> None:
    lines, remedy = FAILURES[cls]
    found = [check.find(Subject(cls)) for check in CHECKS]
    failed = {f.check: f.note for f in found if f.status == "failed"}
    assert set(failed) == lines, failed
    assert any(remedy in note for note in failed.values())


def test_the_right_one_passes_every_check() -> None:
    assert {check.find(Subject(broken.Right)).status for check in CHECKS} == {"ok"}


def test_a_check_that_raises_is_a_failed_line_with_the_adapters_file_and_line() -> None:
    found = [check.find(Subject(broken.Raises)) for check in CHECKS]
    failed = [f for f in found if f.status == "failed"]
    assert len(failed) == len(CHECKS) - 1  # its settings are in order
    for f in failed:
        assert f.note.startswith("RuntimeError: no luck today (broken.py, line ")
