"""A run of 100,000 rows is read, and right. `python tests/big_run.py` tells how fast; no test does."""

import io

import numpy as np
import pytest
from big_run import BLOCKS, BUDGET_MIB, SEEDS, STEPS, WORKLOADS, write_big_run
from rich.console import Console
from rows import BASELINE, FLAT_MIB, MIB, MIB_A_STEP

from harness.analyze.loaded import LoadedRun, load_run
from harness.present.tables.show import show_run
from harness.store import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    path = tmp_path_factory.mktemp("big") / "run"
    assert write_big_run(path) > 100_000
    with pytest.MonkeyPatch.context() as at_one_go:
        at_one_go.setattr(RunFolder, "contents", lambda folder: pytest.fail("read line by line"))
        return load_run(path)


def test_all_of_it_is_there(run: LoadedRun) -> None:
    assert len(run.rows) > 100_000
    assert set(run.rows.measure) == {"accuracy", "gradient", "memory", "time"}
    caveat, flags = run.caveats
    assert flags.startswith("The instruments warn of ")
    assert caveat.startswith(f"1 of {run.cells_planned:,} cells has not finished (1 interrupted): ")
    assert set(run.rows[run.rows.cell_id == "memory-0-0-0"].attempt) == {2}


def test_memory_is_what_it_was_made_with_and_fails_where_it_was_made_to(run: LoadedRun) -> None:
    memory = run.memory[(run.memory.method != "maml@higher") & run.memory.workload.isin(WORKLOADS)]
    constant, slope = memory.method.map(FLAT_MIB), memory.method.map(MIB_A_STEP)
    made = BASELINE + MIB * (constant + slope * memory.inner_steps)
    fits = made <= BUDGET_MIB * MIB
    assert (memory.status == np.where(fits, "ok", "oom")).all()
    np.testing.assert_allclose(memory.peak_bytes[fits], made[fits])
    assert memory.peak_bytes[~fits].isna().all()
    assert (~fits).sum() == 2 * len(WORKLOADS)  # maml at 64 and 128


def test_time_has_all_rounds_of_all_blocks_in_a_narrow_interval_around_its_median(run: LoadedRun) -> None:
    timed = run.time[run.time.status == "ok"]
    assert set(timed.blocks) == {len(SEEDS) * len(BLOCKS)}
    assert set(timed.rounds) == {len(SEEDS) * len(BLOCKS) * 9}
    assert (timed.low < timed["median"]).all()
    assert (timed["median"] < timed.high).all()
    assert ((timed.high - timed.low) / timed["median"]).max() < 0.05


def test_accuracy_counts_the_seeds_that_were_lost(run: LoadedRun) -> None:
    accuracy = run.accuracy.set_index(["method", "inner_steps"])
    lost = accuracy[accuracy.failed > 0]
    assert set(lost.index) == {("maml", STEPS[-1]), ("imaml-hf", STEPS[-1])}
    assert set(lost.seeds) == {3}
    assert set(lost.failure) == {"diverged", "timeout"}
    assert set(accuracy.drop(lost.index).seeds) == {len(SEEDS)}


def test_show_prints_all_of_it_within_80_columns(run: LoadedRun) -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for part in show_run(run):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert f"1 of {run.cells_planned:,} cells has not finished" in text
    for title in ("Accuracy, %", "Error against", "Peak memory", "Time of a meta-step", "Failed", "Flags"):
        assert title in text
    assert text.count("maml: +26.35 MiB a step (steps 1 to 32), linear") == len(WORKLOADS)
    assert text.count("maml@higher: nothing measured; skipped at 4") == len(WORKLOADS)
