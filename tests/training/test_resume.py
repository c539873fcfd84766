"""A training whose process dies at any moment comes to the same end as one that was never disturbed."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Notes, carrying, rows_of, run_here, start, until

from harness.executors.local import Ended, LocalExecutor, Worker
from harness.plan import make_plan
from harness.protocol import Cell, Keeping, Launch
from harness.store import CHECKPOINT, RunFolder
from harness.suite import Overrides, load_suite
from harness.training.checkpoint import pack, unpack

CLOCKS = ("train_seconds", "meta_steps_per_second")
EAGER = ("EagerMAML", "EagerReptile", "Noisy")
SUITE = """workloads = ["sinusoid"]
inner_steps = [2]
device = "cpu"
[methods]
{methods}
[accuracy]
meta_steps = {steps}
meta_batch_size = 2
validate_every = 7
validation_tasks = 5
test_tasks = 5
{more}
"""


def write_suite(folder: Path, *names: str, steps: int = 40, more: str = "") -> Path:
    """A suite of adapters of `eager.py`, which is copied beside it."""
    shutil.copy(Path(__file__).with_name("eager.py"), folder / "eager.py")
    methods = "\n".join(f'"eager.py:{name}" = {{}}' for name in names)
    path = folder / "suite.toml"
    path.write_text(SUITE.format(methods=methods, steps=steps, more=more))
    return path


@dataclass
class End:
    """What a training came to: all its rows but the clocks, its tasks' scores, its parameters."""

    readings: dict[tuple[str, int], Any]
    tasks: dict[str, list[Any]]
    parameters: dict[str, torch.Tensor]
    resumed: str

    def assert_equals(self, other: "End") -> None:
        assert self.readings == other.readings
        assert self.tasks == other.tasks
        assert self.parameters.keys() == other.parameters.keys()
        for name, p in self.parameters.items():
            assert p.view(torch.int32).tolist() == other.parameters[name].view(torch.int32).tolist()


