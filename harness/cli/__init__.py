"""The command line: one small file a command. Nothing heavy loads before a command needs it."""

import sys


def main() -> None:
    """The console script `innerloop`."""
    from harness.cli.app import call

    sys.exit(call(sys.argv[1:]))
