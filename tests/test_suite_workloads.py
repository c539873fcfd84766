"""What a suite says of single workloads: laid over what it says of all, key by key."""

from pathlib import Path
from typing import Any

import pytest
from runs import resolve, run_here, statuses

from harness.errors import UsageError
from harness.plan import Plan, make_plan
from harness.store import RunFolder
from harness.suite import Overrides, Suite, load_suite

HEAD = 'title = "A suite"\ninner_steps = [1, 4]\n'
TAIL = """
[methods]
maml = { inner_lr = 0.1, outer.lr = 5e-3, outer.beta1 = 0.8 }
imaml-gd = { lam = 0.5 }
fomaml = {}

[memory]

[accuracy]
meta_steps = 3
meta_batch_size = 4
validate_every = 2
validation_tasks = 4
test_tasks = 4
"""
METHODS = ("maml", "imaml-gd", "fomaml")
ENTRY = """
[[workloads]]
task = "sinusoid"

[[workloads]]
task = ["sinusoid[shots=5]", "linear-regression"]
inner_steps = { maml = [2] }
methods.maml = { inner_lr = 0.02, outer.lr = 1e-3 }
accuracy = { meta_batch_size = 2, test_inner_steps = { maml = 7 } }
"""


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def load(folder: Path, *settings: str, text: str = HEAD + ENTRY + TAIL, **more: Any) -> Suite:
    return load_suite(write(folder, text), Overrides(settings=settings, **more))


def plan_of(suite: Suite) -> Plan:
    return make_plan(suite, resolve(suite), data_root=None, memory_budget=None)


