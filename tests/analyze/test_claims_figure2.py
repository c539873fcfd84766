"""Figure 2's panels on rows that bear them out, rows that refute them and rows that do not say."""

from typing import Any

import pytest
from claims import line, lines, loaded
from rows import (
    LAM,
    METHODS,
    MIB,
    SETTINGS,
    imaml_point,
    maml_point,
    memory_cell,
    meta_gradient_run,
    row,
    time_cell,
)

from harness.rows import Row

ERRORS, MEMORY = "error against inner steps", "memory against inner steps"
TIME = "time against inner steps"
STEPS = (1, 2, 4, 8, 16)


def scaled(cells: list[list[Row]], method: str, factor: float) -> list[list[Row]]:
    """With the error of one method multiplied."""
    return [
        [
            Row(**vars(r) | {"value": (r.value or 0) * factor})
            if (r.method, r.metric) == (method, "rel_error_implicit")
            else r
            for r in cell
        ]
        for cell in cells
    ]


# (a)


def test_both_approach_and_imaml_is_nearer_until_its_solver_decides() -> None:
    (at_10,) = lines(ERRORS, loaded(meta_gradient_run(seeds=2)))
    assert at_10.verdict == "reproduced"
    assert "MAML is nearer than imaml-gd[cg_steps=2] from " in at_10.sentence
    assert "imaml-gd[cg_steps=20]" in at_10.evidence[0].methods


def test_where_maml_is_overtaken_is_the_first_step_from_which_on_it_is_nearer() -> None:
    """MAML's error is 2 k q^k, that of 5 CG steps q^k + 4e-4, with q = 1 - 1.5 / 9.91."""
    (at_10,) = lines(ERRORS, loaded(meta_gradient_run()))
    assert "imaml-gd[cg_steps=5] from 128 and" in at_10.sentence


def test_an_error_that_is_still_on_its_way_leaves_it_open_and_one_that_stands_still_refutes_it() -> None:
    """At the condition number 100, 512 steps leave MAML a ninth of its first error."""
    run = [cell for cell in meta_gradient_run() if "=100.0" in cell[0].workload]
    found = line(ERRORS, run)
    assert found.verdict == "not measured"
    assert "still falls" in found.sentence
    stuck = [scaled([cell], "maml", 1e3)[0] if cell[0].inner_steps > 256 else cell for cell in run]
    assert line(ERRORS, stuck).verdict == "not reproduced"


def test_an_imaml_that_is_not_nearer_refutes_it() -> None:
    told = lines(ERRORS, loaded(scaled(meta_gradient_run(), "imaml-gd", 1e4)))
    assert "not reproduced" in {each.verdict for each in told}
    assert "reproduced" not in {each.verdict for each in told}


def test_one_seed_in_which_it_is_not_nearer_refutes_it() -> None:
    cells = meta_gradient_run(seeds=3)
    first = next(i for i, c in enumerate(cells) if c[0].method == "maml" and c[0].inner_steps == 4)
    cells[first] = scaled([cells[first]], "maml", 1e-3)[0]
    assert "not reproduced" in {each.verdict for each in lines(ERRORS, loaded(cells))}


def test_a_solver_with_more_steps_that_leaves_more_refutes_it() -> None:
    cells = meta_gradient_run()
    other = {2: 10, 10: 2}
    swapped = [
        [
            Row(**vars(r) | {"settings": r.settings | {"cg_steps": other[cg]}})
            if (cg := r.settings.get("cg_steps")) in other
            else r
            for r in cell
        ]
        for cell in cells
    ]
    assert {each.verdict for each in lines(ERRORS, loaded(swapped))} == {"not reproduced"}


def test_a_maml_on_another_problem_is_no_rival() -> None:
    cells = [cell for cell in meta_gradient_run() if cell[0].method != "maml"]
    other = [maml_point(0.2, s, workload=cells[0][0].workload, settings={"lam": 10 * LAM}) for s in STEPS]
    told = lines(ERRORS, loaded([*cells, *other]))
    assert {each.verdict for each in told} == {"not measured"}
    assert "no maml with the lambda and the step size of" in told[0].sentence


def test_a_maml_with_another_step_size_is_no_rival() -> None:
    cells = [cell for cell in meta_gradient_run() if cell[0].method != "maml"]
    place = {"workload": cells[0][0].workload, "settings": {"inner_lr": 0.05, "lam": LAM}}
    told = lines(ERRORS, loaded([*cells, *(maml_point(0.02, s, **place) for s in STEPS)]))
    assert {each.verdict for each in told} == {"not measured"}


