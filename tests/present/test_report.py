"""The report as a file: whole without anything else, its words safe, its sentences traceable to rows."""

import colorsys
import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from rows import (
    GLYPHS,
    accuracy_cell,
    gradient_cell,
    memory_cell,
    meta_gradient_run,
    regression,
    row,
    whole_run,
    write_run,
)

from harness.analyze.loaded import load_run
from harness.cli.app import call
from harness.present.palette import METHODS as PALETTE
from harness.present.palette import SPARE, looks
from harness.present.plots.trace import PHASES
from harness.present.report import write_report
from harness.present.report.blocks import LINES_SHOWN, Cell, Table
from harness.present.report.cells import in_digits, numeric_columns
from harness.present.report.drawings import PAGE
from harness.present.report.ink import PAPER, ink_of, lightness_of, luminance
from harness.present.report.inline_svg import inline_svg
from harness.present.report.page import MOST_FINDINGS
from harness.present.report.sources import IDS_SHOWN

VOID = {"meta", "link", "br", "hr", "img", "input"}
CONTENT = {
    "workloads": ["glyphs[ways=20,shots=1]"],
    "device": "auto",
    "accuracy": {
        "meta_batch_size": 4,
        "execution": "vectorized",
        "meta_steps": 200,
        "validate_every": 100,
        "validation_tasks": 60,
        "test_tasks": 300,
        "untrained": True,
    },
    "time": {"meta_batch_size": 1, "execution": "loop", "rounds": 9, "blocks": 3},
    "memory": {"meta_batch_size": 1, "execution": "vectorized", "task_chunk": 1},
}

GRAPHICAL, LETTERS = 3.0, 4.5  # of lines and of letters, WCAG 2.2


