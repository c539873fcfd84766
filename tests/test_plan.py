import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import resolve, write_suite

from harness.plan import Plan, make_plan
from harness.protocol import Cell, WorkloadSpec
from harness.suite import Overrides, Suite, load_suite


def suite_of(folder: Path, *settings: str, methods: tuple[str, ...] = (), **more: Any) -> Suite:
    return load_suite(str(write_suite(folder, **more)), Overrides(methods, settings))


def plan_of(
    suite: Suite, memory_budget: int | None = None, data_root: str | None = None, **changes: Any
) -> Plan:
    return make_plan(suite, resolve(suite, **changes), data_root=data_root, memory_budget=memory_budget)


def ids(plan: Plan, measure: str | None = None) -> list[str]:
    return [cell.id for cell in plan.cells if measure in (None, cell.measure)]


def test_equal_work_has_equal_ids(tmp_path: Path) -> None:
    first, second = (plan_of(suite_of(tmp_path)) for _ in range(2))
    assert ids(first) == ids(second)
    assert first.id == second.id
    assert len(set(ids(first))) == len(first.cells)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"lam": 1.0}},
        {"source": "edited"},
        {"fingerprint": "other data"},
        {"torch": "2.14.0"},
        {"threads": 2},
        {"device_name": "another CPU"},
        {"memory_budget": 10**6},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_may_change_a_number_changes_every_id(tmp_path: Path, changes: dict[str, Any]) -> None:
    suite = suite_of(tmp_path)
    assert not {*ids(plan_of(suite))} & {*ids(plan_of(suite, **changes))}


def test_seeds_blocks_inner_steps_and_measures_have_ids_of_their_own(tmp_path: Path) -> None:
    plan = plan_of(suite_of(tmp_path, more="seeds = [0, 1]"))
    assert len(plan.cells) == 2 * (2 * 2 + 2 + 2 * 2)
    assert len({*ids(plan)}) == len(plan.cells)


def test_settings_of_a_measure_change_its_cells_alone(tmp_path: Path) -> None:
    before, after = plan_of(suite_of(tmp_path)), plan_of(suite_of(tmp_path, "meta_steps=9"))
    assert ids(before, "memory") == ids(after, "memory")
    assert ids(before, "time") == ids(after, "time")
    assert not {*ids(before, "accuracy")} & {*ids(after, "accuracy")}


def test_a_cell_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    plan = plan_of(suite_of(tmp_path))
    turned = plan_of(suite_of(tmp_path, methods=("reptile", "fomaml", "maml")))
    more = plan_of(suite_of(tmp_path, "inner_steps=1,2,16"))
    assert {*ids(plan, "memory")} < {*ids(turned, "memory")}
    assert {*ids(plan, "accuracy")} < {*ids(more, "accuracy")}


