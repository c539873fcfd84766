"""What failed and what is doubted, as tables, and what a reader must know before any figure."""

from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed
from harness.present.report.blocks import Table
from harness.present.report.cells import count, numeric_columns, text
from harness.present.tables.caveats import flag_lines


def failure_table(runs: dict[str, LoadedRun]) -> Table:
    """Points that failed for one reason share a line."""
    several = len(runs) > 1
    keys = ["measure", "workload", "method_label", "status", "reason"]
    lines = []
    for run, loaded in runs.items():
        for key, part in loaded.failures.groupby(keys, sort=False):
            measure, workload, label, status, reason = map(str, key)
            steps = ", ".join(f"{int(step):,}" for step in sorted(part.inner_steps.unique()))
            rows = count(part["count"].sum())
            where = (*([text(run)] if several else []), text(measure), text(steps))
            lines.append((text(label), *where, text(status), rows, text(reason), text(workload)))
    places = (*(["run"] if several else []), "measure", "inner steps")
    columns = ("method", *places, "status", "rows", "reason", "workload")
    return Table(
        caption="Failed and skipped points", columns=columns, lines=lines, numeric=numeric_columns(lines)
    )


def flag_table(runs: dict[str, LoadedRun]) -> Table:
    several = len(runs) > 1
    lines = []
    for run, loaded in runs.items():
        for line in flag_lines(loaded.rows).to_dict("records"):
            cells = [text(line[name]) for name in ("methods", "measure", "inner steps", "seeds", "warning")]
            lines.append((*cells[:1], *([text(run)] if several else []), *cells[1:], text(line["workload"])))
    places = (*(["run"] if several else []), "measure", "inner steps", "seeds")
    columns = ("methods", *places, "warning", "workload")
    return Table(caption="Flags: read these numbers with care", columns=columns, lines=lines)


def caveats_of(runs: dict[str, LoadedRun]) -> list[str]:
    """What each run says of itself, and which points have no value."""
    said = []
    for run, loaded in runs.items():
        who = f"{run}: " if len(runs) > 1 else ""
        said += [who + caveat for caveat in loaded.caveats]
        if loaded.rows.empty:
            said.append(f"{who}No cell of the plan has finished yet.")
        elif lost := _lost(loaded):
            said.append(who + lost)
    return said


def _lost(run: LoadedRun) -> str:
    failed = run.failures[run.failures.status != "skipped"]
    counted = failed.groupby("status", sort=False).size()
    kinds = listed([f"{number} {status}" for status, number in counted.items()])
    return (
        f"Some points have no value ({kinds}); they are crosses in the pictures, see Failures."
        if kinds
        else ""
    )
