from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from drawing import draw, measure_figure, overview_figure, summarise, summarise_traces, trace_figure
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from rows import (
    GLYPHS,
    METHODS,
    MIB,
    accuracy_cell,
    memory_cell,
    row,
    time_cell,
    trace_of,
    whole_run,
    write_run,
    write_trace,
)

from harness.measure.tracker import LiveStorages, VirtualOutOfMemory
from harness.present.palette import METHODS as PALETTE
from harness.present.plots.curves import VIRTUAL, chance, curves_of
from harness.present.plots.limits import in_words
from harness.present.plots.margin import spread
from harness.present.plots.scales import LOGS
from harness.present.plots.style import PAPER, SCREEN
from harness.present.plots.titles import finding
from harness.present.plots.trace import phase_spans, where_memory_peaks
from harness.present.words import workload_in_words
from harness.rows import Row

PICTURES = ("accuracy", "memory", "time", "pareto", "training")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", whole_run())


def bars(ax: Axes) -> dict[str, ErrorbarContainer]:
    return {
        str(container.get_label()): container
        for container in ax.containers
        if isinstance(container, ErrorbarContainer)
    }


def drawn(line: Line2D) -> tuple[list[float], list[float]]:
    data = np.asarray(line.get_xydata(), dtype=float)
    return list(data[:, 0]), list(data[:, 1])


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_run_gives_its_pictures_and_their_points(run: Path, tmp_path: Path) -> None:
    written = draw([run], tmp_path / "plots")
    names = {f"{name}.{kind}" for name in PICTURES for kind in ("svg", "png", "csv")}
    assert {path.name for path in written} == names | {"overview.svg", "overview.png"}
    assert set(written) == set((tmp_path / "plots").iterdir())


def test_pictures_are_the_same_bytes_every_time(run: Path, tmp_path: Path) -> None:
    first, second = (draw([run], tmp_path / name, formats=("svg",)) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", [memory_cell("maml", steps) for steps in (1, 2)])
    names = {path.name for path in draw([path], tmp_path / "plots", formats=("svg",))}
    assert names == {"memory.svg", "memory.csv", "overview.svg"}
    assert draw([write_run(tmp_path / "empty", [])], tmp_path / "none") == []


def test_the_drawn_values_are_the_rows_in_the_units_of_the_axis(run: Path) -> None:
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert "MiB" in ax.get_ylabel()
    line = bars(ax)["run: maml"].lines[0]
    assert drawn(line)[0] == [1, 2, 4, 8]
    assert drawn(line)[1] == pytest.approx([52 + 26.35 * steps for steps in (1, 2, 4, 8)])
    (ax,) = measure_figure("accuracy", summarise([run], "accuracy")).axes
    assert drawn(bars(ax)["run: reptile"].lines[0])[1][0] == pytest.approx(71.26, abs=0.01)


def test_intervals_are_drawn_as_bars(run: Path) -> None:
    summary = summarise([run], "time")
    (ax,) = measure_figure("time", summary).axes
    segments = bars(ax)["run: maml"].lines[2][0].get_segments()
    maml = summary[(summary.method == "maml") & (summary.status == "ok")]
    assert [segment[0][1] for segment in segments] == pytest.approx(list(1e3 * maml.low))
    assert [segment[1][1] for segment in segments] == pytest.approx(list(1e3 * maml.high))


def test_a_failed_point_is_a_cross_with_its_status(run: Path) -> None:
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [drawn(cross)[0] for cross in crosses] == [[16]]
    assert to_hex(crosses[0].get_color()) == PALETTE["maml"][0].lower()
    assert "oom" in texts(ax)


def test_the_highest_value_stays_below_the_crosses(run: Path) -> None:
    for measure in ("accuracy", "memory", "time"):
        (ax,) = measure_figure(measure, summarise([run], measure)).axes
        top = max(max(drawn(bar.lines[0])[1]) for bar in bars(ax).values())
        assert ax.transAxes.inverted().transform(ax.transData.transform((1, top)))[1] < 0.93


def test_every_method_is_named_in_the_margin_without_overlap(run: Path) -> None:
    for measure in ("accuracy", "memory", "time"):
        figure = measure_figure(measure, summarise([run], measure))
        (ax,) = figure.axes
        named = {text.get_text(): text for text in ax.texts if text.get_text() in METHODS}
        assert set(named) == set(METHODS)
        boxes = sorted((text.get_window_extent() for text in named.values()), key=lambda box: box.y0)
        assert all(low.y0 + 10 < high.y0 for low, high in pairwise(boxes))
        assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_floors_are_labelled_and_newton_steps_are_noted(run: Path) -> None:
    (ax,) = measure_figure("accuracy", summarise([run], "accuracy")).axes
    assert "chance" in texts(ax)
    assert "nearest neighbour in pixels" in keys(ax)
    assert ax.get_xlabel() == "inner steps (imaml-hf: Newton steps)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32", "16", "8", "4", "2", "1"]
    assert chance("glyphs[shots=1,ways=20]") == 5
    assert chance("sinusoid") is None


