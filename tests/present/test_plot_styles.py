"""What a style promises: sizes, letters that can be read, nothing cut off, the same file each time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rows import (
    METHODS,
    SETTINGS,
    gradient_cell,
    memory_cell,
    meta_gradient_run,
    optimisers_run,
    row,
    time_cell,
    trace_of,
    whole_run,
    write_run,
    write_trace,
)

from harness.analyze.loaded import LoadedRun, load_run
from harness.present.palette import METHODS as PALETTE
from harness.present.palette import SPARE_MARKERS
from harness.present.plots.draw import draw_pictures, write_picture
from harness.present.plots.lettering import width_of, wrap
from harness.present.plots.scales import LOGS
from harness.present.plots.sheet import render
from harness.present.plots.style import PAPER, PAPER_WIDE, SCREEN, STYLES, Style
from harness.present.plots.wanted import Wanted

LEAST = 6.5  # points: what a printed page is read at


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedRun]:
    """All measures, with failures and traces; gradients; three condition numbers of long labels; another
    machine."""
    folder = tmp_path_factory.mktemp("runs")
    lost = row(method="reptile", settings=SETTINGS["reptile"], inner_steps=16, seed=9, measure="accuracy",
               metric="accuracy", cell_id="lost", value=None, status="diverged")  # fmt: skip
    whole = write_run(folder / "whole", [*whole_run(), [lost]])
    for method in METHODS:
        write_trace(whole, f"memory-{method}-8", trace_of(method, 8))
    gradients = write_run(folder / "gradients", meta_gradient_run(seeds=2))
    optimisers = write_run(folder / "optimisers", optimisers_run())
    return [load_run(path) for path in (whole, gradients, optimisers)]


def visible_texts(figure: Figure) -> list[Text]:
    """Those that are drawn: matplotlib keeps numbers beyond the ends of an axis too."""
    beyond = set()
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    beyond |= {tick.label1, tick.label2}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and text not in beyond]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_nothing_is_cut_off_and_every_letter_can_be_read(runs: list[LoadedRun], style: Style) -> None:
    drawn = [picture for run in runs for picture in draw_pictures([run], style)]
    drawn += draw_pictures(runs[:1] * 2, style)
    assert {picture.name for picture in drawn} >= {"accuracy", "gradient-work", "pareto", "memory-trace"}
    for picture in drawn:
        with style.applied():
            figure = picture.figure
            figure.draw(figure.canvas.get_renderer())  # type: ignore[attr-defined]
            for text in visible_texts(figure):
                box, what = text.get_window_extent(), f"{picture.name}: {text.get_text()}"
                assert min(box.x0, box.y0) >= 0, what
                assert box.x1 <= figure.bbox.x1, what
                assert box.y1 <= figure.bbox.y1, what
                assert text.get_size() >= LEAST, what


@pytest.mark.parametrize(("style", "inches"), [(PAPER, 3.25), (PAPER_WIDE, 6.75)])
def test_pictures_for_a_paper_are_as_wide_as_its_columns(
    runs: list[LoadedRun], style: Style, inches: float
) -> None:
    widths = {p.figure.get_size_inches()[0] for run in runs for p in draw_pictures([run], style)}
    assert widths == {inches}


def test_a_paper_has_the_finding_in_its_caption_and_not_above_the_axes(
    runs: list[LoadedRun], tmp_path: Path
) -> None:
    (screen,) = draw_pictures(runs[:1], SCREEN, Wanted(pictures=["memory"]))
    (paper,) = draw_pictures(runs[:1], PAPER, Wanted(pictures=["memory"]))
    assert "Peak memory grows by" in " ".join(text.get_text() for text in visible_texts(screen.figure))
    assert not [t for t in visible_texts(paper.figure) if "grows" in t.get_text()]
    written = write_picture(paper, tmp_path, ["pdf"], PAPER)
    assert {path.name for path in written} == {"memory.csv", "memory.txt", "memory.pdf"}
    caption = (tmp_path / "memory.txt").read_text()
    assert caption.startswith(paper.title)
    assert "20-way 1-shot" in caption
    (time,) = draw_pictures(runs[:1], PAPER, Wanted(pictures=["time"]))
    axes = "inner steps (imaml-hf: Newton steps) and time of a meta-step (ms)"
    assert f"logarithmic axes: {axes}" in time.text
    assert "logarithmic" not in "".join(p.text for p in draw_pictures(runs[:1], SCREEN))


def test_a_caption_says_by_what_points_are_flagged(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps) for steps in (1, 2, 4)]
    flag = {"metric": "flag", "value": None, "unit": "", "detail": "the allocator had to retry"}
    cells[1].append(row(cell_id=cells[1][0].cell_id, inner_steps=2, settings=SETTINGS["maml"], **flag))
    run = load_run(write_run(tmp_path / "run", cells))
    (drawn,) = draw_pictures([run], PAPER, Wanted(pictures=["memory"]))
    assert "ringed points are flagged: the allocator had to retry" in drawn.text
    keys = [text.get_text() for legend in drawn.figure.legends for text in legend.get_texts()]
    assert "flagged by an instrument" in keys


def test_no_key_stands_alone_in_a_second_line(runs: list[LoadedRun]) -> None:
    (drawn,) = draw_pictures(runs[:1], PAPER_WIDE, Wanted(pictures=["overview"]))
    (legend,) = drawn.figure.legends
    figure = drawn.figure
    figure.draw_without_rendering()
    lines: dict[int, int] = {}
    for text in legend.get_texts():
        height = round(text.get_window_extent().y0 / 10)
        lines[height] = lines.get(height, 0) + 1
    assert len(lines) > 1
    assert min(lines.values()) > 1


def test_panels_of_a_paper_are_named_by_what_tells_them_apart(runs: list[LoadedRun]) -> None:
    (drawn,) = draw_pictures(runs[1:2], PAPER_WIDE, Wanted(pictures=["gradient"]))
    said = [text.get_text() for text in visible_texts(drawn.figure)]
    assert {"(a) condition number 10", "(b) condition number 100"} <= set(said)
    assert drawn.text.startswith("(a) ")
    assert " (b) " in drawn.text


def test_a_pdf_has_its_letters_as_truetype_and_no_date(runs: list[LoadedRun]) -> None:
    (drawn,) = draw_pictures(runs[:1], PAPER, Wanted(pictures=["memory"]))
    pdf = render(drawn.figure, "pdf", PAPER)
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


AGAIN = """
import sys
from pathlib import Path
from harness.analyze.loaded import load_run
from harness.present.plots.draw import draw
from harness.present.plots.style import PAPER, SCREEN
from harness.present.plots.wanted import Wanted
wanted = Wanted(pictures=["memory", "pareto"])
for style in (SCREEN, PAPER):
    draw([load_run(sys.argv[1])], Path(sys.argv[2]) / style.name, ("svg", "pdf", "png"), style, wanted)
