"""One colour and one marker a method, the same in every picture and report."""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from harness.analyze.steps import NEWTON_METHODS as NEWTON_METHODS

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
    "maml-truncated": ("#88CCEE", "*"),
    "imaml-neumann": ("#882255", "P"),
    "imaml": ("#E69F00", "d"),
    "anil": ("#999933", "<"),
    "meta-sgd": ("#DDCC77", ">"),
}
SPARE = ("#000000", "#AA4499", "#117733", "#661100", "#6699CC", "#E69F00", "#777777")
SPARE_MARKERS = ("8", "P", "*", "d", "h", "p", "H")  # no crosses: those are failures
LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.5, 1.2, 1.5)))


GREY = "#6E6E6E"
INK = "#222222"

# CIE lightness of the variants of one method: any colour blindness leaves it. Around the middle, from first
# to last: the more there are, the farther apart the ends.
MIDDLE, FARTHEST = 47.0, 23.0
# A family's lines may coincide: those drawn later are thinner and smaller, so that the earlier ones show.
FAMILY_WIDTHS = (3.2, 1.3)
FAMILY_SIZES = (7.5, 4.5)
# Of implementations in other libraries: dashes over the method's own line, markers around its own.
PEER_LIGHTNESS = (68.0, 18.0, 58.0)
PEER_DASHES: tuple[Any, ...] = ((0, (3, 3)), (0, (1.2, 3.2)), (0, (6, 2.5)))
PEER_MARKERS = ("s", "^", "D", "v", "p", "h")
PEER_SIZES = (7.0, 9.0, 11.0)

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    filled: bool = True  # peers in other libraries are rings, which hide nothing that they coincide with
    size: float = 5.5  # of the marker, in points
    width: float = 1.5  # of the line
    dash: Any = "-"

    @property
    def height(self) -> float:
        """The order in which lines are laid over each other: the wider below the narrower."""
        return 3 + 0.1 * (Look.width - self.width)

    @property
    def face(self) -> str:
        """The colour inside the marker."""
        return self.colour if self.filled else "none"


def method_order(method: str) -> tuple[int, str]:
    """The key that sorts methods as the palette lists them, then by name."""
    names = list(METHODS)
    base = method.partition("@")[0]
    return (names.index(base) if base in METHODS else len(names), method)


def label_order(method: str, label: str) -> tuple[Any, ...]:
    """The key that sorts labels: by method, then by their settings, of which numbers count as numbers."""
    parts = NUMBER.split(label)  # texts and numbers take turns
    return (*method_order(method), *(float(part) if i % 2 else part for i, part in enumerate(parts)))


def looks(methods: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """How to draw each (method, method_label), by label.

    Variants of a method are shades of its colour, light to dark in the order of their settings; its peers in
    other libraries are hollow and dashed. A method that is not listed gets a colour from its name, the same
    in every plot unless two unknown names meet there and collide.
    """
    variants: dict[str, list[str]] = {}
    for method, label in sorted(set(methods), key=lambda pair: label_order(*pair)):
        variants.setdefault(method, []).append(label)
    found: dict[str, Look] = {}
    spare: dict[str, int] = {}
    peers: dict[str, int] = {}
    for method, labels in variants.items():
        base, _, library = method.partition("@")
        colour, marker = METHODS[base] if base in METHODS else _spare_look(base, spare)
        if library:
            for label in labels:
                found[label] = _peer_look(colour, peers.setdefault(base, 0))
                peers[base] += 1
        elif len(labels) == 1:
            found[labels[0]] = Look(colour, marker)
        else:
            found |= _shades(colour, marker, labels)
    for base in peers:  # beneath those that lie on it
        if variants.get(base) and len(variants[base]) == 1:
            own = found[variants[base][0]]
            found[variants[base][0]] = replace(own, width=FAMILY_WIDTHS[0])
    return found


def _spare_look(base: str, taken: dict[str, int]) -> tuple[str, str]:
    """By the name; the next that is free where another has it, and after the last colour other markers."""
    if base not in taken:
        slot = zlib.crc32(base.encode()) % len(SPARE)
        laps = len(taken) // len(SPARE)
        while slot + laps * len(SPARE) in taken.values():
            slot = (slot + 1) % len(SPARE)
        taken[base] = slot + laps * len(SPARE)
    lap, slot = divmod(taken[base], len(SPARE))
    return SPARE[slot], SPARE_MARKERS[(slot + lap) % len(SPARE_MARKERS)]


def _shades(colour: str, marker: str, labels: list[str]) -> dict[str, Look]:
    found = {}
    in_words = len({NUMBER.sub("", label) for label in labels}) > 1  # of which light to dark says nothing
    reach = min(FARTHEST, 4.0 + 5.0 * len(labels))
    markers = [marker, *(other for other in PEER_MARKERS if other != marker)]
    for i, label in enumerate(labels):
        share = i / (len(labels) - 1)

        def between(ends: tuple[float, float], share: float = share) -> float:
            return ends[0] + share * (ends[1] - ends[0])

        shade = with_lightness(colour, between((MIDDLE + reach, MIDDLE - reach)))
        shape = markers[i % len(markers)] if in_words else marker
        size = Look.size if in_words else between(FAMILY_SIZES)
        found[label] = Look(shade, shape, size=size, width=between(FAMILY_WIDTHS))
    return found


def _peer_look(colour: str, number: int) -> Look:
    lap = number % len(PEER_LIGHTNESS)
    return Look(
        with_lightness(colour, PEER_LIGHTNESS[lap]),
        PEER_MARKERS[number % len(PEER_MARKERS)],
        filled=False,
        size=PEER_SIZES[lap],
        width=2.2 - 0.5 * lap,
        dash=PEER_DASHES[lap],
    )


def with_lightness(colour: str, lightness: float) -> str:
    """The colour mixed with black or white until its CIE L* is this (0 to 100)."""
    wanted = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
    linear = [to_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    if wanted <= luminance:
        mixed = [part * wanted / luminance for part in linear]
    else:
        white = (wanted - luminance) / (1 - luminance)
        mixed = [part + white * (1 - part) for part in linear]
    return "#" + "".join(f"{round(255 * from_linear(part)):02X}" for part in mixed)


def to_linear(part: float) -> float:
    """sRGB, 0 to 1, to light (IEC 61966-2-1)."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def from_linear(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
