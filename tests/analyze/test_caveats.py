"""What is wrong with a run is said at its head, and the rest is shown."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rows import accuracy_cell, memory_cell, row, time_cell, write_run

from harness.analyze.loaded import LoadedRun, load_run
from harness.cli.app import call
from harness.errors import UsageError
from harness.plan import Plan
from harness.run import refuse_another_plan
from harness.store import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    cells = [memory_cell("maml", steps) for steps in (1, 2, 4)] + [time_cell(0, [("maml", 4)])]
    return RunFolder.open(write_run(tmp_path / "run", cells))


def only_caveat(folder: RunFolder) -> str:
    (caveat,) = load_run(folder).caveats
    return caveat


def edit(folder: RunFolder, number: int, change: Callable[[dict], dict]) -> None:
    """Change a line of the rows."""
    lines = folder.rows_path.read_text().splitlines()
    lines[number] = json.dumps(change(json.loads(lines[number])))
    folder.rows_path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def shown(folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable:
    """What `show` prints, on one line; its exit code is 0."""
    monkeypatch.setenv("COLUMNS", "80")

    def show() -> str:
        assert call(["show", str(folder.path)]) == 0
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines())) <= 80
        return " ".join(printed.split())

    return show


def test_a_sound_and_finished_run_has_none(folder: RunFolder) -> None:
    run = load_run(folder)
    assert (run.caveats, run.cells_planned, run.cells_finished) == ((), 4, 4)
    assert len(run.rows) == 3 * 3 + 9


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "results" / "reference").iterdir()))
def test_the_reference_runs_have_sound_folders_and_say_what_makes_figures_doubtful(path: Path) -> None:
    run = load_run(path)
    flagged = len(run.flags.drop_duplicates(["measure", "workload", "method_label", "inner_steps"]))
    trained = run.rows[run.rows.metric == "accuracy"].groupby("workload").seed.nunique()
    told = {caveat.split(" ")[0]: caveat for caveat in run.caveats}
    assert (f"warn of {flagged:,} point" in told.get("The", "")) == bool(flagged)
    assert ("Accuracy" in told) == bool((trained == 1).any())
    assert set(told) <= {"The", "Accuracy"}


def test_a_run_cut_short_counts_what_is_missing_and_shows_what_is_there(
    folder: RunFolder, shown: Callable[[], str]
) -> None:
    data = folder.rows_path.read_bytes()
    folder.rows_path.write_bytes(data[: data.index(b"memory-maml-2") + 300])  # in the second cell's first row
    run = load_run(folder)
    assert run.caveats == (
        "3 of 4 cells have not finished: the same command again runs what is missing.",
        "rows.jsonl ends in 1 line of a cell that was not closed: left out.",
    )
    text = shown()
    assert "1 of 4 cells finished" in text
    assert all(caveat in text for caveat in run.caveats)
    assert "maml 78.3" in text


def test_a_run_that_was_interrupted_says_in_how_many_cells(folder: RunFolder) -> None:
    stopped = row(cell_id="memory-maml-4", attempt=2, value=None, status="interrupted")
    folder.append_cell("memory-maml-4", 2, [stopped])
    assert only_caveat(folder).startswith("1 of 4 cells has not finished (1 interrupted): ")
    assert load_run(folder).cells_finished == 3


def test_a_cell_with_a_line_that_cannot_be_read_is_missing(folder: RunFolder) -> None:
    data = folder.rows_path.read_bytes()
    folder.rows_path.write_bytes(data[:30] + b"\n" + data)
    first, second = load_run(folder).caveats
    assert first.startswith("1 of 4 cells has not finished")
    assert second == "1 cell of rows.jsonl has a line that cannot be read, and counts as missing."


def test_rows_of_a_newer_schema_are_counted_and_what_is_known_of_them_shown(
    folder: RunFolder, shown: Callable[[], str]
) -> None:
    before = load_run(folder).rows
    for line in (0, 1):
        edit(folder, line, lambda record: record | {"weather": "fine", "humidity": 0.5})
    assert (
        "2 rows of rows.jsonl have keys that this innerloop (0.1.0) does not know (humidity, weather), "
        in (only_caveat(folder))
    )
    assert load_run(folder).rows.equals(before)
    assert "update it" in shown()


def test_rows_of_an_older_schema_are_left_out_and_counted(folder: RunFolder) -> None:
    edit(
        folder, 0, lambda record: {key: value for key, value in record.items() if key not in ("seed", "unit")}
    )
    edit(folder, 4, lambda record: {"comment": "no row at all"})
    first = only_caveat(folder)
    assert first.startswith("2 lines of rows.jsonl are no rows of schema 1 (without ")
    assert first.endswith("), and left out: an older or newer innerloop wrote them.")
    assert len(load_run(folder).rows) == 3 * 3 + 9 - 2


def test_a_manifest_of_a_newer_schema_is_told_and_its_rows_are_shown(
    folder: RunFolder, shown: Callable[[], str]
) -> None:
    folder.write_manifest(folder.manifest() | {"schema": 2})
    folder.write_environment({"innerloop": "0.9.0"})
    text = "Innerloop 0.9.0 wrote this run in schema 2, this one (0.1.0) knows up to schema 1: update it"
    assert only_caveat(folder).startswith(text)
    assert text in shown()


def test_a_run_of_a_newer_schema_is_not_written_into(folder: RunFolder) -> None:
    folder.write_manifest({"schema": 2, "run_id": "quick-1"})
    with pytest.raises(
        UsageError, match=r"was written in schema 2, this innerloop writes schema 1: update it"
    ):
        refuse_another_plan(folder, Plan("quick", "1", ()))
    folder.write_manifest({"run_id": "quick-1"})
    refuse_another_plan(folder, Plan("quick", "1", ()))


def test_a_manifest_without_a_schema_is_of_the_first(folder: RunFolder) -> None:
    manifest = folder.manifest()
    assert manifest.pop("schema") == 1
    folder.manifest_path.write_text(json.dumps(manifest))
    assert load_run(folder).caveats == ()


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 3}', '{"cells": [{"name": "a"}]}', "\xff", None])
def test_without_a_sound_manifest_all_rows_are_shown(
    folder: RunFolder, content: str | None, shown: Callable[[], str]
) -> None:
    if content is None:
        folder.manifest_path.unlink()
    else:
        folder.manifest_path.write_bytes(content.encode("latin-1"))
    caveat = only_caveat(folder)
    assert "manifest.json" in caveat
    assert caveat.endswith("what was planned is unknown, and all rows are shown.")
    assert caveat.count(".") == 2  # one sentence, and the name of the file
    assert "4 cells finished" in shown()


@pytest.mark.parametrize("content", ["{", "[]", "3"])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("environment.json", "the machine and the versions are unknown"),
        ("selfcheck.json", "how the instruments did is unknown"),
    ],
)
def test_another_damaged_file_is_a_sentence_and_the_rest_is_shown(
    folder: RunFolder, name: str, what: str, content: str, shown: Callable[[], str]
) -> None:
    (folder.path / name).write_text(content)
    if (name, content) == ("selfcheck.json", "[]"):
        assert load_run(folder).caveats == ()
        return
    caveat = only_caveat(folder)
    assert caveat.startswith(f"{name} is damaged (")
    assert caveat.endswith(f": {what}.")
    assert caveat in shown()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("manifest.json", {"content": [], "memory_budget": "lots", "run_id": 3}),
        ("manifest.json", {"content": None}),
        ("environment.json", {"packages": ["torch"], "memory_bytes": "many", "threads": "x", "gpus": ["A"]}),
    ],
)
def test_a_value_of_another_shape_is_named_and_left_out(
    folder: RunFolder, name: str, wrong: dict[str, Any], shown: Callable[[], str]
) -> None:
    path = folder.path / name
    sound = json.loads(path.read_text())
    path.write_text(json.dumps(sound | wrong))
    caveat = f"{name} is damaged ({', '.join(sorted(wrong))}: not what a run writes): left out."
    run = load_run(folder)
    assert run.caveats == (caveat,)
    read = run.manifest if name == "manifest.json" else run.environment
    assert read == {key: value for key, value in sound.items() if key not in wrong}
    assert caveat in shown()
    assert call(["compare", str(folder.path), str(folder.path)]) == 0


@pytest.mark.parametrize(
    "cell",
    [3, {"points": None}, {"points": [3]}, {"points": [{"method": "maml"}]}, {"points": [{"settings": []}]}],
)
def test_cells_of_another_shape_are_no_plan(folder: RunFolder, cell: Any) -> None:
    cells = [cell if cell == 3 else {"id": "memory-maml-1", "measure": "memory", "workload": "w"} | cell]
    folder.write_manifest({"cells": cells})
    assert only_caveat(folder) == (
        "manifest.json names no cells: what was planned is unknown, and all rows are shown."
    )
    assert call(["compare", str(folder.path), str(folder.path)]) == 0


@pytest.mark.parametrize(
    "found",
    [
        [{"checks": [1]}],
        [{"checks": [], "cells": 7}],
        [{"checks": [], "machine": 5}],
        [{"checks": [], "machine": {"memory_bytes": "x"}}],
    ],
)
def test_selfchecks_of_another_shape_are_unknown(folder: RunFolder, found: Any) -> None:
    folder.selfcheck_path.write_text(json.dumps(found))
    assert only_caveat(folder) == (
        "selfcheck.json is damaged (not what a run writes): how the instruments did is unknown."
    )


def test_cells_of_two_machines_are_told_by_what_each_measured(folder: RunFolder) -> None:
    cells = ["memory-maml-1", "memory-maml-2", "memory-maml-4", "time-0"]
    small = {"cpu": "AMD EPYC", "cores": 2, "memory_bytes": 24 * 2**30, "gpus": []}
    large = small | {"cores": 64, "gpus": ["NVIDIA H100"]}
    for machine, of_whom in ((small, cells), (small, cells[2:])):
        folder.add_selfcheck({"machine": machine, "cells": of_whom, "checks": []})
    assert load_run(folder).caveats == ()
    folder.add_selfcheck({"machine": large, "cells": ["time-0"], "checks": []})
    assert only_caveat(folder) == (
        "Measured on 2 machines, whose times do not compare: AMD EPYC, 2 cores, 24 GiB (3 cells); "
        "AMD EPYC, 64 cores, 24 GiB, NVIDIA H100 (1 cell)."
    )


def test_cells_of_an_earlier_plan_are_told_and_left_out(folder: RunFolder) -> None:
    folder.append_cell("before", 1, memory_cell("fomaml", 4, cell_id="before"))
    assert only_caveat(folder).startswith("1 finished cell is not of this plan, and left out: ")
    assert set(load_run(folder).rows.method) == {"maml"}


def test_a_run_without_rows_says_so(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", [], unfinished=3))
    assert run.rows.empty
    assert run.caveats == ("3 of 3 cells have not finished: the same command again runs what is missing.",)
    assert run.accuracy.empty
    assert repr(run).startswith(f"LoadedRun {tmp_path / 'run'}: 0 of 3 cells, 0 rows: nothing measured\n")


def test_what_is_no_run_is_told_what_it_is(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^\S+/absent is not there; runs in \S+/ are: run\.$"):
        load_run(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"^\S+/absent is not there; name the folder of a run"):
        load_run(folder.path / "absent")
    with pytest.raises(UsageError, match=r"rows\.jsonl is a file; name the folder of a run"):
        load_run(folder.rows_path)
    with pytest.raises(UsageError, match=r"has no manifest\.json\. It holds runs: name one of run\.$"):
        load_run(tmp_path)


def test_a_run_is_read_by_the_names_that_the_command_line_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^run 'quick' was not found: there is no run in results/"):
        load_run("quick")
    write_run(Path("results") / "quick-0a1b", [memory_cell("maml", 4)])
    assert load_run("quick").path == load_run("quick-0").path == Path("results/quick-0a1b")


def test_accuracy_of_a_single_seed_and_flagged_points_are_told_with_the_folder(
    tmp_path: Path, shown: Callable[[], str], folder: RunFolder
) -> None:
    single, several = (
        [accuracy_cell("maml", 4, seed, workload=workload) for seed in seeds]
        for workload, seeds in (("sinusoid", [0]), ("glyphs", [0, 1]))
    )
    alone = load_run(write_run(tmp_path / "alone", single))
    assert alone.caveats == (
        "Accuracy rests on a single seed: its intervals are over test tasks, and the spread between training "
        "runs, which is often larger, is not in them.",
    )
    both = [[row(**vars(r) | {"cell_id": r.cell_id + r.workload}) for r in cell] for cell in single + several]
    (caveat,) = load_run(write_run(tmp_path / "both", both)).caveats
    assert caveat.startswith("Accuracy of sinusoid rests on a single seed: ")
    assert load_run(write_run(tmp_path / "several", both[1:])).caveats == ()
    for cell_id in ("memory-maml-1", "memory-maml-4"):  # the same point twice
        warned = row(cell_id=cell_id, attempt=2, metric="flag", value=None, unit="", detail="busy")
        folder.append_cell(cell_id, 2, [warned])
    assert only_caveat(folder) == "The instruments warn of 1 point: read the flags before you believe those."
    assert only_caveat(folder) in shown()


@pytest.mark.parametrize("name", ["rows.jsonl", "manifest.json", "environment.json", "selfcheck.json"])
@pytest.mark.parametrize("command", ["show", "compare"])
def test_a_file_that_may_not_be_read_is_one_sentence(
    folder: RunFolder,
    name: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder.add_selfcheck({"checks": []})
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert call([command, *[str(folder.path)] * (2 if command == "compare" else 1)]) == 1
    error = capsys.readouterr().err
    assert error == (
        f"innerloop: {folder.path / name}: Permission denied; mend that and issue the same command again.\n"
    )


def test_a_run_that_may_not_be_entered_is_in_the_way_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quick-0a1b", "private-9f00"):
        write_run(Path("results") / name, [memory_cell("maml", 4)])
    is_file, iterate = Path.is_file, Path.iterdir

    def enter(path: Path, ask: Callable[[Path], Any]) -> Any:
        if "private-9f00" in (path.name, path.parent.name):
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path)

    monkeypatch.setattr(Path, "is_file", lambda path: enter(path, is_file))
    monkeypatch.setattr(Path, "iterdir", lambda path: enter(path, iterate))
    assert call(["show", "quick"]) == 0
    assert call(["show", "results/private-9f00"]) == 1
    assert capsys.readouterr().err.startswith("innerloop: results/private-9f00: Permission denied; ")


def test_a_run_that_is_being_written_is_read_cell_by_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [("maml", steps) for steps in range(1, 41)]
    cells = [memory_cell(*point) for point in grid]
    folder = RunFolder(write_run(tmp_path / "run", cells[:1]))
    folder.write_manifest({"cells": [{"id": cell[0].cell_id, "measure": "memory"} for cell in cells]})

    def write() -> None:
        for cell in cells[1:]:
            folder.append_cell(cell[0].cell_id, 1, cell)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [1]
    while writer.is_alive():
        run = load_run(folder.path)
        finished = run.cells_finished
        assert finished >= seen[-1]
        assert len(run.rows) == 3 * finished
        assert run.memory.peak_bytes.notna().sum() == finished
        seen.append(finished)
        assert call(["show", str(folder.path)]) == 0
        assert call(["compare", str(folder.path), str(folder.path)]) == 0
    writer.join()
    assert load_run(folder.path).cells_finished == len(cells)
    assert "Nothing differs" in capsys.readouterr().out


def test_the_flags_of_a_run_are_its_warnings(folder: RunFolder) -> None:
    warned = row(cell_id="w", metric="flag", value=None, unit="", detail="busy")
    folder.append_cell("w", 1, [warned])
    folder.write_manifest({"cells": [{"id": "w"}]})
    run: LoadedRun = load_run(folder)
    (flag,) = run.flags.to_dict("records")
    assert (flag["measure"], flag["inner_steps"], flag["warning"]) == ("memory", 4, "busy")
