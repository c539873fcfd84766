import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from runs import Notes, rows_of, run_here, write_adapter

from harness.cli.app import call
from harness.core.search import Choice, Range
from harness.errors import UsageError
from harness.registry import resolve_method
from harness.run import Options
from harness.store import CHECKPOINT, RunFolder
from harness.suite import Overrides, load_suite
from harness.tune import Search, Tuned, tune

SUITE = """
# A comment that stays.
workloads = ["sinusoid"]
inner_steps = [1, 2]
device = "cpu"

[methods]
maml = { inner_lr = 0.05, outer.lr = 2e-3 } # as ever
reptile = {}

[memory]

[accuracy]
inner_steps = [2]
meta_steps = 3
validation_tasks = 4
test_tasks = 4
"""


class Trials(Notes):
    """A watcher that counts trials, and may end the search at one."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.ran: list[str] = []

    def trial(self, number: int, of: int) -> None:
        if number == self.stop_at:
            raise KeyboardInterrupt

    def started(self, cell: object) -> None:
        self.ran.append(cell.id)  # type: ignore[attr-defined]


def write(folder: Path, text: str = SUITE) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def searched(suite: Path, out: Path, watcher: Trials | None = None, trials: int = 6, **more: object) -> Tuned:
    overrides = Overrides(**more)  # type: ignore[arg-type]
    return tune(Options(str(suite), overrides, out=out), trials, 0, watcher or Trials())


def told(tuned: Tuned) -> list[tuple[str, dict[str, object], float | None]]:
    return [(s.label, t.changes, t.score) for s in tuned.searches for t in s.trials]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    return searched(write(folder), folder / "run")


def test_every_method_has_as_many_trials_and_the_first_is_the_suites_own(tuned: Tuned) -> None:
    assert [s.label for s in tuned.searches] == ["maml", "reptile"]
    for search in tuned.searches:
        assert len(search.trials) == 6
        assert search.trials[0].changes == {}
        assert all(set(t.changes) == set(search.space) for t in search.trials[1:])
        assert all(t.changes[n] in search.space[n] for t in search.trials[1:] for n in t.changes)
        assert len({json.dumps(t.changes) for t in search.trials}) == 6


def test_a_score_is_the_best_validation_score_of_its_rows_and_the_best_trial_has_the_least_loss(
    tuned: Tuned,
) -> None:
    curves: dict[str, list[float]] = {}
    for row in rows_of(tuned.folder):
        if row.metric == "validation_loss" and row.repeat > 0:
            curves.setdefault(row.cell_id, []).append(float(row.value or 0))
    for search in tuned.searches:
        for trial in search.trials:
            (cell,) = trial.cells
            assert trial.score == (min(curves[cell]) if cell in curves else None)
        assert search.best is not None
        assert search.best.score == min(t.score for t in search.trials if t.score is not None)


def test_no_test_task_is_looked_at(tuned: Tuned) -> None:
    metrics = {row.metric for row in rows_of(tuned.folder)}
    assert "selected_validation_loss" in metrics
    assert not metrics & {"loss", "untrained_loss", "loss_ci95"}


def test_the_winning_suite_is_the_old_one_with_the_best_settings(tuned: Tuned) -> None:
    text = tuned.suite_file.read_text()
    assert "# A comment that stays." in text
    assert "# as ever" in text
    new, old = tomllib.loads(text), tomllib.loads(SUITE)
    assert {**new, "methods": None} == {**old, "methods": None}
    suite = load_suite(str(tuned.suite_file), Overrides())
    for spec, search in zip(suite.methods, tuned.searches, strict=True):
        settings = resolve_method(spec, 2).settings
        assert search.best is not None
        expected = search.best.changes or search.own
        outer = settings["outer"]
        found = {n: outer[n.removeprefix("outer.")] if "." in n else settings[n] for n in expected}
        assert found == expected


def test_the_same_search_again_runs_nothing_and_ends_alike(tuned: Tuned) -> None:
    watcher = Trials()
    again = searched(tuned.folder.parent / "mine.toml", tuned.folder, watcher)
    assert watcher.ran == []
    assert told(again) == told(tuned)


def test_a_search_that_was_cut_off_goes_on_as_if_it_had_not_been(tuned: Tuned, tmp_path: Path) -> None:
    suite = write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        searched(suite, tmp_path / "run", Trials(stop_at=4))
    watcher = Trials()
    resumed = searched(suite, tmp_path / "run", watcher)
    assert len(watcher.ran) == 2 * 3  # of six trials three were done
    assert told(resumed) == told(tuned)


def test_another_budget_is_another_search(tuned: Tuned) -> None:
    with pytest.raises(UsageError, match="name another folder with --out"):
        searched(tuned.folder.parent / "mine.toml", tuned.folder, trials=7)


def test_a_trial_that_diverges_counts_as_one_and_is_not_the_best(tmp_path: Path) -> None:
    suite = write(tmp_path, SUITE.replace("reptile = {}", "").replace("inner_lr = 0.05", "inner_lr = 1e30"))
    (search,) = searched(suite, tmp_path / "run", trials=3).searches
    assert len(search.trials) == 3
    assert search.trials[0].score is None
    assert search.trials[0].reason.startswith("diverged: ")
    assert search.best in search.trials[1:]


def test_a_method_that_is_there_twice_in_other_words_is_tried_in_cells_that_are_shared(
    tmp_path: Path,
) -> None:
    suite = write(
        tmp_path, SUITE.replace("reptile = {}", '"maml[lam=0.0]" = { inner_lr = 0.05, outer.lr = 2e-3 }')
    )
    result = searched(suite, tmp_path / "run", trials=2)
    one, other = ([(t.cells, t.score) for t in search.trials] for search in result.searches)
    assert one == other
    assert all(len(cells) == 1 and score is not None for cells, score in one)
    first, second = load_suite(str(result.suite_file), Overrides()).methods
    assert resolve_method(first, 2).settings == resolve_method(second, 2).settings


def test_what_judges_is_told_of_every_workload(tmp_path: Path) -> None:
    text = SUITE.replace(
        'workloads = ["sinusoid"]',
        'workloads = ["sinusoid", { task = "sinusoid[shots=5]", accuracy = { meta_steps = 2, '
        "validation_tasks = 3 } }]\nseeds = [0, 1]",
    )
    result = searched(write(tmp_path, text), tmp_path / "run", trials=1)
    (trial,) = result.searches[0].trials
    assert len(trial.cells) == 4
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    steps = {w.partition("shots")[2]: s["accuracy"]["meta_steps"] for w, s in manifest["settings"].items()}
    assert steps == {"=10]": 3, "=5]": 2}
    assert manifest["tuning"]["judged_by"] == (
        "mean loss of 4 or 3 validation tasks of each of 2 workloads, at its best after the first of up to "
        "3 or 2 meta-steps, seed 0, 1; no test task was looked at"
    )


def test_a_suites_memory_budget_holds_for_its_trials_too(tmp_path: Path) -> None:
    suite = write(tmp_path, SUITE.replace('device = "cpu"', 'device = "cpu"\nmemory_budget = "1KiB"'))
    with pytest.raises(UsageError, match="a memory budget of 1,024 bytes is below"):
        searched(suite, tmp_path / "run", trials=1)


def test_no_checkpoint_stays_of_a_trial_that_is_done(tuned: Tuned, tmp_path: Path) -> None:
    """As of a call that was killed between its rows and that."""
    out = tmp_path / "run"
    shutil.copytree(tuned.folder, out)
    left = RunFolder(out).cell_folder(tuned.searches[0].trials[0].cells[0]) / CHECKPOINT
    left.write_bytes(b"left")
    searched(tuned.folder.parent / "mine.toml", out)
    assert not left.exists()


def test_a_method_of_a_file_is_found_from_where_the_winning_suite_lies(tmp_path: Path) -> None:
    write_adapter(tmp_path, "Mine", "pass")
    file = tmp_path / "mine.py"
    source = file.read_text().replace("from harness import Method", "from harness import Method, Range")
    file.write_text(source.replace("    rate:", '    search_space = {"rate": Range(0.1, 1.0)}\n    rate:'))
    suite = write(tmp_path, SUITE.replace("reptile = {}", '"mine.py:Mine" = {}'))
    result = searched(suite, tmp_path / "deep" / "er", trials=2)
    assert [s.label for s in result.searches] == ["maml", "mine"]
    for spec in load_suite(str(result.suite_file), Overrides()).methods:
        assert not resolve_method(spec, 1).broken


def test_a_proposal_that_the_adapter_refuses_is_a_trial_that_failed(tmp_path: Path) -> None:
    """And what all others came to is kept."""
    write_adapter(tmp_path, "Mine", "pass")
    file = tmp_path / "mine.py"
    source = file.read_text().replace("from harness import Method", "from harness import Method, Range")
    picky = (
        '    search_space = {"rate": Range(0.1, 0.9)}\n'
        "    rate: float = 1.0\n\n"
        "    def __post_init__(self):\n"
        '        if self.rate < 0.95:\n            raise ValueError("the rate is too small")\n'
    )
    file.write_text(source.replace("    rate: float = 1.0\n", picky))
    suite = write(tmp_path, SUITE.replace("reptile = {}", '"mine.py:Mine" = {}'))
    first = searched(suite, tmp_path / "run", trials=3)
    maml, mine = first.searches
    assert all(trial.score is not None for trial in maml.trials)
    assert mine.best is mine.trials[0]
    for trial in mine.trials[1:]:
        assert (trial.score, trial.cells) == (None, ())
        assert trial.reason.startswith("refused: ")
        assert "the rate is too small" in trial.reason
    assert len(mine.trials) == 3
    again = Trials()
    assert told(searched(suite, tmp_path / "run", again, trials=3)) == told(first)
    assert again.ran == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SUITE.partition("[accuracy]")[0], "has no [accuracy] table"),
        (SUITE.replace("reptile", "maml-truncatd"), "did you mean 'maml-truncated'?"),
        (SUITE.replace('["sinusoid"]', '["sinusoid", "glyphs"]'), "tune them in suites of their own"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_a_sentence(
    text: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert call(["tune", str(write(tmp_path, text)), "--budget", "2", "--out", str(out)]) == 2
    said = capfd.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_method_that_says_nowhere_to_search_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    mine = write_adapter(tmp_path, "Mine", "pass")
    with pytest.raises(UsageError, match="search_space"):
        searched(write(tmp_path), tmp_path / "run", methods=(mine,))


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ('{"rates": Range(0.1, 1.0)}', "did you mean 'rate'?"),
        ('{"rate": (0.1, 1.0)}', "a Range or a Choice"),
        ('{"rate": Range(1.0, 0.1)}', "from a lower to a higher"),
        ('{"rate": Range(0.0, 1.0)}', "log=False"),
        ('{"rate": Choice(())}', "one value at least"),
    ],
)
def test_a_search_space_that_means_nothing_is_a_fault_of_its_file(
    space: str, says: str, tmp_path: Path
) -> None:
    mine = write_adapter(tmp_path, "Mine", "pass")
    file = tmp_path / "mine.py"
    source = file.read_text().replace(
        "from harness import Method", "from harness import Choice, Method, Range"
    )
    file.write_text(source.replace("    rate:", f"    search_space = {space}\n    rate:"))
    resolved = resolve_method(load_suite(str(write(tmp_path)), Overrides(methods=(mine,))).methods[0], 1)
    assert resolved.broken is not None
    assert says in resolved.broken


def test_proposals_come_closer_to_the_best_setting(tuned: Tuned) -> None:
    """A bowl in log inner_lr and log outer.lr, with its bottom at (0.3, 3e-3)."""
    import math

    import optuna

    def distance(values: dict[str, float]) -> float:
        return math.hypot(math.log(values["inner_lr"] / 0.3), math.log(values["outer.lr"] / 3e-3))

    of = tuned.searches[0]
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=4)
    search = Search("maml", of.spec, of.space, of.own, "loss", optuna.create_study(sampler=sampler))
    for _ in range(60):
        proposal = search.propose()
        search.tell(proposal, (), distance(proposal.changes or search.own), "")
    found = [distance(trial.changes) for trial in search.trials[1:]]
    draw = np.random.default_rng(0)
    ends = {name: np.log([where.low, where.high]) for name, where in of.space.items()}  # type: ignore[union-attr]
    random = [distance({n: math.exp(draw.uniform(*e)) for n, e in ends.items()}) for _ in range(1000)]
    assert np.mean(found[-30:]) < 0.6 * np.mean(random)


def test_whole_numbers_and_choices_are_proposed_as_such(tuned: Tuned) -> None:
    import optuna

    of = tuned.searches[0]
    space = {"steps": Range(1, 8), "kind": Choice(("a", "b"))}
    search = Search("mine", of.spec, space, {"steps": 1, "kind": "a"}, "accuracy", optuna.create_study())
    for _ in range(12):
        proposal = search.propose()
        search.tell(proposal, (), 0.5, "")
    values = [trial.changes for trial in search.trials[1:]]
    assert {type(v["steps"]) for v in values} == {int}
    assert {v["kind"] for v in values} == {"a", "b"}


def test_a_range_of_whole_numbers_has_no_others(tuned: Tuned) -> None:
    """A suite's own setting that lies between two of them is tried, and tells the estimator nothing."""
    import optuna

    space = {"lam": Range(1, 8)}
    assert [2 in space["lam"], 2.0 in space["lam"], 2.5 in space["lam"], 9 in space["lam"]] == [1, 1, 0, 0]
    of = tuned.searches[0]
    search = Search("mine", of.spec, space, {"lam": 2.5}, "loss", optuna.create_study())
    search.tell(search.propose(), (), 0.5, "")
    assert search.study.trials == []


