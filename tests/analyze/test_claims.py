"""What holds for all claims: which runs are told, on what they rest, and that their commands exist."""

import re
import shlex

import numpy as np
import pytest
from claims import lines, loaded
from rows import MIB, accuracy_cell, memory_cell, meta_gradient_run, optimisers_run, row, whole_run

from harness.analyze.claims import NOT_MEASURED, STATED, Stated, claims
from harness.analyze.claims.claim import verdict_of
from harness.analyze.claims.cost import NO_DEARER
from harness.analyze.claims.gains import GAINS, LEAST_GAIN, LEAST_TRAINING
from harness.analyze.claims.memory import CURVES, MEMORY_FACTOR, MEMORY_LIMIT, SMALL_FACTOR
from harness.analyze.claims.roles import MANY, STRETCH
from harness.analyze.claims.solution import AGREE, PATH, SOLVED
from harness.analyze.claims.table1 import (
    COMPUTE_ACCELERATED,
    COMPUTE_PLAIN,
    ERROR_UNROLLED,
    LEAST_SPAN,
    ROUNDING,
)
from harness.analyze.claims.vanishing import VANISHING
from harness.analyze.gradient import error_in_words
from harness.analyze.scaling.laws import FLAT
from harness.analyze.work import TARGETS
from harness.suite import Overrides, load_suite

LIMITS = "no memory limits"
STEPS = (1, 2, 4, 8, 16)


def flat(**changes: object) -> list:
    return [memory_cell("imaml-gd", steps, **changes) for steps in STEPS]


def growing() -> list:
    return [[row(method="imaml-gd", inner_steps=steps, value=steps * MIB)] for steps in STEPS]


def test_runs_that_contradict_each_other_are_both_told_by_name() -> None:
    told = lines(LIMITS, loaded(flat(), "good"), loaded(growing(), "bad"))
    assert {line.run: line.verdict for line in told} == {"good": "reproduced", "bad": "not reproduced"}
    assert all(line.sentence.startswith(line.run) for line in told)


def test_runs_of_one_name_are_told_apart_by_their_position_or_as_they_are_called() -> None:
    runs = [loaded(flat(), "run"), loaded(growing(), "run")]
    assert [line.run for line in lines(LIMITS, *runs)] == ["A (run)", "B (run)"]
    told = [line for line in claims(runs, ["first", "second"]) if line.name == LIMITS]
    assert [line.sentence.split(", ")[0] for line in told] == ["first", "second"]


def test_workloads_of_a_run_are_judged_apart_and_named_by_what_tells_them_apart() -> None:
    wide = flat(workload="glyphs[filters=64,shots=1,ways=20]")
    told = lines(LIMITS, loaded([*wide, *flat(workload="glyphs[filters=16,shots=1,ways=20]")]))
    assert [line.workload for line in told] == [
        "glyphs[filters=16,shots=1,ways=20]",
        "glyphs[filters=64,shots=1,ways=20]",
    ]
    assert told[0].sentence.startswith("run, glyphs[filters=16,shots=1,ways=20]: imaml-gd: ")
    (alone,) = lines(LIMITS, loaded(wide))
    assert alone.sentence.startswith("run, glyphs[shots=1,ways=20]: ")


def test_a_run_that_is_too_weak_is_told_only_where_none_decides() -> None:
    short = loaded([cell for cell in flat() if cell[0].inner_steps < 8], "short")
    (weak,) = lines(LIMITS, short)
    assert (weak.verdict, weak.run, weak.differs) == (NOT_MEASURED, "short", "")
    assert "Needs 16 inner steps or more" in weak.sentence
    (told,) = lines(LIMITS, short, loaded(flat(), "long"))
    assert told.run == "long"


def test_without_any_rows_every_claim_says_what_it_needs() -> None:
    for runs in ([], [loaded([])]):
        told = claims(runs)
        assert [line.name for line in told] == [stated.name for stated in STATED]
        assert all((line.verdict, line.run, line.evidence) == (NOT_MEASURED, "", ()) for line in told)
        assert all(line.sentence.startswith("needs ") for line in told)


def test_points_that_all_failed_measure_nothing() -> None:
    lost = {"value": None, "status": "error", "detail": "no"}
    cells = [
        [row(measure=measure, metric=metric, method=method, inner_steps=steps, settings={"lam": 1.0}, **lost)]
        for measure, metric in (
            ("memory", "peak_bytes"),
            ("time", "step_seconds"),
            ("accuracy", "accuracy"),
            ("gradient", "rel_error_implicit"),
        )
        for method in ("maml", "fomaml", "imaml-gd", "imaml-hf", "maml-truncated")
        for steps in STEPS
    ]
    assert {line.verdict for line in claims([loaded(cells)])} == {NOT_MEASURED}