def contrast(first: str, second: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2)."""
    brighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.in_code: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
        if self.open and self.open[-1] == "code":
            self.in_code.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*runs: Path) -> Page:
    out = runs[0].parent / "page.html"
    write_report([load_run(run) for run in runs], out)
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = whole_run() + meta_gradient_run()
    command = "innerloop run quick --seed 0,1,2"
    folder = tmp_path_factory.mktemp("runs") / "first"
    return write_run(folder, cells, command=command, content=CONTENT, memory_budget=None)


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return page_of(run)


def test_every_element_is_closed_and_no_id_is_given_twice(page: Page) -> None:
    assert page.open == []
    ids = page.attributes("id")
    assert len(ids) > 20
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_what_is_referred_to_on_the_page_is_there(page: Page) -> None:
    ids = set(page.attributes("id"))
    wanted = {link.removeprefix("#") for link in page.attributes("href") if link.startswith("#")}
    for name in ("aria-labelledby", "aria-describedby"):
        wanted |= {each for value in page.attributes(name) for each in value.split()}
    wanted |= {found for name in ("style", "clip-path") for value in page.attributes(name)
               for found in re.findall(r"url\(#([^)]+)\)", value)}  # fmt: skip
    assert wanted <= ids


def test_nothing_is_loaded_from_anywhere(run: Path, page: Page) -> None:
    for name in ("src", "href", "xlink:href", "srcset", "action"):
        assert all(link.startswith(("#", "data:")) for link in page.attributes(name))
    text = (run.parent / "page.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"https?://", text)


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_picture_has_its_data_in_words(page: Page) -> None:
    pictures = page.of("svg")
    assert len(pictures) == len(page.of("figure")) == len(page.of("figcaption")) >= 4
    for picture in pictures:
        assert picture["role"] == "img"
        assert picture["aria-labelledby"]
        assert picture["aria-describedby"]
    # Peak = 12 + 40 + 26.35 a step, in MiB, up to the budget of 400.
    assert "maml: 78.3 at 1 to 263 at 8, oom at 16" in page.text


def test_every_picture_says_how_to_make_its_rows_and_itself(run: Path, page: Page) -> None:
    assert page.in_code.count("innerloop run quick --seed 0,1,2") >= len(page.of("figure"))
    pictures = [code for code in page.in_code if code.startswith("innerloop plot ")]
    assert len(pictures) == len(page.of("figure"))
    assert f"innerloop plot {run} --metric memory --out figures" in pictures
    one_of_two = f"--metric gradient --workload {shlex.quote(regression(10.0))}"
    assert f"innerloop plot {run} {one_of_two} --out figures" in pictures


def test_every_sentence_and_picture_names_cells_that_rows_have(run: Path, page: Page) -> None:
    cells = set(load_run(run).rows.cell_id)
    named = [code for code in page.in_code if not code.startswith("innerloop ")]
    assert set(named) <= cells
    # A finding each of accuracy, memory and time, and their pictures, have all the cells of their measure.
    for measure in ("accuracy", "memory", "time"):
        own = {cell for cell in cells if cell.startswith(f"{measure}-")}
        assert own <= set(named)
    assert page.attributes("class").count("rows") >= len(page.of("figure")) + 3


def test_names_and_details_of_rows_are_text_and_never_markup(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)'"
    cells = [
        memory_cell("maml", 1),
        [row(method=attack, cell_id="a", inner_steps=1)],
        [row(method="maml", inner_steps=2, cell_id="b", value=None, status="error", detail=attack)],
        [row(metric="flag", cell_id="c", inner_steps=1, value=None, unit="", detail=attack)],
    ]
    run = write_run(tmp_path / "run", cells, title=attack, command=attack)
    page = page_of(run)
    assert len(page.of("script")) == 1  # the one that sorts
    assert not page.of("img")
    assert not {name for _, attributes in page.tags for name in attributes if name.startswith("on")}
    assert page.text.count("<script>alert(1)</script>") >= 5


def test_several_runs_stand_side_by_side(tmp_path: Path, run: Path) -> None:
    cells = [memory_cell(method, steps) for method in ("maml", "imaml-gd") for steps in (1, 2, 4)]
    second = write_run(tmp_path / "second", cells, command="innerloop run other", content={})
    page = page_of(run, second)
    assert "2 runs side by side: A (first) and B (second), " in page.text
    assert "innerloop run other" in page.in_code
    assert f"innerloop plot {run} {second} --metric memory --out figures" in page.in_code
    assert "maml in B (second): 78.3 at 1 to 157 at 4" in page.text
    said = set(re.findall(r"B \(second\): memory, peak_bytes, of ([^:]*):", page.text))
    assert "imaml-gd and maml, at 1, 2 and 4 inner steps" in said
    assert not [words for words in said if "fomaml" in words or "8" in words]


def test_a_crossing_that_several_runs_show_is_told_once_at_the_head(tmp_path: Path) -> None:
    cells = [memory_cell(method, steps) for method in ("maml", "imaml-gd") for steps in (1, 2, 4)]
    runs = [write_run(tmp_path / name, cells) for name in ("a", "b")]
    head, _, below = page_of(*runs).text.partition("Curves Accuracy")
    assert head.count("imaml-gd needs less memory than maml") == 1
    assert "From 2 inner steps on, imaml-gd needs less memory than maml. memory, A (a) and B (b)" in head
    assert below.count("From 2 inner steps on, imaml-gd needs less memory than maml (") == 2


def test_what_the_page_leaves_open_stands_beside_a_sentence_and_no_more(tmp_path: Path) -> None:
    one = page_of(write_run(tmp_path / "one", [memory_cell("maml", s) for s in (1, 2, 4)]))
    assert "3 cells; glyphs, 20-way 1-shot" in one.text
    assert "subject" not in one.attributes("class")[: one.attributes("class").index("plot")]
    other = [memory_cell("maml", s, workload="sinusoid", cell_id=f"s{s}") for s in (1, 2, 4)]
    two = page_of(write_run(tmp_path / "two", [*other, *(memory_cell("maml", s) for s in (1, 2, 4))]))
    assert "cells; glyphs" not in two.text
    assert "an inner step. sinusoid" in two.text


def test_runs_in_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps) for steps in (1, 2, 4)]
    runs = [write_run(tmp_path / side / "quick", cells) for side in ("before", "after")]
    text = page_of(*runs).text
    assert "before/quick" in text
    assert "after/quick" in text


def test_the_protocol_is_what_the_manifest_and_the_rows_say(page: Page) -> None:
    for said in (
        "ways / shots / queries 20 / 1 / none",
        "accuracy: inner steps in test those of training",
        "accuracy: meta-steps 200",
        "accuracy: seeds 0, 1, 2",
        "the parameters that are best on 60 validation tasks, looked at every 100 meta-steps",
        "accuracy: test tasks 300, fresh",
        "memory: tasks at once 1",
        "time: execution loop",
        "time: rounds a block 9",
        "memory budget none",
    ):
        assert said in page.text


def test_what_the_manifest_does_not_say_is_unknown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [accuracy_cell("maml", 4)])
    page = page_of(run)
    assert "accuracy: inner steps in test unknown: the manifest does not say" in page.text
    assert "accuracy: selection unknown: the manifest does not say" in page.text
    assert "memory budget unknown: the manifest does not say" in page.text
    assert "No selfcheck" in page.text or "no selfcheck" in page.text


def test_what_was_not_measured_has_its_place_and_the_command_that_would(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", [memory_cell("maml", steps) for steps in (1, 2, 4)]))
    for measure in ("accuracy", "time", "gradient"):
        assert measure in page.attributes("id")
    assert page.text.count("Not measured in this run") >= 3


def test_a_run_without_any_row_is_still_a_page(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", [], unfinished=3))
    assert "Nothing was measured." in page.text
    assert "3 of 3 cells have not finished" in page.text


def test_what_would_do_is_said_once_where_it_is_the_same_of_all(tmp_path: Path) -> None:
    """One seed, 0.83, 0.79 and 0.72 with half-widths of 0.011: these models differ, the methods may not."""
    cells = [accuracy_cell(method, 4) for method in ("maml", "fomaml", "reptile")]
    page = page_of(write_run(tmp_path / "run", cells))
    assert "what would do" not in page.text
    assert "Of every comparison: how many seeds would do cannot be known from one." in page.text
    assert page.text.count("these models differ") == 3  # of each pair, in the words of `show`


def test_what_casts_doubt_stands_beside_the_findings(tmp_path: Path) -> None:
    cells = [accuracy_cell("maml", 4), memory_cell("maml", 16, budget_mib=100)]
    cells.append(
        [row(metric="flag", cell_id="f", inner_steps=4, value=None, unit="", detail="a busy machine")]
    )
    page = page_of(write_run(tmp_path / "run", cells, unfinished=2))
    note = page.text.partition("Before you believe the numbers")[2].partition("Curves against")[0]
    assert "2 of 5 cells have not finished" in note
    assert "1 oom" in note
    assert "warn of 1 point: read the flags" in note
    assert "single seed" in note


def test_with_one_seed_it_is_said_first_that_no_winner_can_be_called(tmp_path: Path) -> None:
    cells = [accuracy_cell(method, 4) for method in ("maml", "fomaml")] + [memory_cell("maml", 4)]
    head = page_of(write_run(tmp_path / "run", cells)).text.split("What was found")[-1]
    said = head.strip().replace("\xa0", " ")
    assert said.startswith("No winner can be called from 1 seed: at 4 inner steps maml reaches")


def test_findings_on_flagged_rows_are_marked(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps) for steps in (1, 2, 4)]
    place = {"cell_id": cells[0][0].cell_id, "settings": cells[0][0].settings, "inner_steps": 1}
    cells[0].append(row(metric="flag", value=None, unit="", detail="a busy machine", **place))
    page = page_of(write_run(tmp_path / "run", cells))
    assert "an inner step. ‡ flagged: 1 of 3 points" in page.text.replace("\xa0", " ")


def test_findings_beyond_the_first_are_folded_and_none_is_lost(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps, workload=f"task[n={i}]", cell_id=f"{i}-{steps}")
             for i in range(MOST_FINDINGS + 3) for steps in (1, 2, 4)]  # fmt: skip
    page = page_of(write_run(tmp_path / "run", cells))
    head = page.text.partition("Curves Accuracy")[0]
    assert "3 more findings" in head
    assert head.count("Peak memory grows by") == MOST_FINDINGS + 3


def test_a_column_of_numbers_stays_one_where_a_point_failed() -> None:
    lines = [(Cell("maml"), Cell("1.5", 1.5), Cell("oom")), (Cell("anil"), Cell("oom"), Cell("ok"))]
    assert numeric_columns(lines) == {1}


def test_a_table_of_many_lines_says_how_many_it_leaves_out() -> None:
    lines = [(Cell(str(i)),) for i in range(LINES_SHOWN + 7)]
    table = Table(caption="many", columns=("n",), lines=lines, elsewhere="many.csv")
    assert len(table.shown) == LINES_SHOWN
    assert table.cut == "The first 1,000 of 1,007 lines. All are in many.csv."
    assert Table(caption="few", columns=("n",), lines=lines[:5]).cut == ""


def test_a_list_of_many_cells_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    cells = [memory_cell("maml", steps, cell_id=f"cell-{steps}") for steps in range(1, IDS_SHOWN + 31)]
    page = page_of(write_run(tmp_path / "run", cells))
    assert "and 30 more" in page.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_a_method_can_be_seen_and_read_on_either_paper(scheme: str) -> None:
    variants = [("maml", f"maml[lam={i}]") for i in range(6)]
    colours = {colour for colour, _ in PALETTE.values()} | set(SPARE)
    colours |= {look.colour for look in looks(variants).values()}
    for colour in colours:
        line, letters = ink_of(colour), ink_of(colour, letters=True)
        assert contrast(getattr(line, scheme), PAPER[scheme]) >= GRAPHICAL, colour
        assert contrast(getattr(letters, scheme), PAPER[scheme]) >= LETTERS, colour


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shades_of_a_method_keep_their_order_on_either_paper(scheme: str) -> None:
    shades = [look.colour for look in looks([("maml", f"maml[lam={i}]") for i in range(5)]).values()]
    lightness = [lightness_of(getattr(ink_of(shade), scheme)) for shade in shades]
    assert lightness == sorted(lightness, reverse=True)
    assert len(set(lightness)) == len(lightness)


def test_what_lies_behind_lines_is_dark_on_dark_paper_and_as_it_is_on_light() -> None:
    for colour in PHASES.values():
        ink = ink_of(colour)
        assert contrast(ink.light, PAPER["light"]) < 2
        assert contrast(ink.dark, PAPER["dark"]) < 2


def test_a_dark_shade_keeps_its_hue_on_dark_paper() -> None:
    shades = [look.colour for look in looks([("imaml-gd", f"imaml-gd[cg={i}]") for i in range(4)]).values()]
    for shade in shades:
        before, after = (colorsys.rgb_to_hls(*parts_of(c)) for c in (shade, ink_of(shade).dark))
        assert after[0] == pytest.approx(before[0], abs=0.05)
        assert after[2] > 0.4  # saturation: none of them is nearly grey


def parts_of(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def test_an_error_of_nothing_is_told_as_0_though_it_is_drawn_above(tmp_path: Path) -> None:
    values = {"rel_error_unrolled": 0.0, "gradient_evaluations": 2.0, "hessian_products": 1.0}
    cells = [gradient_cell("maml", steps, values=values, settings={"lam": 0.0}) for steps in (1, 2, 4)]
    page = page_of(write_run(tmp_path / "run", cells))
    assert "maml: 0 at 1 to 0 at 4" in page.text
    assert "1.000e-17" not in page.text


def test_contrast_is_that_of_the_guidelines() -> None:
    """Black on white is 21 : 1; #767676 is the lightest grey that passes 4.5 : 1 on white."""
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
    assert contrast("#777777", "#FFFFFF") < 4.5


