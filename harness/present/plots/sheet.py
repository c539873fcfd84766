"""The paper that pictures are drawn on: room for headings and keys, and files that are the same each time."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.files import replace_file
from harness.present.palette import GREY, INK
from harness.present.plots.lettering import width_of, wrap
from harness.present.plots.style import Style

FORMATS = ("svg", "pdf", "png")
UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
LINE = 1.22  # of the size of letters, from one line to the next
BETWEEN_KEYS, KEY_GAP = 0.45, 0.8  # letters: from one key to that below, from a line to its name
NOTES_BELOW = 0.08  # inches below the keys
EDGE = 0.06  # inches kept free at the edges of a figure
ABOVE_AXES = 0.15  # inches between axes and their heading, times the size of marks


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The finding of a panel, and below it the workload and what the bars mean, each wrapped to its width."""

    title: list[str]
    context: list[str]
    style: Style

    @classmethod
    def of(cls, title: str, context: str, inches: float, style: Style) -> "Heading":
        title = title if style.titles else ""
        return cls(
            title=wrap(title, inches, style.title, style.family, bold=True),
            context=wrap(context, inches, style.context, style.family),
            style=style,
        )

    @property
    def height(self) -> float:
        """Inches above the axes, with the gap between."""
        lines = self._context_height + len(self.title) * LINE * self.style.title / 72
        between = 0.05 if self.title and self.context else 0.0
        return lines + between + (ABOVE_AXES * self.style.marks if lines else 0.0)

    @property
    def _context_height(self) -> float:
        return len(self.context) * LINE * self.style.context / 72

    def write(self, ax: Axes, *, above: float = 0) -> None:
        """At the axes' upper left, `above` points higher than right over it."""
        offset: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "annotation_clip": False,
            "va": "bottom",
        }
        style = self.style
        left = -72 * (style.left - EDGE) * (0.77 if style.titles else 1.0)
        up = above + 72 * ABOVE_AXES * style.marks
        ax.annotate(
            "\n".join(self.context), (0, 1), (left, up), fontsize=style.context,
            color=GREY if style.titles else INK, **offset,
        )  # fmt: skip
        ax.annotate(
            "\n".join(self.title), (0, 1), (left, up + 72 * self._context_height + 3.5),
            fontsize=style.title, fontweight="bold", **offset,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Foot:
    """What stands below all panels: the keys, and what a reader must know of the whole picture."""

    keys: Sequence[Line2D | Patch] = ()
    notes: Sequence[str] = field(default=())

    def lines_of_notes(self, width: float, style: Style) -> list[str]:
        if not style.titles:  # a caption has them
            return []
        inches = width - 2 * EDGE - 0.1
        return [line for note in self.notes for line in wrap(note, inches, style.context, style.family)]

    def height(self, width: float, style: Style) -> float:
        notes = len(self.lines_of_notes(width, style)) * LINE * style.context / 72
        between = NOTES_BELOW if notes and self.keys else 0.0
        return _legend_height(self.keys, width, style) + between + notes + EDGE

    def write(self, figure: Figure, style: Style) -> None:
        width, height = figure.get_size_inches()
        notes = self.lines_of_notes(width, style)
        if notes:
            figure.text(
                (EDGE + 0.1) / width, EDGE / height, "\n".join(notes), fontsize=style.context, color=GREY,
                va="bottom",
            )  # fmt: skip
        if self.keys:
            above = EDGE + (NOTES_BELOW + len(notes) * LINE * style.context / 72 if notes else 0.0)
            columns = legend_columns(self.keys, width, style)
            figure.legend(
                handles=list(self.keys), loc="lower center", ncols=columns, frameon=False,
                fontsize=style.ticks, borderaxespad=0, borderpad=0, handlelength=style.key_line,
                columnspacing=style.between_keys, labelspacing=BETWEEN_KEYS,
                handletextpad=KEY_GAP, bbox_to_anchor=(0.5, above / height),
            )  # fmt: skip


def panels(
    count: int, columns: int, right: float, headings: Sequence[Heading | None], foot: Foot, style: Style
) -> tuple[Figure, list[Axes]]:
    """Axes of one size in rows and columns, each with room for its heading, and the foot below them all."""
    axes_width, axes_height = style.axes_size(columns, right)
    rows = -(-count // columns)
    top = EDGE + max((heading.height for heading in headings if heading), default=0.0)
    top = max(top, EDGE + style.ticks / 144)  # half a number sticks out above
    cell_width = style.left + axes_width + right
    width = style.width or columns * cell_width
    between = (width - columns * cell_width) / columns
    cell_height = top + axes_height + style.bottom
    height = rows * cell_height + foot.height(width, style)
    figure = new_figure(width, height, style)
    axes = []
    for i in range(count):
        down, across = divmod(i, columns)
        left = across * (cell_width + between) + between / 2 + style.left
        bottom = height - down * cell_height - top - axes_height
        axes.append(add_axes(figure, left, bottom, axes_width, axes_height))
    foot.write(figure, style)
    return figure, axes


def new_figure(width: float, height: float, style: Style) -> Figure:
    figure = Figure(figsize=(width, height), dpi=style.dpi)
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at this place, in inches."""
    w, h = figure.get_size_inches()
    ax = figure.add_axes((left / w, bottom / h, width / w, height / h))
    sns.despine(ax=ax)
    return ax


def legend_columns(keys: Sequence[Line2D | Patch], width: float, style: Style) -> int:
    """As few lines as fit on a figure of this many inches, and as even as those can be."""
    letter = style.ticks / 72
    widths = [
        (style.key_line + KEY_GAP + style.between_keys) * letter
        + width_of(str(key.get_label()), style.ticks, style.family)
        for key in keys
    ]

    def fit(columns: int) -> bool:
        each = np.array_split(widths, columns)  # as the legend is filled
        return bool(sum(map(max, each)) - style.between_keys * letter <= width - 2 * EDGE)

    most = next((columns for columns in range(len(widths), 1, -1) if fit(columns)), 1)
    even = math.ceil(len(widths) / math.ceil(len(widths) / most))
    return even if fit(even) else most


def _legend_height(keys: Sequence[Line2D | Patch], width: float, style: Style) -> float:
    if not keys:
        return 0.0
    lines = math.ceil(len(keys) / legend_columns(keys, width, style))
    return (lines * (1 + BETWEEN_KEYS) + 0.5) * style.ticks / 72


def save(figure: Figure, path: Path, formats: Sequence[str], style: Style) -> list[Path]:
    """`path` with each format as its suffix."""
    written = []
    for kind in formats:
        target = path.with_name(f"{path.name}.{kind}")
        replace_file(target, render(figure, kind, style))
        written.append(target)
    return written


def render(figure: Figure, kind: str, style: Style) -> bytes:
    """The file of one of `FORMATS`."""
    buffer = io.BytesIO()
    with style.applied():
        figure.savefig(buffer, format=kind, metadata=UNDATED[kind], facecolor="white")
    return buffer.getvalue()
