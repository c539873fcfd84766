"""The exceptions that a user is meant to read."""

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do. Exit code 2."""


class NothingSelected(UsageError):
    """What was asked for is sound, but selects no work. Exit code 5."""


class BrokenAdapter(UsageError):
    """An adapter that cannot be a method as it is: its points are errors, with file and line.

    What is not there at all, a name or a path, is a plain UsageError: nothing can be meant by it.
    """


class LibraryMissing(Exception):
    """An adapter's library is absent, too old or broken: its points are skipped, with what to install."""


def nearest(word: str, known: Iterable[str], otherwise: str = "known") -> str:
    """The clause that ends an error about an unknown name: the nearest known one, or all of them.

    >>> nearest("imaml_gd", ["maml", "imaml-gd"])
    "did you mean 'imaml-gd'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"{otherwise} are: {', '.join(names)}."
