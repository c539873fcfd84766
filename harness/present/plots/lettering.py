"""How wide words are, so that they are broken where the room ends and never cut off."""

from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font


@lru_cache(maxsize=8192)
def width_of(text: str, points: float, family: str, *, bold: bool = False) -> float:
    """Inches that one line of text takes."""
    font = get_font(_file(family, bold))
    font.set_size(points, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / 72


def wrap(text: str, inches: float, points: float, family: str, *, bold: bool = False) -> list[str]:
    """Lines no wider than this, broken at spaces; where one word is wider, at its commas and brackets, and
    in the last resort inside."""

    def fits(line: str) -> bool:
        return width_of(line, points, family, bold=bold) <= inches

    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if fits(longer):
            line = longer
            continue
        if line:
            lines.append(line)
        while word and not fits(word):
            most = max((n for n in range(1, len(word)) if fits(word[:n])), default=1)
            soft = max(word.rfind(mark, 0, most) for mark in ",[@-_")
            cut = soft + 1 if soft > 0 else most
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line else lines


@lru_cache(maxsize=16)
def _file(family: str, bold: bool) -> str:
    return str(findfont(FontProperties(family=family, weight="bold" if bold else "normal")))
