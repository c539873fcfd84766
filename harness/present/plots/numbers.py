"""Inner steps beside the points of a picture that has another axis, where they cover nothing."""

import pandas as pd
from matplotlib.axes import Axes

from harness.present.palette import Look
from harness.present.plots.lettering import width_of
from harness.present.plots.style import Style

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points
CROWDED = 0.35  # of the area of a number: more of it may not be covered
LABEL_PLACES = [(0, 1, "center", "bottom"), (1, 0, "left", "center"), (-1, 0, "right", "center"),
                (0, -1, "center", "top"), (1, 1, "left", "bottom"), (-1, 1, "right", "bottom"),
                (1, -1, "left", "top"), (-1, -1, "right", "top")]  # fmt: skip


def number_efficient(ax: Axes, part: pd.DataFrame, looks: dict[str, Look], style: Style) -> None:
    """Inner steps beside each efficient point, where they cover no other point or number."""
    dpi = ax.figure.dpi
    places = ax.transData.transform(part[["cost_value", "quality_value"]].to_numpy(float)) * 72 / dpi
    gap, size = 5.5 * style.marks, style.note
    taken = [(x - gap, y - gap, x + gap, y + gap) for x, y in places]
    frame = ax.get_window_extent()
    inside = (frame.x0 * 72 / dpi, frame.y0 * 72 / dpi, frame.x1 * 72 / dpi, frame.y1 * 72 / dpi)
    for (x, y), point in zip(places, part.to_dict("records"), strict=True):
        if not point["is_efficient"]:
            continue
        text = f"{point['inner_steps']:,}"
        width = 72 * width_of(text, size, style.family)

        def box(place: tuple[int, int, str, str], x: float = x, y: float = y, w: float = width) -> Box:
            across, up, _, _ = place
            left = x + across * gap - (0 if across > 0 else w if across < 0 else w / 2)
            bottom = y + up * gap - (0 if up > 0 else size if up < 0 else size / 2)
            return left, bottom, left + w, bottom + size

        def cost(place: tuple[int, int, str, str]) -> float:
            own = box(place)
            return sum(overlap(own, other) for other in taken) + 10 * (_area(own) - overlap(own, inside))

        best = min(LABEL_PLACES, key=cost)
        if cost(best) > CROWDED * _area(box(best)):  # it could not be read; the points' file has it
            continue
        taken.append(box(best))
        across, up, horizontal, vertical = best
        ax.annotate(text, (point["cost_value"], point["quality_value"]), (across * gap, up * gap),
                    textcoords="offset points", ha=horizontal, va=vertical, fontsize=size,
                    color=looks[point["method_label"]].colour, zorder=4)  # fmt: skip


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
