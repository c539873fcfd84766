import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rows import MIB, accuracy_cell, memory_cell, row, time_cell, whole_run, write_run

from harness.frame import frame_of
from harness.present.tables.caveats import flag_lines, merged, with_ranges
from harness.present.tables.show import show_run


def shown(path: Path, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for renderable in show_run(path):
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_cut_off(tmp_path: Path, width: int) -> None:
    text = shown(write_run(tmp_path / "run", whole_run(), unfinished=2), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    facts = "74 of 76 cells finished · Example CPU · 2 threads · torch 2.12.0"
    assert facts in " ".join(text.split())
    assert "Accuracy, %, on fresh test tasks: glyphs[shots=1,ways=20]" in text
    assert "needs 474 MiB, the virtual budget is 400 MiB" in " ".join(text.split())


def test_long_labels_wrap_and_numbers_do_not(tmp_path: Path) -> None:
    cells = []
    for lam in (0.25, 2.0):
        changes: dict[str, Any] = {
            "settings": {"lam": lam, "cg_steps": int(10 * lam), "line_search_step": lam / 10}
        }
        cells += [memory_cell("imaml-hf", 2**i, cell_id=f"{lam}-{i}", **changes) for i in range(9)]
    text = shown(write_run(tmp_path / "run", cells))
    assert "…" not in text
    assert text.count("108.0") == 18 + 2  # the readings repeat the last of each


def test_names_stay_whole_where_values_and_their_intervals_can_make_room(tmp_path: Path) -> None:
    cells = [
        accuracy_cell("imaml-gd", 2**i, seed, settings={"cg_steps": cg}, cell_id=f"{cg}-{i}-{seed}")
        for cg in (2, 20)
        for i in range(8)
        for seed in range(3)
    ]
    lines = shown(write_run(tmp_path / "run", cells)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("imaml-gd[cg_steps=2] "))
    values, halves = lines[start].split()[1:], lines[start + 1].split()
    assert len(values) == len(halves) == 8
    assert all(half.startswith("±") for half in halves)


def test_failed_points_show_their_status_and_memory_is_put_in_words(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "run", whole_run())).splitlines()
    assert "maml          78.3  104.7  157.4  262.8    oom" in [line.rstrip() for line in lines]
    assert "maml: +26.35 MiB a step (steps 1 to 8), linear; oom at 16" in lines
    assert "fomaml: flat (+0.0 %, steps 1 to 16)" in lines
    assert "An inner step of imaml-hf is a Newton step." in lines


def test_methods_stand_in_one_order_everywhere(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "run", whole_run())).splitlines()
    names = [line.split()[0] for line in lines if line.split() and "±" in line and not line.startswith("±")]
    names = [name for name in names if name != "Median"]
    names = names[:5] + names[8:]  # the three between them are held against the fourth at equal steps
    assert names == ["maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"] * 2


def test_what_plus_minus_means_is_said(tmp_path: Path) -> None:
    assert "± is a 95% t interval over 3 seeds." in shown(write_run(tmp_path / "a", whole_run()))
    single = shown(write_run(tmp_path / "b", [accuracy_cell("maml", 4)]))
    assert "the spread of training is not in it" in single.replace("\n", "")
    assert "Floors: untrained 31.0, nearest neighbour in pixels 42.0." in single


def test_a_mean_over_the_surviving_seeds_is_marked(tmp_path: Path) -> None:
    lost = accuracy_cell("maml", 4, 1)[0]
    lost = row(**vars(lost) | {"value": None, "status": "timeout"})
    text = shown(write_run(tmp_path / "run", [accuracy_cell("maml", 4, 0), [lost]]))
    assert "†" in text
    assert "some runs of this point failed" in text


def test_a_run_that_has_finished_nothing_says_so(tmp_path: Path) -> None:
    text = shown(write_run(tmp_path / "run", [], unfinished=3))
    assert "0 of 3 cells finished" in text
    assert "No cell of the plan has finished yet." in text


def test_slopes_of_time_stand_under_their_table(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "run", whole_run())).splitlines()
    (note,) = (line for line in lines if line.startswith("imaml-hf: +") and "ms a step" in line)
    assert "Theil-Sen on minima" in note
    assert float(note.split()[1]) == pytest.approx(160, rel=0.05)


def test_ratios_are_relative_to_the_first_method_that_was_timed(tmp_path: Path) -> None:
    cells = [time_cell(b, [("maml", 4), ("reptile", 4), ("imaml-hf", 8)]) for b in range(3)]
    text = shown(write_run(tmp_path / "run", cells))
    grid = text.partition("Time relative to maml, paired per round")[2]
    ratio, low, high = grid.split("reptile")[1].split()[0], *grid.split("(")[1].split(")")[0].split("-")
    assert float(ratio) == pytest.approx((0.004 + 4 * 0.0132) / (0.021 + 4 * 0.034), abs=0.02)
    assert float(low) <= float(ratio) <= float(high)
    assert "unpaired: maml was not timed at as many steps." in grid
    assert "27 pairs a point" in grid


def readings_cell(method: str, **values: float | None) -> list:
    where = "in inner loop, after aten.mul.Tensor; meta-batch of 1, vectorized"
    return [
        row(method=method, cell_id=f"memory-{method}", metric=metric, value=value,
            status="skipped" if value is None else "ok",
            detail=where if metric == "tracked_peak_bytes" else "")
        for metric, value in values.items()
    ]  # fmt: skip


