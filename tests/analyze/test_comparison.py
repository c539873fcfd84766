"""Two runs side by side: what is found, what is refused, and what is said of the rest."""

import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rows
from rows import GLYPHS, METHODS, MIB

from harness.analyze.comparison.change import HEADLINE_METRICS, Change, Overall
from harness.analyze.comparison.change_in_words import sentence, summary
from harness.analyze.comparison.compare import Comparison, compare
from harness.analyze.comparison.unlike import unlike
from harness.analyze.comparison.welch import difference_of_means
from harness.analyze.loaded import LoadedRun, load_run
from harness.errors import UsageError
from harness.frame import frame_of
from harness.rows import Row
from harness.store import RunFolder

MACHINE = {"cpu": "Example CPU", "cpu_capability": "AVX2", "cores": 2, "device": "cpu", "threads": 1}
NUMBERS = count()
GRID = [(method, steps) for method in METHODS for steps in (1, 4, 16)]


def cells_of(run: int, *, memory: float = 1.0, slower: float = 1.0, noise: float = 0.03) -> list[list[Row]]:
    """Memory and time of five methods, as one machine reads them again and again; time with noise."""
    cells = []
    for method, steps in GRID:
        cell = rows.memory_cell(method, steps)
        cells.append([replace(r, value=r.value * memory) for r in cell if r.value])
    for block in range(3):
        cells.append(rows.time_cell(block, GRID, run=run, slower=slower, block_noise=noise))
    return cells


def written(path: Path, cells: list[list[Row]], **more: Any) -> LoadedRun:
    more["environment"] = MACHINE | more.pop("environment", {})
    return load_run(rows.write_run(path, cells, **more))


def in_memory(cells: list[list[Row]]) -> LoadedRun:
    frame = frame_of(row for cell in cells for row in cell)
    path = Path(f"run-{next(NUMBERS)}")  # a folder of its own: equal paths would be one run
    return LoadedRun(path=path, rows=frame, manifest={}, environment=MACHINE, selfchecks=[])


def compared(*runs: LoadedRun, **options: Any) -> Comparison:
    return compare(runs, **options)[0]


def changes_of(comparison: Comparison, metric: str, label: str | None = None) -> list[Change]:
    return [
        c for c in comparison.changes if c.metric == metric and not c.is_fate and label in (None, c.label)
    ]


def together(comparison: Comparison, metric: str = "step_seconds") -> Overall:
    (overall,) = (each for each in comparison.overall if each.metric == metric)
    return overall


def said(comparison: Comparison) -> str:
    return "\n".join([*comparison.notes, *summary(comparison, HEADLINE_METRICS)])


class TestWhatIsFound:
    def test_a_run_against_itself_differs_in_nothing(self, tmp_path: Path) -> None:
        run = written(tmp_path / "run", rows.whole_run())
        found = compared(run, run)
        assert found.finds_nothing
        assert found.notes == []
        assert {c.metric for c in found.changes} >= {"peak_bytes", "step_seconds", "accuracy"}
        assert "Nothing differs between A and B" in said(found)

    def test_nor_does_its_copy_though_the_folder_is_another(self, tmp_path: Path) -> None:
        run = written(tmp_path / "run", rows.whole_run())
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert compared(run, load_run(tmp_path / "copy")).finds_nothing

    def test_five_percent_of_memory_and_twenty_of_time_are_found(self, tmp_path: Path) -> None:
        base = written(tmp_path / "base", cells_of(1))
        slow = written(tmp_path / "slow", cells_of(2, memory=1.05, slower=1.2))
        found = compared(base, slow)
        peaks = changes_of(found, "peak_bytes")
        assert len(peaks) == len(GRID)
        assert all(c.verdict == "more" and c.ratio == pytest.approx(1.05, rel=1e-12) for c in peaks)
        overall = together(found)
        assert overall.is_called
        assert overall.low <= 1.2 <= overall.high
        assert overall.points == len(GRID)
        times = changes_of(found, "step_seconds")
        assert {c.verdict for c in times} <= {"more", "too weak"}
        assert sum(c.verdict == "more" for c in times) > 0
        assert all("unpaired" in c.basis for c in times)

    def test_what_was_measured_twice_on_one_machine_is_not_called_slower(self) -> None:
        false_calls = 0
        for repetition in range(12):
            base, again = in_memory(cells_of(2 * repetition + 1)), in_memory(cells_of(2 * repetition + 2))
            found = compared(base, again)
            false_calls += any(c.is_called for c in found.changes)
        # Holm lets at most 5% through: four or more of twelve have a probability of 0.2%.
        assert false_calls < 4

    def test_a_third_run_is_held_against_the_first(self, tmp_path: Path) -> None:
        runs = [
            written(tmp_path / name, cells_of(1, memory=m))
            for name, m in zip("xyz", (1, 1.1, 1.2), strict=True)
        ]
        second, third = compare(runs)
        assert (third.base.letter, third.other.letter) == ("A", "C")
        assert changes_of(second, "peak_bytes")[0].ratio == pytest.approx(1.1)
        assert changes_of(third, "peak_bytes")[0].ratio == pytest.approx(1.2)

    def test_one_run_alone_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="two runs or more"):
            compare([in_memory(cells_of(1))])

    def test_a_sentence_has_the_figures_of_its_rows(self, tmp_path: Path) -> None:
        base, big = in_memory(cells_of(1)), in_memory(cells_of(1, memory=1.05))
        (change,) = (c for c in changes_of(compared(base, big), "peak_bytes", "maml") if c.inner_steps == 4)
        assert (
            sentence(change)
            == "maml at 4 inner steps, peak_bytes: 157.4 MiB, then 165.3 MiB (+5.0 %): larger"
        )
        for evidence, run, value in ((change.evidence, base, 157.4), (change.other_evidence, big, 165.27)):
            chosen = evidence[0].rows(run.rows)
            assert chosen.value.to_numpy() / MIB == pytest.approx([value])


