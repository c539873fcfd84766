"""The abstract's five claims, each on rows that bear it out, rows that refute it and rows that do not say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claims import line, lines, loaded
from rows import (
    LAM,
    MIB,
    SETTINGS,
    gradient_cell,
    imaml_point,
    inner_kappa,
    maml_point,
    memory_cell,
    regression,
    row,
    time_cell,
)

from harness.analyze.loaded import LoadedRun
from harness.store import Row

STEPS = (1, 2, 4, 8, 16, 32, 64)
PATH, VANISH = "any inner optimiser", "no vanishing gradients"
LIMITS, FACTOR = "no memory limits", "memory of one gradient"
COST, GAINS = "no more computation", "gains in accuracy"
AT_10 = {"workload": regression(10.0)}


def path(optimiser: str, *, rate: float = 0.5, off: float = 0.0, **changes: Any) -> list[list[Row]]:
    """An inner optimiser's points; `off` is what its meta-gradient is away from the exact one in the end."""
    settings = {"cg_steps": 20, "lam": LAM, "optimiser": optimiser}
    cells = [imaml_point(rate, 20, steps, settings=settings, **(AT_10 | changes)) for steps in STEPS]
    return [
        [
            Row(**vars(r) | {"value": (r.value or 0) + off}) if r.metric == "rel_error_implicit" else r
            for r in cell
        ]
        for cell in cells
    ]


# Claim 1: any inner optimiser


def test_optimisers_that_solve_the_problem_agree() -> None:
    found = line(PATH, [*path("gradient-descent"), *path("adam", rate=0.6)])
    assert found.verdict == "reproduced"
    assert "gradient-descent" in found.sentence


def test_an_optimiser_that_solves_the_problem_and_is_elsewhere_refutes_it() -> None:
    found = line(PATH, [*path("gradient-descent"), *path("adam", off=1e-3)])
    assert found.verdict == "not reproduced"
    assert "adam 1.0e-3" in found.sentence


def test_an_optimiser_that_does_not_solve_the_problem_is_no_evidence() -> None:
    unsolved = path("adam", rate=0.01, off=0.5)
    found = line(PATH, [*path("gradient-descent"), *path("accelerated", rate=0.6), *unsolved])
    assert found.verdict == "reproduced"
    assert found.sentence.endswith("adam did not solve it to 1e-8")
    alone = line(PATH, [*path("gradient-descent"), *unsolved])
    assert alone.verdict == "not measured"
    assert "only gradient-descent of adam and gradient-descent solved" in alone.sentence


def test_a_point_of_which_a_seed_diverged_is_none_that_was_solved() -> None:
    """What is left of it is far off: without its fate it would refute the claim."""
    cells = [*path("gradient-descent"), *path("adam")]
    off = imaml_point(0.5, 20, 96, settings={"cg_steps": 20, "lam": LAM, "optimiser": "adam"}, **AT_10)
    off = [Row(**vars(r) | {"value": 0.5}) if r.metric == "rel_error_implicit" else r for r in off]
    gone = Row(**vars(off[0]) | {"seed": 1, "value": None, "status": "diverged", "cell_id": "gone"})
    assert line(PATH, [*cells, off, [gone]]).verdict == "reproduced"
    assert line(PATH, [*cells, off]).verdict == "not reproduced"


def test_several_numbers_of_cg_steps_are_one_path() -> None:
    cells = [imaml_point(0.5, cg, steps, **AT_10) for cg in (10, 20) for steps in STEPS]
    assert line(PATH, cells).verdict == "not measured"


def test_a_linear_solver_that_leaves_much_is_not_the_paths_fault() -> None:
    """Two CG steps leave 6e-2 of the system, however well the inner problem is solved."""
    poor = [
        imaml_point(0.5, 2, steps, settings={"cg_steps": 2, "lam": LAM, "optimiser": "adam"}, **AT_10)
        for steps in STEPS
    ]
    assert line(PATH, [*path("gradient-descent"), *path("accelerated"), *poor]).verdict == "reproduced"


def test_other_lambdas_are_other_problems() -> None:
    other = [
        imaml_point(0.5, 20, steps, settings={"cg_steps": 20, "lam": 2.0, "optimiser": "adam"}, **AT_10)
        for steps in STEPS
    ]
    told = lines(PATH, loaded([*path("gradient-descent"), *other]))
    assert [each.verdict for each in told] == ["not measured", "not measured"]


# Claim 2: many inner steps


def norms(values: dict[int, float], method: str = "imaml-gd", lam: float = 1.0, **errors: float) -> list:
    return [
        gradient_cell(method, steps, values={"meta_gradient_norm": norm} | errors, settings={"lam": lam})
        for steps, norm in values.items()
    ]