def test_runs_share_axes_and_differ_in_line_style(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", whole_run(budget_mib=float("inf")))
    (ax,) = measure_figure("memory", summarise([run, other], "memory")).axes
    first, second = (bars(ax)[f"{name}: maml"].lines[0] for name in ("A (run)", "B (other)"))
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert ax.figure.legends[0].get_texts()[0].get_text() == "A (run)"
    assert "oom, A (run)" in texts(ax)


def test_runs_are_told_apart_by_their_letters(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "gpu" / "run", [memory_cell("maml", 4)])
    assert list(summarise([run, other], "memory").run.unique()) == ["A (run)", "B (run)"]


def test_workloads_are_facets(tmp_path: Path) -> None:
    cells = [accuracy_cell("maml", 4)]
    cells.append(accuracy_cell("maml", 4, metric="loss", workload="sinusoid", cell_id="s", unit="1"))
    summary = summarise([write_run(tmp_path / "run", cells)], "accuracy")
    assert [ax.get_ylabel() for ax in measure_figure("accuracy", summary).axes] == [
        "accuracy on fresh tasks (%)",
        "loss on fresh tasks",
    ]
    assert len(overview_figure({"accuracy": summary}).axes) == 2


def test_the_csv_beside_a_plot_rebuilds_it(run: Path, tmp_path: Path) -> None:
    draw([run], tmp_path, formats=())
    kept = pd.read_csv(tmp_path / "time.csv")
    again, first = (measure_figure("time", s).axes[0] for s in (kept, summarise([run], "time")))
    for label, bar in bars(first).items():
        assert drawn(bars(again)[label].lines[0])[1] == pytest.approx(drawn(bar.lines[0])[1])


def test_drawing_leaves_global_settings_alone(run: Path, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw([run], tmp_path, formats=("svg",))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("measure", "title"),
    [
        # Not at 4, and not imaml-hf, which is the most accurate there: its steps are Newton steps.
        ("accuracy", "Too close to call at 16 inner steps: maml reaches 87.1 ± 1.6 %, imaml-gd 83.6 ± 2.5 %"),
        ("memory", "Peak memory grows by 26.35 MiB (maml) an inner step and stays flat for "
                   "fomaml, reptile, imaml-gd and imaml-hf"),
        ("time", "reptile is the fastest of 4 methods at 8 inner steps (112 ms); "
                 "maml takes 2.7 (2.6 to 2.7) times as long as reptile"),
    ],
)  # fmt: skip
def test_the_title_says_the_finding(run: Path, measure: str, title: str) -> None:
    assert finding(measure, summarise([run], measure)).replace("\N{NO-BREAK SPACE}", " ") == title


def test_slopes_that_are_alike_are_said_once(tmp_path: Path) -> None:
    def title(*slopes: float) -> str:
        cells = [
            [row(method=f"maml{i}", cell_id=f"{i}-{steps}", inner_steps=steps, value=slope * steps * MIB)]
            for i, slope in enumerate(slopes)
            for steps in (1, 2, 4)
        ]
        path = write_run(tmp_path / str(slopes), cells)
        return finding("memory", summarise([path], "memory")).replace("\N{NO-BREAK SPACE}", " ")

    assert title(2.5, 2.5, 2.5) == "Peak memory grows linearly for 3 methods (2.5 MiB a step)"
    assert title(2.5, 3.5, 4.5) == "Peak memory grows linearly for 3 methods (2.5 MiB to 4.5 MiB a step)"


def test_a_winner_is_called_only_over_seeds_whose_intervals_part(tmp_path: Path) -> None:
    def cells(seeds: int) -> list[list]:
        return [accuracy_cell(method, 4, seed) for method in ("maml", "reptile") for seed in range(seeds)]

    one, three = (write_run(tmp_path / str(n), cells(n)) for n in (1, 3))
    said = finding("accuracy", summarise([one], "accuracy")).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("No winner can be called from 1 seed: at 4 inner steps maml reaches")
    assert finding("accuracy", summarise([three], "accuracy")).startswith("maml has the highest accuracy")


def test_methods_with_one_number_of_inner_steps_each_are_all_held_against_each_other(tmp_path: Path) -> None:
    def title(*steps_of_maml: int) -> str:
        steps = {"maml": steps_of_maml, "reptile": (8,), "imaml-hf": (4,)}
        cells = [
            accuracy_cell(method, number, seed)
            for method, numbers in steps.items()
            for number in numbers
            for seed in range(3)
        ]
        path = write_run(tmp_path / str(steps_of_maml), cells)
        return finding("accuracy", summarise([path], "accuracy")).replace("\N{NO-BREAK SPACE}", " ")

    assert title(1).startswith("imaml-hf has the highest accuracy of 3 methods with each at its own ")
    assert "at 8 inner steps" in title(1, 8)


def test_a_wide_interval_of_the_third_keeps_the_first_from_winning(tmp_path: Path) -> None:
    """0.90 ± 0.00 and 0.80 ± 0.00 part; the seeds of the third, 0.5 to 0.98, leave all open."""
    values = {"maml": (0.9, 0.9, 0.9), "fomaml": (0.8, 0.8, 0.8), "reptile": (0.98, 0.8, 0.5)}

    def title(*methods: str) -> str:
        cells = []
        for method in methods:
            for seed, value in enumerate(values[method]):
                cell = accuracy_cell(method, 4, seed)
                cells.append([type(r)(**vars(r) | ({"value": value} if r.metric == "accuracy" else {}))
                              for r in cell])  # fmt: skip
        path = write_run(tmp_path / "-".join(methods), cells)
        return finding("accuracy", summarise([path], "accuracy")).replace("\N{NO-BREAK SPACE}", " ")

    assert title("maml", "fomaml").startswith("maml has the highest accuracy")
    assert title("maml", "fomaml", "reptile").startswith(
        "Too close to call at 4 inner steps: maml reaches 90.0 ± 0.0 %, reptile 76.0 ± "
    )


def test_a_run_of_failures_only_is_drawn_as_crosses(tmp_path: Path) -> None:
    cell = [row(value=None, status="error", detail="no such layer")]
    (ax,) = measure_figure("memory", summarise([write_run(tmp_path / "run", [cell])], "memory")).axes
    assert "error" in texts(ax)
    assert "maml" in keys(ax)  # no line's end names it


@pytest.mark.parametrize("measure", ["memory", "accuracy"])
def test_what_became_of_neighbouring_points_can_be_read(tmp_path: Path, measure: str) -> None:
    fates = {1: "oom", 2: "timeout", 4: "diverged", 8: "error"}
    metric = {"memory": "peak_bytes"}.get(measure, measure)
    cells = [[row(cell_id=fate, inner_steps=step, measure=measure, metric=metric, value=None, status=fate)]
             for step, fate in fates.items()]  # fmt: skip
    figure = measure_figure(measure, summarise([write_run(tmp_path / "run", cells)], measure))
    (ax,) = figure.axes
    words = {"oom (machine)", "timeout", "diverged", "error"}
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text() in words]
    assert len(boxes) == 4
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_zeros_only_are_drawn_without_a_warning(tmp_path: Path) -> None:
    cells = [accuracy_cell("maml", steps, metric="loss") for steps in (4, 8)]
    zeros = [[type(r)(**vars(r) | {"value": 0.0}) for r in cell] for cell in cells]
    (ax,) = measure_figure("accuracy", summarise([write_run(tmp_path / "run", zeros)], "accuracy")).axes
    assert ax.get_ylim()[0] == 0.0


