import pytest
import torch

from harness.core.record import record, recording


def test_record_keeps_mean_and_maximum_over_tasks_and_calls() -> None:
    with recording() as records:
        record("matvecs", torch.tensor([1.0, 3.0]))
        record("matvecs", torch.tensor([5.0, 7.0]))
        record("stops", 2)
    assert records.count == {"matvecs": 4, "stops": 1}
    assert records.mean("matvecs") == 4.0
    assert records.maximum == {"matvecs": 7.0, "stops": 2.0}


def test_booleans_are_recorded_as_a_fraction() -> None:
    with recording() as records:
        record("negative_curvature", torch.tensor([True, False, False, False]))
    assert records.mean("negative_curvature") == 0.25


def test_record_does_nothing_outside_a_recording() -> None:
    class Untouchable:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError("record looked at the value")

    record("outside", Untouchable())  # type: ignore[arg-type]
    with recording() as records:
        pass
    record("after", 1.0)
    assert records.count == {}


def test_an_inner_recording_shadows_the_outer_one_for_its_block() -> None:
    with recording() as outer:
        record("x", 1.0)
        with recording() as inner:
            record("x", 10.0)
        record("x", 3.0)
    assert (outer.mean("x"), inner.mean("x")) == (2.0, 10.0)


def test_a_recording_ends_with_its_block_when_that_raises() -> None:
    with pytest.raises(ZeroDivisionError), recording() as records:
        raise ZeroDivisionError
    record("late", 1.0)
    assert records.count == {}


def test_recorded_values_hold_no_graph() -> None:
    x = torch.ones(2, requires_grad=True)
    with recording() as records:
        record("loss", x * 2)
    assert type(records.total["loss"]) is float
