"""One colour and one marker a method, the same in every picture and report."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Okabe & Ito (2008) for the five that are compared most, Paul Tol's "muted" for the rest: both can be told
# apart with any common colour blindness, and in grey by the markers. Kin share a hue: blue differentiates
# through the loop, red solves the implicit equation.
METHODS: dict[str, tuple[str, str]] = {
    "maml": ("#0072B2", "o"),
    "fomaml": ("#56B4E9", "s"),
    "reptile": ("#009E73", "^"),
    "imaml-gd": ("#D55E00", "D"),
    "imaml-hf": ("#CC79A7", "v"),
    "maml-replay": ("#332288", "p"),
    "maml-checkpointed": ("#44AA99", "h"),
    "maml-truncated": ("#88CCEE", "X"),
    "imaml-neumann": ("#882255", "P"),
    "imaml": ("#E69F00", "d"),
    "anil": ("#999933", "<"),
    "meta-sgd": ("#DDCC77", ">"),
}
# Their inner steps are Newton steps, each of which costs several gradients: said wherever steps are an axis.
NEWTON_METHODS = frozenset({"imaml-hf"})
SPARE = ("#000000", "#AA4499", "#117733", "#661100", "#6699CC", "#E69F00", "#777777")
SPARE_MARKERS = ("*", "P", "X", "d", "h", "p", "8")
LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.5, 1.2, 1.5)))

GREY = "#6E6E6E"
INK = "#222222"


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    filled: bool = True  # variants of a method and its peers in other libraries are hollow


def method_order(method: str) -> tuple[int, str]:
    """The key that sorts methods as the palette lists them, then by name."""
    names = list(METHODS)
    base = method.partition("@")[0]
    return (names.index(base) if base in METHODS else len(names), method)


def looks(methods: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """How to draw each (method, method_label), by label.

    A method that is not listed gets a colour from its name, the same in every plot unless two unknown
    names meet there and collide.
    """
    ordered = sorted(set(methods), key=lambda pair: (method_order(pair[0]), pair[1]))
    found: dict[str, Look] = {}
    spare: dict[str, int] = {}
    seen: dict[str, int] = {}
    for method, label in ordered:
        base = method.partition("@")[0]
        if base in METHODS:
            colour, marker = METHODS[base]
        else:
            if base not in spare:
                slot = zlib.crc32(base.encode()) % len(SPARE)
                while slot in spare.values() and len(spare) < len(SPARE):
                    slot = (slot + 1) % len(SPARE)
                spare[base] = slot
            colour, marker = SPARE[spare[base]], SPARE_MARKERS[spare[base]]
        variant = seen.get(base, 0)
        seen[base] = variant + 1
        shape = marker if variant < 2 else SPARE_MARKERS[variant % len(SPARE_MARKERS)]
        found[label] = Look(colour, shape, filled=variant == 0)
    return found