def test_a_norm_that_stays_does_not_vanish_and_one_that_falls_exponentially_does() -> None:
    steady = line(VANISH, norms({4: 1.0, 16: 0.9, 64: 0.8}))
    assert steady.verdict == "reproduced"
    assert "0.89 times that at a quarter of the steps" in steady.sentence
    assert line(VANISH, norms({s: 0.9**s for s in STEPS})).verdict == "not reproduced"


def test_a_norm_on_its_way_to_some_value_has_not_vanished_yet() -> None:
    found = line(VANISH, norms({s: 1 + 100 * 0.5**s for s in (1, 2, 4, 8, 16)}))
    assert found.verdict == "not measured"
    assert "may end above zero" in found.sentence


def test_a_norm_that_falls_to_the_exact_ones_does_not_vanish() -> None:
    """From ten times it, as before the inner loop has converged."""
    falling = {1: 10.0, 4: 8.0, 16: 1.0}
    errors = {1: 9.0, 4: 7.0, 16: 1e-3}
    cells = [
        gradient_cell(
            "imaml-gd",
            steps,
            values={"meta_gradient_norm": norm, "rel_error_implicit": errors[steps]},
            settings={"lam": 1.0},
        )
        for steps, norm in falling.items()
    ]
    assert line(VANISH, cells).verdict == "reproduced"


def test_a_norm_far_below_the_exact_one_has_vanished_however_steady_it_is() -> None:
    near = norms({1: 1.0, 4: 1.0}, rel_error_implicit=1e-6)
    gone = norms({16: 1e-9, 64: 1e-9}, rel_error_implicit=1.0)
    assert line(VANISH, [*near, *gone]).verdict == "not reproduced"


def test_few_inner_steps_and_an_exact_one_that_is_not_known_say_nothing() -> None:
    assert line(VANISH, norms({1: 1.0, 2: 0.9, 8: 0.9})).verdict == "not measured"
    far = norms({4: 1.0, 16: 1.0}, rel_error_implicit=0.9)
    assert line(VANISH, far).verdict == "not measured"


def test_what_becomes_of_plain_maml_is_told_beside_it() -> None:
    plain = norms({1: 0.66, 16: 7.4e-24, 64: 1e-90}, "maml", lam=0.0)
    found = line(VANISH, [*norms({4: 1.0, 16: 1.0}), *plain])
    assert found.sentence.endswith("that of MAML at lambda 0 goes from 0.66 at 1 to 7.4e-24 at 16")
    assert found.evidence[-1].methods == ("maml",)


def memory(values: dict[int, float | None], method: str = "imaml-gd", **changes: Any) -> list[list[Row]]:
    """Peaks in MiB beside a baseline of 10; None is out of memory."""
    cells = []
    for steps, mib in values.items():
        point = {"method": method, "settings": SETTINGS[method], "inner_steps": steps} | changes
        if mib is None:
            cells.append([row(**point, value=None, status="oom")])
            continue
        readings = {"peak_bytes": (mib + 10) * MIB, "baseline_bytes": 10.0 * MIB}
        cells.append([row(**{**point, "metric": name, "value": v}) for name, v in readings.items()])
    return cells


def test_memory_that_stays_sets_no_limit_and_one_that_grows_or_ends_does() -> None:
    steady = dict.fromkeys(STEPS, 70.0)
    found = line(LIMITS, [*memory(steady), *(memory_cell("maml", s, budget_mib=400) for s in STEPS)])
    assert found.verdict == "reproduced"
    assert "oom at 16" in found.sentence
    assert line(LIMITS, memory({s: 70.0 + s for s in STEPS})).verdict == "not reproduced"
    assert line(LIMITS, memory(steady | {64: None})).verdict == "not reproduced"


def test_a_budget_below_the_first_step_is_no_limit_of_steps() -> None:
    assert line(LIMITS, memory(dict.fromkeys(STEPS))).verdict == "not measured"


def test_one_step_up_is_no_growth_yet() -> None:
    """Where the peak lies elsewhere in the shortest loop, three points do not show that the rest is flat."""
    up = {1: 78.6, 8: 79.5, 16: 79.5}
    assert line(LIMITS, memory(up)).verdict == "not measured"
    assert line(LIMITS, memory(up | {4: 79.5, 2: 79.5})).verdict == "reproduced"


def test_one_variant_that_grows_is_enough() -> None:
    steady, growing = dict.fromkeys(STEPS, 70.0), {s: 70.0 + s for s in STEPS}
    assert line(LIMITS, [*memory(steady), *memory(growing, "imaml-hf")]).verdict == "not reproduced"


