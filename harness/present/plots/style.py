"""What pictures are made for: the screen, or a column or the full width of a paper.

Each style is all that depends on it: fonts, sizes in points, room in inches.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import seaborn as sns

from harness.present.palette import INK

FALLBACK = "DejaVu Serif"  # for what Times has no letters for, superscript digits among them


@dataclass(frozen=True, kw_only=True)
class Style:
    """Inches of room, points of letters. `family` is a font that comes with matplotlib, so that files are the
    same on every machine."""

    name: str
    family: str
    width: float | None  # of the figure, where a page gives it; None: as wide as its panels
    axes: tuple[float, float]  # width and height of a panel; where `width` is given, the most of each
    abreast: int  # panels beside each other, at most
    trace: tuple[float, float]  # one panel of the picture of memory over a step, likewise
    traces_abreast: int
    left: float  # of axes, for the numbers and the name of the axis
    bottom: float  # likewise
    end_labels_up_to: float  # beside axes: where methods' names are longer, they go into a legend below
    title: float
    text: float  # names of axes and of methods
    ticks: float
    context: float  # the line below a title
    note: float  # words inside the axes
    least: float  # what stands at single points
    key_line: float  # length of the line beside a key, in letters
    between_keys: float  # likewise
    marks: float  # size of markers and lines, of the screen's
    titles: bool  # the finding stands above each panel; a paper has captions
    dpi: int

    def axes_size(self, columns: int, right: float) -> tuple[float, float]:
        """Of so many panels beside each other, each with this room at its right."""
        if self.width is None:
            return self.axes
        width = min(self.axes[0], self.width / columns - self.left - right)
        return width, min(self.axes[1], width)

    def columns(self, panels: int) -> int:
        """How many panels stand beside each other: rows of equal length where that is possible."""
        rows = -(-panels // self.abreast)
        return -(-panels // rows)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Drawing and writing happen inside: matplotlib looks some settings up only when it writes."""
        with mpl.rc_context(sns.axes_style("ticks") | self._settings()):
            yield

    def _settings(self) -> dict[str, Any]:
        return {
            "font.family": [self.family, FALLBACK],
            "font.size": self.text,
            "axes.labelsize": self.text,
            "xtick.labelsize": self.ticks,
            "ytick.labelsize": self.ticks,
            "xtick.major.size": 6 * self.marks**2,
            "ytick.major.size": 6 * self.marks**2,
            "xtick.minor.size": 4 * self.marks**2,
            "ytick.minor.size": 4 * self.marks**2,
            "xtick.major.pad": 3.5 * self.marks,
            "ytick.major.pad": 3.5 * self.marks,
            "axes.edgecolor": "#888888",
            "axes.linewidth": 0.8 * self.marks,
            "axes.unicode_minus": False,
            "text.parse_math": False,  # names come from rows: two dollars are no formula
            "text.color": INK,
            "axes.labelcolor": INK,
            "svg.hashsalt": "innerloop",
            "pdf.fonttype": 42,  # TrueType: text stays text, and publishers refuse type 3
            "ps.fonttype": 42,
        }


SCREEN = Style(
    name="screen",
    family="DejaVu Sans",
    width=None,
    axes=(4.3, 3.4),
    abreast=100,
    trace=(2.3, 2.0),
    traces_abreast=5,
    left=0.75,
    bottom=0.55,
    end_labels_up_to=1.6,
    title=10,
    text=9,
    ticks=8.5,
    context=8,
    note=7.5,
    least=7,
    key_line=2.6,
    between_keys=1.6,
    marks=1.0,
    titles=True,
    dpi=200,
)
# Times, as the text of NeurIPS and ICML: their columns are 3.25 inches wide, their pages 6.75.
PAPER = Style(
    name="paper",
    family="STIXGeneral",
    width=3.25,
    axes=(2.7, 1.9),
    abreast=1,
    trace=(2.6, 1.1),
    traces_abreast=2,
    left=0.57,
    bottom=0.37,
    end_labels_up_to=0.85,
    title=8,
    text=8,
    ticks=8,
    context=8,
    note=7,
    least=7,
    key_line=2.0,
    between_keys=1.0,
    marks=0.7,
    titles=False,
    dpi=400,
)
PAPER_WIDE = replace(
    PAPER,
    name="paper-wide",
    width=6.75,
    axes=(4.6, 2.2),
    abreast=3,
    trace=(2.6, 1.2),
    traces_abreast=5,
    end_labels_up_to=1.1,
    between_keys=1.4,
    marks=0.75,
)
STYLES = {style.name: style for style in (SCREEN, PAPER, PAPER_WIDE)}
