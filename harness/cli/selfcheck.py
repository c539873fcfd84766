"""`innerloop selfcheck`"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from harness.verdicts import Check, Checks

ALL_OK, GATE_FAILED = 0, 4
THREADS = 1  # as in suites that say nothing else


def selfcheck(
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Whose instruments to check, beside the CPU's.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Hold every instrument against quantities that are known without it. Exit code 4 if one fails."""
    import json

    from harness.executors.local import LocalExecutor
    from harness.overrides import check_device
    from harness.protocol import SelfCheck

    check_device(device)
    with LocalExecutor() as executor:
        found: Checks = executor.ask(SelfCheck(device, THREADS))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    return GATE_FAILED if found.failed else ALL_OK


def _print(found: "Checks") -> None:
    import shutil

    from rich.console import Console

    console = Console(width=shutil.get_terminal_size((140, 40)).columns, highlight=False)
    console.print(_table(found.checks))
    for check in found.checks:
        if check.note:
            console.print(f"{check.instrument}: {check.note}", markup=False)
    if found.failed:
        names = ", ".join(dict.fromkeys(check.instrument for check in found.failed))
        console.print(f"Failed on {found.device}: {names}. Do not trust what it reads here.", markup=False)
    else:
        console.print(f"All instruments read what they should on {found.device}.", markup=False)


def _table(checks: "list[Check]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("instrument", no_wrap=True)
    table.add_column("known quantity")
    for name in ("expected", "read", "error", "tolerance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ok", no_wrap=True)
    for check in checks:
        table.add_row(
            check.instrument,
            check.quantity,
            _quantity(check.expected, check.unit),
            _quantity(check.read, check.unit),
            _error(check.error, check),
            _error(check.tolerance, check),
            {"ok": "yes", "failed": "NO", "skipped": "skipped"}[check.status],
        )
    return table


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} B" if unit == "byte" else f"{value:.4g} {unit}"


def _error(value: float | None, check: "Check") -> str:
    if value is None:
        return ""
    if not value:
        return "0"
    return f"{100 * value:.2g}%" if check.relative else f"{value:.2g} {check.unit}"