def test_readings_of_memory_stand_side_by_side(tmp_path: Path) -> None:
    maml = {"peak_bytes": 200 * MIB, "tracked_peak_bytes": 150 * MIB, "scratch_bytes": 50 * MIB}
    cells = [
        readings_cell("maml", **maml, predicted_peak_bytes=150 * MIB, resident_peak_bytes=900 * MIB),
        readings_cell("reptile", **maml | {"scratch_bytes": None}, predicted_peak_bytes=152 * MIB),
        readings_cell("fomaml", peak_bytes=3 * MIB, tracked_peak_bytes=3 * MIB, nvml_bytes=None),
    ]
    text = shown(write_run(tmp_path / "run", cells), width=100)
    table = text.partition("Readings of memory")[2].partition("tracked: ")[0]
    lines = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:] if line.split()}
    place = ["inner", "loop:", "mul.Tensor"]
    assert lines["maml"] == ["4", "200.0", "150.0", "25.0", "%", "exact", "900.0", *place]
    assert lines["reptile"] == ["4", "200.0", "150.0", "-", "+2.0", "-", *place]
    assert "nvml" not in table
    assert "GPU" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_readings_of_a_gpu_are_a_table_of_their_own_and_fit(tmp_path: Path, width: int) -> None:
    metrics = ("peak_bytes", "tracked_peak_bytes", "scratch_bytes", "predicted_peak_bytes",
               "resident_peak_bytes", "requested_bytes", "reserved_bytes", "workspace_bytes")  # fmt: skip
    cell = readings_cell("maml", **{metric: 81920.0 * MIB for metric in metrics}, nvml_bytes=None)
    text = shown(write_run(tmp_path / "run", [cell]), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    gpu = text.partition("Readings of the GPU's memory")[2]
    assert ["maml", "4", *["81920.0"] * 3] in [line.split() for line in gpu.splitlines()]
    assert "nvml" not in gpu.partition("Failed and skipped")[0]
    assert "nvml_bytes:" in gpu  # why there is none stands below


def flagged(method: str, steps: int, warning: str, *, seed: int = 0) -> list:
    place = {"method": method, "inner_steps": steps, "seed": seed, "measure": "time", "settings": {}}
    return [
        row(**place, metric="step_seconds", value=1.0),
        row(**place, metric="flag", value=None, detail=warning),
    ]


def test_one_warning_of_all_points_is_one_line() -> None:
    points = [("maml", 4), ("maml", 8), ("imaml-hf", 1), ("imaml-hf", 2)]
    rows = [r for method, steps in points for r in flagged(method, steps, "the machine was busy")]
    (line,) = flag_lines(frame_of(rows)).to_dict("records")
    assert (line["methods"], line["inner steps"], line["seeds"]) == ("all methods", "all", "0")


def test_flags_are_not_said_of_points_that_have_none() -> None:
    rows = [r for steps in (1, 2) for r in flagged("maml", steps, "busy")]
    rows += flagged("reptile", 2, "busy", seed=1)
    rows += [row(method="reptile", settings={}, measure="time", metric="step_seconds", inner_steps=8)]
    rows += [row(method="fomaml", settings={}, measure="time", metric="step_seconds", inner_steps=1)]
    lines = flag_lines(frame_of(rows))
    assert list(lines.methods) == ["maml", "reptile"]
    assert list(lines["inner steps"]) == ["1, 2", "2"]
    assert list(lines.seeds) == ["0", "1"]


def test_warnings_that_differ_in_numbers_become_a_range_within_a_method() -> None:
    rows = flagged("maml", 1, "residual of 14, where 1 is none") + flagged(
        "maml", 2, "residual of 3.1, where 1 is none"
    )
    rows += flagged("reptile", 1, "residual of 5, where 1 is none")
    lines = flag_lines(frame_of(rows))
    assert list(lines.warning) == ["residual of 3.1 to 14, where 1 is none", "residual of 5, where 1 is none"]
    assert with_ranges(["9% of I + H/lam2", "79% of I + H/lam2"]) == "9% to 79% of I + H/lam2"


def test_blocks_that_share_a_warning_are_several() -> None:
    said = "other processes used {} cores while block {} was timed"
    assert with_ranges([said.format("1.3", 0), said.format("1.6", 2)]) == (
        "other processes used 1.3 to 1.6 cores while blocks 0 to 2 were timed"
    )
    assert with_ranges([said.format("1.3", 1), said.format("1.6", 1)]) == (
        "other processes used 1.3 to 1.6 cores while block 1 was timed"
    )


def test_a_number_with_separators_is_one_number() -> None:
    texts = [f"{n} bytes were left, 1,2 and 12,3456 are none" for n in ("19,200", "6,400.5", "25,100", "900")]
    assert merged(texts) == ["900 to 25,100 bytes were left, 1,2 and 12,3456 are none"]
    assert merged(["1,234,567 bytes", "2,000 bytes"]) == ["2,000 to 1,234,567 bytes"]


def test_a_test_split_that_was_taken_whole_is_told_from_fresh_tasks(tmp_path: Path) -> None:
    """A finite split has the same tasks in every seed: an interval over seeds says nothing of others."""

    def cells(detail: str) -> list[list[dict[str, Any]]]:
        return [accuracy_cell("maml", 4, seed, detail=detail) for seed in range(3)]

    runs = {
        "whole": cells("10 test tasks, all that there are, 4 inner steps"),
        "fresh": cells("600 test tasks, 4 inner steps"),
    }
    text = {name: " ".join(shown(write_run(tmp_path / name, each)).split()) for name, each in runs.items()}
    assert "Accuracy, %, on all 10 test tasks that there are: glyphs" in text["whole"]
    assert "± is a 95% t interval over 3 seeds, for these tasks alone." in text["whole"]
    assert "Accuracy, %, on fresh test tasks: glyphs" in text["fresh"]
    assert "± is a 95% t interval over 3 seeds." in text["fresh"]
