"""The suites that come with the package: that they can be planned, and that those of the paper's tables say
what is known of the paper."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from runs import Notes, rows_of, run_here

from harness import registry
from harness.analyze.published.figures import FIGURES, Figure, known_settings
from harness.cli.app import call
from harness.plan import Plan, make_plan
from harness.protocol import Cell, Resolved, ResolvedWorkload
from harness.settings import flat, format_settings, merged, settings_of
from harness.store import RunFolder
from harness.suite import Overrides, load_suite, suite_names
from harness.wall import WallOptions, find_walls
from harness.workloads.imageset import load_split

FIVE = ["maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"]
OF_TABLES = {"omniglot": "Table 2", "mini-imagenet": "Table 3"}


def plan_of(name: str) -> Plan:
    """As the preflight would have it, but for the data, which need not be here."""
    suite = load_suite(name, Overrides())
    asked = suite.request(None)
    methods = tuple(registry.resolve_method(spec, asked.inner_steps[0]) for spec in asked.methods)
    workloads = []
    for spec in asked.workloads:
        workload = registry.make_workload(spec)
        label = f"{spec.name}[{format_settings(settings_of(workload))}]"
        workloads.append(ResolvedWorkload(spec, label, workload.score, "data", workload.model().batching))
    resolved = Resolved(methods, tuple(workloads), "cpu", {"code": "code"})
    return make_plan(suite, resolved, data_root=None, memory_budget=None)


def the_cell(cells: list[Cell], method: str) -> Cell:
    (cell,) = (cell for cell in cells if cell.points[0].method.name == method)
    return cell


def settings_in(cell: Cell) -> dict[str, Any]:
    """Of a cell of the accuracy measure, named as what is published is."""
    (point,) = cell.points
    return {
        **flat(point.method.settings),
        "inner steps": point.inner_steps,
        "meta-batch": cell.settings.meta_batch_size,
        "meta-steps": cell.settings.meta_steps,  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_can_be_planned(name: str) -> None:
    plan = plan_of(name)
    assert plan.cells
    assert len({cell.id for cell in plan.cells}) == len(plan.cells)
    broken = {p.method.broken for cell in plan.cells for p in cell.points}
    assert broken == {None}


@pytest.mark.parametrize("name", [*OF_TABLES, "omniglot-minimal-long", "omniglot-official-runs-long"])
def test_a_long_suite_trains_five_methods_with_three_seeds_on_each_workload(name: str) -> None:
    plan = plan_of(name)
    workloads = {cell.workload.label for cell in plan.cells}
    found = sorted((c.workload.label, c.points[0].method.name, c.seed) for c in plan.cells)
    assert found == sorted((w, method, seed) for w in workloads for method in FIVE for seed in (0, 1, 2))
    assert {cell.measure for cell in plan.cells} == {"accuracy"}


def methods_of(suite: str) -> list[dict[str, Any]]:
    """Settings by method, a table for each workload."""
    content = load_suite(suite, Overrides()).content
    return [merged(content.methods, entry.methods) for entry in content.workloads]


@pytest.mark.parametrize("name", ["omniglot-minimal", "omniglot-official-runs"])
def test_the_settings_on_the_minimal_sets_are_the_winners_of_their_search(name: str) -> None:
    folder = Path("results/reference") / f"tune-{name}"
    searches = json.loads((folder / "manifest.json").read_text())["tuning"]["methods"]
    assert [search["method"] for search in searches] == FIVE
    (settings,) = methods_of(name)
    for search in searches:
        best = max(search["trials"], key=lambda trial: trial["score"] or 0.0)
        won = best["changes"] or search["own"]
        assert {what: flat(settings[search["method"]])[what] for what in won} == won
    assert methods_of(str(folder / f"{name}.toml")) == [settings]
    assert methods_of(f"{name}-long")[0] == settings


def test_the_long_training_in_20_ways_has_the_settings_that_were_searched_for_in_20_ways() -> None:
    *five_way, twenty_way = methods_of("omniglot-minimal-long")
    assert five_way == 2 * methods_of("omniglot-minimal")
    assert twenty_way == methods_of("omniglot-official-runs")[0]


@pytest.mark.parametrize("name", ["omniglot-minimal", "omniglot-official-runs"])
def test_a_short_suite_trains_five_methods_once_each(name: str) -> None:
    trained = [cell for cell in plan_of(name).cells if cell.measure == "accuracy"]
    assert [cell.points[0].method.name for cell in trained] == FIVE


@pytest.mark.parametrize("figure", [f for f in FIGURES if f.method.startswith("imaml")], ids=str)
def test_imaml_runs_with_what_is_known_of_its_published_figures(figure: Figure) -> None:
    (name,) = (name for name, table in OF_TABLES.items() if table == figure.table)
    columns = [
        cell
        for cell in plan_of(name).cells
        if f"shots={figure.shots},ways={figure.ways}]" in cell.workload.label and cell.seed == 0
    ]
    ours = settings_in(the_cell(columns, figure.method))
    known = {what: each.value for what, each in known_settings(figure).items()}
    if figure.ways == 20:  # named among the suite's deviations
        known["meta-batch"] = 16
    assert {what: ours[what] for what in known} == known


@pytest.mark.parametrize(
    ("name", "ways", "method", "expected"),
    [
        # Finn et al. 2017, appendix A.1: steps and step sizes in training, steps in testing, tasks.
        ("omniglot", 5, "maml", {"inner steps": 1, "test": 3, "inner_lr": 0.4, "meta-batch": 32}),
        ("omniglot", 20, "maml", {"inner steps": 5, "test": 5, "inner_lr": 0.1, "meta-batch": 16}),
        ("mini-imagenet", 5, "maml", {"inner steps": 5, "test": 10, "inner_lr": 0.01, "meta-batch": 4,
                                      "meta-steps": 60_000}),
        # Nichol et al. 2018, readme of the code: --inner-iters --eval-iters --learning-rate --inner-batch.
        ("omniglot", 5, "reptile", {"inner steps": 5, "test": 50, "inner_lr": 1e-3, "batch_size": 10}),
        ("omniglot", 20, "reptile", {"inner steps": 10, "test": 50, "inner_lr": 5e-4, "batch_size": 20}),
        ("mini-imagenet", 5, "reptile", {"inner steps": 8, "test": 50, "inner_lr": 1e-3, "batch_size": 10}),
    ],
)  # fmt: skip
def test_maml_and_reptile_run_with_their_authors_settings(
    name: str, ways: int, method: str, expected: dict[str, Any]
) -> None:
    cells = [
        cell
        for cell in plan_of(name).cells
        if f"ways={ways}]" in cell.workload.label and cell.points[0].method.name == method
    ]
    assert cells
    for cell in cells:
        test = cell.settings.test_inner_steps  # type: ignore[attr-defined]
        ours = settings_in(cell) | {"test": test or cell.points[0].inner_steps}
        assert {what: ours[what] for what in expected} == expected


def test_support_and_query_of_omniglots_tasks_are_the_ten_shots_that_reptile_trains_on() -> None:
    """`--train-shots 10`, in all four commands of its readme."""
    for spec in load_suite("omniglot", Overrides()).workloads:
        assert spec.settings["shots"] + spec.settings["queries"] == 10


@pytest.mark.parametrize("name", list(OF_TABLES))
def test_a_suite_of_a_table_names_its_sources_and_each_deviation_in_a_sentence(name: str) -> None:
    content = load_suite(name, Overrides()).content
    assert "Finn et al. 2017" in content.source
    assert len(content.deviations) >= 5
    assert all(each.endswith(".") for each in content.deviations)


# --- on data ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_omniglot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives with the published layout and counts; a class is told by nothing, a drawer by its bar."""
    folder = tmp_path_factory.mktemp("omniglot")
    drawings = []
    for drawer in range(20):
        picture = Image.new("1", (105, 105), 1)
        picture.paste(0, (4 * drawer, 40, 4 * drawer + 20, 60))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        drawings.append(buffer.getvalue())
    names = sorted(name for part in load_split("omniglot").values() for name in part)
    for archive, own in (("images_background", names[:964]), ("images_evaluation", names[964:])):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as file:
            for number, name in enumerate(own):
                for drawer, drawing in enumerate(drawings, 1):
                    file.writestr(f"{archive}/{name}/{number:04d}_{drawer:02d}.png", drawing)
    return folder


