"""Lists and numbers of things, as sentences have them."""

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """`maml, fomaml and reptile`"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, thing: str) -> str:
    """`1 seed`, `3 seeds`, `1,000 seeds`"""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
