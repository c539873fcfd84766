"""All commands under one name, and what becomes of errors: one sentence and an exit code."""

import sys
import traceback
from collections.abc import Sequence

import typer
import typer.main

from harness import __version__
from harness.cli import (
    check,
    claims,
    compare,
    data,
    env,
    listing,
    new,
    plot,
    report,
    run,
    selfcheck,
    show,
    tune,
    wall,
)
from harness.errors import NothingSelected, UsageError
from harness.store import StoreError

OK, HARNESS_FAILED, BAD_USAGE, NOTHING_SELECTED, INTERRUPTED = 0, 1, 2, 5, 130

app = typer.Typer(
    name="innerloop",
    help="Benchmark and compare gradient-based meta-learning: accuracy, memory and time against inner steps.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("list")(listing.list_things)
app.command("show")(show.show)
app.command("compare")(compare.compare)
app.command("plot")(plot.plot)
app.command("report")(report.report)
app.command("claims")(claims.claims)
app.command("env")(env.env)
app.command("selfcheck")(selfcheck.selfcheck)
app.command("wall")(wall.wall)
app.command("tune")(tune.tune)
app.command("check")(check.check)
app.command("new")(new.new)
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"innerloop {__version__}")
        raise typer.Exit(OK)


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. May stand anywhere."),
) -> None:
    """Options of every command."""


def call(arguments: Sequence[str]) -> int:
    """Run one command line. Returns its exit code."""
    debug = "--debug" in arguments
    command = typer.main.get_command(app)
    try:
        # Not `command.main`: it turns an interruption and a broken pipe into exits of its own.
        with command.make_context("innerloop", [a for a in arguments if a != "--debug"]) as context:
            code = command.invoke(context)
        sys.stdout.flush()  # here, where a reader that went away is understood
        return code if isinstance(code, int) else OK
    except KeyboardInterrupt as stop:
        # Most commands are resumed; one that is not says so itself.
        kept = "interrupted; what was finished is kept: issue the same command again to go on."
        return _say(str(stop) or kept, INTERRUPTED)
    except (BrokenPipeError, SystemExit):
        # The reader went away, as `innerloop show RUN | head` does (rich exits then); nothing is wrong.
        sys.stdout = None
        return OK
    except Exception as failure:
        if debug:
            traceback.print_exc()
        if isinstance(failure, typer.Exit):
            return failure.exit_code
        if isinstance(failure, NothingSelected):
            return _say(str(failure), NOTHING_SELECTED)
        if isinstance(failure, UsageError):
            return _say(str(failure), BAD_USAGE)
        from harness.data.download import FetchFailed
        from harness.executors.local import WorkerFailed  # not above: it loads what --help needs not

        if isinstance(failure, StoreError | WorkerFailed | FetchFailed):
            return _say(str(failure), HARNESS_FAILED)
        if hasattr(failure, "format_message") and hasattr(failure, "exit_code"):  # of the option parser
            if type(failure).__name__ == "NoArgsIsHelpError":
                print(failure.format_message())
                return BAD_USAGE
            at = getattr(failure, "ctx", None)
            usage = at.command_path if at else "innerloop"
            return _say(f"{failure.format_message().rstrip('.')}; see {usage} --help.", failure.exit_code)
        if isinstance(failure, OSError) and failure.strerror:
            where = f"{failure.filename}: " if failure.filename else ""
            _drop_what_cannot_be_printed()
            return _say(
                f"{where}{failure.strerror}; mend that and issue the same command again.", HARNESS_FAILED
            )
        hint = "" if debug else "; run it again with --debug for the traceback"
        return _say(f"{type(failure).__name__}: {failure}{hint}.", HARNESS_FAILED)


def _drop_what_cannot_be_printed() -> None:
    """Or Python, at its end, tries again, complains in words of its own and ends with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None


def _say(sentence: str, code: int) -> int:
    print(f"innerloop: {sentence}", file=sys.stderr)
    return code
