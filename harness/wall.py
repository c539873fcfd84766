"""The walls of a suite: for every method the largest number of inner steps that fits a memory budget."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from harness.errors import UsageError
from harness.executors.local import LocalExecutor, WorkerFailed
from harness.measure_settings import MemorySettings, Profile
from harness.plan import make_plan
from harness.protocol import Cell, Progress, Resolved, Search, Wall
from harness.run import default_jobs, resolve
from harness.suite import Overrides, Suite, load_suite


@dataclass(frozen=True)
class WallOptions:
    """What the command line says of a search."""

    suite: str
    overrides: Overrides
    memory_budget: int | None
    profile: Profile
    up_to: int
    patience_s: float
    verify: bool | None = None
    """None: where there is a CUDA device to run on."""

    data_root: str | None = None
    jobs: int | None = None


@dataclass(frozen=True)
class Found:
    """The wall of one method on one workload."""

    cell: Cell
    label: str
    """The method's name, with the settings that tell it from its variants."""

    wall: Wall
    budget: int


def find_walls(
    options: WallOptions, preparing: Callable[[Progress], None] = lambda progress: None
) -> Generator[Found, None, None]:
    """One a workload and method of the suite's memory measure, in its order. `preparing` is told how far data
    is that has to be decoded first. Raises UsageError."""
    suite = load_suite(options.suite, options.overrides)
    if not isinstance(suite.measures.get("memory"), MemorySettings):
        raise UsageError(f"{options.suite} does not measure memory; add a table [memory] to it.")
    budget = suite.memory_budget if options.memory_budget is None else options.memory_budget
    if budget is None:
        raise UsageError("a wall needs a budget; give one, such as --memory-budget 12GiB.")
    with LocalExecutor() as executor:
        resolved = resolve(executor, suite.request(options.data_root, budget), preparing)
        cells = _one_a_method(suite, resolved, options.data_root, budget)
        verify = resolved.device != "cpu" if options.verify is None else options.verify
        searches = [
            Search(cell, budget, options.profile, options.up_to, options.patience_s, verify) for cell in cells
        ]
        pool = ThreadPoolExecutor(options.jobs or default_jobs(suite, resolved))
        try:
            walls = pool.map(partial(_search, executor), searches)
            for cell, label, wall in zip(cells, _labels(cells), walls, strict=True):
                yield Found(cell, label, wall, budget)
        finally:
            # Not `with pool`, which would wait for searches that an interruption means to end: leaving the
            # executor ends those.
            pool.shutdown(wait=False, cancel_futures=True)


def _search(executor: LocalExecutor, search: Search) -> Wall:
    """One method's wall. One that cannot be searched says why, and the others go on."""
    method = search.cell.points[0].method
    if absent := method.missing or method.broken:
        return Wall(note=absent.removesuffix("."))
    try:
        return executor.ask(search)
    except (UsageError, WorkerFailed) as failure:
        return Wall(note=str(failure).removesuffix("."))


def _one_a_method(suite: Suite, resolved: Resolved, data_root: str | None, budget: int) -> list[Cell]:
    """The first memory cell of each workload and method: seeds and inner steps are not asked about."""
    plan = make_plan(suite, resolved, data_root=data_root, memory_budget=budget)
    first: dict[tuple[str, str, str], Cell] = {}
    for cell in plan.cells:
        if cell.measure == "memory":
            method = cell.points[0].method
            first.setdefault((cell.workload.label, method.name, str(method.settings)), cell)
    return list(first.values())


def _labels(cells: list[Cell]) -> list[str]:
    import pandas as pd

    from harness.frame import label_methods

    methods = [cell.points[0].method for cell in cells]
    frame = pd.DataFrame(
        {
            "method": [m.name for m in methods],
            "workload": [cell.workload.label for cell in cells],
            "measure": "memory",
            "settings": [str(m.settings) for m in methods],
        }
    )
    return list(label_methods(frame, {str(m.settings): m.settings for m in methods}))