def test_labels_are_pushed_apart_within_the_axes_in_their_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        wanted = np.sort(rng.uniform(0, 100, size=rng.integers(1, 9)))
        places = spread(wanted, 11.0, 100.0)
        assert (np.diff(places) >= 11 - 1e-6).all()
        assert places.min() >= 0
        assert places.max() <= 100 + 1e-6
    np.testing.assert_allclose(spread(np.array([10.0, 50.0]), 11.0, 100.0), [10, 50])


def test_a_workload_reads_as_people_say_it() -> None:
    assert workload_in_words("glyphs[norm=none,shots=1,ways=5]") == "glyphs, 5-way 1-shot, norm none"


BEYOND = "1,200 bytes of live tensors exceed the virtual budget of 1,000 (in query, after aten.mul.Tensor)"
REFUSED = "DefaultCPUAllocator was asked for 4,000,000 bytes, more than was left (core.py, line 7)"


def budget_run(
    path: Path, budget_mib: float, *, known: bool = True, steps: tuple[int, ...] = (1, 2, 4, 8, 16)
) -> Path:
    """Memory of maml and imaml-gd; what does not fit has its prediction beside it."""
    cells = []
    for method in ("maml", "imaml-gd"):
        for step in steps:
            cell = memory_cell(method, step, budget_mib=budget_mib)
            if cell[0].status == "oom":
                (needed, *_) = memory_cell(method, step)
                cell.append(Row(**(vars(needed) | {"metric": "predicted_peak_bytes"})))
            cells.append(cell)
    return write_run(path, cells, memory_budget=budget_mib * MIB if known else None)


