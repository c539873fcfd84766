"""`innerloop plot RUN...`"""

from pathlib import Path
from typing import Annotated

import typer


def plot(
    runs: Annotated[list[str], typer.Argument(help="Run folders or names; several are overlaid.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to draw; by default the run's plots/, or ./plots for several."
        ),
    ] = None,
) -> int:
    """Draw accuracy, gradients, memory and time against inner steps, as SVG and PNG."""
    from harness.cli.runs import find_run
    from harness.errors import UsageError
    from harness.present.plots import draw
    from harness.store import RunFolder

    folders = list(dict.fromkeys(find_run(run) for run in runs))
    target = out or (RunFolder(folders[0]).plots_path if len(folders) == 1 else Path("plots"))
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UsageError(
            f"--out {target} cannot be made a folder: {failure.strerror}; name another."
        ) from failure
    written = draw(folders, target)
    if not written:
        raise UsageError(
            f"{', '.join(map(str, folders))}: no accuracy, gradient, memory or time was measured, "
            "so there is nothing to plot; `innerloop show` says what was skipped and why."
        )
    for path in written:
        typer.echo(path)
    return 0