# Claim 3: memory of one gradient


@pytest.mark.parametrize(("mib", "verdict"), [(74.0, "reproduced"), (81.0, "not reproduced")])
def test_memory_is_held_against_that_of_one_gradient_without_what_both_hold(mib: float, verdict: str) -> None:
    found = line(FACTOR, [*memory({1: 20.0, 8: 30.0}, "fomaml"), *memory({1: 40.0, 16: mib})])
    assert found.verdict == verdict
    assert (
        f"imaml-gd at most {mib / 20:.2f} times the 20.0 MiB of one gradient (fomaml at 1" in found.sentence
    )


def test_few_inner_steps_do_not_show_what_many_hold() -> None:
    """An iMAML that kept the graph of its loop would still be below four gradients at two steps."""
    few = [*memory({1: 20.0}, "fomaml"), *memory({1: 40.0, 2: 60.0})]
    found = line(FACTOR, few)
    assert found.verdict == "not measured"
    assert found.sentence.endswith("needs 16 inner steps or more")
    assert line(FACTOR, [*few, *memory({16: 340.0})]).verdict == "not reproduced"


def test_a_query_gradient_that_is_the_larger_is_not_an_inner_one() -> None:
    cells = [*memory({1: 20.0}, "fomaml"), *memory({1: 40.0, 16: 40.0})]
    many = "glyphs[queries=5,shots=1,ways=5]"
    few = "glyphs[queries=1,shots=5,ways=5]"

    def at(workload: str) -> list[list[Row]]:
        return [[Row(**vars(r) | {"workload": workload}) for r in cell] for cell in cells]

    assert line(FACTOR, at(few)).verdict == "reproduced"
    unknown = line(FACTOR, at(many))
    assert unknown.verdict == "not measured"
    assert "more queries than shots" in unknown.sentence


def test_without_first_order_maml_one_gradient_is_not_known() -> None:
    assert line(FACTOR, memory({1: 40.0})).verdict == "not measured"


def over_budget(mib: int, method: str = "imaml-gd") -> list[Row]:
    words = (
        f"{mib * MIB + 4096:,} bytes of live tensors exceed the virtual budget of {mib * MIB:,} (in solve)"
    )
    point = {"method": method, "settings": SETTINGS[method], "inner_steps": 32}
    return [row(**point, value=None, status="oom", detail=words)]


@pytest.mark.parametrize(("mib", "verdict"), [(60, "not measured"), (100, "not reproduced")])
def test_a_loop_that_ran_out_of_memory_is_not_left_out_of_what_it_needs_at_most(
    mib: int, verdict: str
) -> None:
    """One gradient holds 20 MiB beside a baseline of 10: four are exceeded above 90 MiB."""
    fits = [*memory({1: 20.0, 8: 20.0}, "fomaml"), *memory({1: 40.0, 16: 45.0})]
    found = line(FACTOR, [*fits, over_budget(mib)])
    assert found.verdict == verdict
    assert found.sentence.endswith("(fomaml at 1; inner steps 1 to 16); imaml-gd ran out of memory at 32")


# Claim 4: no more computation


def timed(ratio: float, *, spread: float = 0.01, blocks: int = 3, steps: int = 16) -> list[list[Row]]:
    """imaml-gd at `ratio` times MAML's time; blocks scatter by `spread`."""
    cells = []
    for block in range(blocks):
        shift = np.exp(spread * (block - (blocks - 1) / 2))
        cells.append(
            [
                row(cell_id=f"time-{block}", measure="time", metric="step_seconds", unit="s", method=method,
                    settings=SETTINGS[method], inner_steps=k, repeat=9 * block + i, value=value * shifted)
                for k in (1, steps)
                for method, value, shifted in (("maml", 1.0, 1.0), ("imaml-gd", ratio, shift))
                for i in range(9)
            ]
        )  # fmt: skip
    return cells


def test_time_at_many_steps_is_called_by_its_whole_interval() -> None:
    assert line(COST, timed(0.5)).verdict == "reproduced"
    assert line(COST, timed(1.5)).verdict == "not reproduced"
    weak = line(COST, timed(0.99, spread=0.1))
    assert weak.verdict == "not measured"
    assert "too weak to call, the interval over 3 blocks holds 1" in weak.sentence
    one = line(COST, timed(0.5, blocks=1))
    assert (one.verdict, "one block has no interval" in one.sentence) == ("not measured", True)


