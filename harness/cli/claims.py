"""`innerloop claims RUN...`"""

from typing import Annotated

import typer


def claims(
    runs: Annotated[list[str], typer.Argument(help="Run folders or names; each claim looks at all.")],
) -> int:
    """Hold the paper's claims against runs: reproduced, not reproduced or not measured, and why."""
    import shutil

    from rich.console import Console

    from harness.analyze.claims import claims as judge
    from harness.analyze.loaded import load_run
    from harness.present.tables.claims import claim_sections
    from harness.which_run import find_run

    loaded = [load_run(folder) for folder in dict.fromkeys(find_run(run) for run in runs)]
    width = shutil.get_terminal_size((80, 40)).columns
    console = Console(width=width, emoji=False, highlight=False)
    for run in loaded:
        for caveat in run.caveats:
            console.print(f"{run.name}: {caveat}", markup=False)
        if run.source:
            console.print(f"{run.name} has protocol and settings after {run.source}.", markup=False)
        for deviation in run.deviations:
            console.print(f"{run.name} deviates, as its suite says: {deviation}", markup=False)
    for part in claim_sections(judge(loaded), width):
        console.print(part)
    return 0
