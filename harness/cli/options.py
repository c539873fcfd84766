"""Options and arguments that several commands share."""

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

SuiteName = Annotated[str, typer.Argument(help="Name of a suite, or path of its TOML file.")]

Seeds = Annotated[
    list[str] | None, typer.Option("--seed", metavar="N[,N...]", help="Seeds, instead of the suite's.")
]

Device = Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")]

Retry = Annotated[
    list[str] | None,
    typer.Option(
        metavar="oom|timeout|diverged|error|all", help="Run cells again that failed so (repeatable)."
    ),
]
