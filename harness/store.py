"""The run folder: rows that survive a crash, a manifest, and the tables derived from them.

Only the standard library is loaded here; pandas is imported by the functions that build frames.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.errors import UsageError, nearest
from harness.files import dumps, read_json, replace_file, sync_folder, write_all
from harness.rows import FAILURES, SCHEMA, Contents, Row, closed_by, read_lines

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("results")
CHECKPOINT = "checkpoint"  # of a training, in its cell's folder, until its rows are safe
PARAMETERS = "meta_parameters.pt"  # those that were selected, where they are to stay
MAY_GO_ON = frozenset({"interrupted", "timeout", "oom", "error"})
"""Ends of a cell after which the same command, or `--retry`, takes its training up where it was."""


class StoreError(Exception):
    """The run folder could not be written: one sentence for the user. Exit code 1."""


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """How the last attempt of a cell ended."""

    cell_id: str
    attempt: int
    statuses: frozenset[str]  # of all its rows
    headline_statuses: frozenset[str]  # of the rows that `--retry` looks at

    @property
    def failed(self) -> bool:
        return bool(self.headline_statuses & FAILURES)

    @property
    def interrupted(self) -> bool:
        """An interrupted cell counts as missing: a resume runs it again as attempt + 1."""
        return "interrupted" in self.statuses

    @property
    def may_go_on(self) -> bool:
        return bool(self.headline_statuses & MAY_GO_ON)


class RunFolder:
    """`results/<suite>-<plan id>/`. One process writes (see `lock`), anyone reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_path = path / "rows.jsonl"
        self.manifest_path = path / "manifest.json"
        self.environment_path = path / "environment.json"
        self.selfcheck_path = path / "selfcheck.json"
        self.lock_path = path / ".lock"
        self.cells_path = path / "cells"
        self.tables_path = path / "tables"
        self.plots_path = path / "plots"
        self.parquet_path = path / "rows.parquet"
        self._tail_is_clean = False

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """Make the folder, or take up a run that is there; a folder of something else is refused."""
        folder = cls(Path(path))
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise UsageError(
                f"{path} cannot be made a run folder ({failure.strerror}); name another with --out."
            ) from failure
        others = [p for p in folder.path.iterdir() if not p.name.endswith(".tmp")]
        if others and not folder.is_run() and not folder.lock_path.exists():
            raise UsageError(f"{path} is not empty and is no run folder; give --out a new folder.")
        return folder

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """A run that exists. Raises UsageError for anything else."""
        folder = cls(Path(path))
        if folder.is_run():
            return folder
        if not folder.path.exists():
            beside = [p.name for p in folder.path.parent.glob("*") if cls(p).is_run()]
            remedy = nearest(folder.path.name, beside, f"runs in {folder.path.parent}/") if beside else ""
            remedy = remedy or "name the folder of a run, which holds its manifest.json."
            raise UsageError(f"{path} is not there; {remedy}")
        if not folder.path.is_dir():
            raise UsageError(f"{path} is a file; name the folder of a run, such as the one that it is in.")
        runs = sorted(p.name for p in folder.path.iterdir() if p.is_dir() and cls(p).is_run())
        inside = f" It holds runs: name one of {', '.join(runs)}." if runs else ""
        raise UsageError(f"{path} is not a run folder: it has no manifest.json.{inside}")

    def is_run(self) -> bool:
        """False for a folder that may not be entered, so that it is in nobody's way."""
        try:
            return self.manifest_path.is_file() or self.rows_path.is_file()
        except PermissionError:
            return False

    def cell_folder(self, cell_id: str) -> Path:
        """The cell's own folder (log, per-task values), made on first use."""
        path = self.cells_path / cell_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def drop_checkpoint(self, cell_id: str) -> None:
        """Of a training whose rows are safe, or that would come to the same end again."""
        (self.cells_path / cell_id / CHECKPOINT).unlink(missing_ok=True)

    # Writing

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. Raises UsageError naming the process that has it."""
        import fcntl  # POSIX only; reading a run works elsewhere too

        try:
            handle = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as failure:
            raise UsageError(
                f"{self.path} cannot be written ({failure.strerror}); name another folder with --out."
            ) from failure
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
                who = f"process {holder}" if holder else "another process"
                raise UsageError(f"{self.path} is in use by {who}; wait for it or use --out.") from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(handle, 0)
        finally:
            os.close(handle)  # which releases the lock; the file stays, for removing it would race

    def recover(self) -> int:
        """Cut what follows the last closed cell: a torn line, an unclosed cell. Returns the bytes cut."""
        for where in (".*.tmp", "tables/.*.tmp", "cells/*/.*.tmp"):
            for leftover in self.path.glob(where):
                leftover.unlink(missing_ok=True)
        self._tail_is_clean = True
        if not self.rows_path.exists():
            return 0
        end = position = 0
        with self.rows_path.open("r+b") as file:
            for line in file:
                position += len(line)
                if closed_by(line) is not None:
                    end = position
            if position > end:
                file.truncate(end)
                os.fsync(file.fileno())
        return position - end

    def append_cell(self, cell_id: str, attempt: int, rows: Iterable[Row]) -> None:
        """Write the rows of a cell and its closing line, all or nothing, durably. Raises StoreError."""
        rows = list(rows)
        if any((row.cell_id, row.attempt) != (cell_id, attempt) for row in rows):
            raise ValueError(f"rows of another cell or attempt were given to cell {cell_id}")
        closing = dumps({"cell_done": cell_id, "attempt": attempt}, sort_keys=False)
        data = "".join(f"{line}\n" for line in (*(row.to_json() for row in rows), closing)).encode()
        if not self._tail_is_clean:
            self.recover()
        is_new = not self.rows_path.exists()
        try:
            handle = os.open(self.rows_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as failure:
            raise self._refusal(self.rows_path, failure) from failure
        try:
            before = os.fstat(handle).st_size
            self._tail_is_clean = False
            try:
                write_all(handle, data)
                os.fsync(handle)
            except BaseException as failure:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, before)
                    os.fsync(handle)
                    self._tail_is_clean = True
                if isinstance(failure, OSError):
                    raise self._refusal(self.rows_path, failure) from failure
                raise
            self._tail_is_clean = True
        finally:
            os.close(handle)
        if is_new:
            sync_folder(self.path)

    def write_samples(self, cell_id: str, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """A table beside the cell's log: per-task values, memory traces."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        replace_file(self.cell_folder(cell_id) / f"{name}.csv", text.getvalue())

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        self._write_json(self.manifest_path, {"schema": SCHEMA} | manifest)

    def write_environment(self, environment: dict[str, Any]) -> None:
        self._write_json(self.environment_path, environment)

    def add_selfcheck(self, found: dict[str, Any]) -> None:
        """Keep a selfcheck after those before it: each stands for the cells that were run after it."""
        self._write_json(self.selfcheck_path, [*self.selfchecks(), found])

    def _write_json(self, path: Path, content: Any) -> None:
        try:
            replace_file(path, dumps(content, sort_keys=False, indent=2) + "\n")
        except OSError as failure:
            raise self._refusal(path, failure) from failure

    def _refusal(self, path: Path, failure: OSError) -> StoreError:
        return StoreError(
            f"{path} could not be written ({failure.strerror}); what was finished is kept: "
            "make room and issue the same command again to resume."
        )

    # Reading

    def manifest(self) -> dict[str, Any]:
        return read_json(self.manifest_path)

    def environment(self) -> dict[str, Any]:
        """What the machine was; empty where it was never written."""
        return read_json(self.environment_path) if self.environment_path.exists() else {}

    def selfchecks(self) -> list[dict[str, Any]]:
        """How the instruments did each time that the run was at work, and before which cells; newest last."""
        found = read_json(self.selfcheck_path) if self.selfcheck_path.exists() else []
        return found if isinstance(found, list) else [found]  # once it was the last of them alone

    def finished(self) -> dict[str, CellRecord]:
        """The last attempt of each closed cell, in the order of closing, whichever plan it was made for.

        Interrupted cells are here too, for their attempt number: ask `.interrupted`.
        """
        return {
            cell_id: CellRecord(
                cell_id=cell_id,
                attempt=attempt,
                statuses=frozenset(row.status for row in rows),
                headline_statuses=frozenset(row.status for row in rows if row.is_headline),
            )
            for cell_id, (attempt, rows) in self.contents().cells.items()
        }

    def rows(self) -> list[Row]:
        """The rows of the last attempt of each closed cell."""
        return [row for _, rows in self.contents().cells.values() for row in rows]

    def contents(self) -> Contents:
        """`rows.jsonl`, line by line; `harness.rowfile` reads a large one faster, to the same end."""
        if not self.rows_path.exists():
            return read_lines(())
        with self.rows_path.open("rb") as file:
            return read_lines(file)

    def derive_tables(self, frame: "pd.DataFrame | None" = None) -> list[Path]:
        """Rebuild `rows.parquet` and one tidy `tables/<measure>.csv` a measure from the rows (or `frame`)."""
        from harness.frame import load_frame

        frame = load_frame(self.path) if frame is None else frame
        self.tables_path.mkdir(exist_ok=True)
        contents = {self.parquet_path: frame.to_parquet(index=False)}
        for measure, part in frame.groupby("measure", sort=True):
            table = part.dropna(axis="columns", how="all").to_csv(index=False, lineterminator="\n")
            contents[self.tables_path / f"{measure}.csv"] = table.encode()
        try:
            for path, content in contents.items():
                replace_file(path, content)
        except OSError as failure:
            raise self._refusal(path, failure) from failure
        return list(contents)