def test_each_decided_line_rests_on_rows_of_its_own_run() -> None:
    runs = [
        loaded(whole_run(seeds=3), "whole"),
        loaded(meta_gradient_run(), "gradients"),
        loaded(optimisers_run(), "optimisers"),
    ]
    rows = {run.name: run.rows for run in runs}
    decided = [line for line in claims(runs) if line.verdict != NOT_MEASURED]
    assert len({line.name for line in decided}) >= 10
    for line in decided:
        for evidence in line.evidence:
            found = evidence.rows(rows[line.run])
            assert len(found), (line.name, evidence)
            assert set(found.method_label) == set(evidence.methods) or not evidence.methods


def test_the_protocol_is_told_apart_from_the_papers() -> None:
    (here,) = lines(LIMITS, loaded(flat(), device_name="Example CPU"))
    assert here.differs.startswith("on glyphs, where the paper's Table 2 has Omniglot; read on Example CPU; ")
    (there,) = lines(LIMITS, loaded(flat(workload="omniglot[shots=1,ways=20]")))
    assert "Omniglot" not in there.differs


@pytest.mark.parametrize(("meta_steps", "told"), [(2_000, True), (20_000, False)])
def test_a_training_shorter_than_the_authors_is_told(meta_steps: int, told: bool) -> None:
    methods = ("maml", "imaml-hf")
    run = loaded([accuracy_cell(each, 8, seed, trained=meta_steps) for each in methods for seed in range(5)])
    (gains,) = lines("gains in accuracy", run)
    assert gains.verdict != NOT_MEASURED
    assert (f"trained for {meta_steps:,} meta-steps" in gains.differs) == told


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        ([True, True], "reproduced"),
        ([True, None], "not measured"),
        ([None, False], "not reproduced"),
        ([True, False], "not reproduced"),
        ([True, np.False_], "not reproduced"),
        ([], "not measured"),
    ],
)
def test_one_condition_that_fails_decides_and_one_that_is_unknown_leaves_it_open(
    conditions: list[bool | None], verdict: str
) -> None:
    assert verdict_of(conditions) == verdict


@pytest.mark.parametrize("stated", STATED, ids=lambda stated: stated.name)
def test_the_command_that_measures_a_claim_is_one_of_ours(stated: Stated) -> None:
    program, command, suite, *options = shlex.split(stated.command)
    assert (program, command) == ("innerloop", "run")
    given = dict.fromkeys(options[::2])
    pairs = list(zip(options[::2], options[1::2], strict=True))
    assert set(given) <= {"-m", "--measure", "--seed", "--set", "--data-root"}
    changes = Overrides(
        methods=[value for name, value in pairs if name == "-m"],
        settings=[value for name, value in pairs if name == "--set"],
        measures=[value for name, value in pairs if name == "--measure"],
        seeds=[int(n) for name, value in pairs if name == "--seed" for n in value.split(",")],
    )
    assert load_suite(suite, changes).methods


def test_gains_are_measured_by_a_training_long_enough_to_be_judged() -> None:
    _, _, suite, *options = shlex.split(GAINS.command)
    changes = Overrides(settings=[options[options.index("--set") + 1]])
    accuracy = load_suite(suite, changes).content.accuracy
    assert accuracy is not None
    assert accuracy.meta_steps == LEAST_TRAINING


def test_no_statement_has_a_figure_that_was_only_recalled() -> None:
    """Of Figures 2 (b) and (c), what the curves look like and on which network; of (a), the CG steps. The
    accuracies of Tables 2 and 3 were read, with the number of ways."""
    recalled = re.compile(r"20-way|fastest|2, 5|linear regression|regression|CG steps|Omniglot")
    for stated in STATED:
        if stated.source not in ("Table 2", "Table 3"):
            assert not recalled.search(stated.statement), stated.name


@pytest.mark.parametrize(
    ("stated", "threshold"),
    [
        (PATH, f"at most {error_in_words(SOLVED, 1)}"),
        (PATH, f"within {error_in_words(AGREE, 1)}"),
        (VANISHING, f"{MANY} or more"),
        (
            MEMORY_LIMIT,
            f"within {100 * FLAT:g}%, up to {MANY} inner steps or more and over a factor of {STRETCH}",
        ),
        (MEMORY_FACTOR, f"exceed {SMALL_FACTOR:g} times"),
        (MEMORY_FACTOR, f"up to {MANY} or more"),
        (CURVES, f"within {100 * FLAT:g}%"),
        (NO_DEARER, f"{MANY} or more"),
        (NO_DEARER, ", ".join(error_in_words(error, 1) for error in TARGETS[:-1])),
        (GAINS, f"a gain of {100 * LEAST_GAIN:g} points"),
        (GAINS, f"trainings of {LEAST_TRAINING:,} meta-steps or more"),
        *((each, f"a factor of {LEAST_SPAN:.0f} apart") for each in (COMPUTE_PLAIN, COMPUTE_ACCELERATED)),
        (COMPUTE_PLAIN, ", ".join(error_in_words(error, 1) for error in TARGETS[:-1])),
        (ERROR_UNROLLED, f"at most {error_in_words(ROUNDING, 1)}"),
    ],
)
def test_the_test_in_words_has_the_thresholds_that_are_applied(stated: Stated, threshold: str) -> None:
    assert threshold in stated.test
