"""The suites of Figure 2, as a user runs them, at a few of their points."""

import json
from pathlib import Path

import pytest
from runs import rows_of, run_here, statuses

from harness.cli.app import call
from harness.measure.memory import EXACT

pytestmark = pytest.mark.slow

MIB = 2**20
SLOPE_MIB = 26.348  # a step of unrolled conv4, 20-way 5-shot (DESIGN, section 3)


def values(folder: Path, method: str, metric: str) -> dict[int, float]:
    """Inner steps -> the metric, in MiB."""
    rows = [r for r in rows_of(folder) if (r.method, r.metric) == (method, metric)]
    return {row.inner_steps: row.value / MIB for row in rows if row.value is not None}


def slope(points: dict[int, float]) -> float:
    return (points[max(points)] - points[min(points)]) / (max(points) - min(points))


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scaling") / "run"
    # Far apart: what is resident of torch itself differs by tens of MiB from one process to the next.
    assert run_here(
        Path("memory-scaling"), out, methods=["maml"], settings=["inner_steps=2,22"]
    ).statuses == {"ok"}
    return out


def test_mamls_slope_is_the_exact_one_in_every_instrument(maml: Path) -> None:
    for metric in ("peak_bytes", "tracked_peak_bytes", "predicted_peak_bytes"):
        assert slope(values(maml, "maml", metric)) == pytest.approx(SLOPE_MIB, rel=EXACT)


def test_the_slope_of_the_resident_peak_is_within_a_tenth(maml: Path) -> None:
    """Coarse, and yet independent of torch."""
    for metric in ("resident_peak_bytes", "resident_sampled_bytes"):
        assert slope(values(maml, "maml", metric)) == pytest.approx(SLOPE_MIB, rel=0.1)


def test_no_instrument_contradicts_another(maml: Path) -> None:
    assert not [row.detail for row in rows_of(maml) if row.metric == "flag"]


def test_scratch_is_under_a_hundredth_of_mamls_peak(maml: Path) -> None:
    scratch, peak = (values(maml, "maml", metric) for metric in ("scratch_bytes", "peak_bytes"))
    assert all(scratch[steps] < 0.01 * peak[steps] for steps in peak)


def test_memory_limits_ends_mamls_curve_where_wall_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["wall", "memory-limits", "-m", "maml", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    fits, fails = found["fits"], found["fails"]
    assert (fits, fails) == (37, 38)
    asked = [f"inner_steps={fits},{fails}", "memory.metrics=[]"]
    run_here(Path("memory-limits"), tmp_path / "run", methods=["maml"], settings=asked)
    assert statuses(tmp_path / "run") == {("memory", "maml", fits): "ok", ("memory", "maml", fails): "oom"}
