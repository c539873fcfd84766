"""A run that was read: its rows, what is known of their origin, and what is wrong with it, in words."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analyze.gradient import gradient_summary
from harness.analyze.summary import accuracy_summary, memory_summary, time_summary
from harness.frame import load_frame
from harness.store import RunFolder


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedRun:
    """What `load_run` returns. `rows` is the truth, everything else is made of it on first use.

    rows: one line an observation, see `harness.frame.load_frame`.
    manifest, environment, selfchecks: the run folder's files; empty where they were never written.
    caveats: what a reader must know before any figure, a sentence each; empty for a sound and finished run.
    """

    path: Path
    rows: pd.DataFrame
    manifest: dict[str, Any]
    environment: dict[str, Any]
    selfchecks: list[dict[str, Any]]
    caveats: tuple[str, ...] = ()

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


def load_run(path: Path | str | RunFolder) -> LoadedRun:
    """Read a run folder, finished or not. Raises UsageError for a folder that is no run."""
    folder = path if isinstance(path, RunFolder) else RunFolder.open(path)
    manifest = folder.manifest() if folder.manifest_path.exists() else {}
    planned = {cell["id"] for cell in manifest.get("cells", [])}
    missing = planned - {c.cell_id for c in folder.finished().values() if not c.interrupted}
    caveats = []
    if missing:
        caveats.append(f"{len(missing)} of {len(planned)} cells have not finished.")
    if failed := folder.failed_instruments():
        caveats.append(f"Failed their selfcheck before cells of this run: {', '.join(failed)}.")
    return LoadedRun(
        path=folder.path,
        rows=load_frame(folder),
        manifest=manifest,
        environment=folder.environment(),
        selfchecks=folder.selfchecks(),
        caveats=tuple(caveats),
    )