def crosses(ax: Axes) -> list[tuple[float, float, str]]:
    """Steps, height in the unit of the axis (as drawn) and colour."""
    found = []
    for line in ax.lines:
        if line.get_marker() == "x":
            x, y = ax.transData.inverted().transform(line.get_transform().transform(line.get_xydata())[0])
            found.append((round(float(x), 6), float(y), to_hex(line.get_color())))
    return found


def rings(ax: Axes) -> dict[str, list[float]]:
    return {
        str(line.get_label()): drawn(line)[0]
        for line in ax.lines
        if str(line.get_label()).endswith("flagged") and line.get_markerfacecolor() == "none"
    }


def dashed(ax: Axes) -> list[float]:
    """Heights of the budget lines."""
    named = [text for text in ax.texts if text.get_text().startswith("budget ")]
    return [float(text.xy[1]) for text in named]


def keys(ax: Axes) -> list[str]:
    assert ax.figure is not None
    return [text.get_text() for legend in ax.figure.legends for text in legend.get_texts()]


def test_where_memory_ran_out_the_cross_is_at_the_budget(tmp_path: Path) -> None:
    run = budget_run(tmp_path / "run", 200)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert [(x, y) for x, y, _ in crosses(ax)] == [(8, pytest.approx(200)), (16, pytest.approx(200))]
    assert "budget 200 MiB" in texts(ax)
    assert dashed(ax) == [200]
    assert "budget of live tensors; cross: oom" in keys(ax)


def oom_run(path: Path, steps_and_reasons: dict[int, str], budget_mib: float) -> Path:
    """Memory of maml, which fits at one step and runs out of memory elsewhere."""
    cells = [memory_cell("maml", 1)]
    for steps, why in steps_and_reasons.items():
        cells.append([row(cell_id=str(steps), inner_steps=steps, settings=cells[0][0].settings, value=None,
                          status="oom", detail=why)])  # fmt: skip
    return write_run(path, cells, memory_budget=int(budget_mib * MIB))


def test_where_the_machine_itself_had_no_more_the_cross_is_not_at_the_budget(tmp_path: Path) -> None:
    run = oom_run(tmp_path / "run", {4: REFUSED, 8: BEYOND}, 150)
    draw([run], tmp_path / "plots", formats=())
    for summary in (summarise([run], "memory"), pd.read_csv(tmp_path / "plots" / "memory.csv")):
        (ax,) = measure_figure("memory", summary).axes
        heights = {step: height for step, height, _ in crosses(ax)}
        assert heights[8] == pytest.approx(150)
        assert ax.transAxes.inverted().transform(ax.transData.transform((4, heights[4])))[1] > 0.9
        assert "oom (machine)" in texts(ax)
        assert "oom" not in texts(ax)