def refusal(folder: Path, *settings: str, **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan_of(load(folder, *settings, **more))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def steps(suite: Suite, part: int, measure: Any = "accuracy") -> dict[str, list[int]]:
    own = suite.parts[part]
    return {method.name: own.steps_of(measure, method) for method in own.methods}


def test_settings_of_a_method_on_a_workload_go_over_the_suites_key_by_key(tmp_path: Path) -> None:
    first, second, third = (part.methods[0] for part in load(tmp_path).parts)
    assert first.settings == {"inner_lr": 0.1, "outer": {"lr": 5e-3, "beta1": 0.8}}
    assert second.settings == third.settings == {"inner_lr": 0.02, "outer": {"lr": 1e-3, "beta1": 0.8}}
    assert second.where.endswith("mine.toml: workload 'sinusoid[shots=5]': methods.maml")


def test_a_table_of_inner_steps_on_a_workload_changes_the_methods_that_it_names(tmp_path: Path) -> None:
    suite = load(tmp_path)
    assert steps(suite, 0) == {"maml": [1, 4], "imaml-gd": [1, 4], "fomaml": [1, 4]}
    assert steps(suite, 1) == {"maml": [2], "imaml-gd": [1, 4], "fomaml": [1, 4]}
    listed = load(tmp_path, text=HEAD + ENTRY.replace("{ maml = [2] }", "[3, 2]") + TAIL)
    assert steps(listed, 1) == {name: [2, 3] for name in METHODS}


def test_inner_steps_of_a_measure_go_before_those_of_a_workload_and_these_before_the_suites(
    tmp_path: Path,
) -> None:
    """The measure of the workload, the measure of the suite, the workload, the suite."""
    text = HEAD + ENTRY + TAIL + "inner_steps = { imaml-gd = [8] }\n"
    both = text.replace("meta_batch_size = 2,", "meta_batch_size = 2, inner_steps = { fomaml = [9] },")
    suite = load(tmp_path, text=both)
    assert steps(suite, 1, "accuracy") == {"maml": [2], "imaml-gd": [8], "fomaml": [9]}
    assert steps(suite, 1, "memory") == {"maml": [2], "imaml-gd": [1, 4], "fomaml": [1, 4]}
    assert steps(suite, 0, "accuracy") == {"maml": [1, 4], "imaml-gd": [8], "fomaml": [1, 4]}


def test_a_cell_has_the_measures_settings_of_its_workload_and_method(tmp_path: Path) -> None:
    cells = [cell for cell in plan_of(load(tmp_path)).cells if cell.measure == "accuracy"]
    found = {
        (cell.workload.label, cell.points[0].method.name): (
            cell.settings.meta_batch_size,
            cell.settings.test_inner_steps,  # type: ignore[attr-defined]
        )
        for cell in cells
    }
    assert found["sinusoid", "maml"] == (4, None)
    assert found["sinusoid[shots=5]", "maml"] == (2, 7)
    assert found["sinusoid[shots=5]", "fomaml"] == found["linear-regression", "fomaml"] == (2, None)
    assert {cell.settings.meta_steps for cell in cells} == {3}  # type: ignore[attr-defined]


def test_inner_steps_in_test_by_method_name_others_with_a_star(tmp_path: Path) -> None:
    suite = load(tmp_path, 'accuracy.test_inner_steps={ "*" = 6, maml = 5 }')
    (part, *_) = suite.parts
    own = [part.settings_of("accuracy", method) for method in part.methods]
    assert [settings.test_inner_steps for settings in own] == [5, 6, 6]  # type: ignore[attr-defined]
    assert "'mmaml' is no method of this suite; did you mean 'maml'?" in refusal(
        tmp_path, "accuracy.test_inner_steps={ mmaml = 5 }"
    )


@pytest.mark.parametrize(
    "workloads",
    [
        'workloads = [{ task = "sinusoid" }]',
        '[[workloads]]\ntask = "sinusoid"',
        '[[workloads]]\ntask = ["sinusoid"]',
    ],
)
def test_a_table_that_changes_nothing_is_the_bare_name(tmp_path: Path, workloads: str) -> None:
    bare = plan_of(load(tmp_path, text=HEAD + 'workloads = ["sinusoid"]\n' + TAIL))
    table = plan_of(load(tmp_path, text=HEAD + workloads + TAIL))
    assert (table.id, table.cells) == (bare.id, bare.cells)


def test_a_workload_with_settings_of_its_own_has_the_cells_of_a_suite_that_says_so(tmp_path: Path) -> None:
    own = plan_of(load(tmp_path))
    of_all = plan_of(
        load(
            tmp_path,
            'inner_steps={ "*" = [1, 4], maml = [2] }',
            "methods.maml.inner_lr=0.02",
            "methods.maml.outer.lr=1e-3",
            "accuracy.meta_batch_size=2",
            "accuracy.test_inner_steps={ maml = 7 }",
            text=HEAD + 'workloads = ["sinusoid[shots=5]", "linear-regression"]\n' + TAIL,
        )
    )
    assert {cell.id for cell in of_all.cells} < {cell.id for cell in own.cells}


def test_a_block_of_time_holds_the_points_of_its_workload(tmp_path: Path) -> None:
    blocks = [c for c in plan_of(load(tmp_path, text=HEAD + ENTRY + TAIL + "[time]\nblocks = 1\n")).cells]
    points = {c.workload.label: {p.label for p in c.points} for c in blocks if c.measure == "time"}
    others = {"imaml-gd 1", "imaml-gd 4", "fomaml 1", "fomaml 4"}
    assert points == {
        "sinusoid": {"maml 1", "maml 4", *others},
        "sinusoid[shots=5]": {"maml 2", *others},
        "linear-regression": {"maml 2", *others},
    }


def test_a_method_that_a_suite_has_in_variants_is_meant_in_all_by_its_bare_name(tmp_path: Path) -> None:
    methods = TAIL.replace("imaml-gd = { lam = 0.5 }", '"imaml-gd[lam=1.0]" = {}\n"imaml-gd[lam=2.0]" = {}')
    own_maml = "methods.maml = { inner_lr = 0.02, outer.lr = 1e-3 }"
    for name, expected in (("imaml-gd", [3, 3]), ("'imaml-gd[lam=2.0]'", [None, 3])):
        own = ENTRY.replace(own_maml, f"methods.{name}.cg_steps = 3")
        part = load(tmp_path, text=HEAD + own + methods).parts[1]
        found = [m.settings.get("cg_steps") for m in part.methods if m.name == "imaml-gd"]
        assert found == expected


def test_the_preflight_is_asked_for_what_some_workload_needs_and_for_nothing_else(tmp_path: Path) -> None:
    asked = load(tmp_path, methods=("maml",)).request(None)
    assert [m.settings["inner_lr"] for m in asked.methods] == [0.1, 0.02, 0.02]  # each with where it stands
    assert asked.inner_steps == (1, 2, 4)
    steps = {(s.workload.name, s.method.settings["inner_lr"], s.meta_batch_size) for s in asked.meta_steps}
    assert steps == {("sinusoid", 0.1, 4), ("sinusoid", 0.02, 4), ("sinusoid", 0.02, 2),
                     ("linear-regression", 0.02, 4), ("linear-regression", 0.02, 2)}  # fmt: skip


# --- the command line -------------------------------------------------------------------------------------


def test_what_is_set_goes_before_what_the_suite_says_of_a_workload(tmp_path: Path) -> None:
    suite = load(tmp_path, "meta_batch_size=8", "methods.maml.outer.lr=0.5", "inner_steps=5")
    part = suite.parts[1]
    assert part.content.accuracy.meta_batch_size == 8  # type: ignore[union-attr]
    assert part.methods[0].settings == {"inner_lr": 0.02, "outer": {"lr": 0.5, "beta1": 0.8}}
    assert steps(suite, 1) == {name: [5] for name in METHODS}


def test_set_inner_steps_clears_those_of_the_measures_of_a_workload_too(tmp_path: Path) -> None:
    own = ENTRY.replace("meta_batch_size = 2,", "meta_batch_size = 2, inner_steps = [9],")
    assert steps(load(tmp_path, text=HEAD + own + TAIL), 1)["fomaml"] == [9]
    assert steps(load(tmp_path, "inner_steps=5", text=HEAD + own + TAIL), 1)["fomaml"] == [5]
    narrowed = load(tmp_path, "accuracy.inner_steps=[6]", text=HEAD + own + TAIL)
    assert (steps(narrowed, 1)["fomaml"], steps(narrowed, 1, "memory")["maml"]) == ([6], [2])


def test_a_workload_that_the_suite_names_keeps_its_settings_when_it_is_chosen(tmp_path: Path) -> None:
    suite = load(tmp_path, "workloads=sinusoid[shots=5],sinusoid[shots=3]")
    chosen, another = (part.methods[0].settings["inner_lr"] for part in suite.parts)
    assert (chosen, another) == (0.02, 0.1)


def test_settings_of_method_go_before_those_of_a_workload(tmp_path: Path) -> None:
    suite = load(tmp_path, methods=("maml[inner_lr=0.3]", "reptile"))
    assert [m.name for m in suite.parts[1].methods] == ["maml", "reptile"]
    assert suite.parts[1].methods[0].settings["inner_lr"] == 0.3
    assert suite.parts[1].methods[0].settings["outer"]["lr"] == 1e-3


def test_measure_leaves_out_the_others_on_every_workload(tmp_path: Path) -> None:
    suite = load(tmp_path, measures=("memory",))
    assert [list(part.measures) for part in suite.parts] == [["memory"]] * 3


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("inner_steps = {", "inner_stps = {", "key 'workloads.1.inner_stps' is unknown; did you mean"),
        ("task = [", "tasks = [", "key 'workloads.1.tasks' is unknown; did you mean 'task'?"),
        ("methods.maml", "methods.mmaml", "methods: 'mmaml' is no method of this suite; did you mean"),
        ("{ maml = [2] }", "{ mmaml = [2] }", "inner_steps: 'mmaml' is no method of this suite"),
        ("{ maml = 7 }", "{ mmaml = 7 }", "accuracy.test_inner_steps: 'mmaml' is no method of this suite"),
        ("meta_batch_size = 2", "meta_batch = 2", "key 'accuracy.meta_batch' is unknown; did you mean"),
        ("meta_batch_size = 2", "meta_batch_size = 0", "accuracy.meta_batch_size = 0 is refused: "),
        ("{ maml = [2] }", "{ maml = [0] }", "workloads.1.inner_steps.maml.0 = 0 is refused: "),
        ("{ maml = 7 }", "{ maml = [7] }", "accuracy.test_inner_steps.maml = [7] is refused: "),
        ("accuracy = {", "gradient = {", "gradient is not measured by this suite; add a table [gradient]"),
        ('"sinusoid"', "3", "workloads.0.task = 3 is refused: "),
        ('"linear-regression"]', "3]", "workloads.1.task.1 = 3 is refused: "),
    ],
)  # fmt: skip
def test_an_entry_is_refused_in_words_that_say_which(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ENTRY
    sentence = refusal(tmp_path, text=HEAD + ENTRY.replace(old, new) + TAIL)
    assert said in sentence
    assert "mine.toml: workload 'sinusoid[shots=5]': " in sentence or "workloads." in sentence


def test_every_method_needs_inner_steps_on_every_workload(tmp_path: Path) -> None:
    text = (HEAD + ENTRY + TAIL).replace("[1, 4]", "{ maml = [1], imaml-gd = [1], fomaml = [1] }")
    assert steps(load(tmp_path, text=text), 1) == {"maml": [2], "imaml-gd": [1], "fomaml": [1]}
    sentence = refusal(tmp_path, text=text, methods=("+reptile",))
    assert sentence.endswith("""inner_steps tells none for 'reptile'; name it there, or all others as "*".""")
    assert refusal(tmp_path, "inner_steps={ maml = [1] }").startswith("--set inner_steps={ maml = [1] }: ")


def test_one_workload_has_one_set_of_settings(tmp_path: Path) -> None:
    twice = ENTRY.replace("sinusoid[shots=5]", "sinusoid")
    sentence = refusal(tmp_path, text=HEAD + twice + TAIL)
    assert "'sinusoid' is there twice, with other settings; leave one out" in sentence
    same = HEAD + 'workloads = ["sinusoid", { task = "sinusoid" }]\n' + TAIL
    once = plan_of(load(tmp_path, text=HEAD + 'workloads = ["sinusoid"]\n' + TAIL))
    assert plan_of(load(tmp_path, text=same)).cells == once.cells


# --- what is kept -----------------------------------------------------------------------------------------

WORDS = 'source = "A paper."\ndeviations = ["Half the tasks.", "Half the steps."]\n'


def test_whose_protocol_it_is_and_where_it_departs_are_in_the_manifest_and_make_no_other_plan(
    tmp_path: Path,
) -> None:
    plain, told = (plan_of(load(tmp_path, text=words + HEAD + ENTRY + TAIL)) for words in ("", WORDS))
    assert told.id == plain.id
    content = told.manifest(load(tmp_path, text=WORDS + HEAD + ENTRY + TAIL), "run")["content"]
    assert content["source"] == "A paper."
    assert content["deviations"] == ["Half the tasks.", "Half the steps."]


def test_the_manifest_has_the_settings_of_each_workload(tmp_path: Path) -> None:
    suite = load(tmp_path)
    settings = plan_of(suite).manifest(suite, "run")["settings"]
    assert {label: each["accuracy"]["meta_batch_size"] for label, each in settings.items()} == {
        "sinusoid": 4,
        "sinusoid[shots=5]": 2,
        "linear-regression": 2,
    }
    assert settings["sinusoid"]["memory"]["meta_batch_size"] == 4


def test_workloads_of_one_name_are_told_apart_where_a_run_tells_its_progress(tmp_path: Path) -> None:
    shown = {
        cell.label.removeprefix("memory ").partition(" ")[0] for cell in plan_of(load(tmp_path)).cells[:8]
    }
    assert shown == {"sinusoid", "sinusoid[shots=5]"}


def test_each_workload_runs_with_its_own_settings(tmp_path: Path) -> None:
    text = HEAD.replace("[1, 4]", "[1]") + 'device = "cpu"\n' + ENTRY + TAIL
    out = tmp_path / "run"
    suite = Path(write(tmp_path, text))
    run_here(suite, out, methods=["maml"])
    assert statuses(out) == {
        ("memory", "maml", 1): "ok", ("memory", "maml", 2): "ok",
        ("accuracy", "maml", 1): "ok", ("accuracy", "maml", 2): "ok",
    }  # fmt: skip
    rows = [r for r in RunFolder(out).rows() if r.metric == "loss"]
    found = {
        r.workload.partition("[")[0] + str(r.inner_steps): (r.settings["inner_lr"], r.detail) for r in rows
    }
    assert found["sinusoid1"] == (0.1, "4 test tasks, 1 inner steps")
    assert found["sinusoid2"] == found["linear-regression2"] == (0.02, "4 test tasks, 7 inner steps")
