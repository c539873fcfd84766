"""What failed and what is doubted, as tables, and what a reader must know before any figure."""

from harness.analyze.loaded import LoadedRun
from harness.present.report.blocks import Table
from harness.present.report.cells import count, numeric_columns, text
from harness.present.tables.caveats import flag_lines
from harness.present.words import listed


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
    """Of each run: cut short, failed selfcheck; failed and flagged points; what rests on a single seed."""
    said = []
    for run, loaded in runs.items():
        who = f"{run}: " if len(runs) > 1 else ""
        said += [who + caveat for caveat in loaded.caveats]
        rows = loaded.rows
        if rows.empty:
            said.append(f"{who}No cell of the plan has finished yet.")
            continue
        said += [who + sentence for sentence in _about_rows(loaded)]
    return said


def _about_rows(run: LoadedRun) -> list[str]:
    said = []
    rows, failed = run.rows, run.failures
    failed = failed[~failed.status.isin(("skipped",))]
    if len(failed):
        counted = failed.groupby("status", sort=False).size()
        kinds = listed([f"{number} {status}" for status, number in counted.items()])
        said.append(f"Some points have no value ({kinds}); they are crosses in the pictures, see Failures.")
    flags = rows[rows.metric == "flag"]
    if len(flags):
        points = flags[["measure", "workload", "method_label", "inner_steps"]].drop_duplicates()
        said.append(
            f"The instruments warn of {len(points):,} point{'' if len(points) == 1 else 's'}, see Flags. "
            "Pictures ring them; a warning that all points of a run share there is in the caption instead."
        )
    trained = rows[(rows.measure == "accuracy") & rows.value.notna()]
    seeds = trained.groupby("workload").seed.nunique()
    if len(seeds) and seeds.min() == 1:
        said.append(
            "Accuracy rests on a single seed: its intervals are over test tasks, and the spread between "
            "training runs, which is often larger, is not in them."
        )
    return said
