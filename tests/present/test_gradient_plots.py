from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawing import draw, measure_figure, summarise
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from rows import gradient_cell, inner_kappa, memory_cell, meta_gradient_run, optimisers_run, row, write_run

from harness.present.plots.curves import NOTHING, points_shown
from harness.present.plots.gradient_titles import finding_of_gradient
from harness.rows import Row

PICTURES = {"gradient", "gradient-unrolled", "gradient-norm", "gradient-work"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", meta_gradient_run(seeds=2))


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """Label -> the points that are drawn."""
    return {
        str(bar.get_label()).removeprefix("run: "): np.asarray(bar.lines[0].get_xydata(), dtype=float)
        for bar in ax.containers
        if isinstance(bar, ErrorbarContainer)
    }


def texts(ax: Axes) -> str:
    return (
        " ".join(text.get_text() for text in ax.texts).replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")
    )


def axes(name: str, *cells: list[Row], path: Path) -> list[Axes]:
    summary = summarise([write_run(path, list(cells))], "gradient")
    return measure_figure(name, points_shown(name, summary)).axes


def unrolled(method: str, steps: int, error: float | None, **more: Any) -> list[Row]:
    values = {"rel_error_unrolled": error, "meta_gradient_norm": 1.0} if error is not None else {}
    return gradient_cell(method, steps, values=values or {"rel_error_unrolled": None}, settings={}, **more)


def test_a_run_of_gradients_gives_four_pictures_and_the_first_stands_in_the_overview(
    run: Path, tmp_path: Path
) -> None:
    written = {path.name for path in draw([run], tmp_path, formats=("svg",))}
    assert written == {f"{name}.{kind}" for name in PICTURES for kind in ("svg", "csv")} | {"overview.svg"}
    overview, first = ((tmp_path / f"{name}.svg").read_text() for name in ("overview", "gradient"))
    assert overview.count('id="axes_') == first.count('id="axes_') == 2  # a panel a workload


def test_the_overview_has_one_picture_of_each_measure(tmp_path: Path) -> None:
    cells = [memory_cell("maml", 4), unrolled("maml", 4, 1e-16)]
    draw([write_run(tmp_path / "run", cells)], tmp_path / "plots", formats=("svg",))
    overview = (tmp_path / "plots" / "overview.svg").read_text()
    assert overview.count('id="axes_') == 2
    assert not (tmp_path / "plots" / "gradient.svg").exists()  # there is no implicit error


def test_the_drawn_errors_are_the_rows(run: Path) -> None:
    at_10, at_100 = measure_figure("gradient", summarise([run], "gradient")).axes
    for ax in (at_10, at_100):
        assert (ax.get_yscale(), ax.get_xscale()) == ("log", "log")
        assert len(lines(ax)) == 5
    drawn = lines(at_10)["imaml-gd[cg_steps=5]"]
    assert list(drawn[:, 0]) == [2**i for i in range(10)]
    assert drawn[-1, 1] == pytest.approx(4e-4)
    seeds = [(1 - 1.5 / inner_kappa(10)) * (1 + 0.1 * seed) + 4e-4 for seed in (0, 1)]
    assert drawn[0, 1] == pytest.approx(np.sqrt(seeds[0] * seeds[1]))
    assert "geometric mean of 2 seeds, bars: least to largest" in texts(at_10)
    assert "error against the exact implicit meta-gradient" in texts(at_10)


def test_bars_reach_from_the_least_seed_to_the_largest(run: Path) -> None:
    summary = summarise([run], "gradient")
    ax = measure_figure("gradient", summary).axes[0]
    (bar,) = (c for c in ax.containers if isinstance(c, ErrorbarContainer) and c.get_label() == "run: maml")
    ends = np.array([segment[:, 1] for segment in bar.lines[2][0].get_segments()])
    maml = summary[(summary.method == "maml") & summary.workload.str.contains("=10.0")]
    np.testing.assert_allclose(ends[:, 0], maml.rel_error_implicit_low, rtol=1e-9)
    np.testing.assert_allclose(ends[:, 1], maml.rel_error_implicit_high, rtol=1e-9)


def test_the_work_picture_has_gradients_and_products_along_its_axis(run: Path) -> None:
    ax = measure_figure("gradient-work", summarise([run], "gradient")).axes[0]
    assert ax.get_xlabel() == "gradients and Hessian products of a task"
    assert list(lines(ax)["maml"][:3, 0]) == [3, 5, 9]
    assert list(lines(ax)["imaml-gd[cg_steps=20]"][:3, 0]) == [22, 23, 25]


def test_the_norm_is_drawn_from_nothing_up_where_it_keeps_its_size(run: Path) -> None:
    ax = measure_figure("gradient-norm", summarise([run], "gradient")).axes[0]
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] == 0
    assert lines(ax)["maml"][-1, 1] == pytest.approx(0.8)


