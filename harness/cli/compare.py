"""`innerloop compare A B...`"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.analyze.comparison.compare import Comparison
    from harness.analyze.loaded import LoadedRun

PASSED, GATE_FAILED = 0, 4


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Two or more run folders or names: A, the base, then B and so on."
        ),
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GATE",
            help="METRIC>AMOUNT or METRIC<AMOUNT, such as 'peak_bytes>5%', 'step_seconds>15%' or "
            "'accuracy<-1points'; exit code 4 unless it passes. Repeatable.",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="M=N",
            help="Hold method M of A against method N of the others, and nothing else. Repeatable.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also show what is equal or too weak to call.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write differences.csv and the overlaid curves here."),
    ] = None,
) -> int:
    """Hold runs against the first: memory exactly, time and accuracy with intervals.

    Points are matched by workload, method and inner steps; settings that differ are named, and what only one
    run has is listed. Times are called on one kind of machine only: between runs they are unpaired, with a
    95% interval over blocks; ratios within each run (relative_seconds) cross machines.

    A gate holds over the points that both runs planned. Bytes, errors and counts fail beyond its amount, in %
    of A or in a unit (MiB, ms). Times and accuracies (in points) fail where the estimate is beyond it and the
    interval excludes that nothing changed, and pass where that of all points together ends before it. A gate
    that is undecided between them, or has nothing to decide on, has not passed: exit code 4 too.
    """
    from harness.analyze.comparison.gates import parse_gate
    from harness.which_run import find_run

    gates = [parse_gate(text) for text in fail_on or ()]
    mapped = [_pair(text) for text in pairs or ()]
    if len(runs) < 2:
        raise UsageError("compare takes two runs or more; name another, or the same one twice.")
    folders = [find_run(run) for run in runs]

    import shutil

    from rich.console import Console

    from harness.analyze.comparison.compare import compare as compare_runs
    from harness.analyze.comparison.gates import judge
    from harness.analyze.loaded import LoadedRun, load_run
    from harness.present.tables.comparison import comparison_parts, gate_parts

    known: dict[Path, LoadedRun] = {folder: load_run(folder) for folder in dict.fromkeys(folders)}
    compared = compare_runs([known[folder] for folder in folders], mapped)
    console = Console(width=shutil.get_terminal_size((120, 40)).columns, emoji=False, highlight=False)
    for part in comparison_parts(compared, every=every):
        console.print(part)
    judged = judge(gates, compared)
    for part in gate_parts(judged):
        console.print(part)
    if out is not None:
        for path in _write(out, [known[folder] for folder in folders], compared):
            typer.echo(path)
    return PASSED if all(each.outcome == "passed" for each in judged) else GATE_FAILED


def _pair(text: str) -> tuple[str, str]:
    """`maml=maml@higher`; a label may hold `=` in its brackets."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "=" and depth == 0 and text[:i].strip() and text[i + 1 :].strip():
            return text[:i].strip(), text[i + 1 :].strip()
    raise UsageError(f"--map {text}: write two methods, such as --map maml=maml@higher.")


def _write(out: Path, runs: "Sequence[LoadedRun]", compared: "Sequence[Comparison]") -> list[Path]:
    from harness.files import replace_file
    from harness.present.plots.draw import draw
    from harness.present.tables.comparison import differences_frame

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UsageError(
            f"--out {out} cannot be made a folder: {failure.strerror}; name another."
        ) from failure
    table = out / "differences.csv"
    replace_file(table, differences_frame(compared).to_csv(index=False, lineterminator="\n"))
    return [table, *draw(runs, out)]