"""


def test_files_are_the_same_in_every_process(runs: list[LoadedRun], tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for out in (first, second):
        environment = os.environ | {"PYTHONHASHSEED": out.name, "MPLBACKEND": "Agg"}
        script = [sys.executable, "-c", AGAIN, str(runs[0].path), str(out)]
        subprocess.run(script, check=True, env=environment)
    files = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len(files) == 2 * 2 * 4 + 2  # of two styles and pictures, three formats, points; captions
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


@pytest.mark.parametrize(("log", "expected"), [("x", "log linear"), ("y", "linear log"), ("xy", "log log"),
                                               ("none", "linear linear")])  # fmt: skip
def test_axes_are_logarithmic_as_asked_for(runs: list[LoadedRun], log: str, expected: str) -> None:
    for name in ("accuracy", "memory", "time", "pareto", "gradient"):
        run = runs[1:2] if name == "gradient" else runs[:1]
        (drawn,) = draw_pictures(run, SCREEN, Wanted(pictures=[name], logs=LOGS[log]))
        for ax in drawn.figure.axes:
            assert f"{ax.get_xscale()} {ax.get_yscale()}" == expected
        assert "logarithm" not in " ".join(drawn.notes)
        chances = [text.xy[1] for ax in drawn.figure.axes for text in ax.texts if text.get_text() == "chance"]
        assert all(ax.get_ylim()[0] <= height for ax in drawn.figure.axes for height in chances)


def test_where_there_is_no_logarithm_the_axis_is_linear_and_the_picture_says_so(tmp_path: Path) -> None:
    cells = [[row(cell_id=str(steps), inner_steps=steps)] for steps in (0, 1, 2)]
    run = load_run(write_run(tmp_path / "run", cells))
    (drawn,) = draw_pictures([run], SCREEN, Wanted(pictures=["memory"], logs=LOGS["xy"]))
    (ax,) = drawn.figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert drawn.notes == ("Inner steps of 0 have no logarithm: that axis is linear.",)
    assert drawn.notes[0] in {text.get_text() for text in visible_texts(drawn.figure)}


def test_every_picture_names_the_rows_that_it_rests_on(runs: list[LoadedRun]) -> None:
    for run in runs:
        for drawn in draw_pictures([run]):
            rows = [each.rows(run.rows) for each in drawn.evidence]
            assert rows, drawn.name
            assert all(len(part) for part in rows), drawn.name
    (memory,) = draw_pictures(runs[:1], SCREEN, Wanted(pictures=["memory"]))
    (evidence,) = memory.evidence
    peaks = evidence.rows(runs[0].rows).query("metric == 'peak_bytes'").value.dropna()
    assert sorted(peaks) == sorted(memory.points.peak_bytes.dropna())


def test_a_method_keeps_its_look_when_others_are_left_out(runs: list[LoadedRun]) -> None:
    def colours(**wanted: list[str]) -> dict[str, str]:
        (drawn,) = draw_pictures(runs[1:2], SCREEN, Wanted(pictures=["gradient"], **wanted))
        lines = [bar.lines[0] for ax in drawn.figure.axes for bar in ax.containers]  # type: ignore[attr-defined]
        return {bar.get_label(): line.get_color()
                for bar, line in zip(drawn.figure.axes[0].containers, lines, strict=False)}  # fmt: skip

    some = colours(methods=["imaml-gd[cg_steps=5]", "maml"])
    assert len(some) == 2
    assert some.items() <= colours().items()


def test_runs_that_are_unlike_are_said_to_be(tmp_path: Path, runs: list[LoadedRun]) -> None:
    other = write_run(tmp_path / "other", [cell for cell in whole_run() if cell[0].measure == "memory"],
                      memory_budget=2**40)  # fmt: skip
    pair = [runs[0], load_run(other)]
    (drawn,) = draw_pictures(pair, SCREEN, Wanted(pictures=["memory"]))
    assert [note for note in drawn.notes if "memory budget differs" in note]
    said = " ".join(text.get_text() for text in visible_texts(drawn.figure)).replace("\n", " ")
    assert drawn.notes[0] in said
    same = draw_pictures([runs[0], runs[0]], SCREEN, Wanted(pictures=["memory"]))
    assert next(same).notes == ()


def test_what_is_unlike_stands_only_where_it_concerns_the_picture(tmp_path: Path) -> None:
    pair = [
        load_run(write_run(tmp_path / name, whole_run(), content={"accuracy": {"meta_steps": steps}}))
        for name, steps in (("a", 100), ("b", 200))
    ]
    said = {drawn.name: " ".join(drawn.notes) for drawn in draw_pictures(pair, SCREEN)}
    concerned = {name for name, notes in said.items() if "The accuracy measure differs" in notes}
    assert concerned == {"accuracy", "overview", "pareto", "training"}


def test_what_was_skipped_is_no_failure(tmp_path: Path) -> None:
    absent = {"method": "maml@higher", "settings": {}, "value": None, "status": "skipped"}
    cells = [[row()], [row(cell_id="absent", **absent, detail="install higher")]]
    (drawn,) = draw_pictures(
        [load_run(write_run(tmp_path / "run", cells))], SCREEN, Wanted(pictures=["memory"])
    )
    assert drawn.notes == ("Skipped, so not drawn: maml@higher.",)
    (ax,) = drawn.figure.axes
    assert not [line for line in ax.lines if line.get_marker() == "x"]
    keys = [text.get_text() for legend in drawn.figure.legends for text in legend.get_texts()]
    assert "failed: no value" not in keys


def test_no_method_looks_like_a_failure() -> None:
    crosses = {"x", "X", "+"}
    assert not crosses & {marker for _, marker in PALETTE.values()}
    assert not crosses & set(SPARE_MARKERS)


def test_no_method_is_the_fastest_within_its_interval(tmp_path: Path) -> None:
    def title(**seconds: list[float]) -> str:
        blocks = [time_cell(block, [(method, 4) for method in seconds], rounds=3) for block in range(3)]
        changed = [
            [type(r)(**vars(r) | {"value": seconds[r.method][r.repeat % 3]}) for r in block]
            for block in blocks
        ]
        run = load_run(write_run(tmp_path / "-".join(map(str, seconds.values())), changed))
        (drawn,) = draw_pictures([run], SCREEN, Wanted(pictures=["time"]))
        return drawn.title.replace("\N{NO-BREAK SPACE}", " ")

    close = {"maml": [1.0, 1.1, 1.2], "fomaml": [1.05, 1.15, 1.25]}
    assert (
        title(**close)
        == "Too close to call at 4 inner steps: maml and fomaml take 1.1 s to 1.15 s a meta-step"
    )
    said = title(**close, reptile=[3.0, 3.0, 3.0])
    assert said.startswith(
        "maml and fomaml are the fastest of 3 methods at 4 inner steps (1.1 s to 1.15 s), too close to call"
    )
    assert said.endswith("reptile takes 2.7 (2.5 to 3) times as long as maml")
    assert title(maml=[1.0, 1.0, 1.0], reptile=[2.0, 2.0, 2.0]) == (
        "maml is the fastest of 2 methods at 4 inner steps (1 s); reptile takes 2 times as long as maml"
    )


def test_errors_of_rounding_are_not_ranked(tmp_path: Path) -> None:
    cells = [
        gradient_cell(method, 4, values={"rel_error_implicit": error}, settings={})
        for method, error in (("maml", 3e-16), ("imaml-gd", 9e-15))
    ]
    (drawn,) = draw_pictures(
        [load_run(write_run(tmp_path / "run", cells))], SCREEN, Wanted(pictures=["gradient"])
    )
    assert drawn.title == "At 4 inner steps maml (3.0e-16) and imaml-gd (9.0e-15) are exact to rounding"


def test_an_error_is_not_called_smaller_where_the_seeds_overlap(tmp_path: Path) -> None:
    def title(*others: float) -> str:
        errors = {"maml": (0.01, 0.04), "imaml-gd": others}
        cells = [
            gradient_cell(method, 4, seed, values={"rel_error_implicit": error}, settings={})
            for method, of_seeds in errors.items()
            for seed, error in enumerate(of_seeds)
        ]
        run = load_run(write_run(tmp_path / str(others), cells))
        (drawn,) = draw_pictures([run], SCREEN, Wanted(pictures=["gradient"]))
        return drawn.title

    closer = "At 4 inner steps maml (2.0e-2) is closer than imaml-gd"
    assert title(0.03, 0.12) == f"{closer} (6.0e-2) in the mean over seeds, whose ranges overlap"
    assert title(0.2, 0.8) == f"{closer} (0.4)"


def test_lines_are_broken_where_the_room_ends() -> None:
    rng = np.random.default_rng(3)
    words = [
        str(word) for word in rng.choice(["maml@learn2learn,", "grows", "imaml-gd[cg_steps=20]", "a"], 60)
    ]
    for style in STYLES.values():
        lines = wrap(" ".join(words), 1.6, style.text, style.family, bold=True)
        assert " ".join(lines).replace(" ", "") == "".join(words)
        assert max(width_of(line, style.text, style.family, bold=True) for line in lines) <= 1.6
