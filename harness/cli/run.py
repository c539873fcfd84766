"""`innerloop run SUITE`"""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import DataRoot, Device, Retry, Seeds, SuiteName
from harness.errors import UsageError, nearest
from harness.quantities import duration, size
from harness.rows import FAILURES

if TYPE_CHECKING:
    from harness.run import Result

ALL_OK, SOME_FAILED = 0, 3
RETRYABLE = tuple(sorted(FAILURES))


def run(
    suite: SuiteName,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Run this method (repeatable), with settings in brackets if you like: "
            "'imaml-gd[cg_steps=10]', or path/to/file.py:Class. Replaces the suite's list; +NAME adds to it.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key of the suite: inner_steps=1,2,4 (for every measure), accuracy.meta_steps=500.",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="memory|time|gradient|accuracy",
            help="Take only these of the suite (repeatable).",
        ),
    ] = None,
    seed: Seeds = None,
    device: Device = None,
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder; results/SUITE-ID by default.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Most time for one point, such as 10m.")
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="A virtual limit on live tensors, such as 12GiB; exact on any device."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Cells at once; as many as there are cores by default."),
    ] = None,
    retry: Retry = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show the plan; write nothing.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Start no cell after a failed one.")] = False,
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Most time between two checkpoints of a training, from which the same command goes on; "
            "writing them takes 2% of its time at most.",
        ),
    ] = "1m",
    keep_parameters: Annotated[
        bool,
        typer.Option(
            "--keep-parameters",
            help="Keep the meta-parameters of each training that is run, as cells/ID/meta_parameters.pt.",
        ),
    ] = False,
) -> int:
    """Run a suite, or what of it is missing: the same command again resumes."""
    from harness.cli.progress import watcher
    from harness.run import Options
    from harness.run import run as run_suite
    from harness.suite import Overrides

    seconds = duration("--checkpoint", checkpoint)
    assert seconds is not None
    options = Options(
        suite=suite,
        overrides=Overrides(
            tuple(method or ()), tuple(settings or ()), seeds(seed or []), device, _measures(measure or [])
        ),
        data_root=data_root,
        out=out,
        timeout_s=duration("--timeout", timeout),
        memory_budget=size("--memory-budget", memory_budget),
        jobs=jobs,
        retry=failures(retry or []),
        dry_run=dry_run,
        fail_fast=fail_fast,
        checkpoint_s=seconds,
        keep_parameters=keep_parameters,
    )
    with politely_killed(), watcher() as watching:
        result = run_suite(options, watching)
    if dry_run:
        for cell in result.plan.cells:
            typer.echo(f"  {cell.label}")
        return ALL_OK
    _present(result)
    return SOME_FAILED if result.statuses - {"ok", "skipped"} else ALL_OK


def _present(result: "Result") -> None:
    """Plots into the run folder, tables onto the screen."""
    from harness.cli.show import print_run
    from harness.store import RunFolder

    plots = RunFolder(result.folder).plots_path
    if result.ran or not plots.exists():
        from harness.analyze.loaded import load_run
        from harness.present.plots.draw import draw

        draw([load_run(result.folder)], plots)
    print_run(result.folder)
    kept = "Rows, tables and plots" if any(plots.glob("*")) else "Rows and tables"
    typer.echo(f"{kept} are in {result.folder}")


@contextlib.contextmanager
def politely_killed() -> Iterator[None]:
    """SIGTERM inside is an interruption like Ctrl-C: rows stay, workers go."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measures(texts: list[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(","))


def seeds(texts: list[str]) -> tuple[int, ...]:
    parts = [part.strip() for text in texts for part in text.split(",")]
    for part in parts:
        if not part.isdecimal():
            raise UsageError(f"--seed {part}: a seed is a whole number of 0 or more, such as --seed 0,1,2.")
    return tuple(map(int, parts))


def failures(texts: list[str]) -> frozenset[str]:
    """The statuses that `--retry` names."""
    wanted = {part.strip() for text in texts for part in text.split(",")}
    for status in wanted:
        if status not in (*RETRYABLE, "all"):
            raise UsageError(f"--retry {status}: {nearest(status, (*RETRYABLE, 'all'), 'the statuses')}")
    return frozenset(RETRYABLE if "all" in wanted else wanted)
