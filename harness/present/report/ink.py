"""The colours of pictures on a light and on a dark page.

A picture is drawn for white paper. On the page each of its colours is a CSS variable with two values, so that
lines and markers keep a contrast of 3 : 1 and letters one of 4.5 : 1 (WCAG 2.2, 1.4.11 and 1.4.3) on either
paper, shades of one colour keep their order, and a colour that can be read as it is stays as it is.
"""

import re
from dataclasses import dataclass

from harness.present.palette import from_linear, to_linear, with_lightness

PAPER = {"light": "#FFFFFF", "dark": "#15181B"}
INK = {"light": "#1D2125", "dark": "#E4E6E8"}
GREY = {"light": "#5F666D", "dark": "#A2A9B0"}
RULE = {"light": "#8A9199", "dark": "#6F777F"}
FAINT = {"light": "#E3E6E8", "dark": "#2C3136"}  # grids, which tell nothing by themselves
NEUTRALS = {"paper": PAPER, "faint": FAINT, "rule": RULE, "grey": GREY, "ink": INK}
STEPS = {
    "paper": 97.0,
    "faint": 75.0,
    "rule": 50.0,
    "grey": 38.0,
}  # CIE lightness of a grey: the first that it is above

# CIE lightness. The bounds leave a little more than the contrast that is asked for.
LIGHTEST = {False: 58.0, True: 47.0}  # on light paper, of lines and of letters: what is lighter is pressed
LIGHTEST_PRESSED = {False: 61.0, True: 49.0}
DARKEST = {False: 44.0, True: 57.0}  # on dark paper: what black becomes
LIGHT_ENOUGH = 68.0  # on dark paper: from here on a colour stays as it is
PALE, PALE_RANGE = 75.0, 60  # a colour as light as this whose parts differ by no more is a background
PALE_ON_DARK = 28.0  # told apart from paper and from one another, and far below any line
NEUTRAL = 12  # of 255: the largest distance between the parts of a grey
HEX = re.compile(r"#[0-9a-fA-F]{6}\b")


@dataclass(frozen=True)
class Ink:
    """A colour of a picture: the name of its CSS variable, and what that is on each paper."""

    variable: str
    light: str
    dark: str


def ink_of(colour: str, *, letters: bool = False) -> Ink:
    """Of a colour `#RRGGBB` that is used for lines and areas, or for letters."""
    colour = colour.upper()
    lightness = lightness_of(colour)
    if _is_neutral(colour):
        name = next((name for name, above in STEPS.items() if lightness > above), "ink")
        if letters and name in ("faint", "rule"):
            name = "grey"
        return Ink(name, NEUTRALS[name]["light"], NEUTRALS[name]["dark"])
    name = f"{'t' if letters else 'c'}{colour[1:].lower()}"
    if not letters and lightness > PALE and _range(colour) <= PALE_RANGE:
        return Ink(name, colour, with_lightness(colour, PALE_ON_DARK))
    return Ink(name, _on_light(colour, lightness, letters), _on_dark(colour, lightness, letters))


def lightness_of(colour: str) -> float:
    """CIE L*, 0 to 100, of `#RRGGBB`."""
    y = luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else y * 24389 / 27


def luminance(colour: str) -> float:
    """Relative, 0 to 1 (WCAG 2.2)."""
    linear = [to_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def style_sheet(inks: set[Ink]) -> str:
    """The variables of both papers. Print is always on the light one."""
    ordered = sorted(inks, key=lambda ink: ink.variable)
    light = "".join(f"--{ink.variable}:{ink.light};" for ink in ordered)
    dark = "".join(f"--{ink.variable}:{ink.dark};" for ink in ordered)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _is_neutral(colour: str) -> bool:
    return _range(colour) <= NEUTRAL


def _range(colour: str) -> int:
    """The distance between the parts of a colour, 0 to 255."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return max(parts) - min(parts)


def _on_light(colour: str, lightness: float, letters: bool) -> str:
    knee = LIGHTEST[letters]
    if lightness <= knee:
        return colour
    share = (lightness - knee) / (100 - knee)
    return with_lightness(colour, knee + share * (LIGHTEST_PRESSED[letters] - knee))


def _on_dark(colour: str, lightness: float, letters: bool) -> str:
    if lightness >= LIGHT_ENOUGH:
        return colour
    darkest = DARKEST[letters]
    return _brightened(colour, darkest + lightness / LIGHT_ENOUGH * (LIGHT_ENOUGH - darkest))


def _brightened(colour: str, lightness: float) -> str:
    """The colour lit more strongly, and mixed with white only where that does not reach the lightness: a dark
    shade stays a shade of its colour, where white alone would make it grey."""
    wanted = ((lightness + 16) / 116) ** 3
    parts = [to_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)]
    lit = [part * min(wanted / luminance(colour), 1 / max(parts)) for part in parts]
    return with_lightness("#" + "".join(f"{round(255 * from_linear(part)):02X}" for part in lit), lightness)