def test_where_the_data_lies_is_not_in_the_id_but_its_fingerprint_is(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    assert ids(plan_of(suite)) == ids(plan_of(suite, data_root="elsewhere"))


def test_a_time_cell_is_a_block_of_all_points_of_a_workload_and_seed(tmp_path: Path) -> None:
    plan = plan_of(suite_of(tmp_path, more="seeds = [0, 1]"))
    blocks = [cell for cell in plan.cells if cell.measure == "time"]
    assert [(cell.seed, cell.block) for cell in blocks] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    points = [("maml", 1), ("maml", 2), ("fomaml", 1), ("fomaml", 2)]
    assert all([(p.method.name, p.inner_steps) for p in cell.points] == points for cell in blocks)
    assert all(len(cell.points) == 1 for cell in plan.cells if cell.measure != "time")


def test_memory_comes_before_time_which_learns_from_it_what_does_not_fit(tmp_path: Path) -> None:
    measures = [cell.measure for cell in plan_of(suite_of(tmp_path)).cells]
    assert measures == ["memory"] * 4 + ["time"] * 2 + ["accuracy"] * 4


@pytest.mark.parametrize(
    "changes", [{"source": "edited"}, {"torch": "2.14.0"}, {"fingerprint": "other data"}]
)
def test_the_plan_is_named_by_what_was_asked_for_not_by_versions_or_sources(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    suite = suite_of(tmp_path)
    assert plan_of(suite).run_id == plan_of(suite, **changes).run_id
    assert plan_of(suite).run_id.startswith("tiny-")


CHANGES: list[Callable[[Path], Plan]] = [
    lambda p: plan_of(suite_of(p, "inner_steps=3")),
    lambda p: plan_of(suite_of(p, methods=("maml",))),
    lambda p: plan_of(suite_of(p, methods=("maml[lam=2.0]", "fomaml"))),
    lambda p: plan_of(suite_of(p, "seeds=1")),
    lambda p: plan_of(suite_of(p), memory_budget=1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_plan_has_another_name_when_something_else_is_asked_for(
    tmp_path: Path, change: Callable[[Path], Plan]
) -> None:
    assert change(tmp_path).id != plan_of(suite_of(tmp_path)).id


def test_how_the_path_of_an_adapter_is_written_is_no_other_plan(tmp_path: Path) -> None:
    plans = []
    for path in ("mine.py:Mine", f"{tmp_path}/mine.py:Mine"):
        suite = suite_of(tmp_path, methods=(path,))
        resolved = resolve(suite)
        method = resolved.methods[0]
        object.__setattr__(method, "name", "mine")
        plans.append(make_plan(suite, resolved, data_root=None, memory_budget=None))
    assert plans[0].id == plans[1].id


def test_what_is_asked_for_twice_is_done_once(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, methods=("maml", "maml[lam=0.0]"), more="seeds = [0, 0]")
    twice = resolve(suite, settings={"lam": 0.0})
    object.__setattr__(twice, "workloads", twice.workloads * 2)
    for method in twice.methods:
        method.settings.update(inner_lr=0.01)
    plan = make_plan(suite, twice, data_root=None, memory_budget=None)
    assert len(ids(plan)) == len({*ids(plan)}) == 2 + 2 + 2
    assert all(len(cell.points) == 2 for cell in plan.cells if cell.measure == "time")


def test_cells_travel_between_processes(tmp_path: Path) -> None:
    cells = plan_of(suite_of(tmp_path)).cells
    copies: tuple[Cell, ...] = pickle.loads(pickle.dumps(cells))
    assert copies == cells
    assert [c.id for c in copies] == [c.id for c in cells]


def test_the_manifest_lists_every_cell_with_its_points(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    plan = plan_of(suite)
    manifest = plan.manifest(suite, "innerloop run tiny.toml")
    assert manifest["command"] == "innerloop run tiny.toml"
    assert [cell["id"] for cell in manifest["cells"]] == ids(plan)
    assert manifest["cells"][0]["points"] == [
        {"method": "maml", "settings": {"inner_lr": 0.01}, "inner_steps": 1}
    ]
    assert {cell["workload"] for cell in manifest["cells"]} == {"sinusoid"}
    assert plan.cells[0].workload.spec == WorkloadSpec("sinusoid", {}, plan.cells[0].workload.spec.where)


def test_variants_of_a_method_are_told_apart_where_a_run_tells_its_progress(tmp_path: Path) -> None:
    methods = '"imaml-gd[cg_steps=2,lam=3.0]" = {}\n"imaml-gd[cg_steps=5,lam=3.0]" = {}\nfomaml = {}'
    suite = write_suite(tmp_path, methods=methods, measures=["memory"], inner_steps="[1]")
    plan = plan_of(load_suite(str(suite), Overrides()))
    shown = [cell.label.removeprefix("memory sinusoid ") for cell in plan.cells]
    assert shown == ["imaml-gd[cg_steps=2] 1 seed 0", "imaml-gd[cg_steps=5] 1 seed 0", "fomaml 1 seed 0"]