def test_a_far_budget_that_no_point_reached_does_not_stretch_the_axis(tmp_path: Path) -> None:
    run = oom_run(tmp_path / "run", {4: REFUSED}, 4000)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert dashed(ax) == []
    assert ax.get_ylim()[1] < 120


def test_the_trackers_own_words_are_known_as_the_budgets() -> None:
    with pytest.raises(VirtualOutOfMemory, match=VIRTUAL):
        LiveStorages([torch.zeros(9)], limit=1)


def test_crosses_at_one_place_stand_above_one_another(tmp_path: Path) -> None:
    beyond = {"settings": {}, "value": None, "status": "oom", "detail": BEYOND}
    cells = [[row(cell_id=method, method=method, **beyond)] for method in METHODS]
    run = write_run(tmp_path / "run", cells, memory_budget=64 * MIB)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    heights = [y for _, y, _ in crosses(ax)]
    pixels = [ax.transData.transform((1, y))[1] for y in heights]
    assert heights[0] == pytest.approx(64)
    assert (np.diff(pixels) > 10).all()
    assert max(pixels) < ax.bbox.y1


def test_without_a_known_budget_and_for_other_failures_crosses_stay_at_the_edge(tmp_path: Path) -> None:
    run = budget_run(tmp_path / "old", 200, known=False)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert {y > 0.95 * ax.get_ylim()[1] for _, y, _ in crosses(ax)} == {True}
    assert dashed(ax) == []
    cells = [memory_cell("maml", 1), [row(value=None, status="error", detail="no such layer")]]
    run = write_run(tmp_path / "error", cells, memory_budget=100 * MIB)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert [y > 1.02 * 100 for _, y, _ in crosses(ax)] == [True]
    assert "error" in texts(ax)


def test_a_budget_far_above_all_that_was_measured_is_left_out(tmp_path: Path) -> None:
    near, far = (
        write_run(tmp_path / str(factor), [memory_cell("maml", 1)], memory_budget=int(factor * 78 * MIB))
        for factor in (2.5, 4)
    )
    assert dashed(measure_figure("memory", summarise([near], "memory")).axes[0]) == [pytest.approx(195)]
    (ax,) = measure_figure("memory", summarise([far], "memory")).axes
    assert dashed(ax) == []
    assert ax.get_ylim()[1] < 90


def test_runs_with_different_budgets_have_a_line_each(tmp_path: Path) -> None:
    runs = [budget_run(tmp_path / f"run{budget}", budget) for budget in (150, 200)]
    (ax,) = measure_figure("memory", summarise(runs, "memory")).axes
    assert {"budget 150 MiB, A (run150)", "budget 200 MiB, B (run200)"} <= set(texts(ax))
    same = budget_run(tmp_path / "same", 200)
    (ax,) = measure_figure("memory", summarise([runs[1], same], "memory")).axes
    assert "budget 200 MiB" in texts(ax)
    assert len(crosses(ax)) == 2


def test_what_did_not_fit_is_predicted_as_far_as_twice_the_budget(tmp_path: Path) -> None:
    run = budget_run(tmp_path / "run", 120, steps=(1, 2, 4, 8, 16))
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    (line,) = (line for line in ax.lines if line.get_label() == "run: maml, predicted")
    assert drawn(line)[0] == [2, 4, 8, 16]
    assert drawn(line)[1] == pytest.approx([52 + 26.35 * steps for steps in (2, 4, 8, 16)])
    assert 240 <= ax.get_ylim()[1] < 300
    assert "live tensors, predicted, not run" in keys(ax)


def test_predictions_of_points_that_ran_are_not_drawn(tmp_path: Path) -> None:
    cell = memory_cell("maml", 1)
    cell.append(Row(**(vars(cell[0]) | {"metric": "predicted_peak_bytes", "value": 500.0 * MIB})))
    run = write_run(tmp_path / "run", [cell], memory_budget=100 * MIB)
    (ax,) = measure_figure("memory", summarise([run], "memory")).axes
    assert not [line for line in ax.lines if "predicted" in str(line.get_label())]


