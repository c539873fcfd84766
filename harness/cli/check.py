"""`innerloop check METHOD`"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import NothingSelected, UsageError
from harness.quantities import duration

if TYPE_CHECKING:
    from rich.table import Table

    from harness.executors.local import LocalExecutor
    from harness.protocol import MethodSpec
    from harness.verdicts import Finding

ALL_OK, GATE_FAILED = 0, 4
THREADS = 1  # as in suites that say nothing else
MARKS = {"ok": "ok", "failed": "NO", "skipped": "skipped"}


@dataclass
class Verdict:
    """What came of one method."""

    method: str
    findings: "list[Finding]" = field(default_factory=list)
    at: str = ""
    """The check at work."""

    missing: str | None = None
    """What to install, if nothing could be checked."""

    @property
    def failed(self) -> "list[Finding]":
        return [f for f in self.findings if f.status == "failed"]


def check(
    method: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD...",
            help="As in `innerloop run -m`: a name or path/to/file.py:Class, with settings in brackets.",
        ),
    ],
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Most time for one method.")] = "5m",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Hold methods against the contract and what they declare. Exit code 4 if a check fails."""
    import json

    from harness.executors.local import LocalExecutor
    from harness.protocol import MethodSpec
    from harness.settings import parse_spec

    seconds = duration("--timeout", timeout)
    specs = [MethodSpec(*parse_spec(text, text), where=text) for text in method]
    for spec in specs:
        if "inner_steps" in spec.settings:
            raise UsageError(f"{spec.where}: each check has inner steps of its own; leave 'inner_steps' out.")
    verdicts = []
    with LocalExecutor() as executor:
        for text, spec in zip(method, specs, strict=True):
            verdicts.append(_examine(executor, text, spec, seconds))
            if not as_json:
                _print(verdicts[-1])
    if as_json:
        typer.echo(json.dumps([_as_record(verdict) for verdict in verdicts], indent=2))
    if all(verdict.missing for verdict in verdicts):
        raise NothingSelected(f"nothing was checked: {'; '.join(str(v.missing) for v in verdicts)}.")
    return GATE_FAILED if any(verdict.failed for verdict in verdicts) else ALL_OK


def _examine(executor: "LocalExecutor", text: str, spec: "MethodSpec", timeout_s: float | None) -> Verdict:
    """Every finding on one method; one at which its process hangs or dies is a failed one, and the last."""
    from harness.executors.local import WorkerFailed
    from harness.protocol import Conformance, Progress
    from harness.verdicts import LOADS, Finding

    verdict = Verdict(text)

    def hear(message: Any) -> None:
        match message:
            case Progress(_, name):
                verdict.at = name
            case Finding():
                verdict.findings.append(message)

    try:
        verdict.missing = executor.ask(Conformance(spec, THREADS), timeout_s, hear).missing
    except WorkerFailed as failure:
        why = f"{failure} No later check was made."
        verdict.findings.append(Finding(verdict.at or LOADS, "", None, None, "", "failed", why))
    return verdict


def _as_record(verdict: Verdict) -> dict[str, Any]:
    import math
    from dataclasses import asdict, replace

    def plain(finding: "Finding") -> "Finding":
        """JSON has no word for what is not finite."""
        known = finding.figure is not None and math.isfinite(finding.figure)
        return finding if known else replace(finding, figure=None)

    return {
        "method": verdict.method,
        "passed": not verdict.failed and verdict.missing is None,
        "missing": verdict.missing,
        "checks": [asdict(plain(finding)) for finding in verdict.findings],
    }


def _print(verdict: Verdict) -> None:
    import shutil

    from rich.console import Console

    width = shutil.get_terminal_size((120, 40)).columns
    console = Console(width=width, highlight=False, markup=False, emoji=False)  # `mine.py:B:` is a name

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if verdict.missing is not None:
        say(f"{verdict.method}: skipped: {verdict.missing}")
        return
    say(verdict.method)
    console.print(_table(verdict.findings))
    for finding in verdict.failed:
        say(f"{finding.check}: {finding.note}")
    counts = {status: sum(f.status == status for f in verdict.findings) for status in MARKS}
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    if verdict.failed:
        say(f"{verdict.method} fails {counts['failed']} of {len(verdict.findings)} checks{skipped}.")
    else:
        say(f"{verdict.method} conforms: {counts['ok']} checks ok{skipped}.")


def _table(findings: "list[Finding]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("what was read")
    for name in ("figure", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for f in findings:
        what = f.note if f.status == "skipped" else f.what
        table.add_row(f.check, what, _figure(f.figure, f.unit), _figure(f.tolerance, f.unit), MARKS[f.status])
    return table


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if not value:
        return "0"
    return f"{value:,.0f} B" if unit == "byte" else f"{value:.2g}"
