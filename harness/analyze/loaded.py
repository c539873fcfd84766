"""A run that was read: its rows, what is known of their origin, and what makes it doubtful, in words."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analyze.caveats import (
    about_defects,
    about_flags,
    about_instruments,
    about_machines,
    about_progress,
    about_schema,
    about_seeds,
    planned_cells,
)
from harness.analyze.documents import read_environment, read_manifest, read_selfchecks
from harness.analyze.gradient import gradient_summary
from harness.analyze.points import POINT
from harness.analyze.summary import accuracy_summary, failures, memory_summary, time_summary
from harness.analyze.training import learning_curves
from harness.frame import with_settings
from harness.rowfile import Parsed, read_rows
from harness.store import RunFolder
from harness.which_run import find_run

if TYPE_CHECKING:
    from harness.analyze.accuracy.difference import Difference
    from harness.analyze.claims import Claim
    from harness.analyze.comparison.compare import Comparison
    from harness.analyze.published.beside import Beside
    from harness.analyze.scaling.crossings import Crossing
    from harness.analyze.scaling.growth import Scaling


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LoadedRun:
    """What `load_run` returns. `rows` is the truth, everything else is made of it on first use.

    rows: one line an observation, see `harness.frame.load_frame`.
    manifest, environment, selfchecks: the run folder's files; empty where they were never written.
    caveats: what a reader must know before any figure, a sentence each: what is wrong with the folder, and
        what makes figures doubtful; empty for a sound and finished run of several seeds without flags.
    cells_planned: None where the manifest does not say.
    """

    path: Path
    rows: pd.DataFrame
    manifest: dict[str, Any]
    environment: dict[str, Any]
    selfchecks: list[dict[str, Any]]
    caveats: tuple[str, ...] = ()
    cells_planned: int | None = None
    cells_finished: int = 0

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def command(self) -> str:
        """What made the rows, and resumes or repeats the run; empty where the manifest does not say."""
        return str(self.manifest.get("command", ""))

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """See `harness.analyze.summary.accuracy_summary`."""
        return accuracy_summary(self.rows)

    @cached_property
    def gradient(self) -> pd.DataFrame:
        """See `harness.analyze.gradient.gradient_summary`."""
        return gradient_summary(self.rows)

    @cached_property
    def memory(self) -> pd.DataFrame:
        """See `harness.analyze.summary.memory_summary`."""
        return memory_summary(self.rows)

    @cached_property
    def time(self) -> pd.DataFrame:
        """See `harness.analyze.summary.time_summary`."""
        return time_summary(self.rows)

    @cached_property
    def failures(self) -> pd.DataFrame:
        """See `harness.analyze.summary.failures`."""
        return failures(self.rows)

    @cached_property
    def flags(self) -> pd.DataFrame:
        """What the instruments warn of: a line a warning, the point that it is about, and its seed."""
        flags = self.rows[self.rows.metric == "flag"].rename(columns={"detail": "warning"})
        return flags[["measure", *POINT, "seed", "warning"]].reset_index(drop=True)

    @cached_property
    def learning_curves(self) -> pd.DataFrame:
        """Scores on validation tasks over meta-steps, see `harness.analyze.training.learning_curves`."""
        return learning_curves(self.rows)

    @property
    def source(self) -> str:
        """Whose protocol and settings the suite says that these are; empty where it does not."""
        return str(self.manifest.get("content", {}).get("source", ""))

    @property
    def deviations(self) -> tuple[str, ...]:
        """In what the suite says that it departs from the protocol that it repeats, a sentence each."""
        named = self.manifest.get("content", {}).get("deviations", ())
        return tuple(each for each in named if isinstance(each, str)) if isinstance(named, list) else ()

    def accuracy_differences(self) -> "list[Difference]":
        """Who is more accurate, by how much, and how sure that is: pairs of methods, by episode and seed."""
        from harness.analyze.accuracy.differences import accuracy_differences

        return accuracy_differences(self)

    def published(self) -> "list[Beside]":
        """The paper's accuracies beside these, where a workload has any."""
        from harness.analyze.published.beside import published_comparison

        return published_comparison(self)

    def pareto(self) -> pd.DataFrame:
        """Which points no other beats on every axis, see `harness.analyze.pareto.pareto_points`."""
        from harness.analyze.pareto import pareto_points

        return pareto_points(self)

    def scaling(self) -> "list[Scaling]":
        """How memory, then time, grow with inner steps: a + b * steps^p, a line a method and workload."""
        from harness.analyze.scaling.laws import scaling_fits

        return [*scaling_fits(self.memory), *scaling_fits(self.time, self.rows)]

    def crossings(self) -> "list[Crossing]":
        """From how many inner steps on one method takes less than another, of memory and of time."""
        from harness.analyze.scaling.crossings import crossings

        return crossings(self.rows)

    def costs(self) -> pd.DataFrame:
        """Gradients and Hessian products beside measured seconds, see `harness.analyze.cost.costs`."""
        from harness.analyze.cost import costs

        return costs(self.rows, self.time)

    def claims(self) -> "list[Claim]":
        """What these rows say to each claim of the paper."""
        from harness.analyze.claims import claims

        return claims([self])

    def compare(self, other: "LoadedRun") -> "Comparison":
        """What is different in `other`, with intervals: this run is the base."""
        from harness.analyze.comparison.compare import compare

        return compare([self, other])[0]

    def __repr__(self) -> str:
        """In a notebook: which run, what it measured, and its caveats."""
        measures = ", ".join(sorted(self.rows.measure.unique())) or "nothing measured"
        of_plan = "" if self.cells_planned is None else f" of {self.cells_planned:,}"
        facts = f"{self.cells_finished:,}{of_plan} cells, {len(self.rows):,} rows: {measures}"
        return "\n  ".join([f"LoadedRun {self.path}: {facts}", *self.caveats])


def load_run(path: Path | str | RunFolder, *, parsed: Parsed | None = None) -> LoadedRun:
    """Read a run folder, finished or not, whole or damaged: a path, or a name as the command line takes it.

    parsed: its rows, where `parse_rows` was at work on them already.

    What is missing or cannot be read is said in `caveats`, and the rest is there. Raises UsageError for a
    folder that is no run.
    """
    folder = path if isinstance(path, RunFolder) else RunFolder(find_run(str(path)))
    file = read_rows(folder, parsed)
    manifest, about_manifest = read_manifest(folder.manifest_path)
    environment, about_environment = read_environment(folder.environment_path)
    selfchecks, about_selfchecks = read_selfchecks(folder.selfcheck_path)
    planned = planned_cells(manifest)
    finished = file.cells - file.interrupted
    if planned is not None:
        finished &= planned
    rows = file.rows
    if planned is not None and not file.cells <= planned:
        rows = rows[rows.cell_id.isin(planned)]
    caveats = [
        *about_schema(manifest, environment),
        *about_manifest,
        *about_environment,
        *about_selfchecks,
        *about_progress(planned, file),
        *about_defects(file.defects),
        *about_machines(selfchecks, finished),
        *about_instruments(selfchecks),
        *about_seeds(rows),
        *about_flags(rows),
    ]
    return LoadedRun(
        path=folder.path,
        rows=with_settings(rows),
        manifest=manifest,
        environment=environment,
        selfchecks=selfchecks,
        caveats=tuple(caveats),
        cells_planned=None if planned is None else len(planned),
        cells_finished=len(finished),
    )
