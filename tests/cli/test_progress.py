import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from runs import ok_readings, resolve, write_suite

from harness.cli.bars import Bars
from harness.cli.progress import OVERHEAD_STEPS, Estimate, Plain, clock, headline
from harness.executors.local import Worker
from harness.plan import Plan, make_plan
from harness.protocol import Cell, Launch, Progress, Reading
from harness.run import Outcome
from harness.suite import Overrides, load_suite

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    suite = load_suite(str(write_suite(tmp_path)), Overrides())
    return make_plan(suite, resolve(suite), data_root=None, memory_budget=None)


def cell(plan: Plan, measure: str, method: str = "maml", inner_steps: int = 1) -> Cell:
    return next(
        c
        for c in plan.cells
        if c.measure == measure
        and (c.points[0].method.name, c.points[0].inner_steps) == (method, inner_steps)
    )


def at_work(cell: Cell, since_s: float, fraction: float) -> Worker:
    worker = Worker(Launch(cell), None, None, None, 0)  # type: ignore[arg-type]
    worker.started = time.monotonic() - since_s
    worker.fraction = fraction
    return worker


# --- the estimate -----------------------------------------------------------------------------------------


def test_nothing_is_said_before_something_is_known(plan: Plan) -> None:
    estimate = Estimate(jobs=1)
    estimate.waiting = {c.id: c for c in plan.cells}
    assert estimate.of(plan.cells[0]) is None
    assert estimate.left([]) == ""
    estimate.learn(cell(plan, "memory"), 5.0)
    assert estimate.left([]).startswith("over ")  # nothing is known of accuracy yet


def test_a_cell_takes_as_long_as_its_kin_by_inner_steps(plan: Plan) -> None:
    estimate = Estimate(jobs=1)
    estimate.learn(cell(plan, "memory", "maml", 1), float(OVERHEAD_STEPS + 1))
    assert estimate.of(cell(plan, "memory", "maml", 2)) == pytest.approx(OVERHEAD_STEPS + 2)
    # Another method has no kin closer than the measure, until one of its own has ended.
    assert estimate.of(cell(plan, "memory", "fomaml", 2)) == pytest.approx(OVERHEAD_STEPS + 2)
    estimate.learn(cell(plan, "memory", "fomaml", 1), 3.0 * (OVERHEAD_STEPS + 1))
    assert estimate.of(cell(plan, "memory", "fomaml", 2)) == pytest.approx(3.0 * (OVERHEAD_STEPS + 2))
    assert estimate.of(cell(plan, "memory", "maml", 2)) == pytest.approx(OVERHEAD_STEPS + 2)


def test_jobs_share_the_rest_but_for_time(plan: Plan) -> None:
    estimate = Estimate(jobs=2)
    for measure in ("memory", "time"):
        estimate.learn(cell(plan, measure), 10.0)
    estimate.waiting = {c.id: c for c in (cell(plan, "memory"), cell(plan, "time"))}
    assert estimate.left([]) == "15s left"