@pytest.mark.slow
def test_a_run_tells_how_far_it_is_with_a_dataset_that_it_meets_first(
    published_omniglot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNERLOOP_CACHE", str(tmp_path / "cache"))
    for told in (["1623 of 1623 classes decoded"], []):
        notes = Notes()
        run_here(Path("omniglot"), tmp_path, notes, dry_run=True, data_root=str(published_omniglot))
        assert notes.prepared[-1:] == told


@pytest.mark.slow
def test_so_does_a_search_for_walls(
    published_omniglot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNERLOOP_CACHE", str(tmp_path / "cache"))
    root = str(shutil.copytree(published_omniglot, tmp_path / "copy"))  # which nobody has met
    heard: list[str] = []
    suite = tmp_path / "walls.toml"
    suite.write_text('workloads = ["omniglot"]\nmethods.maml = {}\ninner_steps = [1]\n[memory]\n')
    options = WallOptions(str(suite), Overrides(), 2**30, "tensors", 1, 60.0, data_root=root)
    assert list(find_walls(options, lambda progress: heard.append(progress.note)))
    assert heard[-1] == "1623 of 1623 classes decoded"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_table_2_is_one_command(
    published_omniglot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNERLOOP_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    fewer = dict.fromkeys(
        ("meta_steps", "meta_batch_size", "validate_every", "validation_tasks", "test_tasks"), 2
    )
    settings = [f"{key}={value}" for key, value in {**fewer, "untrained": "false"}.items()]
    changed = [word for each in settings for word in ("--set", f"accuracy.{each}")]
    command = ["run", "omniglot", "--data-root", str(published_omniglot), "--seed", "0", "--out", str(out)]
    assert call([*command, *changed]) == 0
    rows = [row for row in rows_of(out) if row.metric == "accuracy"]
    assert len(rows) == 4 * len(FIVE)
    steps = {(r.workload.rpartition("ways=")[2], r.inner_steps) for r in rows if r.method == "imaml-gd"}
    assert steps == {("5]", 16), ("20]", 25)}
    manifest = RunFolder(out).manifest()
    assert manifest["content"]["deviations"] == load_suite("omniglot", Overrides()).content.deviations
    assert {each["accuracy"]["meta_batch_size"] for each in manifest["settings"].values()} == {2}