@pytest.mark.parametrize(
    ("mib", "words"), [(400, "400 MiB"), (1024, "1 GiB"), (12288, "12 GiB"), (0.5, "0.5 MiB")]
)
def test_a_budget_reads_as_it_was_given(mib: float, words: str) -> None:
    assert in_words(mib) == words


def flag_of(cell: list[Row], text: str) -> Row:
    return Row(**(vars(cell[0]) | {"metric": "flag", "value": None, "status": "ok", "detail": text}))


@pytest.mark.parametrize(
    ("measure", "cell"),
    [("accuracy", accuracy_cell), ("memory", memory_cell), ("time", lambda m, s: time_cell(0, [(m, s)]))],
)
def test_a_flagged_point_has_a_ring_and_a_key(tmp_path: Path, measure: str, cell) -> None:  # type: ignore[no-untyped-def]
    cells = [cell("maml", steps) for steps in (4, 8, 16)]
    for i, each in enumerate(cells):
        cells[i] = [Row(**(vars(r) | {"cell_id": f"c{i}"})) for r in each]
    cells[1].append(flag_of(cells[1], "the solver did not converge"))
    run = write_run(tmp_path / "run", cells)
    draw([run], tmp_path / "plots", formats=())
    for summary in (summarise([run], measure), pd.read_csv(tmp_path / "plots" / f"{measure}.csv")):
        (ax,) = measure_figure(measure, summary).axes
        assert rings(ax) == {"run: maml, flagged": [8]}
        assert "flagged by an instrument" in keys(ax)
        assert overview_figure({measure: summary}).axes[0].get_xlim() == ax.get_xlim()


def test_a_warning_of_all_points_is_said_once_and_ringed_nowhere(tmp_path: Path) -> None:
    cells = [memory_cell(method, 4) for method in ("maml", "reptile")]
    cells = [[*cell, flag_of(cell, "the machine was busy")] for cell in cells]
    cells[1].append(Row(**(vars(flag_of(cells[1], "retried")) | {"repeat": 1})))
    cells.append([row(cell_id="lost", inner_steps=8, value=None, status="timeout")])
    summary = summarise([write_run(tmp_path / "run", cells)], "memory")
    (curves,) = curves_of("memory", summary)
    assert list(curves.own_flags) == ["", "", "retried"]
    (ax,) = measure_figure("memory", summary).axes
    assert rings(ax) == {"run: reptile, flagged": [4]}
    said = " ".join(texts(ax)).replace("\n", " ")
    assert said.count("flagged throughout: the machine was busy") == 1


def test_a_run_is_drawn_and_flagged_alike_in_every_panel_of_an_overlay(tmp_path: Path) -> None:
    """The second run is alone on the sinusoid; there as beside the first, all of its points are flagged."""
    first = write_run(tmp_path / "first", [memory_cell("maml", steps) for steps in (1, 2)])
    places = ({"workload": GLYPHS}, {"workload": "sinusoid"})
    cells = [memory_cell("maml", steps, cell_id=f"{steps}{i}", **place)
             for i, place in enumerate(places) for steps in (1, 2)]  # fmt: skip
    second = write_run(tmp_path / "second", [[*cell, flag_of(cell, "busy")] for cell in cells])
    figure = measure_figure("memory", summarise([first, second], "memory"))
    lines = [bars(ax)["B (second): maml"].lines[0] for ax in figure.axes]
    assert [line.get_linestyle() for line in lines] == ["--", "--"]
    assert [rings(ax) for ax in figure.axes] == [{}, {}]
    beside, alone = (" ".join(texts(ax)).replace("\n", " ") for ax in figure.axes)
    assert "B (second) flagged throughout: busy" in beside
    assert "; flagged throughout: busy" in alone


def test_methods_stay_on_their_steps_where_the_axis_is_linear(run: Path) -> None:
    (ax,) = measure_figure("accuracy", summarise([run], "accuracy"), logs=LOGS["y"]).axes
    steps = {x for bar in bars(ax).values() for x in drawn(bar.lines[0])[0]}
    assert steps == {1, 2, 4, 8, 16}


def test_the_smallest_number_of_steps_is_named_on_a_narrow_axis(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [memory_cell("fomaml", steps) for steps in (1, 2, 4, 8, 16, 64)])
    (ax,) = measure_figure("memory", summarise([run], "memory"), style=PAPER).axes
    named = [label.get_text() for label in ax.get_xticklabels()]
    assert {"1", "64"} <= set(named)
    assert "2" not in named