def test_a_picture_keeps_its_letters_and_names_its_colours_by_variables() -> None:
    with mpl.rc_context({"svg.hashsalt": "test"}):
        figure = Figure()
        ax = figure.add_subplot()
        ax.plot([0, 1], [0, 1], "o-", color="#0072B2", label="a & b < c")
        ax.legend()
    svg, inks = inline_svg(figure, "one", "title", "words", PAGE)
    assert "a &amp; b &lt; c" in svg
    assert "<text" in svg
    assert "#0072b2" not in svg.lower()
    assert "var(--c0072b2)" in svg
    assert {ink.variable for ink in inks} >= {"c0072b2"}
    assert all(name.startswith("one-") for name in re.findall(r' id="([^"]+)"', svg))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (26.35, "26.35"),
        (1234.5, "1,234"),
        (0.0, "0"),
        (3.14159e-9, "3.142e-9"),
        (-0.5, "-0.5000"),
        (2e12, "2.000e12"),
    ],
)
def test_numbers_have_four_digits(value: float, words: str) -> None:
    assert in_digits(value) == words


def test_the_same_rows_make_the_same_file(run: Path, tmp_path: Path) -> None:
    first, second = (write_report([load_run(run)], tmp_path / name) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_the_command_writes_into_the_run_or_where_it_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = write_run(tmp_path / "small", [memory_cell("maml", steps) for steps in (1, 2, 4)])
    assert call(["report", str(small)]) == 0
    assert (small / "report.html").is_file()
    assert capsys.readouterr().out.strip() == str(small / "report.html")
    assert call(["report", str(small), str(run)]) == 0
    assert (tmp_path / "report.html").is_file()
    assert call(["report", str(small), "--out", "new/page.html"]) == 0
    assert (tmp_path / "new" / "page.html").is_file()


def test_what_is_no_run_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"innerloop: {tmp_path} is not a run folder: it has no manifest.json.\n"
    small = write_run(tmp_path / "small", [memory_cell("maml", 1)])
    (tmp_path / "file").write_text("")
    assert call(["report", str(small), "--out", str(tmp_path / "file" / "page.html")]) == 2
    assert "name another with --out" in capsys.readouterr().err


def test_the_workload_is_in_the_words_of_the_evidence(page: Page) -> None:
    assert "memory, peak_bytes, of fomaml, imaml-gd" in page.text
    assert f"at 1, 2, 4, 8 and 16 inner steps: {GLYPHS}" in page.text