class Cells:
    """Cells of a real plan, run one process after another."""

    def __init__(self, executor: LocalExecutor, folder: Path) -> None:
        self.executor = executor
        self.folder = folder
        suite = load_suite(str(write_suite(folder, *EAGER)), Overrides())
        plan = make_plan(suite, executor.ask(suite.request(None)), data_root=None, memory_budget=None)
        self.of = {cell.points[0].method.name: cell for cell in plan.cells}

    def start(self, cell: Cell, place: Path) -> Worker:
        place.mkdir(exist_ok=True)
        keeping = Keeping(str(place / CHECKPOINT), 0.0, str(place / "parameters.pt"))
        return self.executor.start(Launch(cell, keeping=keeping), place / "log", None)

    def end_of(self, worker: Worker) -> Ended:
        while True:
            for who, event in self.executor.wait(10.0):
                if who is worker and isinstance(event, Ended):
                    return event

    def run(self, cell: Cell, place: Path) -> End:
        """To the end, from where it is."""
        worker = self.start(cell, place)
        end = self.end_of(worker)
        assert end.how == "done", (end, (place / "log").read_text())
        assert {r.status for r in worker.readings} == {"ok"}, (place / "log").read_text()
        return End(
            {(r.metric, r.repeat): r for r in worker.readings if r.metric not in CLOCKS},
            worker.samples[0].columns,
            torch.load(place / "parameters.pt", weights_only=True),
            next(r.detail for r in worker.readings if r.metric == "train_seconds"),
        )


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    with LocalExecutor() as executor:
        yield Cells(executor, tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def undisturbed(cells: Cells) -> dict[str, End]:
    return {name: cells.run(cell, cells.folder / name) for name, cell in cells.of.items()}


@pytest.mark.parametrize("name", ["eager-maml", "eager-reptile", "noisy"])
def test_killed_at_random_moments_a_training_ends_bit_for_bit_as_if_it_had_not_been(
    cells: Cells, undisturbed: dict[str, End], tmp_path: Path, name: str
) -> None:
    """Adam; an annealed rate; and an adapter that draws from every global generator. A checkpoint follows
    each meta-step, so that many a kill comes while one is written."""
    draw = random.Random(name)
    checkpoint = tmp_path / CHECKPOINT
    kills = 0
    while kills < 6:
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        worker = cells.start(cells.of[name], tmp_path)

        def moved(before: int = before, worker: Worker = worker) -> bool:
            """By a meta-step, or to its end, where the last meta-step was the one before the last kill."""
            if not worker.process.is_alive():
                return True
            return checkpoint.exists() and checkpoint.stat().st_mtime_ns != before

        until(moved, "the training gets on")
        time.sleep(draw.uniform(0.0, 0.05))
        with contextlib.suppress(ProcessLookupError):  # it has come to its end meanwhile
            os.kill(worker.process.pid or 0, signal.SIGKILL)
        how = cells.end_of(worker).how
        if how == "done":
            break  # a machine so fast has been disturbed enough
        assert how == "killed"
        kills += 1
    end = cells.run(cells.of[name], tmp_path)
    assert kills >= 2
    assert end.resumed.count(",") >= 1  # gone on from several meta-steps
    end.assert_equals(undisturbed[name])


@pytest.mark.parametrize("where", ["half-written", "not-synced", "not-renamed", "renamed"])
def test_killed_while_a_checkpoint_is_written_it_goes_on_from_the_last_whole_one(
    cells: Cells, undisturbed: dict[str, End], tmp_path: Path, where: str
) -> None:
    (cells.folder / "bomb").write_text(f"{where} 5")
    assert cells.end_of(cells.start(cells.of["noisy"], tmp_path)).how == "killed"
    assert not (cells.folder / "bomb").exists()
    end = cells.run(cells.of["noisy"], tmp_path)
    whole = 5 if where == "renamed" else 4
    assert f"gone on from a checkpoint at meta-step {whole}," in end.resumed
    end.assert_equals(undisturbed["noisy"])
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda content: content[: len(content) // 2], "it is damaged"),
        (lambda content: content.replace(b'"cell": "', b'"cell": "0', 1), "it is of the cell 0"),
        (lambda content: b"", "it does not begin as a checkpoint does"),
    ],
    ids=["torn", "foreign", "empty"],
)
def test_a_checkpoint_of_no_use_is_told_in_the_log_and_the_training_starts_anew(
    cells: Cells, undisturbed: dict[str, End], tmp_path: Path, spoil: Any, told: str
) -> None:
    content = (cells.folder / "noisy" / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(spoil(content))
    end = cells.run(cells.of["noisy"], tmp_path)
    log = (tmp_path / "log").read_text()
    assert f"{told}" in log
    assert "the training starts anew" in log
    assert "gone on" not in end.resumed
    end.assert_equals(undisturbed["noisy"])


def test_a_state_that_does_not_fit_is_told_and_leaves_no_trace(
    cells: Cells, undisturbed: dict[str, End], tmp_path: Path
) -> None:
    """Its last parameter is lacking: the others were restored before that was seen."""
    cell = cells.of["noisy"]
    state = unpack(cell.id, (cells.folder / "noisy" / CHECKPOINT).read_bytes())
    state["learner"]["meta"].popitem()
    (tmp_path / CHECKPOINT).write_bytes(pack(cell.id, state))
    end = cells.run(cell, tmp_path)
    assert "its state does not fit (KeyError: 'layer2.bias')" in (tmp_path / "log").read_text()
    end.assert_equals(undisturbed["noisy"])


def test_a_training_that_had_ended_when_it_was_killed_is_only_tested(
    cells: Cells, undisturbed: dict[str, End], tmp_path: Path
) -> None:
    """Also one that patience had ended: it takes no further meta-step."""
    for patience in (None, 1):
        place = tmp_path / str(patience)
        settings = cells.of["noisy"].settings.model_copy(update={"patience": patience})
        cell = replace(cells.of["noisy"], settings=settings)
        first = cells.run(cell, place)
        assert (place / CHECKPOINT).exists()  # as where the parent was killed before the rows were closed
        again = cells.run(cell, place)
        again.assert_equals(first)
        steps = int(first.resumed.split()[0])
        assert steps == 40 if patience is None else steps < 40
        assert f"gone on from a checkpoint at meta-step {steps}," in again.resumed


# --- whole runs -------------------------------------------------------------------------------------------


def ends(folder: Path) -> dict[tuple[str, str, int], tuple[float | None, str]]:
    return {
        (r.method, r.metric, r.repeat): (r.value, r.detail) for r in rows_of(folder) if r.metric not in CLOCKS
    }


def resumptions(folder: Path) -> list[str]:
    return [r.detail for r in rows_of(folder) if r.metric == "train_seconds" and "gone on" in r.detail]


def test_a_run_that_is_killed_with_all_its_processes_goes_on_at_the_same_command(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "EagerReptile", "Noisy", steps=150)
    run_here(suite, tmp_path / "undisturbed", jobs=1, checkpoint_s=0.001)
    out, draw = tmp_path / "run", random.Random(6)
    mark = f"trained-{os.getpid()}-{tmp_path.name}"
    for _ in range(2):
        seen = {p: p.stat().st_mtime_ns for p in out.glob(f"cells/*/{CHECKPOINT}")}
        arguments = ["run", str(suite), "--out", str(out), "--jobs", "2", "--checkpoint", "0.001s"]
        parent = start(arguments, mark, tmp_path, start_new_session=True)

        def moved(seen: dict[Path, int] = seen) -> bool:
            now = {p: p.stat().st_mtime_ns for p in out.glob(f"cells/*/{CHECKPOINT}")}
            return any(seen.get(path) != when for path, when in now.items())

        until(moved, "a training gets on")
        time.sleep(draw.uniform(0.0, 0.1))
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()
        until(lambda: not carrying(mark), "all its processes are gone", 30)
    result = run_here(suite, out, jobs=1, checkpoint_s=0.001)
    assert result.statuses == {"ok"}
    assert resumptions(out)
    assert ends(out) == ends(tmp_path / "undisturbed")
    assert not list(out.glob(f"cells/*/{CHECKPOINT}"))
    assert not list(out.glob("cells/*/.*.tmp"))


def test_an_interrupted_run_and_a_training_out_of_time_go_on_from_their_checkpoints(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "Noisy", steps=30)
    out = tmp_path / "run"
    slow = [f"{tmp_path / 'eager.py'}:Noisy[pause_s=0.1]"]
    run_here(suite, tmp_path / "undisturbed", methods=slow)

    def interrupt(workers: list[Worker]) -> None:
        if any(worker.fraction > 0.2 for worker in workers):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(suite, out, cut := Notes(interrupt), methods=slow, checkpoint_s=0.001)
    assert cut.outcomes[0].seconds > 0.6  # of six meta-steps
    (kept,) = out.glob(f"cells/*/{CHECKPOINT}")
    assert [r.status for r in rows_of(out)] == ["interrupted"]
    attempts, said = 0, set[str]()
    heard = Notes(lambda workers: said.update(worker.note for worker in workers))
    while run_here(
        suite, out, heard, methods=slow, checkpoint_s=0.001, timeout_s=1.5, retry=frozenset({"timeout"})
    ).statuses != {"ok"}:
        attempts += 1
        assert {r.status for r in rows_of(out)} == {"timeout"}
        assert kept.exists()
        assert attempts < 20
    assert attempts >= 1
    assert ends(out) == ends(tmp_path / "undisturbed")
    (told,) = resumptions(out)
    assert told.count(",") >= 2
    assert any("; gone on from meta-step " in note for note in said)
    assert not kept.exists()


def test_the_checkpoint_of_a_training_that_diverged_or_is_done_does_not_stay(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "EagerMAML", steps=10)
    path = f"{tmp_path / 'eager.py'}:EagerMAML"
    out = tmp_path / "run"
    run_here(suite, out, checkpoint_s=0.001, methods=[path, f"{path}[inner_lr=30.0,outer.lr=1e4]"])
    assert sorted(r.status for r in rows_of(out) if r.metric == "loss") == ["diverged", "ok"]
    assert not list(out.glob(f"cells/*/{CHECKPOINT}"))
    (done,) = [r.cell_id for r in rows_of(out) if (r.metric, r.status) == ("loss", "ok")]
    left = RunFolder(out).cell_folder(done) / CHECKPOINT  # as of a call that was killed after the rows
    left.write_bytes(b"left")
    run_here(suite, out, methods=[path, f"{path}[inner_lr=30.0,outer.lr=1e4]"])
    assert not left.exists()


def test_the_selected_meta_parameters_stay_where_that_is_asked_for(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "EagerMAML", steps=5)
    run_here(suite, tmp_path / "without")
    assert not list(tmp_path.glob("without/cells/*/meta_parameters.pt"))
    run_here(suite, tmp_path / "with", keep_parameters=True)
    (path,) = tmp_path.glob("with/cells/*/meta_parameters.pt")
    kept = torch.load(path, weights_only=True)
    assert {name: p.dtype for name, p in kept.items()} == dict.fromkeys(
        [f"layer{i}.{part}" for i in range(3) for part in ("weight", "bias")], torch.float32
    )
