"""Runs in memory, and what they say to one claim."""

from pathlib import Path
from typing import Any

from harness.analyze.claims import Claim, claims
from harness.analyze.loaded import LoadedRun
from harness.frame import frame_of
from harness.rows import Row


def loaded(cells: list[list[Row]], name: str = "run", **environment: Any) -> LoadedRun:
    """A run of these cells that is on no disk."""
    rows = frame_of([row for cell in cells for row in cell])
    return LoadedRun(
        path=Path("nowhere") / name, rows=rows, manifest={}, environment=environment, selfchecks=[]
    )


def lines(claim: str, *runs: LoadedRun | list[list[Row]]) -> list[Claim]:
    """All that is said to one claim."""
    read = [run if isinstance(run, LoadedRun) else loaded(run) for run in runs]
    return [line for line in claims(read) if line.name == claim]


def line(claim: str, *runs: LoadedRun | list[list[Row]]) -> Claim:
    """Where one line is said to it."""
    (only,) = lines(claim, *runs)
    return only