def test_words_between_dollars_are_no_formula(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[row(method="$lr$_1", inner_steps=steps, cell_id=str(steps))]
                                       for steps in (1, 2)])  # fmt: skip
    draw([run], tmp_path / "plots", formats=("svg",))
    with SCREEN.applied():
        (ax,) = measure_figure("memory", summarise([run], "memory")).axes
        (name,) = [text for text in ax.texts if text.get_text() == "$lr$_1"]
        assert not name.get_parse_math()


def test_blocks_that_were_all_busy_are_one_warning(tmp_path: Path) -> None:
    cells = [time_cell(block, [("maml", 4), ("reptile", 4)], rounds=2) for block in range(3)]
    for block, cell in enumerate(cells):
        for one in (cell[0], cell[-1]):
            cell.append(flag_of([one], f"others used {block + 1}.5 cores in block {block}"))
    (ax,) = measure_figure("time", summarise([write_run(tmp_path / "run", cells)], "time")).axes
    assert rings(ax) == {}
    said = " ".join(texts(ax)).replace("\n", " ")
    assert "flagged throughout: others used 1.5 to 3.5 cores in block 0 to 2" in said


def traced_run(path: Path) -> Path:
    cells = [memory_cell(method, steps, budget_mib=200) for method in METHODS for steps in (4, 8)]
    run = write_run(path, cells)
    for method in METHODS:
        for steps in (4, 8):
            write_trace(run, f"memory-{method}-{steps}", trace_of(method, steps))
    return run


def test_memory_over_a_step_is_a_panel_a_method(tmp_path: Path) -> None:
    run = traced_run(tmp_path / "run")
    names = {path.name for path in draw([run], tmp_path / "plots")}
    assert {f"memory-trace.{kind}" for kind in ("svg", "png", "csv")} <= names
    traces = pd.read_csv(tmp_path / "plots" / "memory-trace.csv")
    axes = trace_figure(traces).axes
    assert [ax.lines[0].get_label() for ax in axes] == list(METHODS)
    assert len({ax.get_ylim() for ax in axes}) == 1
    (x, y), expected = drawn(axes[0].lines[0]), trace_of("maml", 4)
    assert y == pytest.approx(list(expected.live_bytes / MIB))
    assert x == pytest.approx(list(100 * expected.operator / 300))
    assert [any(name in text for text in texts(ax)) for ax, name in zip(axes, METHODS, strict=True)]
    assert "maml, 4 inner steps" in texts(axes[0])
    assert "imaml-gd, 8 inner steps" in texts(axes[3])


def test_a_log_axis_has_numbers_when_only_a_floor_reaches_far_up(tmp_path: Path) -> None:
    cell = accuracy_cell("maml", 4, metric="loss", workload="sinusoid", unit="1")
    worse = accuracy_cell("maml", 8, metric="loss", workload="sinusoid", unit="1")
    far = {"loss": 40.0, "untrained_loss": 8e11}
    worse = [Row(**(vars(r) | {"value": far.get(r.metric, r.value)})) for r in worse]
    summary = summarise([write_run(tmp_path / "run", [cell, worse])], "accuracy")
    (ax,) = measure_figure("accuracy", summary).axes
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 3


def test_the_title_says_in_which_phase_memory_peaks(tmp_path: Path) -> None:
    traces = summarise_traces([traced_run(tmp_path / "run")], ["run"])
    assert where_memory_peaks(traces) == (
        "The peak lies in: inner loop (maml), backward (fomaml and reptile), solve (imaml-gd and imaml-hf)"
    )
    first_order = traces[traces.method.isin(["fomaml", "reptile"])]
    assert where_memory_peaks(first_order) == "Every method's memory peaks in the phase: backward"


def test_phases_cover_the_whole_step_without_gap() -> None:
    phases = ["inner loop", "inner loop", "query", "inner loop"]
    trace = pd.DataFrame({"fraction": [0.25, 0.5, 0.75, 1.0], "phase": phases})
    assert phase_spans(trace) == [(0.0, 0.5, "inner loop"), (0.5, 0.75, "query"), (0.75, 1.0, "inner loop")]
