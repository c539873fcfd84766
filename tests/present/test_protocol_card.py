"""The protocol card, where a suite says other things of one workload than of another."""

from pathlib import Path
from typing import Any

import rows
from published import FIVE_WAY, OFFICIAL, trained_cell

from harness.analyze.loaded import LoadedRun
from harness.frame import frame_of
from harness.present.report.protocol import protocol_table
from harness.rows import Row

SMALL, LARGE = "omniglot[shots=1,ways=5]", "omniglot[shots=1,ways=20]"
ACCURACY = {"meta_batch_size": 32, "meta_steps": 200, "test_inner_steps": {"maml": 3}}


def card(settings: dict[str, dict[str, object]]) -> dict[str, str]:
    cells = [rows.accuracy_cell("maml", 4, workload=w, cell_id=w) for w in (SMALL, LARGE)]
    return card_of(cells, {"content": {"accuracy": ACCURACY}, "settings": settings})


def card_of(cells: list[list[Row]], manifest: dict[str, Any]) -> dict[str, str]:
    frame = frame_of(row for cell in cells for row in cell)
    run = LoadedRun(path=Path("run"), rows=frame, manifest=manifest, environment={}, selfchecks=[])
    return {line[0].text: line[1].text for line in protocol_table({"run": run}).lines}


def test_what_holds_on_every_workload_is_said_once() -> None:
    found = card({SMALL: {"accuracy": ACCURACY}, LARGE: {"accuracy": ACCURACY}})
    assert found["accuracy: meta-batch (tasks)"] == "32"
    assert found["accuracy: inner steps in test"] == "maml 3, others those of training"


def test_what_holds_on_one_workload_is_said_with_its_name() -> None:
    own = ACCURACY | {"meta_batch_size": 16, "test_inner_steps": {"maml": 5, "*": 7}}
    found = card({SMALL: {"accuracy": ACCURACY}, LARGE: {"accuracy": own}})
    assert found["accuracy: meta-batch (tasks)"] == "32 (omniglot[ways=5]); 16 (omniglot[ways=20])"
    assert found["accuracy: inner steps in test"] == (
        "maml 3, others those of training (omniglot[ways=5]); maml 5, * 7 (omniglot[ways=20])"
    )


def test_a_run_from_before_has_one_table_for_all_workloads() -> None:
    assert card({})["accuracy: meta-batch (tasks)"] == "32"


def test_a_test_split_that_ends_is_told_from_fresh_tasks() -> None:
    cells = [trained_cell(0.7, 0, workload=OFFICIAL, tasks=10), trained_cell(0.9, 0)]
    found = card_of(cells, {"content": {"accuracy": {"test_tasks": 600}}})
    assert found["accuracy: test tasks"] == (
        "all 10 that there are, the same in every seed (omniglot-official-runs); 600, fresh (omniglot)"
    )
    alone = card_of([trained_cell(0.9, 0, workload=FIVE_WAY)], {"content": {"accuracy": {"test_tasks": 600}}})
    assert alone["accuracy: test tasks"] == "600, fresh"


def test_the_selection_says_what_ends_a_training_early() -> None:
    selection = {"validate_every": 50, "validation_tasks": 200}
    for patience, words in ((None, "every 50 meta-steps; test"), (5, "training ended after 5 looks without")):
        accuracy = selection | ({"patience": patience} if patience else {})
        assert (
            words
            in card_of([trained_cell(0.9, 0)], {"content": {"accuracy": accuracy}})["accuracy: selection"]
        )