class TestTime:
    @pytest.mark.parametrize("spreads", [(0.03, 0.03), (0.1, 0.03), (0.1, 0.01)])
    def test_the_unpaired_interval_holds_at_three_blocks(self, spreads: tuple[float, float]) -> None:
        draws, blocks, truth = 20_000, 3, np.log(1.2)
        rng = np.random.default_rng(5)
        sides = []
        for shift, spread in zip((0.0, truth), spreads, strict=True):
            values = rng.normal(shift, spread, (draws, blocks))
            error = values.std(1, ddof=1) / np.sqrt(blocks)
            sides.append((values.mean(1), error, np.full(draws, blocks)))
        interval = difference_of_means(sides[0], sides[1])
        covered = float(((interval.low <= truth) & (truth <= interval.high)).mean())
        assert 0.94 <= covered <= 0.985

    def test_a_normal_interval_over_three_blocks_would_not_hold(self) -> None:
        rng = np.random.default_rng(5)
        first, second = rng.normal(0, 0.03, (2, 20_000, 3))
        error = np.sqrt(first.var(1, ddof=1) / 3 + second.var(1, ddof=1) / 3)
        covered = (np.abs(first.mean(1) - second.mean(1)) <= 1.96 * error).mean()
        assert covered < 0.9

    def test_its_coverage_survives_the_way_from_rows_to_changes(self) -> None:
        """A thousand numbers of inner steps, each with block noise of its own, are a thousand simulations."""
        rng = np.random.default_rng(11)
        sides = []
        for run, slower in ((1, 1.0), (2, 1.2)):
            cells = []
            for block in range(3):
                luck = np.exp(rng.normal(0, 0.05, 1000))
                seconds = 0.01 * slower * luck[:, None] * (1 + rng.gamma(1.0, 0.03, (1000, 3)))
                place = {"measure": "time", "metric": "step_seconds", "unit": "s"}
                cells.append(
                    [
                        rows.row(**place, cell_id=f"{run}-{block}", inner_steps=steps + 1, repeat=i, value=s)
                        for steps, of_point in enumerate(seconds)
                        for i, s in enumerate(of_point)
                    ]
                )
            sides.append(in_memory(cells))
        times = changes_of(compared(*sides), "step_seconds")
        assert len(times) == 1000
        covered = np.mean([c.low <= 1.2 <= c.high for c in times])
        assert 0.93 <= covered <= 0.99

    def test_all_points_together_hold_what_was_planted(self) -> None:
        """The blocks are the units: 15 points that share them are not 15 times as sure."""
        covered, alone = 0, []
        for run in range(8):
            first = [rows.time_cell(b, GRID, run=2 * run + 1, block_noise=0.05) for b in range(3)]
            second = [
                rows.time_cell(b, GRID, run=2 * run + 2, block_noise=0.05, slower=1.2) for b in range(3)
            ]
            found = compared(in_memory(first), in_memory(second))
            overall = together(found)
            assert overall.units == (3, 3)
            covered += overall.low <= 1.2 <= overall.high
            alone.append(np.median([c.high - c.low for c in changes_of(found, "step_seconds")]))
            assert (
                overall.high - overall.low > alone[-1] / 2
            )  # a standard error over points would be a quarter
        assert covered >= 6  # of 8 at 95%, fewer have a probability of 0.6%

    def test_methods_of_one_run_are_paired_in_its_rounds(self, tmp_path: Path) -> None:
        run = written(tmp_path / "run", cells_of(1, noise=0.3))
        found = compared(run, run, pairs=[("fomaml", "maml")])
        (change,) = (c for c in changes_of(found, "step_seconds") if c.inner_steps == 4)
        frame = run.rows[(run.rows.metric == "step_seconds") & (run.rows.inner_steps == 4)]
        table = frame.pivot(index=["cell_id", "repeat"], columns="method", values="value")
        logs = np.log((table.maml / table.fomaml).groupby("cell_id").median())
        half = 4.302653 * logs.std() / np.sqrt(3)  # Student's t, two degrees of freedom
        assert change.ratio == pytest.approx(np.exp(logs.mean()))
        assert (change.low, change.high) == pytest.approx(
            (np.exp(logs.mean() - half), np.exp(logs.mean() + half)), rel=1e-6
        )
        assert change.basis == "3 blocks, paired by rounds"

    def test_equal_cell_ids_of_two_runs_pair_nothing(self, tmp_path: Path) -> None:
        first, second = (written(tmp_path / str(run), cells_of(run)) for run in (1, 2))
        assert set(first.rows.cell_id) == set(second.rows.cell_id)
        assert all("unpaired" in c.basis for c in changes_of(compared(first, second), "step_seconds"))

    def test_seeds_of_one_run_alone_are_in_none_of_its_times(self) -> None:
        """They have other tasks, and so other work: here ten times as much."""

        def blocks(run: int, seed: int, slower: float) -> list[list[Row]]:
            return [
                rows.time_cell(b, GRID, run=run, seed=seed, slower=slower, cell_id=f"time-{b}-{seed}")
                for b in range(3)
            ]

        base, other = in_memory(blocks(1, 0, 1.0)), in_memory(blocks(2, 0, 1.2) + blocks(3, 1, 10.0))
        found = compared(base, other)
        assert all(c.ratio == pytest.approx(1.2, rel=0.05) for c in changes_of(found, "step_seconds"))
        assert "3 and 3 blocks" in changes_of(found, "step_seconds")[0].basis
        assert together(found).estimate == pytest.approx(1.2, rel=0.02)

    def test_a_block_that_lacks_a_point_is_not_in_the_figure_of_all_points(self) -> None:
        """It timed the cheapest point alone, whose mean is that of other work."""
        whole = [rows.time_cell(b, GRID, run=2) for b in range(3)]
        part = rows.time_cell(3, [("reptile", 1)], run=2)
        without, found = (
            compared(in_memory(cells_of(1)), in_memory(cells)) for cells in (whole, [*whole, part])
        )
        assert together(found) == together(without)
        assert together(found).units == (3, 3)

    def test_a_single_block_gives_no_interval_and_no_verdict(self) -> None:
        first, second = (in_memory([rows.time_cell(0, GRID, run=run, slower=run)]) for run in (1, 2))
        found = compared(first, second)
        for change in changes_of(found, "step_seconds"):
            assert (change.verdict, change.why) == ("too weak", "a single block on a side")
            assert np.isnan(change.low)

    @pytest.mark.parametrize(
        ("fact", "value", "words"),
        [
            ("cpu_capability", "AVX512", "(AVX512, 2 cores, 1 thread)"),
            ("cores", 8, "8 cores"),
            ("threads", 2, "2 threads"),
            ("cpu", "Other CPU", "processor (Example CPU in A, Other CPU in B)"),
        ],
    )
    def test_no_time_is_called_across_machines(
        self, tmp_path: Path, fact: str, value: Any, words: str
    ) -> None:
        base = written(tmp_path / "base", cells_of(1))
        other = written(tmp_path / "other", cells_of(2, memory=1.05, slower=3), environment={fact: value})
        found = compared(base, other)
        times = changes_of(found, "step_seconds")
        assert {c.verdict for c in times} == {"not called"}
        assert all(np.isnan([c.difference, c.ratio, c.low, c.p]).all() for c in times)
        assert {each.metric for each in found.overall} == {"relative_seconds"}
        assert {c.why for c in times} == {"not the same machine"}
        assert "No time difference is called: A (base) ran on Example CPU" in said(found)
        assert words in said(found)
        assert {c.verdict for c in changes_of(found, "peak_bytes")} == {"more"}

    def test_ratios_within_each_run_cross_machines(self, tmp_path: Path) -> None:
        base = written(tmp_path / "base", cells_of(1))
        other = written(tmp_path / "other", cells_of(2, slower=3), environment={"cpu": "Other CPU"})
        relative = changes_of(compared(base, other), "relative_seconds")
        assert {c.label for c in relative} == set(METHODS) - {"maml"}
        assert all("ratios to maml" in c.basis for c in relative)
        # Three times slower in all methods is no difference of ratios.
        assert all(c.ratio == pytest.approx(1, abs=0.15) for c in relative)
        assert not any(c.is_called for c in relative)
        assert "relative_seconds (to maml): too weak to call at 12 of 12 points" in said(
            compared(base, other)
        )

    def test_a_machine_that_is_not_named_is_refused(self, tmp_path: Path) -> None:
        base, other = (written(tmp_path / name, cells_of(1)) for name in "ab")
        other.environment.clear()
        assert "B (b) does not say what machine it ran on" in said(compared(base, other))
        times = changes_of(compared(base, other), "step_seconds")
        assert {(c.verdict, c.why) for c in times} == {("not called", "not known to be the same machine")}

    def test_a_run_that_was_timed_on_two_machines_is_refused(self, tmp_path: Path) -> None:
        base, other = (written(tmp_path / name, cells_of(1)) for name in "ab")
        other.selfchecks.extend(
            {"machine": {"cpu": cpu, "cores": 2}, "cells": [cell]}
            for cpu, cell in (("Example CPU", "time-0"), ("Other CPU", "time-1"))
        )
        found = compared(base, other)
        assert "B (b) was timed on 2 machines (Example CPU, 2 cores; Other CPU, 2 cores)" in said(found)
        assert {c.verdict for c in changes_of(found, "step_seconds")} == {"not called"}

    def test_a_run_that_was_timed_elsewhere_than_its_last_call_is_refused(self, tmp_path: Path) -> None:
        base, other = (written(tmp_path / name, cells_of(n)) for n, name in enumerate("ab"))
        cells = [f"time-{block}" for block in range(3)]
        other.selfchecks.append({"machine": {"cpu": "Other CPU", "cores": 2}, "cells": cells})
        other.selfchecks.append({"machine": {"cpu": "Example CPU", "cores": 2}, "cells": ["memory-maml-1"]})
        found = compared(base, other)
        assert "A (a) was timed on Example CPU, 2 cores, B (b) on Other CPU, 2 cores." in said(found)
        assert {c.verdict for c in changes_of(found, "step_seconds")} == {"not called"}

    def test_two_machines_that_are_named_in_different_ways_are_refused(self, tmp_path: Path) -> None:
        base, other = (written(tmp_path / name, cells_of(n)) for n, name in enumerate("ab"))
        del base.environment["device_name"], other.environment["cpu"]
        found = compared(base, other)
        assert "A (a) and B (b) do not name their machines in the same way" in said(found)
        assert {c.verdict for c in changes_of(found, "step_seconds")} == {"not called"}

    def test_another_torch_is_reported_and_not_refused(self, tmp_path: Path) -> None:
        base = written(tmp_path / "base", cells_of(1))
        other = written(tmp_path / "other", cells_of(2), environment={"torch": "2.13.0"})
        found = compared(base, other)
        assert "torch (2.12.0 in A, 2.13.0 in B)" in said(found)
        assert "not called" not in {c.verdict for c in found.changes}

    def test_a_busy_machine_is_named(self, tmp_path: Path) -> None:
        cells = cells_of(2)
        busy = "the machine was busy: other processes used 1.3 cores while block 0 was timed"
        point = {"cell_id": "time-0", "measure": "time", "settings": rows.SETTINGS["maml"]}
        cells[-3].append(rows.row(**point, metric="flag", value=None, unit="", detail=busy))
        found = compared(written(tmp_path / "a", cells_of(1)), written(tmp_path / "b", cells))
        assert f"Flagged at 1 timed point of B (b), such as: {busy}." in said(found)


