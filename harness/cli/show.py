"""`innerloop show RUN`"""

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of one in results/.")],
) -> int:
    """Print a run's results as tables."""
    from harness.which_run import find_run

    print_run(find_run(run))
    return 0


def print_run(folder: Path) -> None:
    """The tables of a run, on the terminal or, plainly, wherever the output goes."""
    import gc

    is_collecting = gc.isenabled()
    gc.disable()  # which takes a large run some of its two seconds, and finds little
    try:
        _print_run(folder)
    finally:
        if is_collecting:
            gc.enable()


def _print_run(folder: Path) -> None:
    import shutil
    from concurrent.futures import ThreadPoolExecutor

    from harness.rowfile import parse_rows
    from harness.store import RunFolder

    with ThreadPoolExecutor(1) as beside:
        parsing = beside.submit(parse_rows, RunFolder(folder))  # needs no interpreter: modules load meanwhile

        from rich.console import Console

        from harness.analyze.loaded import load_run
        from harness.present.tables.show import show_run

        run = load_run(RunFolder(folder), parsed=parsing.result())

    width = shutil.get_terminal_size((120, 40)).columns
    console = Console(width=width, emoji=False)
    for part in show_run(run):
        console.print(part)
