"""`innerloop claims` as a user types it."""

from pathlib import Path

import pytest
from rows import memory_cell, row, write_run

from harness.cli.app import call


@pytest.fixture
def run(tmp_path: Path) -> Path:
    cells = [memory_cell(method, s) for method in ("maml", "fomaml", "imaml-gd") for s in (1, 2, 4, 8, 16)]
    return write_run(tmp_path / "run", cells, unfinished=1)


def test_it_prints_every_claim_and_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.rglob("*"))
    assert call(["claims", str(run)]) == 0
    out = capsys.readouterr().out
    assert "no memory limits" in out
    assert "needs accuracies of iMAML and MAML" in " ".join(out.split())
    assert "run: 1 of 16 cells ha" in out
    assert "\x1b" not in out
    assert sorted(run.rglob("*")) == before


def test_a_claim_that_is_not_reproduced_is_a_finding_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = [
        [row(cell_id=f"{s}", method="imaml-gd", inner_steps=s, value=1e6 * s)] for s in (1, 2, 4, 8, 16)
    ]
    assert call(["claims", str(write_run(tmp_path / "run", growing))]) == 0
    assert "not reproduced" in capsys.readouterr().out


def test_a_run_that_is_named_twice_is_read_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["claims", str(run), str(run)]) == 0
    assert capsys.readouterr().out.count("imaml-gd: ") == 2  # no memory limits; memory against inner steps


def test_a_folder_that_is_no_run_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["claims", str(tmp_path)]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert "is not a run folder" in said
