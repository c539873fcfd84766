"""`innerloop tune SUITE`"""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataRoot, Device, Retry, Seeds, SuiteName
from harness.quantities import duration

ALL_OK, SOME_FAILED = 0, 3


def tune(
    suite: SuiteName,
    budget: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Trials of each method; the first is its setting in the suite."
        ),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", metavar="NAME", help="Tune this method (repeatable), as in `run`."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key of the suite for the trials: accuracy.meta_steps=300, seeds=0,1.",
        ),
    ] = None,
    seed: Seeds = None,
    search_seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the proposals.")] = 0,
    device: Device = None,
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder; results/tune-SUITE-ID by default.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Most time for one trial, such as 10m.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Trials at once; as many as there are cores by default."),
    ] = None,
    retry: Retry = None,
) -> int:
    """Search every method's settings with equally many trials, on validation tasks; write the winning suite.

    The same command again resumes.
    """
    from harness.cli.progress import watcher
    from harness.cli.run import failures, politely_killed, seeds
    from harness.cli.show import print_run
    from harness.run import Options
    from harness.suite import Overrides
    from harness.tune import tune as search

    options = Options(
        suite=suite,
        overrides=Overrides(tuple(method or ()), tuple(settings or ()), seeds(seed or []), device),
        data_root=data_root,
        out=out,
        timeout_s=duration("--timeout", timeout),
        jobs=jobs,
        retry=failures(retry or []),
    )
    with politely_killed(), watcher() as watching:
        tuned = search(options, budget, search_seed, watching)
    print_run(tuned.folder)
    if without := [search.label for search in tuned.searches if search.best is None]:
        typer.echo(f"No trial of {', '.join(without)} came to a score: its settings stay as they were.")
    typer.echo(f"Rows are in {tuned.folder}, the suite with the best settings is {tuned.suite_file}")
    return SOME_FAILED if any(trial.score is None for s in tuned.searches for trial in s.trials) else ALL_OK
