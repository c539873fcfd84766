"""The page as HTML: the templates, with style and script inside them."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness import __version__
from harness.analyze.loaded import LoadedRun
from harness.files import replace_file
from harness.present.report.blocks import Page
from harness.present.report.ink import NEUTRALS, Ink, style_sheet
from harness.present.report.page import build_page
from harness.present.report.sources import Source

HERE = Path(__file__).parent


def write_report(runs: Sequence[LoadedRun], path: Path) -> Path:
    """One file, all or nothing. Raises OSError."""
    replace_file(path, render(build_page(runs)))
    return path


def render(page: Page) -> str:
    """All text is escaped; what is markup says so by its type."""
    environment = Environment(
        loader=PackageLoader("harness.present.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ticks": with_code, "counted": cells_in_words}
    neutrals = {Ink(name, pair["light"], pair["dark"]) for name, pair in NEUTRALS.items()}
    return environment.get_template("page.html.j2").render(
        page=page,
        version=__version__,
        neutrals=Markup(style_sheet(neutrals)),
        style=_own("style.css"),
        script=_own("sort.js"),
    )


def with_code(words: str) -> Markup:
    """What stands between backticks as code; everything is escaped."""
    parts = words.split("`")
    if len(parts) % 2 == 0:  # one that is never closed
        return escape(words)
    marked = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )
    return Markup("").join(marked)


def cells_in_words(sources: Sequence[Source]) -> str:
    number = len({(source.run, cell) for source in sources for cell in source.cells})
    return f"{number:,} cell{'' if number == 1 else 's'}"


def _own(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))
