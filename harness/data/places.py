"""Where data lies: one rule for every command."""

import os
from pathlib import Path

from harness.errors import UsageError

VARIABLE = "INNERLOOP_DATA"


def find_data_root(given: str | Path | None = None) -> Path:
    """The folder of `--data-root` if it is given, else of INNERLOOP_DATA, else the user's own data folder.

    That is `innerloop` in XDG_DATA_HOME, or in ~/.local/share. It need not exist. Raises UsageError.
    """
    try:
        if given is not None and str(given):
            return Path(given).expanduser()
        if named := os.environ.get(VARIABLE):
            return Path(named).expanduser()
        shared = os.environ.get("XDG_DATA_HOME", "")
        if Path(shared).is_absolute():  # its specification says to ignore any other
            return Path(shared) / "innerloop"
        return Path.home() / ".local" / "share" / "innerloop"
    except RuntimeError as failure:  # of a home folder that is not known
        raise UsageError(
            f"the folder for data cannot be told ({failure}); name one with --data-root or {VARIABLE}."
        ) from failure