def test_a_proposal_is_in_its_range_also_where_few_digits_would_leave_it(tuned: Tuned) -> None:
    import optuna

    of = tuned.searches[0]
    space = {"inner_lr": Range(0.99961, 0.99969)}
    search = Search("mine", of.spec, space, {"inner_lr": 0.9997}, "loss", optuna.create_study())
    for _ in range(4):
        proposal = search.propose()
        search.tell(proposal, (), 0.5, "")
        assert all(value in space["inner_lr"] for value in proposal.changes.values())


def test_the_command_ends_with_the_tables_of_its_trials(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite, out = write(tmp_path), tmp_path / "run"
    assert call(["tune", str(suite), "--budget", "2", "-m", "maml", "--out", str(out)]) == 0
    said = capfd.readouterr().out
    assert "maml: 2 trials, best first" in said
    assert "inner_lr=0.05, outer.lr=0.002 (the suite's own)" in said
    assert "inner_lr from 0.05 to 1, logarithmically" in said
    assert "no test task was looked at" in " ".join(said.split())
    assert str(out / "mine.toml") in said
    assert call(["show", str(out)]) == 0
    assert "maml: 2 trials, best first" in capfd.readouterr().out


def test_trials_that_failed_run_again_only_when_asked_for_and_leave_the_suite_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = write(tmp_path, SUITE.replace("reptile = {}", "").replace("inner_lr = 0.05", "inner_lr = 1e30"))
    out = tmp_path / "run"
    command = ["tune", str(suite), "--budget", "1", "--out", str(out)]
    for more, attempt in ([], 1), ([], 1), (["--retry", "diverged"], 2):
        assert call([*command, *more]) == 3
        assert {row.attempt for row in rows_of(out)} == {attempt}
    assert "No trial of maml came to a score: its settings stay as they were." in capfd.readouterr().out
    assert (out / "mine.toml").read_text() == suite.read_text()


def test_what_a_search_leaves_is_a_run_that_every_reader_opens(tuned: Tuned, tmp_path: Path) -> None:
    assert call(["report", str(tuned.folder), "--out", str(tmp_path / "report.html")]) == 0
    assert call(["claims", str(tuned.folder)]) == 0
    assert call(["compare", str(tuned.folder), str(tuned.folder)]) == 0


def test_a_suite_is_not_tuned_by_being_run(tmp_path: Path) -> None:
    """The settings that a search hands on to a run count in it."""
    suite = write(tmp_path)
    result = searched(suite, tmp_path / "run", trials=2)
    run = run_here(result.suite_file, tmp_path / "again")
    assert run.statuses == {"ok"}
    best = {s.spec.name: s.best.changes or s.own for s in result.searches if s.best is not None}
    for row in rows_of(tmp_path / "again"):
        for name, value in best[row.method].items():
            settings = row.settings["outer"] if "." in name else row.settings
            assert settings[name.removeprefix("outer.")] == value
