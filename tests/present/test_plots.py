from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from rows import METHODS, accuracy_cell, memory_cell, row, whole_run, write_run

from harness.errors import UsageError
from harness.present.palette import METHODS as PALETTE
from harness.present.palette import looks
from harness.present.panel import chance, spread
from harness.present.plots import draw, measure_figure, overview_figure, summarise
from harness.present.titles import finding, workload_in_words


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


def test_a_run_gives_three_plots_an_overview_and_their_rows(run: Path, tmp_path: Path) -> None:
    written = draw([run], tmp_path / "plots")
    names = {f"{name}.{kind}" for name in ("accuracy", "memory", "time") for kind in ("svg", "png", "csv")}
    assert {path.name for path in written} == names | {"overview.svg", "overview.png"}
    assert set(written) == set((tmp_path / "plots").iterdir())


def test_pictures_are_the_same_bytes_every_time(run: Path, tmp_path: Path) -> None:
    first, second = (draw([run], tmp_path / name, formats=("svg",)) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", [memory_cell("maml", steps) for steps in (1, 2)])
    names = {path.name for path in draw([path], tmp_path / "plots", formats=("svg",))}
    assert names == {"memory.svg", "memory.csv", "overview.svg"}
    with pytest.raises(UsageError, match="nothing to plot"):
        draw([write_run(tmp_path / "empty", [])], tmp_path / "none")


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
    assert {"nearest neighbour in pixels", "chance"} <= set(texts(ax))
    assert ax.get_xlabel() == "inner steps (imaml-hf: Newton steps)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32", "16", "8", "4", "2", "1"]
    assert chance("glyphs[shots=1,ways=20]") == 5
    assert chance("sinusoid") is None


def test_runs_share_axes_and_differ_in_line_style(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", whole_run(budget_mib=float("inf")))
    (ax,) = measure_figure("memory", summarise([run, other], "memory")).axes
    first, second = (bars(ax)[f"{name}: maml"].lines[0] for name in ("run", "other"))
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert ax.figure.legends[0].get_texts()[0].get_text() == "run"
    assert "oom (run)" in texts(ax)


def test_runs_of_one_name_are_told_apart_by_their_folders(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "gpu" / "run", [memory_cell("maml", 4)])
    assert list(summarise([run, other], "memory").run.unique()) == [f"{run.parent.name}/run", "gpu/run"]


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
        ("accuracy", "Too close to call: maml reaches 87.1 ± 1.6 %, imaml-hf 84.3 ± 3.5 %"),
        ("memory", "Peak memory grows by 26.35 MiB (maml) an inner step and stays flat for "
                   "fomaml, reptile, imaml-gd and imaml-hf"),
        ("time", "reptile is the fastest at 8 inner steps (112 ms); imaml-hf takes 12 times as long"),
    ],
)  # fmt: skip
def test_the_title_says_the_finding(run: Path, measure: str, title: str) -> None:
    assert finding(measure, summarise([run], measure)).replace("\N{NO-BREAK SPACE}", " ") == title


def test_a_winner_is_called_only_over_seeds_whose_intervals_part(tmp_path: Path) -> None:
    def cells(seeds: int) -> list[list]:
        return [accuracy_cell(method, 4, seed) for method in ("maml", "reptile") for seed in range(seeds)]

    one, three = (write_run(tmp_path / str(n), cells(n)) for n in (1, 3))
    said = finding("accuracy", summarise([one], "accuracy")).replace("\N{NO-BREAK SPACE}", " ")
    assert said.endswith("(from 1 seed)")
    assert finding("accuracy", summarise([three], "accuracy")).startswith("maml has the highest accuracy")


def test_a_run_of_failures_only_is_drawn_as_crosses(tmp_path: Path) -> None:
    cell = [row(value=None, status="error", detail="no such layer")]
    (ax,) = measure_figure("memory", summarise([write_run(tmp_path / "run", [cell])], "memory")).axes
    assert "error" in texts(ax)


def test_a_method_has_one_colour_in_every_company() -> None:
    alone, together = looks([("imaml-hf", "imaml-hf")]), looks((name, name) for name in PALETTE)
    assert alone["imaml-hf"] == together["imaml-hf"]
    assert looks([("mine", "mine")])["mine"] == looks([("mine", "mine"), ("maml", "maml")])["mine"]


def test_methods_differ_in_colour_and_marker_and_variants_in_shape() -> None:
    known = looks((name, name) for name in PALETTE).values()
    assert len({look.colour for look in known}) == len({look.marker for look in known}) == len(PALETTE)
    pairs = [("maml", "maml[lam=0.0]"), ("maml", "maml[lam=2.0]"), ("maml@higher", "maml@higher")]
    variants = looks(pairs).values()
    assert len({look.colour for look in variants}) == 1
    assert len({(look.marker, look.filled) for look in variants}) == 3


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
