"""What a search leaves is its suite, with the winners' settings where each belongs."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from runs import write_adapter

from harness.protocol import MethodSpec
from harness.suite import Overrides, load_suite
from harness.tuned_suite import Winner, write_tuned_suite

HEAD = 'workloads = ["sinusoid"]\ninner_steps = [1]\n'
TAIL = "\n[memory]\n"


def tuned(folder: Path, text: str, *winners: Winner) -> str:
    """The file that comes of a suite `text`, which is to load."""
    before = folder / "suite.toml"
    before.write_text(text)
    after = folder / "deep" / "er" / "suite.toml"
    after.parent.mkdir(parents=True, exist_ok=True)
    write_tuned_suite(str(before), after, winners, 3, "mean loss of 4 validation tasks")
    load_suite(str(after), Overrides())
    return after.read_text()


def winner(name: str, asked: dict[str, Any], best: dict[str, Any]) -> Winner:
    return Winner(name, MethodSpec(name, asked), MethodSpec(name, {**asked, **best}))


def settings_in(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    suite = load_suite(str(folder / "deep" / "er" / "suite.toml"), Overrides())
    return [(spec.name, spec.settings) for spec in suite.methods]


@pytest.mark.parametrize("order", [1, -1])
def test_each_variant_of_a_method_has_what_was_found_for_it(tmp_path: Path, order: int) -> None:
    text = f'{HEAD}[methods]\nmaml = {{}}\n"maml[lam=1.0]" = {{ inner_lr = 0.1 }}\n{TAIL}'
    winners = [
        winner("maml", {}, {"inner_lr": 0.2}),
        winner("maml", {"lam": 1.0, "inner_lr": 0.1}, {"inner_lr": 0.3}),
    ]
    tuned(tmp_path, text, *winners[::order])
    assert settings_in(tmp_path) == [("maml", {"inner_lr": 0.2}), ("maml", {"lam": 1.0, "inner_lr": 0.3})]


def test_several_of_one_name_that_the_command_line_asks_for_are_all_kept(tmp_path: Path) -> None:
    """The first takes the place of the suite's, the others stand beside it."""
    winners = [winner("maml", {"lam": float(lam)}, {"inner_lr": 0.25}) for lam in (1, 2, 3)]
    tuned(tmp_path, f"{HEAD}[methods]\nmaml = {{ inner_lr = 0.1 }}\n{TAIL}", *winners)
    assert settings_in(tmp_path) == [("maml", {"lam": lam, "inner_lr": 0.25}) for lam in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize(
    "methods",
    [
        "[methods.maml]\ninner_lr = 0.1 # as ever\n",
        "[methods]\nmaml.inner_lr = 0.1 # as ever\n",
        "[methods]\n# as ever\nmaml = { inner_lr = 0.1 }\n",
        "[methods]\nmaml = { inner_lr = 0.1 } # as ever\n",
    ],
    ids=["a table", "dotted", "inline, a comment before", "inline, a comment behind"],
)
def test_a_method_may_be_written_in_any_way(tmp_path: Path, methods: str) -> None:
    tuned(
        tmp_path,
        f"{HEAD}{methods}{TAIL}",
        winner("maml", {"inner_lr": 0.1}, {"inner_lr": 0.2, "outer": {"lr": 0.01}}),
    )
    assert settings_in(tmp_path) == [("maml", {"inner_lr": 0.2, "outer": {"lr": 0.01}})]


def test_every_table_by_method_finds_a_method_of_a_file_from_where_the_new_suite_lies(
    tmp_path: Path,
) -> None:
    write_adapter(tmp_path, "Mine", "pass")
    table = '{ "mine.py:Mine" = [2], "*" = [1] }'
    text = (
        f"inner_steps = {table}\n[methods]\nmaml = {{}}\n"
        '"mine.py:Mine" = {}\n'
        f"[memory]\ninner_steps = {table}\n"
        '[accuracy]\ntest_inner_steps = { "mine.py:Mine" = 3 }\n'
        f'[[workloads]]\ntask = "sinusoid"\ninner_steps = {table}\nmemory.inner_steps = {table}\n'
        'methods."mine.py:Mine" = { rate = 0.5 }\n'
    )
    mine = f"{tmp_path}/mine.py:Mine"
    tuned(tmp_path, text, winner(mine, {}, {"rate": 0.7}))
    suite = load_suite(str(tmp_path / "deep" / "er" / "suite.toml"), Overrides())
    (part,) = suite.parts
    found = {spec.name: spec for spec in part.methods}
    assert found.keys() == {"maml", mine}
    assert [part.steps_of("memory", found[name]) for name in ("maml", mine)] == [[1], [2]]
    assert part.settings_of("accuracy", found[mine]).test_inner_steps == 3  # type: ignore[attr-defined]


def test_the_top_names_the_methods_whose_settings_were_found_and_no_earlier_search_of_them(
    tmp_path: Path,
) -> None:
    text = f"# Its author's.\n{HEAD}[methods]\nmaml = {{}}\nfomaml = {{}}\nreptile = {{}}\n{TAIL}"
    maml, fomaml = (winner(name, {}, {"inner_lr": 0.2}) for name in ("maml", "fomaml"))
    both = tuned(tmp_path, text, maml, fomaml)
    assert both.startswith(
        "# Settings of maml, fomaml: the best of 3 trials each, judged by the\n"
        "# mean loss of 4 validation tasks.\n# innerloop "
    )
    lines = both.splitlines()
    assert lines[3] == "# Its author's."

    def said(text: str) -> list[str]:
        return [line.partition(":")[0] for line in text.splitlines() if line.startswith("# Settings of")]

    assert said(tuned(tmp_path, both, maml, fomaml)) == ["# Settings of maml, fomaml"]
    # Of FOMAML's settings the earlier search still is the source.
    assert said(tuned(tmp_path, both, maml)) == ["# Settings of maml", "# Settings of maml, fomaml"]
    assert tomllib.loads(both)["methods"]["reptile"] == {}


def test_where_no_trial_came_to_a_score_the_suite_stays_as_it_was(tmp_path: Path) -> None:
    text = f"{HEAD}[methods]\nmaml = {{}}\n{TAIL}"
    assert tuned(tmp_path, text) == text
