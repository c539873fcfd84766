"""`innerloop list suites|methods|workloads`"""

from typing import Annotated

import typer

from harness.errors import UsageError, nearest

THINGS = ("suites", "methods", "workloads")


def list_things(
    what: Annotated[str, typer.Argument(metavar="suites|methods|workloads", help="What to list.")],
) -> int:
    """List what there is, with settings and their defaults."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    if what not in THINGS:
        raise UsageError(f"list {what}: {nearest(what, THINGS, 'things to list')}")
    console = Console(soft_wrap=False)
    for name, summary, settings in _suites() if what == "suites" else _from_worker(what):
        console.print(Text(name, style="bold"))
        for line in filter(None, (summary, settings)):
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))
    return 0


def _suites() -> list[tuple[str, str, str]]:
    from harness.suite import Overrides, load_suite, suite_names

    entries = []
    for name in suite_names():
        suite = load_suite(name, Overrides())
        what = f"{', '.join(s.name for s in suite.methods)}: {', '.join(suite.measures)}"
        entries.append((name, suite.content.title, what))
    return entries


def _from_worker(what: str) -> list[tuple[str, str, str]]:
    """Methods and workloads live in modules that need torch, which the parent never loads."""
    from harness.executors.local import LocalExecutor

    with LocalExecutor() as executor:
        return executor.ask(what).entries  # type: ignore[arg-type]
