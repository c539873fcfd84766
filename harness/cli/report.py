"""`innerloop report RUN...`"""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[str], typer.Argument(help="Run folders or names; several share one page.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to write; by default report.html in the run's folder, or here for several.",
        ),
    ] = None,
) -> int:
    """Write one HTML file that says what was found, with pictures, tables, protocol and environment."""
    from harness.analyze.loaded import load_run
    from harness.errors import UsageError
    from harness.present.report import write_report
    from harness.which_run import find_run

    folders = list(dict.fromkeys(find_run(run) for run in runs))
    target = out or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    loaded = [load_run(folder) for folder in folders]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_report(loaded, target)
    except OSError as failure:
        raise UsageError(
            f"{target} cannot be written: {failure.strerror}; name another with --out."
        ) from failure
    typer.echo(target)
    return 0
