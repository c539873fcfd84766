"""The paper that pictures are drawn on: sizes, headings, and files that are the same every time."""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.present.palette import GREY, INK
from harness.store import replace_file

# Inches. Margins are fixed: labels are placed once, and the files are the same every time.
AXES = (4.3, 3.4)
LEFT, TOP, BOTTOM, LEGEND, TITLE_LINE, CONTEXT_LINE = 0.75, 0.68, 0.55, 0.25, 0.17, 0.14
STYLE = {
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "svg.hashsalt": "innerloop",
}


@dataclass(frozen=True)
class Heading:
    """The finding of a panel, and below it the workload and what the bars mean, both wrapped to its width."""

    title: list[str]
    context: list[str]

    @classmethod
    def of(cls, title: str, context: str, inches: float) -> "Heading":
        def wrapped(text: str, letters_per_inch: float) -> list[str]:
            return textwrap.wrap(text, int(inches * letters_per_inch), break_on_hyphens=False)

        return cls(wrapped(title, 12.5), wrapped(context, 16.5))

    @property
    def extra_height(self) -> float:
        """Inches beyond what one line of each takes."""
        return TITLE_LINE * (len(self.title) - 1) + CONTEXT_LINE * (len(self.context) - 1)

    def write(self, ax: Axes, *, above: float = 0) -> None:
        """At the axes' upper left, `above` points higher than right over it."""
        offset: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "annotation_clip": False,
            "va": "bottom",
        }
        title_at = above + 25 + 72 * CONTEXT_LINE * (len(self.context) - 1)
        ax.annotate("\n".join(self.title), (0, 1), (-38, title_at), fontsize=10, fontweight="bold", **offset)
        ax.annotate("\n".join(self.context), (0, 1), (-38, above + 11), fontsize=8, color=GREY, **offset)


def panels(
    rows: int, columns: int, right: float, headings: list[Heading], keys: list[Line2D]
) -> tuple[Figure, list[Axes]]:
    """Axes of one size in rows and columns, each with room for its heading, and a legend below them all."""
    top = TOP + max(heading.extra_height for heading in headings)
    cell = (LEFT + AXES[0] + right, top + AXES[1] + BOTTOM)
    width = columns * cell[0]
    lines = legend_lines(keys, width)
    height = rows * cell[1] + LEGEND * lines + 0.05
    figure = new_figure(width, height)
    axes = []
    for i in range(rows):
        for j in range(columns):
            axes.append(add_axes(figure, j * cell[0] + LEFT, height - i * cell[1] - top - AXES[1], *AXES))
    add_legend(figure, keys, lines)
    return figure, axes


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=200)
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at this place, in inches."""
    w, h = figure.get_size_inches()
    ax = figure.add_axes((left / w, bottom / h, width / w, height / h))
    sns.despine(ax=ax)
    return ax


def legend_lines(keys: Sequence[Line2D | Patch], width: float) -> int:
    """How many lines the legend takes on a figure of this many inches: it is filled column by column."""
    widths = [0.65 + 0.07 * len(str(key.get_label())) for key in keys]
    for lines in range(1, len(widths)):
        columns = [widths[start : start + lines] for start in range(0, len(widths), lines)]
        if sum(map(max, columns)) <= width:
            return lines
    return len(widths)


def add_legend(figure: Figure, keys: Sequence[Line2D | Patch], lines: int) -> None:
    if keys:
        figure.legend(
            handles=list(keys), loc="lower center", ncols=math.ceil(len(keys) / lines), frameon=False,
            fontsize=8.5, borderaxespad=0.3, handlelength=2.6, columnspacing=1.6,
        )  # fmt: skip


def save(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    """`path` with each format as its suffix."""
    written = []
    for kind in formats:
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format=kind, metadata={"Date": None} if kind == "svg" else None, facecolor="white"
        )
        target = path.with_name(f"{path.name}.{kind}")
        replace_file(target, buffer.getvalue())
        written.append(target)
    return written
