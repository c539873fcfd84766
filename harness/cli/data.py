"""`innerloop data list|fetch|verify|bench`"""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.data_bench import bench
from harness.cli.options import DataRoot
from harness.errors import NothingSelected, UsageError

ALL_OK, GATE_FAILED = 0, 4

app = typer.Typer(
    name="data",
    help="Datasets: what exists, where it lies, how to get it, whether it is sound.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_data(data_root: DataRoot = None) -> int:
    """List the datasets: what they hold, how large they are, and where they lie or how to get them."""
    from harness.data.catalogue import ALL_RUNS, DATASETS
    from harness.data.places import find_data_root
    from harness.data.verify import look_for, look_for_more_runs
    from harness.workloads.mini_imagenet_copy import look_for_copy

    root = find_data_root(data_root)
    typer.echo(f"data root: {root}{'' if root.exists() else ' (not there yet)'}")
    for dataset in DATASETS:
        typer.echo(f"\n{dataset.name}: {dataset.what}")
        for archive in dataset.archives:
            found = look_for(archive, root)
            typer.echo(f"  {archive.file}, {megabytes(archive.size)}, {archive.contents}")
            if archive is ALL_RUNS:
                try:
                    for place, count in look_for_more_runs(root).items():
                        typer.echo(f"    {count} runs at {place}")
                except UsageError as failure:  # what cannot be read is no reason to tell nothing
                    typer.echo(f"    {failure}")
            where = f"at {found.path}" if found else f"get it with `innerloop data fetch {dataset.name}`"
            typer.echo(f"    {where}")
        if dataset.forms:
            copy = look_for_copy(root)
            typer.echo(f"  at {copy.path}" if copy else f"  {dataset.forms}")
    return ALL_OK


@app.command("fetch")
def fetch_data(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of datasets, or of archives.")],
    data_root: DataRoot = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL|PATH",
            help="Another address with the archives as published, or a local copy of them: zips or folders.",
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long to bear with a server that sends nothing.")
    ] = "30s",
) -> int:
    """Get datasets into the data root. What was cut goes on, and only what is as published gets its name."""
    from harness.cli.fetching import display
    from harness.data.catalogue import ADDRESS, choose
    from harness.data.download import Patience
    from harness.data.fetch import fetch, take_in
    from harness.data.places import find_data_root
    from harness.quantities import duration

    root = find_data_root(data_root)
    seconds = duration("--timeout", timeout)
    assert seconds is not None
    archives = choose(names)
    base = ADDRESS if source is None else source
    with display() as shown:
        for archive in archives:
            if "://" in base:
                is_new = fetch(archive, root, shown.hear, base, Patience(timeout_s=seconds))
            else:
                is_new = take_in(archive, root, Path(base).expanduser())
            shown.ended(archive, is_new)
    typer.echo(f"{'All are' if len(archives) > 1 else 'It is'} in {root}")
    return ALL_OK


@app.command("verify")
def verify_data(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Of datasets, or of archives; all that is there by default."
        ),
    ] = None,
    data_root: DataRoot = None,
) -> int:
    """Check what is in the data root: checksums of zips, and every image decoded and counted. Exit code 4
    if something is wrong."""
    from harness.data.places import find_data_root
    from harness.data.verify import verify_all

    root = find_data_root(data_root)
    verdicts = []
    for verdict in verify_all(root, names or ()):
        typer.echo(verdict.sentence)
        verdicts.append(verdict)
    if not verdicts:
        raise NothingSelected(
            f"{root} holds no dataset; get one with `innerloop data fetch NAME`, or name another folder with "
            "--data-root."
        )
    return ALL_OK if all(verdict.sound for verdict in verdicts) else GATE_FAILED


app.command("bench")(bench)


def megabytes(size: float) -> str:
    """`9.5 MB`"""
    return f"{size / 1e6:.1f} MB"