def shifted(cell: list[Row], shift: float) -> list[Row]:
    """The cell with another accuracy; its floors stay."""
    return [replace(r, value=r.value + shift) if r.metric == "accuracy" and r.value else r for r in cell]


class TestAccuracy:
    @staticmethod
    def run(seeds: int, shift: float = 0.0, spread: float = 0.002, **changes: Any) -> LoadedRun:
        """Seeds scatter by 1%; between two runs only `spread` of it is new."""
        cells = []
        for seed in range(seeds):
            cell = rows.accuracy_cell("maml", 4, seed, **changes)
            noise = shift + np.random.default_rng([3, seed, int(1e4 * shift)]).normal(0, spread)
            cells.append(shifted(cell, noise))
        return in_memory(cells)

    def test_it_is_paired_by_seed(self) -> None:
        base, better = self.run(5), self.run(5, shift=0.01)
        (change,) = changes_of(compared(base, better), "accuracy")
        a, b = (r.rows[r.rows.metric == "accuracy"].set_index("seed").value for r in (base, better))
        half = 2.776445 * (b - a).std() / np.sqrt(5)  # Student's t, four degrees of freedom
        assert (change.low, change.high) == pytest.approx(
            ((b - a).mean() - half, (b - a).mean() + half), rel=1e-6
        )
        assert change.verdict == "more"
        assert change.high - change.low < 0.01  # unpaired it would be 0.03

    def test_below_three_seeds_nothing_is_called(self) -> None:
        (change,) = changes_of(compared(self.run(2), self.run(2, shift=0.2)), "accuracy")
        assert (change.verdict, change.why) == ("too weak", "3 seeds are the least")

    def test_what_is_equal_to_the_last_bit_is_the_same_at_one_seed_too(self) -> None:
        (change,) = changes_of(compared(self.run(1), self.run(1)), "accuracy")
        assert change.verdict == "same"

    def test_at_one_seed_the_interval_is_over_the_episodes_that_both_kept(self, tmp_path: Path) -> None:
        runs, tables = [], []
        shared = np.random.default_rng(1).normal(0.8, 0.1, 300)
        for name, shift in (("a", 0.0), ("b", 0.01)):
            tasks = shared + np.random.default_rng(len(runs)).normal(shift, 0.02, 300)
            tables.append(tasks)
            cell = [
                replace(r, value=float(tasks.mean())) if r.metric == "accuracy" else r
                for r in rows.accuracy_cell("maml", 4)
            ]
            runs.append(written(tmp_path / name, [cell]))
            folder = RunFolder(tmp_path / name).cell_folder("accuracy-maml-4-0")
            pd.DataFrame({"task": range(300), "accuracy": tasks}).to_csv(folder / "per_task.csv", index=False)
        (change,) = changes_of(compared(*runs), "accuracy")
        difference = tables[1] - tables[0]
        half = 1.967930 * difference.std(ddof=1) / np.sqrt(300)  # Student's t, 299 degrees of freedom
        assert (change.low, change.high) == pytest.approx(
            (difference.mean() - half, difference.mean() + half), rel=1e-5
        )
        assert change.basis == "1 seed, 300 episodes"
        assert change.verdict == "too weak"

    def test_at_two_seeds_the_interval_adds_the_variances_of_both(self, tmp_path: Path) -> None:
        runs, tables = [], {}
        for name, shift in (("a", 0.0), ("b", 0.01)):
            cells = []
            for seed, tasks in ((0, 12), (1, 8)):
                rng = np.random.default_rng([seed, name == "b"])
                scores = np.random.default_rng(seed).normal(0.8, 0.1, tasks) + rng.normal(shift, 0.02, tasks)
                tables[name, seed] = scores
                cells.append([
                    replace(r, value=float(scores.mean())) if r.metric == "accuracy" else r
                    for r in rows.accuracy_cell("maml", 4, seed)
                ])  # fmt: skip
            runs.append(written(tmp_path / name, cells))
            for seed in (0, 1):
                folder = RunFolder(tmp_path / name).cell_folder(f"accuracy-maml-4-{seed}")
                table = pd.DataFrame({"task": range(len(tables[name, seed])), "accuracy": tables[name, seed]})
                table.to_csv(folder / "per_task.csv", index=False)
        (change,) = changes_of(compared(*runs), "accuracy")
        first, second = (tables["b", seed] - tables["a", seed] for seed in (0, 1))
        mean = (first.mean() + second.mean()) / 2
        variance = (first.var(ddof=1) / 12 + second.var(ddof=1) / 8) / 4  # of the mean of two
        half = 2.100922 * np.sqrt(variance)  # Student's t, 11 + 7 degrees of freedom
        assert (change.low, change.high) == pytest.approx((mean - half, mean + half), rel=1e-5)
        assert change.basis == "2 seeds, 20 episodes"
        assert "have no interval" not in said(compared(*runs))

    def test_of_episodes_that_two_seeds_share_each_counts_once(self, tmp_path: Path) -> None:
        """As where a data set has only so many: of each episode the mean of both seeds."""
        runs, tables = [], {}
        hard = np.random.default_rng(0).normal(0, 0.1, 10)  # on which the second run is the better
        for name, shift in (("a", 0.0), ("b", hard)):
            cells = []
            for seed in (0, 1):
                noise = np.random.default_rng([seed, name == "b"]).normal(0, 0.01, 10)
                scores = tables[name, seed] = 0.7 + shift + noise
                whole: dict[str, Any] = {
                    "value": float(scores.mean()),
                    "detail": "10 test tasks, all that there are, 4 inner",
                }
                cells.append([
                    replace(r, **whole) if r.metric == "accuracy" else r
                    for r in rows.accuracy_cell("maml", 4, seed)
                ])  # fmt: skip
            runs.append(written(tmp_path / name, cells))
            for seed in (0, 1):
                folder = RunFolder(tmp_path / name).cell_folder(f"accuracy-maml-4-{seed}")
                table = pd.DataFrame({"task": range(10), "accuracy": tables[name, seed]})
                table.to_csv(folder / "per_task.csv", index=False)
        (change,) = changes_of(compared(*runs), "accuracy")
        of_episode = sum(tables["b", seed] - tables["a", seed] for seed in (0, 1)) / 2
        half = 2.262157 * of_episode.std(ddof=1) / np.sqrt(10)  # Student's t, 9 degrees of freedom
        mean = of_episode.mean()
        assert (change.low, change.high) == pytest.approx((mean - half, mean + half), rel=1e-5)
        assert change.basis == "2 seeds, 10 episodes"

    def test_episodes_that_are_not_those_of_the_row_give_no_interval(self, tmp_path: Path) -> None:
        runs = []
        for name, shift in (("a", 0.0), ("b", 0.01)):
            runs.append(written(tmp_path / name, [shifted(rows.accuracy_cell("maml", 4), shift)]))
            folder = RunFolder(tmp_path / name).cell_folder("accuracy-maml-4-0")
            pd.DataFrame({"task": range(300), "accuracy": 0.5}).to_csv(folder / "per_task.csv", index=False)
        (change,) = changes_of(compared(*runs), "accuracy")
        assert np.isnan(change.low)
        assert change.basis == "1 seed"
        assert "Accuracies of fewer than 3 seeds have no interval where the scores" in said(compared(*runs))

    @staticmethod
    def _cell(shift: float) -> list[Row]:
        cell = rows.accuracy_cell("maml", 4)
        return [
            rows.row(**vars(r) | {"value": r.value + shift}) if r.metric == "accuracy" else r for r in cell
        ]

    def test_all_points_together_are_of_the_seeds_that_have_them_all(self) -> None:
        """The last seed lacks the point that did not move."""

        def run(shift: float, seeds: int) -> LoadedRun:
            moved = [shifted(rows.accuracy_cell("maml", 4, s), shift * (1 + s % 2)) for s in range(seeds + 1)]
            return in_memory(moved + [rows.accuracy_cell("maml", 8, seed) for seed in range(seeds)])

        overall = together(compared(run(0, 4), run(0.02, 4)), "accuracy")
        half = 3.182446 * np.std([0.01, 0.02, 0.01, 0.02], ddof=1) / 2  # Student's t, 3 degrees of freedom
        assert (overall.estimate, overall.low, overall.high) == pytest.approx(
            (0.015, 0.015 - half, 0.015 + half), rel=1e-6
        )
        assert (overall.points, overall.units) == (2, (4, 4))
        assert not together(compared(run(0, 2), run(0.02, 2)), "accuracy").has_interval

    def test_other_episodes_are_not_compared(self) -> None:
        moved = self.run(3)
        floor = moved.rows.metric == "neighbour_accuracy"
        moved.rows.loc[floor, "value"] += 0.05
        (change,) = changes_of(compared(self.run(3), moved), "accuracy")
        assert change.verdict == "not called"
        assert "not the same episodes" in change.why

    def test_only_seeds_of_both_count(self) -> None:
        found = compared(self.run(3), self.run(5))
        (change,) = changes_of(found, "accuracy")
        assert change.verdict == "same"
        assert "The seeds of accuracy are 0, 1, 2 in A and 0, 1, 2, 3, 4 in B" in said(found)

    def test_seeds_of_which_none_is_in_both_compare_nothing(self) -> None:
        other = self.run(2)
        other.rows["seed"] += 10
        found = compared(self.run(2), other)
        (change,) = changes_of(found, "accuracy") or [c for c in found.changes if c.measure == "accuracy"]
        assert (change.verdict, change.why) == ("not called", "no seed in common")
        assert "none is in both" in said(found)


