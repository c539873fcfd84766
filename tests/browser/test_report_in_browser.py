"""The report as a browser shows it: readable by all, on a telephone and a desk, light, dark and on paper."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import (
    METHODS,
    memory_cell,
    meta_gradient_run,
    row,
    trace_of,
    whole_run,
    write_run,
    write_trace,
)

from harness.analyze.loaded import load_run
from harness.present.report import write_report

PHONE, DESK = 390, 1280
A4 = (595, 842)  # points
LONG = "a-method-of-a-very-long-name[inner_lr=0.1,momentum=0.9,optimiser=gradient-descent]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All measures, failures, flags, long words, and a second run beside it."""
    folder = tmp_path_factory.mktemp("report")
    cells = [*whole_run(seeds=3), *meta_gradient_run()]
    cells.append([row(method=LONG, cell_id="long", inner_steps=1)])
    flag = {"metric": "flag", "value": None, "unit": "", "detail": "a busy machine " * 20}
    cells.append([row(cell_id="flag", inner_steps=4, **flag)])
    first = write_run(folder / "first", cells, command="innerloop run quick", memory_budget=400 * 2**20)
    for method in METHODS:
        write_trace(first, f"memory-{method}-8", trace_of(method, 8))
    second = write_run(folder / "second", [memory_cell(m, s) for m in METHODS for s in (1, 2, 4)])
    return write_report([load_run(first), load_run(second)], folder / "report.html")


Open = Callable[..., Any]


@pytest.fixture
def shown(chromium: Any, report: Path) -> Iterator[Open]:
    """Opens the report in a window of this width and colour scheme."""
    pages = []

    def open_page(width: int, scheme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        page = context.new_page()
        page.requests = []
        page.errors = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(report.as_uri())
        pages.append(context)
        return page

    yield open_page
    for context in pages:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_an_automated_check_of_accessibility_finds_nothing(shown: Open, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = shown(width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    found = Axe().run(page).response
    assert len(found["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


def test_the_page_loads_nothing_but_itself_and_its_script_runs(shown: Open, report: Path) -> None:
    page = shown(DESK)
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.errors == []


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_never_scrolls_sideways(shown: Open, width: int) -> None:
    page = shown(width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
    )
    assert wide > 0  # the tables do, each in its box


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_of_a_picture_lies_outside_of_it(shown: Open, width: int) -> None:
    page = shown(width)
    cut = page.evaluate(
        """() => [...document.querySelectorAll("svg.plot")].flatMap((svg) => {
          const frame = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1
              || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
          }).map((text) => `${svg.getAttribute("aria-labelledby")}: ${text.textContent}`);
        })"""
    )
    assert cut == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_in_pictures_stand_out_from_the_paper(shown: Open, scheme: str) -> None:
    """4.5 : 1 by the guidelines' own formula, on the colours that the browser has computed."""
    page = shown(DESK, scheme)
    colours = page.evaluate(
        """() => [getComputedStyle(document.body).backgroundColor,
          ...new Set([...document.querySelectorAll("svg.plot text")].map((e) => getComputedStyle(e).fill))]"""
    )
    paper, *letters = [_luminance(colour) for colour in colours]
    assert (paper < 0.1) == (scheme == "dark")
    assert len(letters) > 4
    for each in letters:
        brighter, darker = max(each, paper), min(each, paper)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5


def test_a_button_sorts_its_table_up_then_down_by_value(shown: Open) -> None:
    page = shown(DESK)
    table = page.locator("#memory table").first
    head = table.locator("thead th", has_text="4")
    assert head.get_attribute("aria-sort") is None
    for direction in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        column = head.evaluate("(e) => e.cellIndex")
        keys = table.evaluate(
            "(t, c) => [...t.tBodies[0].rows].map((r) => r.cells[c].dataset.key).filter(Boolean).map(Number)",
            column,
        )
        assert len(keys) >= 5
        assert keys == sorted(keys, reverse=direction == "descending")
    assert table.locator("[aria-sort]").count() == 1


def test_without_a_script_the_tables_are_there_and_no_button_is_dead(shown: Open) -> None:
    page = shown(DESK, java_script_enabled=False)
    assert page.locator("table").count() > 5
    assert page.locator("button").count() == 0


def test_on_paper_it_is_light_and_no_picture_is_cut_or_lost(shown: Open, tmp_path: Path) -> None:
    page = shown(DESK, "dark")
    page.emulate_media(media="print")
    assert _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    page.set_viewport_size({"width": 672, "height": 960})  # A4 between its margins, in CSS pixels
    tall = page.evaluate(
        "[...document.querySelectorAll('figure')].map((e) => e.getBoundingClientRect().height)"
    )
    assert max(tall) < 960
    narrowest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('tbody td')].map((e) => e.offsetWidth).filter(Boolean))"
    )
    assert narrowest > 40  # a column of less would be broken letter by letter
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    sizes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", pdf)
    assert len(sizes) > 3
    assert all((round(float(w)), round(float(h))) == pytest.approx(A4, abs=1) for w, h in sizes)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