def test_a_time_that_is_less_from_some_step_on_rests_on_all_steps_from_there() -> None:
    points = [(method, steps) for method in ("maml", "imaml-gd") for steps in (1, 4, 8, 16, 32)]
    found = line(COST, [time_cell(block, points) for block in range(3)])
    assert ", less from 8 on" in found.sentence
    assert {step for evidence in found.evidence for step in evidence.inner_steps} == {1, 4, 8, 16, 32}


def test_time_at_few_steps_says_nothing_of_the_whole() -> None:
    assert line(COST, timed(0.5, steps=8)).verdict == "not measured"


def test_newton_steps_are_told_and_not_judged() -> None:
    points = [(method, steps) for method in ("maml", "imaml-gd", "imaml-hf") for steps in (1, 4, 32)]
    found = line(COST, [time_cell(block, points) for block in range(3)])
    assert found.verdict == "reproduced"
    assert "imaml-hf's inner steps are Newton steps and not judged (4." in found.sentence


def test_times_of_different_runs_are_never_mixed() -> None:
    maml, imaml = (
        [[r for r in cell if r.method == method] for cell in timed(0.5)] for method in ("maml", "imaml-gd")
    )
    assert line(COST, loaded(maml, "a"), loaded(imaml, "b")).verdict == "not measured"


@pytest.mark.parametrize(("products", "verdict"), [(20, "reproduced"), (400, "not reproduced")])
def test_work_is_counted_to_the_smallest_error_that_both_reach(products: int, verdict: str) -> None:
    rate = 1.5 / inner_kappa(10.0)
    cells = [maml_point(rate, steps, **AT_10) for steps in (*STEPS, 128, 256, 512)]
    for steps in (*STEPS, 128, 256, 512):
        cell = imaml_point(rate, 20, steps, **AT_10)
        cells.append(
            [Row(**vars(r) | {"value": products}) if r.metric == "hessian_products" else r for r in cell]
        )
    found = line(COST, cells)
    assert found.verdict == verdict
    assert "to an error of 1e-8" in found.sentence
    assert "both by interpolation" in found.sentence


def test_the_cheapest_variant_counts_at_the_smallest_error() -> None:
    """Two CG steps are cheaper and never come near; 300 products are a waste."""
    rate, steps = 1.5 / inner_kappa(10.0), (*STEPS, 128, 256, 512)
    wasteful = {"settings": {"cg_steps": 300, "inner_lr": 0.5, "lam": LAM}} | AT_10
    cells = [
        cell
        for k in steps
        for cell in (
            maml_point(rate, k, **AT_10),
            imaml_point(rate, 2, k, **AT_10),
            imaml_point(rate, 20, k, **AT_10),
            [
                Row(**vars(r) | {"value": 300.0}) if r.metric == "hessian_products" else r
                for r in imaml_point(rate, 20, k, **wasteful)
            ],
        )
    ]
    found = line(COST, cells)
    assert found.verdict == "reproduced"
    assert "to an error of 1e-8 imaml-gd[cg_steps=20] takes " in found.sentence


def test_work_is_held_against_the_cheapest_maml() -> None:
    """A step size of a fifth makes MAML five times as dear: an iMAML of thrice its own work lies between."""
    rate, steps = 1.5 / inner_kappa(10.0), (*STEPS, 128, 256, 512, 1024, 2048)
    small = {"settings": {"inner_lr": 0.1, "lam": LAM}} | AT_10
    cells = [maml_point(rate / 5, k, **small) for k in steps]
    for k in steps:
        cell = imaml_point(rate, 20, k, **AT_10)
        of_work = ("gradient_evaluations", "hessian_products")
        cells.append(
            [Row(**vars(r) | {"value": 3 * (r.value or 0)}) if r.metric in of_work else r for r in cell]
        )
    assert line(COST, cells).verdict == "reproduced"
    found = line(COST, [*cells, *(maml_point(rate, k, **AT_10) for k in steps)])
    assert found.verdict == "not reproduced"
    assert "maml[inner_lr=0.5] " in found.sentence


def test_points_that_are_all_below_an_error_only_bound_its_work() -> None:
    cells = [
        cell for k in (256, 512) for cell in (maml_point(0.5, k, **AT_10), imaml_point(0.5, 20, k, **AT_10))
    ]
    assert line(COST, cells).verdict == "not measured"


def test_work_on_different_problems_is_not_compared() -> None:
    rate = 1.5 / inner_kappa(10.0)
    other = {"settings": {"inner_lr": 0.5, "lam": 10 * LAM}}
    cells = [maml_point(rate, steps, **(AT_10 | other)) for steps in STEPS]
    assert line(COST, [*cells, *(imaml_point(rate, 20, s, **AT_10) for s in STEPS)]).verdict == "not measured"