class TestGradient:
    @staticmethod
    def run(**changed: float) -> LoadedRun:
        values = {"rel_error_unrolled": 0.5} | changed
        return in_memory([rows.gradient_cell("imaml-gd", 4, seed, values=values) for seed in range(3)])

    def test_an_error_that_doubled_is_found(self) -> None:
        found = compared(self.run(rel_error_implicit=1e-4), self.run(rel_error_implicit=2e-4))
        (change,) = changes_of(found, "rel_error_implicit")
        assert change.verdict == "more"
        assert change.ratio == pytest.approx(2)

    @pytest.mark.parametrize("values", [(1e-16, 4e-16), (0.0, 3e-15), (2e-13, 0.0)])
    def test_rounding_that_doubled_is_the_same(self, values: tuple[float, float]) -> None:
        first, second = (self.run(rel_error_unrolled=value) for value in values)
        (change,) = changes_of(compared(first, second), "rel_error_unrolled")
        assert (change.verdict, change.why) == ("same", "rounding on both sides")

    def test_seeds_that_do_not_agree_are_too_weak(self) -> None:
        first, second = self.run(rel_error_implicit=1e-4), self.run(rel_error_implicit=2e-4)
        second.rows.loc[(second.rows.seed == 0) & (second.rows.metric == "rel_error_implicit"), "value"] = (
            5e-5
        )
        (change,) = changes_of(compared(first, second), "rel_error_implicit")
        assert (change.verdict, change.why) == ("too weak", "the seeds do not agree")

    @pytest.mark.parametrize(
        ("moved", "verdict"), [(5e-7, "same"), (-5e-7, "same"), (2e-6, "more"), (-2e-6, "less")]
    )
    def test_a_millionth_of_an_error_is_the_order_of_a_sum(self, moved: float, verdict: str) -> None:
        first, second = (self.run(rel_error_implicit=1e-4 * (1 + m)) for m in (0.0, moved))
        (change,) = changes_of(compared(first, second), "rel_error_implicit")
        assert change.verdict == verdict

    def test_work_of_seeds_that_one_run_alone_has_does_not_count(self) -> None:
        cells = [
            rows.gradient_cell("imaml-gd", 4, seed, values={"rel_error_unrolled": 0.5, "hessian_products": n})
            for seed, n in enumerate((5.0, 9.0, 9.0))
        ]
        (change,) = changes_of(compared(in_memory(cells[:1]), in_memory(cells)), "hessian_products")
        assert (change.verdict, change.first, change.second) == ("same", 5, 5)

    def test_work_is_compared_to_the_product(self) -> None:
        first, second = self.run(hessian_products=5.0), self.run(hessian_products=7.0)
        (change,) = changes_of(compared(first, second), "hessian_products")
        assert (change.verdict, change.difference) == ("more", 2)