def test_an_error_of_nothing_is_drawn_where_the_axis_says_and_marked(tmp_path: Path) -> None:
    cells = [unrolled("maml", steps, 0.0) for steps in (1, 2)] + [unrolled("fomaml", 1, 0.3)]
    (ax,) = axes("gradient-unrolled", *cells, path=tmp_path / "run")
    assert list(lines(ax)["maml"][:, 1]) == [NOTHING, NOTHING]
    zeros = [text for text in ax.texts if text.get_text() == "0"]
    assert [text.xy for text in zeros] == [(1, NOTHING), (2, NOTHING)]
    assert ax.get_ylim()[0] < NOTHING
    assert ax.figure is not None
    assert "no error at all, drawn at 1e-17" in [t.get_text() for t in ax.figure.legends[0].get_texts()]
    kept = pd.read_csv(draw([tmp_path / "run"], tmp_path, formats=())[0])
    assert set(kept.rel_error_unrolled[kept.method == "maml"]) == {0.0}


def test_nothing_but_zeros_still_has_an_axis(tmp_path: Path) -> None:
    (ax,) = axes("gradient-unrolled", unrolled("maml", 4, 0.0), path=tmp_path / "run")
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert low < NOTHING < high


def test_errors_that_are_alike_are_on_a_logarithmic_axis_too(tmp_path: Path) -> None:
    (ax,) = axes("gradient-unrolled", unrolled("maml", 1, 2e-16), unrolled("maml", 2, 3e-16), path=tmp_path)
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[1] / ax.get_ylim()[0] >= 10


def test_a_failed_point_is_a_cross_and_a_skipped_method_is_left_out(tmp_path: Path) -> None:
    lost = [row(method="maml", settings={}, inner_steps=8, cell_id="x", measure="gradient", value=None,
                metric="rel_error_unrolled", status="timeout", detail="took longer than 10 s")]  # fmt: skip
    cells = [unrolled("maml", 4, 1e-16), lost, unrolled("reptile", 4, None)]
    (ax,) = axes("gradient-unrolled", *cells, path=tmp_path)
    assert [list(np.ravel(line.get_xdata())) for line in ax.lines if line.get_marker() == "x"] == [[8]]
    assert "timeout" in texts(ax)
    assert "reptile" not in texts(ax)


def test_a_run_that_failed_throughout_is_drawn_as_crosses_once(tmp_path: Path) -> None:
    lost = [
        row(measure="gradient", metric="rel_error_implicit", value=None, status="error", detail="no layer")
    ]
    names = {
        p.name for p in draw([write_run(tmp_path / "run", [lost])], tmp_path / "plots", formats=("svg",))
    }
    assert names == {"gradient.svg", "gradient.csv", "overview.svg"}


def test_a_run_of_skipped_points_has_nothing_to_plot(tmp_path: Path) -> None:
    assert draw([write_run(tmp_path / "run", [unrolled("reptile", 4, None)])], tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_long_names_of_several_panels_go_into_a_legend(run: Path, tmp_path: Path) -> None:
    figure = measure_figure("gradient", summarise([run], "gradient"))
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["maml", *(f"imaml-gd[cg_steps={n}]" for n in (2, 5, 10, 20))]
    assert figure.get_size_inches()[0] < 11
    single = [cell for cell in meta_gradient_run() if "=10.0" in cell[0].workload]
    (ax,) = axes("gradient", *single, path=tmp_path / "single")
    assert "imaml-gd[cg_steps=20]" in texts(ax)
    assert ax.figure is not None
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("imaml-gd[")]
    assert max(box.x1 for box in boxes) <= ax.figure.bbox.x1


def test_a_csv_rebuilds_its_picture(run: Path, tmp_path: Path) -> None:
    draw([run], tmp_path, formats=())
    for name in PICTURES:
        again = measure_figure(name, pd.read_csv(tmp_path / f"{name}.csv")).axes
        first = measure_figure(name, points_shown(name, summarise([run], "gradient"))).axes
        for one, other in zip(again, first, strict=True):
            assert lines(one).keys() == lines(other).keys()
            for label, points in lines(other).items():
                np.testing.assert_allclose(lines(one)[label], points)


