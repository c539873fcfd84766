"""The quick suite as a user runs it: what it promises, on the rows that it leaves."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.frame import load_frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

METHODS = {"maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"}
FLAT = METHODS - {"maml"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quick") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "quick", "--out", str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def frame(run_folder: Path) -> pd.DataFrame:
    return load_frame(run_folder)


def values(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One column an inner-step count, one row a method; mean over seeds."""
    rows = frame[frame.metric == metric]
    return rows.pivot_table(index="method", columns="inner_steps", values="value")


def test_every_cell_of_the_plan_is_ok(frame: pd.DataFrame) -> None:
    assert set(frame.status) == {"ok"}
    assert set(frame.method) == METHODS
    assert set(frame.measure) == {"accuracy", "memory", "time"}


def test_the_run_leaves_rows_tables_and_plots(run_folder: Path) -> None:
    for name in ("rows.jsonl", "rows.parquet", "manifest.json", "environment.json"):
        assert (run_folder / name).stat().st_size > 0
    for measure in ("accuracy", "memory", "time"):
        assert (run_folder / "tables" / f"{measure}.csv").stat().st_size > 0
        assert (run_folder / "plots" / f"{measure}.svg").stat().st_size > 0
        assert (run_folder / "plots" / f"{measure}.png").stat().st_size > 0


def test_meta_training_lifts_every_method_above_its_untrained_start_with_disjoint_intervals(
    frame: pd.DataFrame,
) -> None:
    lower = values(frame, "accuracy") - values(frame, "accuracy_ci95")
    upper = values(frame, "untrained_accuracy") + values(frame, "untrained_accuracy_ci95")
    measured = lower.notna()
    assert measured.sum(axis=1).eq(3).all()
    assert (lower > upper)[measured].stack().all(), (lower - upper).to_string()


def test_trained_maml_and_fomaml_clear_the_nearest_neighbour_in_pixels(frame: pd.DataFrame) -> None:
    trained = values(frame, "accuracy").loc[["maml", "fomaml"]].dropna(axis=1)
    floor = values(frame, "neighbour_accuracy").loc[["maml", "fomaml"]].dropna(axis=1)
    assert (trained > floor).all(axis=None), (trained - floor).to_string()


def test_memory_of_maml_is_a_straight_line_and_that_of_the_others_is_flat(frame: pd.DataFrame) -> None:
    peak = values(frame, "peak_bytes")
    slope = (peak.loc["maml", 16] - peak.loc["maml", 4]) / 12
    assert slope > 2**18
    assert peak.loc["maml", 8] == pytest.approx(peak.loc["maml", 4] + 4 * slope, rel=0.01)
    for method in FLAT:
        assert peak.loc[method, 16] == pytest.approx(peak.loc[method, 4], rel=0.01)


def test_every_point_is_timed_in_three_blocks_of_nine_rounds(frame: pd.DataFrame) -> None:
    rounds = frame[frame.metric == "step_seconds"].groupby(["method", "inner_steps"]).repeat.nunique()
    assert len(rounds) == 25
    assert set(rounds) == {27}
