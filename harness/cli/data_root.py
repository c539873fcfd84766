"""The option `--data-root`, the same for all commands that read data."""

from typing import Annotated

import typer

from harness.data.places import VARIABLE, find_data_root


def _resolve(given: str | None) -> str:
    return str(find_data_root(given))


DataRoot = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        callback=_resolve,
        help=f"Folder with datasets; by default that of {VARIABLE}, else `innerloop` in your data folder.",
    ),
]
"""A folder's name, which need not exist; only where no command line is parsed None."""
