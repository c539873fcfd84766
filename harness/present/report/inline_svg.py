"""A matplotlib figure as SVG in a page: letters stay letters, colours are variables, ids are unique there."""

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from harness.present.plots.style import Style
from harness.present.report.ink import HEX, Ink, ink_of

WIDEST = 1.3  # of its own size: as far as a picture is enlarged
REFERENCE = re.compile(r"url\(#([^)]+)\)")
FONT = re.compile(r"(font: (?:[a-z]+ )*[\d.]+px )[^;]+")
FONT_FAMILY = re.compile(r"font-family: [^;]+")
LONG_NUMBER = re.compile(r"(-?\d+\.\d\d)\d+(?=[^\d.]|$)")
GEOMETRY = ("d", "transform", "x", "y", "width", "height", "points")
UNWANTED = ("metadata", "style", "title")


def inline_svg(
    figure: Figure, name: str, title: str, description: str, style: Style
) -> tuple[Markup, set[Ink]]:
    """The `<svg>` element, and the colours that it names as `var(--...)`. `name` is unique on the page."""
    buffer = io.StringIO()
    with style.applied(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # To find out how large a picture is takes as long as to draw it, and only a legend can be wider.
        wide = any(legend.get_window_extent().width > figure.bbox.width for legend in figure.legends)
        fitted: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.04} if wide else {}
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True, **fitted)
    root = ElementTree.fromstring(buffer.getvalue())
    _without_namespaces(root)
    width = _points(root.attrib.pop("width"))
    root.attrib.pop("height")
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in UNWANTED]:
            parent.remove(child)
    _name_ids(root, name)
    inks = _name_colours(root)
    _round(root)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "class": "plot",
        "aria-labelledby": f"{name}-title",
        "aria-describedby": f"{name}-desc",
        "style": f"max-width:{WIDEST * width:.0f}pt",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode")), inks


def _without_namespaces(root: ElementTree.Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}


def _points(length: str) -> float:
    return float(length.removesuffix("pt"))


def _name_ids(root: ElementTree.Element, name: str) -> None:
    """Only what is referred to keeps an id, and that begins with the figure's name."""
    wanted = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href":
                wanted.add(value.removeprefix("#"))
            wanted.update(REFERENCE.findall(value))
    short = {old: f"{name}-s{i}" for i, old in enumerate(sorted(wanted))}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in short:
            element.attrib["id"] = short[old]
        for key, value in element.attrib.items():
            if key == "href":
                element.attrib[key] = f"#{short[value.removeprefix('#')]}"
            elif "url(" in value:
                element.attrib[key] = REFERENCE.sub(lambda found: f"url(#{short[found[1]]})", value)


def _name_colours(root: ElementTree.Element) -> set[Ink]:
    inks: set[Ink] = set()
    for element in root.iter():
        style = element.attrib.get("style")
        if style is None:
            continue
        letters = element.tag in ("text", "tspan")

        def variable(found: re.Match[str], letters: bool = letters) -> str:
            ink = ink_of(found[0], letters=letters)
            inks.add(ink)
            return f"var(--{ink.variable})"

        style = HEX.sub(variable, style)
        style = FONT.sub(r"\1var(--sans)", style)
        element.attrib["style"] = FONT_FAMILY.sub("font-family: var(--sans)", style)
    return inks


def _round(root: ElementTree.Element) -> None:
    """To a hundredth of a point."""
    for element in root.iter():
        for key in GEOMETRY:
            if key in element.attrib:
                element.attrib[key] = LONG_NUMBER.sub(r"\1", " ".join(element.attrib[key].split()))