def said(name: str, cells: list[list[Row]], path: Path) -> str:
    """Of the workload that comes first: the one with the condition number 10, if there are several."""
    summary = points_shown(name, summarise([write_run(path, cells)], "gradient"))
    part = summary[summary.workload == summary.workload.min()]
    return finding_of_gradient(name, part).replace("\N{NO-BREAK SPACE}", " ")


def test_the_title_says_what_the_solver_leaves_and_who_is_closer(tmp_path: Path) -> None:
    assert said("gradient", meta_gradient_run(), tmp_path) == (
        "At 512 inner steps the error is 3e-2 with 2 CG steps, 4e-4 with 5, 2e-8 with 10, 3e-15 with 20; "
        "at 16 inner steps imaml-gd[cg_steps=20] (7.2e-2) is closer than maml (2.3), from 1 seed"
    )


def test_newton_steps_are_not_compared_with_steps_of_another_kind(tmp_path: Path) -> None:
    cells = optimisers_run([4, 8, 16])
    accelerated = [cell for cell in cells if cell[0].settings["optimiser"] == "accelerated"]
    for i, cell in enumerate(accelerated):
        newton = {"method": "imaml-hf", "cell_id": f"newton-{i}"}
        cells.append([Row(**vars(r) | newton | {"value": (r.value or 0) / 1e3}) for r in cell])
    title = said("gradient", cells, tmp_path)
    assert title.startswith("At 8 inner steps imaml-gd[optimiser=accelerated] (0.18) is closer than")
    assert "imaml-hf" not in title


def test_the_title_says_which_unrolled_methods_are_exact(tmp_path: Path) -> None:
    errors = {"maml": 2e-16, "maml-replay": 0.0, "fomaml": 0.4}
    cells = [unrolled(method, 4, error, workload="sinusoid") for method, error in errors.items()]
    title = said("gradient-unrolled", cells, tmp_path / "a")
    assert title == (
        "maml and maml-replay equal the derivative of phi_K to 2.0e-16; fomaml is off by up to 0.4"
    )
    alone = said("gradient-unrolled", cells[1:2], tmp_path / "b")
    assert alone == "maml-replay equals the derivative of phi_K to the last bit"


def test_a_method_is_exact_only_with_every_seed(tmp_path: Path) -> None:
    def title(*errors: float) -> str:
        cells = [unrolled("maml", 4, e, seed=i, workload="sinusoid") for i, e in enumerate(errors)]
        return said("gradient-unrolled", cells, tmp_path / str(len(errors)))

    assert title(0.0, 3e-16) == "maml equals the derivative of phi_K to 3.0e-16"
    assert "equal" not in title(0.0, 0.5, 0.5)


def test_the_title_says_whether_the_meta_gradient_vanishes(tmp_path: Path) -> None:
    def cells(last: float) -> list[list[Row]]:
        return [
            gradient_cell(method, steps, values={"rel_error_unrolled": 0.1, "meta_gradient_norm": norm},
                          settings={}, workload="sinusoid")
            for method, norms in {"maml": (2.0, last), "fomaml": (1.0, 0.5)}.items()
            for steps, norm in zip((1, 512), norms, strict=True)
        ]  # fmt: skip

    assert said("gradient-norm", cells(1.2), tmp_path / "a") == (
        "No meta-gradient vanishes: at 512 inner steps its norm is 50 to 60 % of its largest"
    )
    assert said("gradient-norm", cells(1e-9), tmp_path / "b") == (
        "By 512 inner steps the meta-gradient has vanished for maml; "
        "the norm of the others is 50 % of its largest"
    )


def test_the_title_of_norms_names_no_step_at_which_not_every_curve_ends(tmp_path: Path) -> None:
    cells = [
        gradient_cell(method, steps, values={"rel_error_unrolled": 0.1, "meta_gradient_norm": norm},
                      settings={}, workload="sinusoid")
        for method, last in {"maml": 512, "imaml-hf": 24}.items()
        for steps, norm in ((1, 1.0), (last, 0.5))
    ]  # fmt: skip
    assert said("gradient-norm", cells, tmp_path) == (
        "No meta-gradient vanishes: at its most inner steps its norm is 50 % of its largest"
    )


def test_the_title_says_what_an_error_costs(tmp_path: Path) -> None:
    cells = optimisers_run([2**i for i in range(11)])
    assert said("gradient-work", cells, tmp_path) == (
        "An error of 1e-8 takes imaml-gd[optimiser=accelerated] at most 149 gradients and products, "
        "imaml-gd[optimiser=adam] at most 1,045"
    )
