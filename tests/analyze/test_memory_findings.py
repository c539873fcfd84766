"""The readings beside the peak, the flags of a point, and the traces that cells leave."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rows import MIB, memory_cell, row, trace_of, write_run, write_trace

from harness.analyze.loaded import load_run
from harness.analyze.readings import memory_readings
from harness.analyze.summary import accuracy_summary, memory_summary, time_summary
from harness.analyze.traces import memory_traces, peak_phases
from harness.frame import frame_of


def test_readings_are_those_of_the_largest_number_of_steps_that_fits() -> None:
    detail = "in backward, after aten.convolution_backward.default; meta-batch of 1, vectorized"
    rows = [
        row(inner_steps=2, value=10 * MIB),
        row(inner_steps=4, value=20 * MIB),
        row(inner_steps=4, metric="tracked_peak_bytes", value=19 * MIB, detail=detail),
        row(inner_steps=4, metric="nvml_bytes", value=None, status="skipped", detail="hidden"),
        row(inner_steps=8, value=None, status="oom"),
        row(inner_steps=8, metric="predicted_peak_bytes", value=40 * MIB),
    ]
    (found,) = memory_readings(frame_of(rows)).to_dict("records")
    assert (found["inner_steps"], found["peak_bytes"] / MIB, found["tracked_peak_bytes"] / MIB) == (4, 20, 19)
    assert (found["peak_phase"], found["peak_operator"]) == ("backward", "aten.convolution_backward.default")
    assert np.isnan([found["nvml_bytes"], found["predicted_peak_bytes"]]).all()


def test_a_method_that_never_fitted_has_no_readings() -> None:
    assert memory_readings(frame_of([row(value=None, status="oom")])).empty


def test_what_a_point_that_did_not_fit_would_need_is_kept() -> None:
    rows = [row(value=None, status="oom"), row(metric="predicted_peak_bytes", value=40 * MIB)]
    (point,) = memory_summary(frame_of(rows)).to_dict("records")
    assert (point["status"], point["predicted_bytes"] / MIB) == ("oom", 40)
    assert np.isnan(point["peak_bytes"])


@pytest.mark.parametrize(
    ("measure", "metric", "summarise"),
    [
        ("accuracy", "accuracy", accuracy_summary),
        ("memory", "peak_bytes", memory_summary),
        ("time", "step_seconds", time_summary),
    ],
)
def test_a_flag_stands_beside_its_point_once(measure: str, metric: str, summarise) -> None:  # type: ignore[no-untyped-def]
    def point(steps: int, *warnings: str) -> list:
        place = {"measure": measure, "inner_steps": steps}
        flags = [
            row(**place, metric="flag", value=None, repeat=i, detail=text) for i, text in enumerate(warnings)
        ]
        return [row(**place, metric=metric, value=1.0), *flags]

    summary = summarise(frame_of(point(1) + point(4, "busy", "unsolved", "busy")))
    assert list(summary.flag) == ["", "busy; unsolved"]
    assert list(summary.status) == ["ok", "ok"]


def test_a_trace_is_that_of_the_largest_number_of_steps_that_fits(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps, budget_mib=200) for steps in (1, 2, 4, 8)]
    run = write_run(tmp_path / "run", [*cells, memory_cell("fomaml", 4)])
    for steps in (1, 2, 4):
        write_trace(run, f"memory-maml-{steps}", trace_of("maml", steps))
    traces = memory_traces(load_run(run))
    assert set(zip(traces.method, traces.inner_steps, strict=True)) == {("maml", 4)}
    assert traces.fraction.max() == 1
    assert traces.live_bytes.max() == pytest.approx(trace_of("maml", 4).live_bytes.max())
    assert peak_phases(traces) == {"maml": "inner loop"}


def test_without_traces_there_are_none(tmp_path: Path) -> None:
    traces = memory_traces(load_run(write_run(tmp_path / "run", [memory_cell("maml", 4)])))
    assert traces.empty
    assert peak_phases(traces) == {}


def test_of_equal_peaks_the_first_phase_is_named() -> None:
    trace = pd.DataFrame(
        {"method_label": "maml", "live_bytes": [1, 9, 9], "phase": ["inner loop", "query", "backward"]}
    )
    assert peak_phases(trace) == {"maml": "query"}
