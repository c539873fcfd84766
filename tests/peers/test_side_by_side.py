"""The suite `libraries`, as a user runs it, on small tasks."""

import json
import re
from pathlib import Path

import pytest
from library_adapters import load
from runs import rows_of, run_here, statuses

from harness.store import RunFolder
from harness.suite import Overrides, load_suite
from methods import OVER_LIBRARIES

COMPARED = ["maml", "fomaml", "imaml-gd", *OVER_LIBRARIES]
LIBRARIES = {"learn2learn", "higher", "torchopt"}
SMALL = ["workloads=glyphs[ways=3,shots=1,queries=1,filters=8]", "time.blocks=1", "time.rounds=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in OVER_LIBRARIES:
        load(name)
    out = tmp_path_factory.mktemp("libraries") / "run"
    run_here(
        Path("libraries"), out, methods=COMPARED, settings=["inner_steps=1,4", "memory.metrics=[]", *SMALL]
    )
    return out


def test_the_suite_compares_every_adapter_over_a_library() -> None:
    assert set(COMPARED) <= {spec.name for spec in load_suite("libraries", Overrides()).methods}


def test_the_same_algorithm_has_the_same_settings(folder: Path) -> None:
    settings: dict[str, list[dict[str, object]]] = {}
    for row in rows_of(folder):
        algorithm = re.split("[@-]", row.method)[0]
        own = json.loads(row.settings_json)
        if own not in settings.setdefault(algorithm, []):
            settings[algorithm].append(own)
    for variants in settings.values():
        for name in set.intersection(*(set(v) for v in variants)):
            assert len({json.dumps(v[name]) for v in variants}) == 1


def test_every_implementation_is_measured(folder: Path) -> None:
    assert set(statuses(folder).values()) == {"ok"}


def test_memory_grows_alike_whoever_unrolls_and_not_at_all_for_the_others(folder: Path) -> None:
    peaks: dict[str, dict[int, float]] = {}
    for row in rows_of(folder):
        if row.metric == "peak_bytes":
            assert row.value is not None
            peaks.setdefault(row.method, {})[row.inner_steps] = row.value
    slope = {name: (p[4] - p[1]) / 3 for name, p in peaks.items()}
    for name in ("maml@learn2learn", "maml@higher", "maml@torchopt"):
        assert slope[name] == pytest.approx(slope["maml"], rel=0.1)
    for name in ("fomaml@learn2learn", "imaml@torchopt"):
        assert abs(slope[name]) < 0.01 * slope["maml"]


def test_the_libraries_versions_are_kept_with_the_run(folder: Path) -> None:
    assert set(RunFolder(folder).environment()["packages"]) >= LIBRARIES
