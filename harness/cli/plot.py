"""`innerloop plot RUN...`"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.analyze.loaded import LoadedRun
    from harness.present.plots.wanted import Wanted


def plot(
    runs: Annotated[list[str], typer.Argument(help="Run folders or names; several share their axes.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="A picture (accuracy, training, memory, time, gradient, ..., overview, pareto, "
            "memory-trace) or a metric of the rows (peak_bytes, step_seconds, ...); may be repeated. All by "
            "default.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", metavar="METHOD", help="Only this method; may be repeated."),
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", metavar="WORKLOAD", help="Only this workload; may be repeated."),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(metavar="x|y|xy|none", help="Logarithmic axes; by default as the values need."),
    ] = None,
    style: Annotated[
        str,
        typer.Option(
            metavar="STYLE",
            help="screen; paper: one column, 3.25 inches wide; paper-wide: both columns, 6.75 inches. "
            "Pictures for a paper have their caption in a text file beside them, not above.",
        ),
    ] = "screen",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="svg,pdf,png",
            help="May be repeated; by default svg and png, for a paper pdf.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to draw; by default the run's plots/, or ./plots for several."
        ),
    ] = None,
) -> int:
    """Draw accuracy, gradients, memory and time against inner steps."""
    from harness.analyze.loaded import load_run
    from harness.errors import UsageError
    from harness.present.plots.draw import draw_pictures, write_picture
    from harness.present.plots.scales import BY_DATA, LOGS
    from harness.present.plots.sheet import FORMATS
    from harness.present.plots.style import STYLES
    from harness.present.plots.wanted import (
        Wanted,
        methods_named,
        pictures_named,
        scores_named,
        workloads_named,
    )
    from harness.store import RunFolder
    from harness.which_run import find_run

    look = STYLES[_one_of("--style", style, list(STYLES))]
    logs = LOGS[_one_of("--log", log, list(LOGS))] if log is not None else BY_DATA
    words = [word.strip() for text in formats or () for word in text.split(",")]
    kinds = [_one_of("--format", word, FORMATS) for word in dict.fromkeys(words)]
    folders = list(dict.fromkeys(find_run(run) for run in runs))
    loaded = [load_run(folder) for folder in folders]
    wanted = Wanted(
        pictures=pictures_named(metric or (), loaded),
        scores=scores_named(metric or ()),
        methods=methods_named(method or (), loaded),
        workloads=workloads_named(workload or (), loaded),
        logs=logs,
    )
    target = out or (RunFolder(folders[0]).plots_path if len(folders) == 1 else Path("plots"))
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UsageError(
            f"--out {target} cannot be made a folder: {failure.strerror}; name another."
        ) from failure
    kinds = kinds or (["svg", "png"] if look.titles else ["pdf"])
    written, notes = 0, dict[str, None]()
    for drawn in draw_pictures(loaded, look, wanted):
        notes |= dict.fromkeys(drawn.notes)
        for path in write_picture(drawn, target, kinds, look):
            typer.echo(path)
            written += 1
    if not written:
        raise UsageError(f"{', '.join(map(str, folders))}: {_why_nothing(wanted, loaded)}")
    for note in notes:
        typer.echo(note, err=True)
    return 0


def _why_nothing(wanted: "Wanted", runs: "Sequence[LoadedRun]") -> str:
    """What was asked for, and where to look for why it is not there."""
    pictures = ", ".join(wanted.pictures)
    asked = f"nothing that {pictures} would show" if pictures else "no accuracy, gradient, memory or time"
    narrowed = " of these methods and workloads" if wanted.methods or wanted.workloads else ""
    measured = sorted({str(measure) for run in runs for measure in run.rows.measure.unique()})
    if any((run.rows.status != "ok").any() for run in runs):
        remedy = "`innerloop show` says what was skipped or failed, and why."
    else:
        remedy = f"measured were: {', '.join(measured) or 'no cells yet'}."
    return f"{asked}{narrowed} was measured, so there is nothing to plot; {remedy}"


def _one_of(option: str, word: str, known: Sequence[str]) -> str:
    from harness.errors import UsageError, nearest

    if word not in known:
        raise UsageError(f"{option} {word} is unknown; {nearest(word, known)}")
    return word