# Claim 5: gains in accuracy


def scored(gains: dict[str, float], *, seeds: int = 5, spread: float = 0.001, **changes: Any) -> list:
    """Each method's test accuracy at 8 inner steps, MAML's 0.8 and theirs above it by `gains`."""
    rng = np.random.default_rng(0)
    cells = []
    for method, gain in {"maml": 0.0, **gains}.items():
        for seed in range(seeds):
            point = {"cell_id": f"{method}-{seed}", "method": method, "settings": SETTINGS[method]}
            point |= {"seed": seed, "measure": "accuracy", "unit": "fraction", "inner_steps": 8}
            value = 0.8 + gain + float(rng.normal(0, spread))
            metrics = {"accuracy": value, "accuracy_ci95": 0.01, "validation_accuracy": value}
            cells.append([row(**{**point, "metric": m, "value": v} | changes) for m, v in metrics.items()])
    return cells


def trained(cells: list[list[Row]], meta_steps: int | None = 2000) -> LoadedRun:
    content = {} if meta_steps is None else {"accuracy": {"meta_steps": meta_steps}}
    return replace(loaded(cells), manifest={"content": content})


@pytest.mark.parametrize(
    ("meta_steps", "why"),
    [
        (60, "Trained for 60 meta-steps; judged from 2,000 on"),
        (None, "For how many meta-steps they were trained is not known; judged from 2,000 on"),
    ],
)
@pytest.mark.parametrize("gain", [-0.05, 0.05])
def test_a_training_that_has_hardly_begun_decides_nothing(
    meta_steps: int | None, why: str, gain: float
) -> None:
    found = line(GAINS, trained(scored({"imaml-gd": gain}), meta_steps))
    assert found.verdict == "not measured"
    assert f"imaml-gd {'+' if gain > 0 else '-'}" in found.sentence
    assert found.sentence.endswith(why)


def test_a_gain_of_one_variant_reproduces_the_claim() -> None:
    found = line(GAINS, trained(scored({"imaml-gd": -0.05, "imaml-hf": 0.03})))
    assert found.verdict == "reproduced"
    assert "imaml-hf +" in found.sentence
    assert "imaml-gd -5." in found.sentence


def test_a_loss_of_all_variants_and_a_gain_too_small_to_name_refute_it() -> None:
    assert line(GAINS, trained(scored({"imaml-gd": -0.05, "imaml-hf": -0.02}))).verdict == "not reproduced"
    assert line(GAINS, trained(scored({"imaml-gd": 0.0}, spread=1e-5))).verdict == "not reproduced"


def test_a_gain_on_a_badly_chosen_maml_is_none() -> None:
    cells = scored({"imaml-gd": -0.05})
    settings = {"settings": {"inner_lr": 9.0, "lam": 0.0}}
    bad = [
        [
            Row(**vars(r) | settings | {"cell_id": f"bad-{r.seed}", "value": (r.value or 0) - 0.3})
            for r in cell
        ]
        for cell in cells
        if cell[0].method == "maml"
    ]
    found = line(GAINS, trained([*cells, *bad]))
    assert "imaml-gd +2" in found.sentence
    assert found.verdict == "not reproduced"


def test_few_seeds_and_wide_intervals_are_too_weak_to_call() -> None:
    two = line(GAINS, trained(scored({"imaml-gd": 0.1}, seeds=2)))
    assert two.verdict == "not measured"
    assert two.sentence.endswith("it takes 3 seeds, measured: 2")
    wide = line(GAINS, trained(scored({"imaml-gd": 0.01}, seeds=3, spread=0.05)))
    assert wide.verdict == "not measured"
    assert "Too weak to call: " in wide.sentence
    assert "seeds would" in wide.sentence


def test_a_loss_of_regression_is_no_recognition_of_images() -> None:
    cells = scored({"imaml-gd": 0.1}, workload="sinusoid[shots=10]")
    as_loss = [[Row(**vars(r) | {"metric": r.metric.replace("accuracy", "loss")}) for r in c] for c in cells]
    assert line(GAINS, as_loss).sentence.startswith("needs ")


def test_flags_that_doubt_the_implicit_gradient_are_told() -> None:
    cells = scored({"imaml-gd": 0.1})
    flagged = [*cells, [Row(**vars(cells[-1][0]) | {"metric": "flag", "value": None, "detail": "unsolved"})]]
    assert line(GAINS, trained(flagged)).sentence.endswith("Flagged: imaml-gd, see `innerloop show`")
    assert "Flagged" not in line(GAINS, trained(cells)).sentence
