from collections.abc import Iterable
from pathlib import Path

import pytest

from harness import preflight


def test_the_sources_that_decide_numbers_and_statuses_are_in_every_cells_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[Path] = []

    def remember(paths: Iterable[Path]) -> str:
        hashed.extend(paths)
        return ""

    monkeypatch.setattr(preflight, "hash_files", remember)
    preflight.numeric_code()
    assert all(path.is_file() for path in hashed)
    names = {"/".join(path.parts[-2:]) for path in hashed}
    assert {
        "harness/memory_limit.py",
        "harness/numerics.py",
        "training/train.py",
        "harness/worker.py",
        "core/objective.py",
        "measure/memory.py",
        "workloads/models.py",
    } <= names
    assert {path.name for path in (Path(preflight.__file__).parents[1] / "methods").glob("*.py")} <= {
        path.name for path in hashed
    }