def test_a_cell_at_work_tells_by_its_own_progress_more_the_further_it_is(plan: Plan) -> None:
    estimate = Estimate(jobs=1)
    assert estimate.left_of(at_work(cell(plan, "accuracy"), 3.0, 0.0)) is None
    assert estimate.left_of(at_work(cell(plan, "accuracy"), 3.0, 0.25)) == pytest.approx(9.0, abs=0.1)
    estimate.learn(cell(plan, "accuracy"), 8.0)
    worker = at_work(cell(plan, "accuracy"), 3.0, 0.25)
    assert estimate.left_of(worker) == pytest.approx(0.25 * 12 + 0.75 * 8 - 3, abs=0.1)
    assert estimate.left_of(at_work(cell(plan, "accuracy"), 100.0, 0.0)) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.2, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (185, "3m 05s"), (7500, "2h 05m")],
)
def test_a_clock_is_read_at_a_glance(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


# --- lines ------------------------------------------------------------------------------------------------


def test_a_line_says_what_a_cell_found(plan: Plan) -> None:
    def said(measure: str, *readings: Reading) -> str:
        return headline(Outcome(cell(plan, measure), list(readings), {}, 1.0))

    assert said("memory", Reading(0, "peak_bytes", 2**21, "byte")) == "peak 2.0 MiB"
    loss = Reading(0, "loss", 0.5, "loss"), Reading(0, "loss_ci95", 0.25, "loss")
    assert said("accuracy", *loss) == "loss 0.500 ±0.250"
    calm = Reading(0, "competing_cores", None, "core", status="skipped", detail="no /proc/stat")
    assert said("time", *ok_readings(cell(plan, "time")), calm) == "4 steps timed, 4 points"
    oom = Reading(0, "peak_bytes", None, "", status="oom", detail="too large")
    assert said("memory", oom) == "oom: too large"
    failed = [Reading(i, "step_seconds", None, "", status="error", detail="no luck") for i in (1, 3)]
    assert said("time", *failed) == "maml 2 error: no luck (and 1 of its points more)"
    skipped = Reading(0, "loss", None, "", status="skipped", detail="install 'x'")
    assert said("accuracy", skipped) == "skipped: install 'x'"


def test_plain_lines_count_the_cells_and_tell_the_time_left(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Plain()
    todo = [cell(plan, "memory", "maml", 1), cell(plan, "memory", "maml", 2)]
    watcher.planned(plan, Path("results/tiny"), todo, 1)
    for each in todo:
        watcher.started(each)
        if each is todo[0]:
            watcher.estimate.waiting = {todo[1].id: todo[1]}
        watcher.ended(Outcome(each, ok_readings(each), {}, 5.0 * (OVERHEAD_STEPS + 1)))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "tiny: 2 of 10 cells to run, 8 finished before, 1 at once, into results/tiny",
        "[1/2] memory sinusoid maml 1 seed 0: peak 0.0 MiB (25s, 30s left)",
        "[2/2] memory sinusoid maml 2 seed 0: peak 0.0 MiB (25s)",
    ]


def test_a_cell_that_takes_long_has_a_plain_line_a_minute(
    plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watcher = Plain()
    watcher.planned(plan, Path("x"), list(plan.cells), 2)
    long, short = (at_work(cell(plan, "accuracy", name), 0.0, 0.5) for name in ("maml", "fomaml"))
    long.note, long.end = "meta-step 3 of 6, validation loss 0.812", now + 300
    capsys.readouterr()
    for now in (1059.0, 1060.0, 1061.0, 1119.0, 1125.0):
        watcher.progressed([long, short] if now < 1060 else [long])
    assert capsys.readouterr().out.splitlines() == [
        "  accuracy sinusoid maml 1 seed 0: meta-step 3 of 6, validation loss 0.812, 4m 00s left",
        "  accuracy sinusoid maml 1 seed 0: meta-step 3 of 6, validation loss 0.812, 2m 55s left",
    ]


def test_what_comes_before_the_first_cell_is_told_where_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watcher = Plain()
    for second in range(25):
        now = 1000.0 + second
        watcher.preparing(Progress(second / 25, f"{second} of 25 classes decoded"))
    assert capsys.readouterr().out.splitlines() == [
        "preparing the data: 10 of 25 classes decoded",
        "preparing the data: 20 of 25 classes decoded",
    ]


def test_what_a_cell_says_of_its_own_time_left_is_believed(plan: Plan) -> None:
    """A training that goes on from a checkpoint begins at half its way: its fraction tells no time."""
    estimate = Estimate(jobs=1)
    worker = at_work(cell(plan, "accuracy"), 1.0, 0.5)
    assert estimate.left_of(worker) == pytest.approx(1.0, abs=0.1)
    worker.end = time.monotonic() + 100
    assert estimate.left_of(worker) == pytest.approx(100, abs=1)


def test_a_cell_that_needed_no_process_tells_nothing_of_the_others(plan: Plan) -> None:
    watcher = Plain()
    watcher.planned(plan, Path("x"), list(plan.cells), 1)
    skipped = Reading(0, "peak_bytes", None, "", status="skipped", detail="install 'x'")
    watcher.ended(Outcome(plan.cells[0], [skipped], {}, 0.0))
    assert watcher.estimate.of(plan.cells[1]) is None


def test_an_interrupted_cell_tells_how_long_it_was_at_work_and_nothing_of_the_others(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Plain()
    watcher.planned(plan, Path("x"), list(plan.cells), 1)
    watcher.estimate.learn(plan.cells[0], 5.0)
    known = watcher.estimate.of(plan.cells[1])
    detail = "the run was interrupted"
    cut = Reading(0, plan.cells[0].headline, None, "", status="interrupted", detail=detail)
    watcher.ended(Outcome(plan.cells[0], [cut], {}, 3.0))
    assert watcher.estimate.of(plan.cells[1]) == known
    assert capsys.readouterr().out.endswith("interrupted: the run was interrupted (3s)\n")


# --- on a terminal ----------------------------------------------------------------------------------------


def run_on_a_terminal(arguments: list[str], cwd: Path) -> tuple[int, str]:
    """Exit code and all that a pseudo-terminal of 160 columns was sent."""
    master, slave = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"},
    )
    os.close(slave)
    sent = b""
    while True:
        if not select.select([master], [], [], 60)[0]:
            process.kill()
            raise AssertionError("silence for a minute")
        try:
            part = os.read(master, 65536)
        except OSError:  # how Linux tells that the other side has closed
            break
        if not part:
            break
        sent += part
    os.close(master)
    return process.wait(30), sent.decode()


def screen(sent: str) -> list[str]:
    """The lines that stay, by the few controls that rich uses: CR, cursor up, erase line."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", sent):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
        elif token.startswith("\x1b"):
            count = int(re.sub(r"\D", "", token) or 1)
            if token.endswith("A"):
                row = max(0, row - count)
            elif token.endswith("K"):
                lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + len(token) :]
            column += len(token)
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def test_the_bar_of_a_search_is_as_long_as_each_of_its_trials(plan: Plan) -> None:
    """Of a trial that was done in part before, less is left than of the next."""
    with Bars() as bars:
        for todo in (plan.cells[:1], plan.cells[:5]):
            bars.planned(plan, Path("x"), list(todo), 1)
            for each in todo:
                bars.started(each)
                bars.ended(Outcome(each, ok_readings(each), [], 1.0))
            (whole,) = (task for task in bars.progress.tasks if task.id == bars.whole)
            assert (whole.completed, whole.total) == (len(todo), len(todo))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_on_a_narrow_terminal_the_note_gives_way_and_the_time_left_stays(width: int) -> None:
    bars = Bars()
    note = "meta-step 860 of 4000, validation accuracy 0.568 (best 0.570 at 800), 1.67 meta-steps/s"
    bars.progress.add_task("accuracy omniglot imaml-gd 16 seed 0", left="41m 36s left", note=note)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(bars.progress.make_tasks_table(bars.progress.tasks))
    (line,) = console.export_text().splitlines()
    assert line.startswith("accuracy omniglot imaml-gd 16 seed 0 ")
    assert " 41m 36s left" in line
    assert note in line or line.rstrip().endswith("…")


def test_a_terminal_shows_bars_with_the_time_left_and_ends_clean(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, measures=["memory"], methods="maml = {}", inner_steps="[1, 2, 3]")
    code, sent = run_on_a_terminal(["run", str(suite), "--out", "run", "--jobs", "1"], tmp_path)
    assert code == 0
    seen = ESCAPE.sub("", sent)
    assert "━" in seen
    assert re.search(r"run .*\ds left .*[12] of 3 cells", seen)
    assert sent.count("\x1b[?25h") == sent.count("\x1b[?25l") == 1  # the cursor is hidden, and shown again
    stays = screen(sent)
    assert "━" not in "".join(stays)  # the bars are gone
    found = [line for line in stays if line.startswith("memory sinusoid maml")]
    assert len(found) == 3
    assert all(re.fullmatch(r"memory sinusoid maml \d seed 0: peak \d\.\d MiB", line) for line in found)
    assert stays[0] == "tiny: 3 of 3 cells to run, 1 at once, into run"
    assert any(line.startswith("Rows, tables and plots are in run") for line in stays)