class TestPoints:
    def test_a_point_that_fails_on_one_side_is_a_finding(self) -> None:
        whole = in_memory([rows.memory_cell("maml", steps) for steps in (1, 16)])
        small = in_memory([rows.memory_cell("maml", steps, budget_mib=200) for steps in (1, 16)])
        (change,) = (c for c in compared(whole, small).changes if c.is_fate)
        assert (change.verdict, change.why, change.inner_steps) == ("fails", "ok in A, oom in B", 16)
        (back,) = (c for c in compared(small, whole).changes if c.is_fate)
        assert back.verdict == "works"
        assert compared(small, small).finds_nothing

    def test_what_failed_in_both_is_no_finding_however_often_it_was_tried(self) -> None:
        def run(blocks: int) -> LoadedRun:
            failed = {"measure": "time", "metric": "step_seconds", "value": None, "status": "oom"}
            return in_memory(
                [rows.memory_cell("maml", 4)] + [[rows.row(cell_id=f"{b}", **failed)] for b in range(blocks)]
            )

        assert compared(run(1), run(3)).finds_nothing

    def test_a_seed_that_diverged_is_named_beside_the_others(self) -> None:
        sound = [rows.accuracy_cell("maml", 4, seed) for seed in range(4)]
        broken = [*sound[:3], [replace(sound[3][0], value=None, status="diverged")]]
        found = compared(in_memory(sound), in_memory(broken))
        (change,) = (c for c in found.changes if c.is_fate)
        assert (change.verdict, change.why) == ("fails", "ok in A, diverged in 1 of 4 rows in B")

    def test_what_only_one_run_has_is_listed(self) -> None:
        first = in_memory([rows.memory_cell(m, s) for m in ("maml", "fomaml") for s in (1, 4)])
        second = in_memory(
            [rows.memory_cell("maml", s) for s in (1, 2)] + [rows.time_cell(0, [("maml", 1)])]
        )  # fmt: skip
        text = said(compared(first, second))
        assert "memory: maml at 4 inner steps; fomaml." in text
        assert "memory: maml at 2 inner steps." in text
        assert "the measure time." in text

    def test_other_workloads_are_told_apart_by_their_settings(self) -> None:
        first = in_memory([rows.memory_cell("maml", 1)])
        second = in_memory([rows.memory_cell("maml", 1, workload="glyphs[shots=5,ways=20]")])
        found = compared(first, second)
        assert "glyphs[shots=1]." in said(found)
        assert "glyphs[shots=5]." in said(found)
        assert "have no point in common" in said(found)
        assert found.changes == []
        assert not found.finds_nothing

    def test_a_method_with_other_settings_is_compared_and_the_setting_named(self) -> None:
        first = in_memory([rows.memory_cell("maml", 1)])
        second = in_memory([rows.memory_cell("maml", 1, settings={"inner_lr": 0.2, "lam": 0.0})])
        found = compared(first, second)
        assert len(changes_of(found, "peak_bytes")) == 1
        assert "maml differs in its settings: inner_lr 0.1 in A, 0.2 in B." in said(found)

    def test_variants_find_their_own_settings(self) -> None:
        def cells(values: tuple[float, ...]) -> list[list[Row]]:
            return [[rows.row(cell_id=f"{lam}", settings={"lam": lam}, value=lam * MIB)] for lam in values]

        found = compared(in_memory(cells((1.0, 2.0, 3.0))), in_memory(cells((3.0, 2.0, 1.0))))
        assert len(changes_of(found, "peak_bytes")) == 3
        assert found.finds_nothing

    def test_variants_that_all_changed_one_setting_are_told_apart_by_the_other(self) -> None:
        def cells(lam: float) -> list[list[Row]]:
            return [
                [rows.row(cell_id=f"{rate}", settings={"inner_lr": rate, "lam": lam}, value=rate * MIB)]
                for rate in (1.0, 2.0)
            ]

        found = compared(in_memory(cells(0.0)), in_memory(cells(1.0)[::-1]))
        assert {c.label: c.verdict for c in changes_of(found, "peak_bytes")} == {
            "maml[inner_lr=1.0]": "same",
            "maml[inner_lr=2.0]": "same",
        }
        assert "maml[inner_lr=1.0] differs in its settings: lam 0.0 in A, 1.0 in B." in said(found)

    def test_a_point_that_one_run_skipped_is_not_called(self) -> None:
        whole = in_memory([rows.memory_cell("maml", steps) for steps in (1, 4)])
        skipped = [rows.row(cell_id="s", settings=rows.SETTINGS["maml"], value=None, status="skipped")]
        for runs, why in (
            ((whole, in_memory([rows.memory_cell("maml", 1), skipped])), "ok in A, skipped in B"),
            ((in_memory([rows.memory_cell("maml", 1), skipped]), whole), "skipped in A, ok in B"),
        ):
            (change,) = (c for c in compared(*runs).changes if c.is_fate)
            assert (change.verdict, change.why, change.inner_steps) == ("not called", why, 4)

    def test_skipping_is_neither_better_nor_worse_than_failing(self) -> None:
        point = {"settings": rows.SETTINGS["maml"], "value": None}
        runs = [in_memory([[rows.row(**point, status=status)]]) for status in ("skipped", "oom")]
        (change,) = (c for c in compared(*runs).changes if c.is_fate)
        assert (change.verdict, change.why) == ("not called", "skipped in A, oom in B")

    def test_another_protocol_is_named_and_nothing_of_it_called(self, tmp_path: Path) -> None:
        contents = [{"memory": {"meta_batch_size": size, "execution": "vectorized"}} for size in (1, 4)]
        runs = [
            written(tmp_path / f"{i}", cells_of(1, memory=i), content=content)
            for i, content in enumerate(contents, 1)
        ]
        found = compared(*runs)
        assert "The memory measure differs: meta_batch_size 1 in A, 4 in B." in said(found)
        assert {c.verdict for c in changes_of(found, "peak_bytes")} == {"not called"}

    def test_another_protocol_on_one_workload_leaves_the_others_to_be_called(self, tmp_path: Path) -> None:
        """What a suite says of the measure at large is the same in both; of one workload it is not."""
        large = GLYPHS.replace("ways=20", "ways=40")
        content = {"memory": {"meta_batch_size": 4}}
        runs = []
        for batch, peak in ((4, 1), (2, 2)):
            cells = [
                rows.memory_cell("maml", 4, workload=workload, cell_id=workload)
                for workload in (GLYPHS, large)
            ]
            cells = [[replace(r, value=peak * r.value) for r in cell if r.value] for cell in cells]
            settings = {GLYPHS: content, large: {"memory": {"meta_batch_size": batch}}}
            runs.append(written(tmp_path / f"{batch}", cells, content=content, settings=settings))
        found = compared(*runs)
        verdicts = {c.workload: c.verdict for c in changes_of(found, "peak_bytes")}
        assert verdicts == {GLYPHS: "more", large: "not called"}
        assert f"The memory measure differs on {large}: meta_batch_size 4 in A, 2 in B." in said(found)

    def test_rows_say_the_protocol_where_the_manifest_does_not(self) -> None:
        cells = [[rows.row(metric=m, value=MIB, detail=f"meta-batch of {n}") for m in
                  ("peak_bytes", "baseline_bytes")] for n in (1, 4)]  # fmt: skip
        found = compared(*(in_memory([cell]) for cell in cells))
        (change,) = changes_of(found, "peak_bytes")
        assert change.verdict == "not called"
        assert "meta-batch of 1 in the first, meta-batch of 4 in the other" in change.why

    def test_a_planned_point_without_rows_is_unfinished(self, tmp_path: Path) -> None:
        whole = [rows.memory_cell("maml", steps) for steps in (1, 4)]
        plan = [
            {"id": cell[0].cell_id, "measure": "memory", "workload": GLYPHS,
             "points": [{"method": "maml", "settings": rows.SETTINGS["maml"], "inner_steps": steps}]}
            for cell, steps in zip(whole, (1, 4), strict=True)
        ]  # fmt: skip
        base = written(tmp_path / "base", whole)
        rows.write_run(tmp_path / "cut", whole[:1], environment=MACHINE)
        RunFolder(tmp_path / "cut").write_manifest({"suite": "quick", "cells": plan})
        cut = load_run(tmp_path / "cut")
        found = compared(base, cut)
        (change,) = (c for c in found.changes if c.is_fate)
        assert (change.verdict, change.why) == ("not called", "unfinished in B (cut)")
        assert "B (cut): 1 of 2 cells" in said(found)

    def test_a_reading_that_one_side_lacks_is_not_called(self) -> None:
        cell = rows.memory_cell("maml", 1)
        first, second = in_memory([cell]), in_memory([[r for r in cell if r.metric != "tracked_peak_bytes"]])
        (change,) = changes_of(compared(first, second), "tracked_peak_bytes")
        assert (change.verdict, change.why) == ("not called", "no value in B")

    def test_bytes_of_two_kinds_of_device_are_not_held_against_each_other(self) -> None:
        first, second = (in_memory([rows.memory_cell("maml", 1)]) for _ in range(2))
        gpu = LoadedRun(path=Path("gpu"), rows=second.rows, manifest={}, selfchecks=[],
                        environment=MACHINE | {"device": "cuda"})  # fmt: skip
        found = compared(first, gpu)
        assert {c.verdict for c in changes_of(found, "peak_bytes")} == {"not called"}
        assert {c.verdict for c in changes_of(found, "tracked_peak_bytes")} == {"same"}

    def test_a_method_that_is_not_there_cannot_be_mapped(self) -> None:
        run = in_memory(cells_of(1))
        with pytest.raises(UsageError, match="has no method 'mml'; did you mean 'maml'"):
            compared(run, run, pairs=[("mml", "fomaml")])


