from pathlib import Path

import pytest

from harness.errors import NothingSelected, UsageError
from harness.protocol import MethodSpec
from harness.registry import resolve_method
from harness.suite import Overrides, Suite, load_suite, suite_names

SUITE = """
title = "A suite"
workloads = ["sinusoid"]
inner_steps = [1, 4]
seeds = [0, 1]

[methods]
maml = { inner_lr = 0.1, outer.lr = 5e-3, outer.beta1 = 0.8 }
imaml-gd = { lam = 0.5 }
"nested/mine.py:MyMethod" = {}

[method_defaults]
outer.lr = 1e-2

[memory]
[time]
inner_steps = { "*" = [2], imaml-gd = [3, 1, 3], "nested/mine.py:MyMethod" = [7] }
[accuracy]
inner_steps = [8]
meta_steps = 10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


def load(path: Path, *settings: str, methods: tuple[str, ...] = (), **more: object) -> Suite:
    return load_suite(str(path), Overrides(methods, settings, **more))  # type: ignore[arg-type]


def changed(path: Path, old: str, new: str) -> Suite:
    assert old in SUITE
    path.write_text(SUITE.replace(old, new))
    return load(path)


def refusal(call: object, *arguments: object, **more: object) -> str:
    """The sentence of a UsageError, which names a remedy and has no line break."""
    with pytest.raises(UsageError) as caught:
        call(*arguments, **more)  # type: ignore[operator]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_load_and_measure_something(name: str) -> None:
    suite = load_suite(name, Overrides())
    assert suite.name == name
    assert suite.content.title
    assert {"memory", "time", "gradient", "accuracy"} >= set(suite.measures) != set()


def test_a_suite_is_named_by_its_file(path: Path) -> None:
    suite = load(path)
    assert suite.name == "mine"
    assert list(suite.measures) == ["memory", "time", "accuracy"]


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds =", "seed =", "key 'seed' is unknown; did you mean 'seeds'?"),
        ("meta_steps", "meta_stps", "key 'accuracy.meta_stps' is unknown; did you mean 'meta_steps'?"),
        ("[memory]", "[memory]\nrounds = 2", "key 'memory.rounds' is unknown; the keys here are: "),
        ("[memory]", "[memroy]", "key 'memroy' is unknown; did you mean 'memory'?"),
        (
            "[method_defaults]",
            "[method_default]",
            "'method_default' is unknown; did you mean 'method_defaults'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known(path: Path, old: str, new: str, said: str) -> None:
    sentence = refusal(changed, path, old, new)
    assert sentence.startswith(str(path))
    assert said in sentence


@pytest.mark.parametrize("key", ["workloads", "inner_steps"])
def test_a_missing_key_is_named(path: Path, key: str) -> None:
    line = next(line for line in SUITE.splitlines() if line.startswith(key))
    assert refusal(changed, path, line, "") == f"{path}: key '{key}' is missing; add it."


def test_a_suite_without_methods_is_refused(path: Path) -> None:
    start, end = SUITE.index("[methods]"), SUITE.index("[method_defaults]")
    assert "key 'methods' is missing" in refusal(changed, path, SUITE[start:end], "")
    assert "methods = {} is refused" in refusal(changed, path, SUITE[start:end], "[methods]\n")


def test_a_suite_without_a_measure_is_refused(path: Path) -> None:
    path.write_text(SUITE[: SUITE.index("[memory]")])
    assert (
        "there is nothing to measure; add a table [memory] or [time] or [gradient] or [accuracy]."
        in refusal(load, path)
    )


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("inner_steps = [1, 4]", "inner_steps = [1, 0]", "inner_steps.1 = 0"),
        ("inner_steps = [1, 4]", "inner_steps = [1, -2]", "inner_steps.1 = -2"),
        ("inner_steps = [1, 4]", "inner_steps = [1.5]", "inner_steps.0 = 1.5"),
        ("inner_steps = [1, 4]", 'inner_steps = ["4"]', "inner_steps.0 = '4'"),
        ("inner_steps = [1, 4]", "inner_steps = [true]", "inner_steps.0 = True"),
        ("inner_steps = [1, 4]", "inner_steps = []", "inner_steps = []"),
        ("inner_steps = [1, 4]", "inner_steps = 4", "inner_steps = 4"),
        ("inner_steps = [8]", "inner_steps = [0]", "accuracy.inner_steps.0 = 0"),
        ('"*" = [2]', '"*" = [2, 0]', "time.inner_steps.*.1 = 0"),
        ('"*" = [2]', '"*" = 2', "time.inner_steps.* = 2"),
        ("seeds = [0, 1]", "seeds = [-1]", "seeds.0 = -1"),
        ("meta_steps = 10", "meta_steps = 1e1", "accuracy.meta_steps = 10.0"),
        ("meta_steps = 10", 'execution = "looped"', "accuracy.execution = 'looped'"),
        ("seeds = [0, 1]", 'device = "tpu"', "device = 'tpu'"),
        ('workloads = ["sinusoid"]', 'workloads = "sinusoid"', "workloads = 'sinusoid'"),
        ("imaml-gd = { lam = 0.5 }", "imaml-gd = 0.5", "methods.imaml-gd = 0.5"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(path: Path, old: str, new: str, key: str) -> None:
    sentence = refusal(changed, path, old, new)
    assert sentence.startswith(f"{path}: {key} is refused: ")


def test_a_table_of_inner_steps_names_methods_of_its_suite(path: Path) -> None:
    sentence = refusal(changed, path, "imaml-gd = [3", "imaml_gd = [3")
    assert sentence == (
        f"{path}: time.inner_steps: 'imaml_gd' is no method of this suite; did you mean 'imaml-gd'?"
    )


def test_settings_in_brackets_are_read_or_refused(path: Path) -> None:
    suite = changed(path, "imaml-gd = { lam = 0.5 }", '"imaml-gd[lam=2.0]" = { cg_steps = 3 }')
    assert suite.methods[1].settings == {"lam": 2.0, "cg_steps": 3}
    sentence = refusal(changed, path, '["sinusoid"]', '["sinusoid[shots]"]')
    assert "'shots' in 'sinusoid[shots]' is not a setting; write key=value." in sentence


def test_what_is_not_toml_is_refused(path: Path) -> None:
    assert refusal(changed, path, "inner_steps = [1, 4]", "inner_steps = [1,").startswith(
        f"{path} is not TOML: "
    )


def test_what_is_not_text_is_refused(path: Path) -> None:
    path.write_bytes(b"title = '\xff\xfe'")
    assert "is not a text file" in refusal(load, path)


def test_a_folder_and_a_missing_file_are_no_suites(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    assert "cannot be read: Is a directory" in refusal(load, tmp_path / "folder.toml")
    assert "cannot be read: No such file" in refusal(load, tmp_path / "absent.toml")
    assert "is unknown" in refusal(load, tmp_path)


def test_an_unknown_suite_is_refused_with_the_nearest_known() -> None:
    assert "suite 'quik' is unknown; did you mean 'quick'?" in refusal(load_suite, "quik", Overrides())


# --- inner steps ------------------------------------------------------------------------------------------


def test_a_measure_narrows_the_inner_steps_for_all_or_by_method(path: Path) -> None:
    suite = load(path)
    maml, imaml, mine = suite.methods
    assert suite.steps_of("memory", maml) == [1, 4]
    assert suite.steps_of("accuracy", maml) == [8]
    assert suite.steps_of("time", maml) == [2]
    assert suite.steps_of("time", imaml) == [1, 3]  # sorted, once each
    assert suite.steps_of("time", mine) == [7]


def test_a_method_that_no_entry_names_has_the_steps_of_the_suite(path: Path) -> None:
    suite = changed(path, '"*" = [2], ', "")
    assert suite.steps_of("time", suite.methods[0]) == [1, 4]


def test_the_preflight_is_asked_about_all_inner_steps(path: Path) -> None:
    assert load(path).request(None).inner_steps == (1, 2, 3, 4, 7, 8)


# --- --method ---------------------------------------------------------------------------------------------


def names(suite: Suite) -> list[str]:
    return [Path(spec.name).name for spec in suite.methods]


def test_methods_of_the_command_line_replace_the_list_of_the_suite(path: Path) -> None:
    suite = load(path, methods=("reptile", "maml"))
    assert names(suite) == ["reptile", "maml"]
    assert suite.methods[0].settings == {}
    assert suite.methods[1].settings == load(path).methods[0].settings


def test_a_plus_adds_a_method(path: Path) -> None:
    assert names(load(path, methods=("+reptile",))) == ["maml", "imaml-gd", "mine.py:MyMethod", "reptile"]
    assert names(load(path, methods=("maml", "+reptile"))) == ["maml", "reptile"]
    assert names(load(path, methods=("+maml",))) == names(load(path))


def test_settings_of_the_command_line_change_those_of_the_suite_key_by_key(path: Path) -> None:
    (spec,) = load(path, methods=("maml[outer.lr=0.5,lam=1.0]",)).methods
    assert spec.settings == {"inner_lr": 0.1, "lam": 1.0, "outer": {"lr": 0.5, "beta1": 0.8}}
    assert spec.where == "--method"


def test_another_outer_rule_brings_its_own_settings(path: Path) -> None:
    (spec,) = load(path, methods=("maml[outer.rule=sgd]",)).methods
    assert spec.settings["outer"] == {"rule": "sgd"}


def test_a_variant_beside_the_method_of_the_suite(path: Path) -> None:
    suite = load(path, methods=("+imaml-gd[lam=2.0]",))
    assert [s.settings for s in suite.methods if s.name == "imaml-gd"] == [{"lam": 0.5}, {"lam": 2.0}]


def test_a_method_that_the_suite_has_in_variants_is_meant_in_all(path: Path) -> None:
    old, new = "imaml-gd = { lam = 0.5 }", '"imaml-gd[lam=0.5]" = {}\n"imaml-gd[lam=2.0]" = {}'
    path.write_text(SUITE.replace(old, new))
    assert [s.settings for s in load(path, methods=("imaml-gd",)).methods] == [{"lam": 0.5}, {"lam": 2.0}]


def test_defaults_of_the_suite_go_to_every_method(path: Path) -> None:
    suite = load(path, methods=("+reptile",))
    assert all(spec.defaults == {"outer": {"lr": 0.01}} for spec in suite.methods)


def test_paths_of_adapters_start_from_the_folder_of_the_suite(path: Path) -> None:
    assert load(path).methods[2].name == f"{path.parent}/nested/mine.py:MyMethod"
    assert load(path, methods=("other.py:Mine",)).methods[0].name == "other.py:Mine"


@pytest.mark.parametrize("text", ["", "maml[", "maml[lam]", "[lam=1]", "maml[lam=1]x"])
def test_a_method_that_is_not_well_written_is_refused(path: Path, text: str) -> None:
    assert refusal(load, path, methods=(text,)).startswith("--method: ")


# --- --set, --seed, --device ------------------------------------------------------------------------------


def test_set_inner_steps_holds_for_every_measure(path: Path) -> None:
    suite = load(path, "inner_steps=2,3")
    assert all(
        suite.steps_of(measure, spec) == [2, 3] for measure in suite.measures for spec in suite.methods
    )


def test_set_inner_steps_of_one_measure_leaves_the_others(path: Path) -> None:
    suite = load(path, "accuracy.inner_steps=[5]")
    assert [suite.steps_of(m, suite.methods[0]) for m in ("memory", "time", "accuracy")] == [[1, 4], [2], [5]]
    suite = load(path, "accuracy.inner_steps={ maml = [6] }")
    assert suite.steps_of("accuracy", suite.methods[0]) == [6]


def test_set_takes_a_bare_key_to_the_measures_that_have_it(path: Path) -> None:
    suite = load(path, "meta_steps=7", "meta_batch_size=2", "rounds=3")
    assert suite.content.accuracy.meta_steps == 7  # type: ignore[union-attr]
    assert suite.content.time.rounds == 3  # type: ignore[union-attr]
    assert {s.meta_batch_size for s in suite.measures.values()} == {2}


def test_set_changes_a_setting_of_a_method(path: Path) -> None:
    suite = load(path, "methods.imaml-gd.lam=3.0")
    assert suite.methods[1].settings == {"lam": 3.0}
    assert suite.methods[1].where == "--set methods.imaml-gd.lam=3.0"


def test_measure_leaves_out_the_others(path: Path) -> None:
    assert list(load(path, measures=("time", "memory")).measures) == ["memory", "time"]
    with pytest.raises(UsageError, match="did you mean 'memory'"):
        load(path, measures=("memry",))


def test_a_measure_that_the_suite_has_not_selects_nothing(path: Path) -> None:
    path.write_text(SUITE.replace("[accuracy]\ninner_steps = [8]\nmeta_steps = 10\n", ""))
    with pytest.raises(NothingSelected, match="does not measure accuracy"):
        load(path, measures=("accuracy",))


def test_defaults_and_settings_of_a_method_merge_key_by_key(path: Path) -> None:
    spec = load(path).methods[0]
    resolved = resolve_method(spec, 1)
    assert resolved.settings["outer"]["lr"] == 5e-3
    bare = resolve_method(MethodSpec("maml", {"outer": {"beta1": 0.5}}, spec.defaults), 1)
    assert (bare.settings["outer"]["lr"], bare.settings["outer"]["beta1"]) == (1e-2, 0.5)


def test_set_takes_lists_without_brackets(path: Path) -> None:
    suite = load(path, "workloads=sinusoid[shots=5,queries=2],linear-regression", "seeds=3,4")
    assert [w.name for w in suite.workloads] == ["sinusoid", "linear-regression"]
    assert suite.workloads[0].settings == {"shots": 5, "queries": 2}
    assert suite.content.seeds == [3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inner_steps", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("inner_step=3", "did you mean 'inner_steps'?"),
        ("accuracy.meta_step=3", "did you mean 'meta_steps'?"),
        ("memory=3", "no such key"),
        ("inner_steps=0", "inner_steps.0 = 0 is refused"),
        ("inner_steps=1.5", "inner_steps.0 = 1.5 is refused"),
        ("inner_steps=", "inner_steps = [] is refused"),
        ("meta_steps=many", "accuracy.meta_steps = 'many' is refused"),
        ("time.inner_steps={ mmaml = [1] }", "did you mean 'maml'?"),
    ],
)
def test_a_bad_set_is_refused_in_its_own_words(path: Path, text: str, said: str) -> None:
    sentence = refusal(load, path, text)
    assert sentence.startswith("--set ")
    assert said in sentence


def test_an_option_is_not_blamed_for_a_key_that_merely_begins_alike(path: Path) -> None:
    path.write_text(SUITE.replace("meta_steps = 10", "meta_steps = 0"))
    assert refusal(load, path, "accuracy.meta_batch_size=2").startswith(str(path))


def test_seeds_and_device_of_the_command_line(path: Path) -> None:
    suite = load(path, seeds=(5, 5, 2), device="cpu")
    assert suite.content.seeds == [5, 2]
    assert suite.content.device == "cpu"
    sentence = refusal(load, path, device="gpu")
    assert sentence == "--device gpu is unknown; write one of auto, cpu, cuda."