def test_a_solver_that_decides_from_the_first_step_says_nothing() -> None:
    cells = [cell for s in STEPS for cell in (imaml_point(0.9, 2, s), maml_point(0.9, s)) if s > 1]
    assert line(ERRORS, cells).verdict == "not measured"


# (b)


def memory(shape: dict[str, Any]) -> list[list[Row]]:
    cells = [memory_cell(method, s) for method in METHODS for s in STEPS if method not in shape]
    for method, peak in shape.items():
        cells += [
            [row(method=method, settings=SETTINGS[method], inner_steps=s, value=peak(s) * MIB)] for s in STEPS
        ]
    return cells


def test_maml_on_a_line_and_imaml_flat_reproduce_it() -> None:
    found = line(MEMORY, memory({}))
    assert found.verdict == "reproduced"
    assert "maml: +26.35 MiB a step" in found.sentence
    assert "CG steps was not measured" in found.sentence


@pytest.mark.parametrize(
    "shape",
    [
        {"maml": lambda s: 100.0},
        {"maml": lambda s: 100.0 * s**0.5},
        {"imaml-gd": lambda s: 100.0 + 5 * s},
        {"imaml-hf": lambda s: 100.0 + 5 * s},
    ],
    ids=["flat maml", "square root", "imaml grows", "one variant grows"],
)
def test_any_other_shape_refutes_it(shape: dict[str, Any]) -> None:
    assert line(MEMORY, memory(shape)).verdict == "not reproduced"


def test_two_points_or_one_side_are_too_little() -> None:
    two = [cell for cell in memory({}) if cell[0].inner_steps in (8, 16)]
    assert line(MEMORY, two).verdict == "not measured"
    assert line(MEMORY, [memory_cell("maml", s) for s in STEPS]).sentence.startswith("needs ")


@pytest.mark.parametrize(("growth", "verdict"), [(0.0, "reproduced"), (2.0, "not reproduced")])
def test_cg_steps_are_judged_where_they_differ(growth: float, verdict: str) -> None:
    cells = [memory_cell("maml", s) for s in STEPS]
    cells += [
        [row(method="imaml-gd", settings={"cg_steps": cg}, inner_steps=s, value=(80 + growth * cg) * MIB)]
        for cg in (2, 5, 10)
        for s in STEPS
    ]
    found = line(MEMORY, cells)
    assert found.verdict == verdict
    assert "from 2 to 10 CG steps " in found.sentence


def test_variants_that_differ_in_more_than_their_cg_steps_say_nothing_of_those() -> None:
    """Adam's state takes memory, however many CG steps the solver takes."""
    peaks = {("gradient-descent", 2): 70.0, ("adam", 5): 78.0}
    cells = [
        [row(method="imaml-gd", settings={"cg_steps": cg, "optimiser": name}, inner_steps=s, value=mib * MIB)]
        for (name, cg), mib in peaks.items()
        for s in STEPS
    ]
    found = line(MEMORY, [*(memory_cell("maml", s) for s in STEPS), *cells])
    assert found.verdict == "reproduced"
    assert "CG steps was not measured" in found.sentence


# (c)

TIMED = ("maml", "fomaml", "imaml-gd")


def timed(*, blocks: int = 3, steps: tuple[int, ...] = STEPS, **factors: Any) -> list[list[Row]]:
    """`factors`: of a method's seconds, by the number of inner steps."""
    cells = [time_cell(block, [(m, s) for m in TIMED for s in steps]) for block in range(blocks)]
    return [
        [
            Row(**vars(r) | {"value": (r.value or 0) * factor(r.inner_steps)})
            if (factor := factors.get(r.method.replace("-", "_")))
            else r
            for r in cell
        ]
        for cell in cells
    ]


def test_the_fastest_and_the_one_that_grows_least_reproduce_it() -> None:
    found = line(TIME, timed())
    assert found.verdict == "reproduced"
    assert "and less from 8 on" in found.sentence


def test_a_slow_first_order_and_an_imaml_that_grows_refute_it() -> None:
    assert line(TIME, timed(fomaml=lambda s: 10.0)).verdict == "not reproduced"
    assert line(TIME, timed(imaml_gd=lambda s: s**2)).verdict == "not reproduced"
    assert (
        line(TIME, timed(imaml_gd=lambda s: 0.1)).verdict == "not reproduced"
    )  # faster than first-order MAML


def test_intervals_that_overlap_and_few_steps_are_too_weak() -> None:
    one = line(TIME, timed(blocks=1))
    assert one.verdict == "not measured"
    assert "too weak to call" in one.sentence
    assert line(TIME, timed(steps=(8, 16))).verdict == "not measured"