def test_a_measure_of_a_newer_version_is_named_and_not_dropped_in_silence(tmp_path: Path) -> None:
    cells = [*cells_of(1), [rows.row(cell_id="joules", measure="energy", metric="joules")]]
    run = written(tmp_path / "run", cells)
    assert "Not compared, for none of their metrics is known here: the measures energy." in said(
        compared(run, run)
    )


def test_runs_of_one_machine_and_suite_are_alike(tmp_path: Path) -> None:
    runs = [written(tmp_path / name, cells_of(1)) for name in "ab"]
    assert unlike(runs) == []


def test_what_is_unlike_is_said_of_each_run_by_its_letter(tmp_path: Path) -> None:
    runs = [
        written(tmp_path / name, cells_of(1), environment={"torch": torch})
        for name, torch in (("a", "2.12.0"), ("b", "2.12.0"), ("c", "2.13.0"))
    ]
    assert [finding.sentence for finding in unlike(runs)] == [
        "A (a) and C (c) differ in torch (2.12.0 in A, 2.13.0 in C)."
    ]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            ({"memory_bytes": 24 * 2**30}, {"memory_bytes": 64 * 2**30}),
            "A (a) and B (b) differ in memory (24 GiB in A, 64 GiB in B).",
        ),
        (
            tuple({"device": "cuda", "gpus": [{"name": n, "driver": "550"}] * 2} for n in ("H100", "H200")),
            "A (a) and B (b) differ in GPUs (H100, driver 550 in A, H200, driver 550 in B).",
        ),
        (
            tuple({"device": "cuda", "gpus": [{"name": "H100", "driver": d}]} for d in ("550", "560")),
            "A (a) and B (b) differ in GPUs (H100, driver 550 in A, H100, driver 560 in B).",
        ),
        (({"memory_bytes": 24 * 2**30}, {"memory_bytes": 24 * 2**30 + 2**20}), ""),  # a kernel keeps some
        (tuple({"gpus": [{"name": n}]} for n in ("H100", "H200")), ""),  # none of them computed
    ],
)
def test_memory_and_the_gpus_that_computed_are_named_where_they_differ(
    tmp_path: Path, facts: tuple[dict[str, Any], ...], sentence: str
) -> None:
    runs = [
        written(tmp_path / name, [rows.memory_cell("maml", 1)], environment=environment)
        for name, environment in zip("ab", facts, strict=True)
    ]
    assert [finding.sentence for finding in unlike(runs)] == ([sentence] if sentence else [])


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"precision": "float32"}, ""),  # which the older manifest did not have to say
        ({"precision": "bfloat16"}, "precision float32 in A, bfloat16 in B"),
    ],
)
def test_a_manifest_from_before_there_were_precisions_is_of_float32(
    tmp_path: Path, settings: dict[str, Any], changed: str
) -> None:
    runs = [
        written(tmp_path / name, cells_of(1), content={"memory": {"meta_batch_size": 4} | more})
        for name, more in (("a", {}), ("b", settings))
    ]
    wanted = [f"The memory measure differs: {changed}. Its points are not called."] if changed else []
    assert [finding.sentence for finding in unlike(runs)] == wanted


def test_in_a_notebook_a_comparison_is_a_line_and_a_change_a_sentence(tmp_path: Path) -> None:
    base, big = written(tmp_path / "a", cells_of(1)), written(tmp_path / "b", cells_of(1, memory=1.05))
    found = compared(base, big)
    assert repr(found) == ("Comparison of A (a) and B (b): 30 points in common, 15 called different; 0 notes")
    change = next(c for c in changes_of(found, "peak_bytes", "maml") if c.inner_steps == 4)
    assert repr(change) == "<maml at 4 inner steps, peak_bytes: 157.4 MiB, then 165.3 MiB (+5.0 %): larger>"
    assert repr(found.base) == "<Side A (a)>"
