"""Gates of `compare`: what they mean, what they refuse, and what they make of noise and of nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
from rows import METHODS

from harness.analyze.comparison.change import Change, Overall
from harness.analyze.comparison.compare import Comparison, compare
from harness.analyze.comparison.gates import Judged, judge, parse_gate
from harness.analyze.loaded import LoadedRun
from harness.errors import UsageError
from harness.frame import frame_of
from harness.rows import Row

MACHINE = {"cpu": "Example CPU", "cores": 2, "threads": 1}
GRID = [(method, steps) for method in METHODS for steps in (1, 4, 16)]


def loaded(name: str, *cells: list[Row], **environment: Any) -> LoadedRun:
    frame = frame_of(row for cell in cells for row in cell)
    return LoadedRun(
        path=Path(name), rows=frame, manifest={}, environment=MACHINE | environment, selfchecks=[]
    )


def timed(name: str, run: int, *, blocks: int = 3, noise: float = 0.03, **options: Any) -> LoadedRun:
    cells = [
        rows.time_cell(block, GRID, run=run, block_noise=noise, slower=options.get("slower", 1.0))
        for block in range(blocks)
    ]
    return loaded(name, *cells, **{k: v for k, v in options.items() if k != "slower"})


def sized(name: str, memory: float = 1.0) -> LoadedRun:
    cells = [rows.memory_cell("maml", steps) for steps in (1, 4)]
    return loaded(name, *([replace(r, value=(r.value or 0) * memory) for r in cell] for cell in cells))


def judged(gate: str, *runs: LoadedRun) -> Judged:
    return judge([parse_gate(gate)], compare(runs))[0]


def time_change(ratio: float, low: float, high: float) -> Change:
    return Change(
        measure="time", workload="sinusoid", metric="step_seconds", kind="seconds", inner_steps=1,
        method="maml", label="maml", other_label="maml", first=1.0, second=ratio, low=low, high=high,
        verdict="more" if low > 1 else "too weak",
    )  # fmt: skip


def outcome(gate: str, change: Change, *overall: Overall) -> str:
    comparison = compare([sized("a"), sized("b")])[0]
    made = Comparison(
        base=comparison.base, other=comparison.other, changes=[change], overall=[*overall], notes=[],
        points=comparison.points,
    )  # fmt: skip
    return judge([parse_gate(gate)], [made])[0].outcome


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "metric", "above", "limit", "is_relative"),
        [
            ("peak_bytes>5%", "peak_bytes", True, 0.05, True),
            ("peak_bytes > 5 MiB", "peak_bytes", True, 5 * 2**20, False),
            ("scratch_bytes>0B", "scratch_bytes", True, 0, False),
            ("step_seconds>15%", "step_seconds", True, 0.15, True),
            ("step_seconds>2ms", "step_seconds", True, 0.002, False),
            ("step_seconds<-50%", "step_seconds", False, -0.5, True),
            ("accuracy<-1points", "accuracy", False, -0.01, False),
            ("loss>0.1", "loss", True, 0.1, False),
            ("rel_error_implicit>100%", "rel_error_implicit", True, 1.0, True),
            ("hessian_products>0", "hessian_products", True, 0, False),
            ("relative_seconds>10%", "relative_seconds", True, 0.1, True),
        ],
    )
    def test_a_gate_has_a_metric_a_side_and_an_amount(
        self, text: str, metric: str, above: bool, limit: float, is_relative: bool
    ) -> None:
        gate = parse_gate(text)
        assert (gate.metric, gate.above, gate.is_relative) == (metric, above, is_relative)
        assert gate.limit == pytest.approx(limit)

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("peak_byts>5%", "did you mean 'peak_bytes'?"),
            ("peak_bytes", "write METRIC>AMOUNT"),
            ("peak_bytes>=5%", "write METRIC>AMOUNT"),
            ("peak_bytes>much", "write METRIC>AMOUNT"),
            ("peak_bytes>5MB", "write 'peak_bytes>5%' or 'peak_bytes>5B'"),
            ("step_seconds>15", "write 'step_seconds>15%' or 'step_seconds>15s'"),
            ("accuracy<-1%", "write 'accuracy<-1points'"),
            ("accuracy<-1", "write 'accuracy<-1points'"),
            ("peak_bytes>1e999%", "can never fail"),
            ("step_seconds<-100%", "can never fail"),
            ("peak_bytes<5%", "did you mean 'peak_bytes>5%' or 'peak_bytes<-5%'?"),
            ("accuracy>-1points", "did you mean 'accuracy<-1points' or 'accuracy>1points'?"),
        ],
    )
    def test_nonsense_is_refused_with_what_it_may_have_meant(self, text: str, remedy: str) -> None:
        with pytest.raises(UsageError) as refusal:
            parse_gate(text)
        assert text in str(refusal.value)
        assert remedy in str(refusal.value)


class TestExactMetrics:
    @pytest.mark.parametrize(
        ("gate", "memory", "expected"),
        [
            ("peak_bytes>5%", 1.0, "passed"),
            ("peak_bytes>5%", 1.0499, "passed"),
            ("peak_bytes>5%", 1.05, "passed"),  # which is not more
            ("peak_bytes>5%", 1.0501, "failed"),
            ("peak_bytes>5%", 0.5, "passed"),
            ("peak_bytes<-10%", 0.5, "failed"),
            ("peak_bytes>0B", 1.0001, "failed"),
            ("peak_bytes>20MiB", 1.05, "passed"),
            ("peak_bytes>1MiB", 1.05, "failed"),
        ],
    )
    def test_they_fail_beyond_the_amount(self, gate: str, memory: float, expected: str) -> None:
        found = judged(gate, sized("a"), sized("b", memory))
        assert found.outcome == expected
        assert len(found.failed) == (2 if expected == "failed" else 0)

    def test_a_point_that_now_fails_fails_the_gate(self) -> None:
        whole = loaded("a", rows.memory_cell("maml", 16))
        small = loaded("b", rows.memory_cell("maml", 16, budget_mib=100))
        assert judged("peak_bytes>5%", whole, small).outcome == "failed"
        assert judged("peak_bytes>5%", small, whole).outcome == "passed"

    def test_a_reading_that_is_gone_leaves_the_gate_undecided(self) -> None:
        cell = rows.memory_cell("maml", 1)
        found = judged(
            "tracked_peak_bytes>5%",
            loaded("a", cell),
            loaded("b", [r for r in cell if "tracked" not in r.metric]),
        )
        assert (found.outcome, found.undecided[0].why) == ("undecided", "no value in B")

    @pytest.mark.parametrize(
        ("gate", "expected"),
        [
            ("hessian_products>1", "failed"),
            ("hessian_products>2", "passed"),
            ("hessian_products>39%", "failed"),
            ("hessian_products>41%", "passed"),
            ("hessian_products<-1", "passed"),
        ],
    )
    def test_counts_of_work_are_gated_to_the_product(self, gate: str, expected: str) -> None:
        def run(name: str, products: float) -> LoadedRun:
            values = {"rel_error_unrolled": 0.5, "hessian_products": products}
            return loaded(name, rows.gradient_cell("imaml-gd", 4, values=values))

        assert judged(gate, run("a", 5), run("b", 7)).outcome == expected


class TestNoise:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (time_change(1.20, 1.16, 1.24), "failed"),
            (time_change(1.20, 1.05, 1.38), "failed"),  # the estimate is beyond, and something changed
            (time_change(1.20, 0.95, 1.50), "undecided"),
            (time_change(1.10, 1.05, 1.14), "passed"),
            (time_change(1.10, 1.05, 1.16), "undecided"),
            (time_change(1.00, 0.96, 1.04), "passed"),
            (time_change(1.05, 0.95, 1.16), "undecided"),  # alone, and it may be 16% slower
            (time_change(1.16, 1.15, 1.18), "failed"),
            (time_change(1.20, float("nan"), float("nan")), "undecided"),
        ],
    )
    def test_a_gate_of_fifteen_percent(self, change: Change, expected: str) -> None:
        assert outcome("step_seconds>15%", change) == expected

    def test_twenty_percent_are_found_every_time(self) -> None:
        for i in range(3):
            found = judged("step_seconds>15%", timed("a", 2 * i + 1), timed("b", 2 * i + 2, slower=1.2))
            assert found.outcome != "passed"
        assert found.failed

    def test_measuring_again_passes(self) -> None:
        outcomes = []
        for i in range(12):
            found = judged("step_seconds>15%", timed("a", 2 * i + 1), timed("b", 2 * i + 2))
            outcomes.append(found.outcome)
            assert not found.failed
        assert outcomes.count("passed") >= 11

    def test_nothing_passes_where_all_points_together_may_be_beyond_the_gate(self) -> None:
        outcomes = set()
        for i in range(8):
            first, second = (timed("ab"[j], 2 * i + 1 + j, noise=0.1) for j in (0, 1))
            found = judged("step_seconds>15%", first, second)
            (overall,) = (o for o in found.comparison.overall if o.metric == "step_seconds")
            assert (found.passed > 0) == (overall.high <= 1.15)
            outcomes.add(found.outcome)
            for change in (c for c in found.undecided if c.why.startswith("within the gate")):
                assert change.why == (
                    "within the gate, but the interval of all 15 points together reaches beyond it "
                    f"(95% {100 * overall.low - 100:+.1f} to {100 * overall.high - 100:+.1f} %): "
                    "time more blocks, on a quieter machine"
                )
        assert {"passed", "undecided"} <= outcomes

    def test_accuracy_passes_where_more_seeds_than_scatter_are_there(self) -> None:
        """Two points: in each seed they move apart, so that both together are surer than one."""

        def run(name: str, spread: float, seeds: int = 5) -> LoadedRun:
            cells = []
            for seed, noise in zip(range(seeds), np.linspace(-spread, spread, seeds), strict=True):
                for steps, sign in ((4, 1), (8, -1)):
                    cell = rows.accuracy_cell("maml", steps, seed)
                    moved = sign * noise + 0.0001 * seed * (spread > 0)
                    cells.append(
                        [replace(r, value=(r.value or 0) + moved * (r.metric == "accuracy")) for r in cell]
                    )
            return loaded(name, *cells)

        base = run("a", 0)
        found = judged("accuracy<-1points", base, run("b", 0.03))
        assert (found.outcome, found.passed, found.unsure) == ("passed", 2, 2)
        lone = [replace(each, rows=each.rows[each.rows.inner_steps == 4]) for each in (base, run("b", 0.03))]
        found = judged("accuracy<-1points", *lone)
        assert found.outcome == "undecided"
        assert found.undecided[0].why == "within the gate, but its interval reaches beyond it: run more seeds"

    def test_the_figure_of_all_points_lets_pass_what_a_point_alone_would_not(self) -> None:
        change = time_change(1.05, 0.90, 1.25)
        place = {"metric": "step_seconds", "workload": "sinusoid"}
        overall = Overall(**place, estimate=1.0, low=0.9, high=1.1, points=9, units=(3, 3))
        assert outcome("step_seconds>15%", change) == "undecided"
        assert outcome("step_seconds>15%", change, overall) == "passed"
        assert outcome("step_seconds>15%", change, replace(overall, high=1.2)) == "undecided"
        assert outcome("step_seconds>15%", change, replace(overall, metric="relative_seconds")) == "undecided"
        assert outcome("step_seconds>100ms", change, replace(overall, high=1.11)) == "undecided"
        assert outcome("step_seconds>120ms", change, replace(overall, high=1.11)) == "passed"

    def test_a_run_against_itself_passes_whatever_its_noise(self) -> None:
        noisy = timed("a", 1, noise=0.5)
        found = judged("step_seconds>1%", noisy, noisy)
        assert (found.outcome, found.unsure) == ("passed", 0)

    def test_a_pass_says_where_the_noise_is_wider_than_the_gate(self) -> None:
        runs = [timed(name, i, noise=0.2) for i, name in enumerate("ab", 1)]
        (together,) = (o for o in compare(runs)[0].overall if o.metric == "step_seconds")
        found = judged(f"step_seconds>{100 * (together.high - 1) + 0.1}%", *runs)
        assert (found.outcome, found.passed) == ("passed", len(GRID))
        assert found.unsure > 0

    def test_one_block_decides_nothing(self) -> None:
        found = judged("step_seconds>15%", timed("a", 1, blocks=1), timed("b", 2, blocks=1))
        assert found.outcome == "undecided"
        assert {c.why for c in found.undecided} == {"a single block on a side"}

    def test_one_seed_decides_nothing_about_accuracy(self) -> None:
        def run(name: str, shift: float) -> LoadedRun:
            cell = rows.accuracy_cell("maml", 4)
            return loaded(
                name, [replace(r, value=(r.value or 0) + shift * (r.metric == "accuracy")) for r in cell]
            )

        assert judged("accuracy<-1points", run("a", 0), run("b", -0.2)).outcome == "undecided"
        assert judged("accuracy<-1points", run("a", 0), run("b", 0)).outcome == "passed"

    def test_a_loss_of_three_points_over_five_seeds_fails(self) -> None:
        def run(name: str, shift: float) -> LoadedRun:
            rng = np.random.default_rng(int(100 - 1000 * shift))
            cells = [rows.accuracy_cell("maml", 4, seed) for seed in range(5)]
            moved = [
                [replace(r, value=(r.value or 0) + (shift + noise) * (r.metric == "accuracy")) for r in cell]
                for cell, noise in zip(cells, rng.normal(0, 0.002, 5), strict=True)
            ]
            return loaded(name, *moved)

        assert judged("accuracy<-1points", run("a", 0), run("b", -0.03)).outcome == "failed"
        assert judged("accuracy<-1points", run("a", 0), run("b", 0.03)).outcome == "passed"


class TestNothingToDecideOn:
    def test_a_refused_time_does_not_pass(self) -> None:
        found = judged("step_seconds>15%", timed("a", 1), timed("b", 2, cores=8))
        assert (found.outcome, len(found.undecided)) == ("undecided", len(GRID))

    def test_its_ratios_within_each_run_may(self) -> None:
        found = judged("relative_seconds>30%", timed("a", 1), timed("b", 2, slower=3, cores=8))
        assert found.outcome == "passed"

    def test_a_metric_that_no_run_has_does_not_pass(self) -> None:
        assert judged("step_seconds>15%", sized("a"), sized("b")).outcome == "undecided"

    def test_runs_with_nothing_in_common_do_not_pass(self) -> None:
        other = loaded("b", rows.memory_cell("fomaml", 1))
        assert judged("peak_bytes>5%", sized("a"), other).outcome == "undecided"

    def test_points_of_one_run_alone_are_no_business_of_the_gate(self) -> None:
        more = loaded("b", *(rows.memory_cell("maml", steps) for steps in (1, 4, 16)))
        assert judged("peak_bytes>5%", sized("a"), more).outcome == "passed"
