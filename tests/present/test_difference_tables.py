"""The section of `show` on who is more accurate, read as its reader does."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rows import METHODS, SETTINGS, accuracy_cell, row, whole_run, write_run
from scipy import stats

from harness.analyze.accuracy.differences import differences_of
from harness.frame import frame_of
from harness.present.tables.differences import difference_sections
from harness.present.tables.show import show_run
from harness.store import Row


def shown(cells: list[list[Row]], width: int = 80) -> str:
    frame = frame_of([row for cell in cells for row in cell])
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for section in difference_sections(differences_of(frame, Path("no-cells"))):
        console.print(section)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def scored(method: str, steps: int, values: list[float], validation: float) -> list[list[Row]]:
    """A cell a seed of values that are as given."""
    cells = []
    for seed, value in enumerate(values):
        cell = accuracy_cell(method, steps, seed)
        told = {"accuracy": value, "validation_accuracy": validation}
        cells.append([row(**vars(r) | {"value": told.get(r.metric, r.value)}) for r in cell])
    return cells


MAML = {4: [0.80, 0.82, 0.81, 0.83], 8: [0.84, 0.86, 0.85, 0.87]}
FOMAML = {4: [0.78, 0.86, 0.80, 0.86], 8: [0.79, 0.83, 0.81, 0.82]}
REPTILE = [0.60, 0.62, 0.611, 0.63]
CALLED = [
    *scored("maml", 4, MAML[4], 0.7),
    *scored("maml", 8, MAML[8], 0.9),
    *scored("fomaml", 4, FOMAML[4], 0.6),
    *scored("fomaml", 8, FOMAML[8], 0.5),
    *scored("reptile", 4, REPTILE, 0.8),
]


def test_every_method_stands_against_the_one_that_validation_puts_first() -> None:
    lines = [words(line) for line in shown(CALLED, 120).splitlines()]
    assert lines[0] == (
        "Accuracy in points against maml, each at the steps that validation chose (maml: 8): "
        "glyphs[shots=1,ways=20]"
    )
    oracle = stats.ttest_rel(FOMAML[4], MAML[8])
    low, high = (100 * end for end in oracle.confidence_interval(0.95))
    fomaml = next(line for line in lines if line.startswith("fomaml"))
    assert fomaml.startswith(
        f"fomaml 4 -3.0 {low:+.1f} to {high:+.1f} {2 * oracle.pvalue:.2f} too weak to call:"
    )
    reptile = next(line for line in lines if line.startswith("reptile 4"))
    assert reptile.endswith("<0.001 worse")
    at_equal = lines[lines.index("Accuracy in points against maml at equal inner steps") :]
    halves = [100 * stats.sem(np.subtract(FOMAML[k], MAML[k])) * stats.t.ppf(0.975, 3) for k in (4, 8)]
    assert at_equal[1:3] == ["inner steps 4 8", f"fomaml +1.0±{halves[0]:.1f} -4.2±{halves[1]:.1f}*"]


def test_winners_among_pairs_without_the_first_are_named_below() -> None:
    assert "Called among the other pairs: fomaml over reptile (4)." in words(shown(CALLED))
    assert "p by Holm over all 6 comparisons" in words(shown(CALLED))


@pytest.mark.parametrize(("seeds", "word"), [(1, "One seed does"), (2, "Two seeds do")])
def test_few_seeds_are_said_in_words_and_call_nothing(seeds: int, word: str) -> None:
    text = words(shown(whole_run(seeds=seeds)))
    assert f"{word} not show how training scatters: between methods nothing can be called" in text
    assert "these models differ" in text
    assert "better, worse" not in text
    assert "for these trained models only" in text
    assert " - these models differ" in text
    assert "by Holm" not in text


def test_seeds_that_were_lost_are_marked_and_explained() -> None:
    lost = {"measure": "accuracy", "metric": "accuracy", "cell_id": "lost", "inner_steps": 4, "seed": 4}
    cells = [*CALLED, [row(**lost, settings=SETTINGS["maml"], value=None, status="diverged")]]
    cells += [accuracy_cell("fomaml", 4, 4)]
    text = shown(cells)
    line = next(line for line in text.splitlines() if "±" in line and line.startswith("fomaml"))
    assert line.count("†") == 1  # at 8 steps neither was run with that seed
    assert "† fomaml at 4: 1 seed left out (maml diverged: 1), which may flatter what failed there." in words(
        text
    )


def test_a_method_that_finished_nothing_is_named_and_takes_no_lines() -> None:
    failed = {"measure": "accuracy", "metric": "accuracy", "method": "imaml@torchopt", "value": None}
    cells = [
        [row(**failed, settings={}, cell_id=f"x{seed}", seed=seed, status="skipped")] for seed in range(4)
    ]
    text = shown([*CALLED, *cells])
    assert "No seed finished both maml and: imaml@torchopt." in words(text)
    assert text.count("imaml@torchopt") == 1


def test_without_common_steps_or_validation_it_is_said_that_nothing_was_compared() -> None:
    cells = [*accuracy_cell("maml", 8), *accuracy_cell("imaml-hf", 2)]
    text = words(shown([[r for r in cells if not r.metric.startswith("validation")]]))
    assert "Nothing to compare." in text
    assert "No inner steps in common with maml: imaml-hf." in text


def test_of_losses_it_is_said_which_way_is_better() -> None:
    cells = [accuracy_cell(m, 4, s, metric="loss") for m in ("maml", "reptile") for s in range(3)]
    assert "Of losses the lower is better" in words(shown(cells))


@pytest.mark.parametrize("width", [80, 120])
def test_many_variants_make_a_line_each_and_no_line_is_cut(width: int) -> None:
    cells = [
        accuracy_cell("imaml-gd", steps, seed, settings={"lam": lam}, cell_id=f"{lam}-{steps}-{seed}")
        for lam in range(20)
        for steps in (1, 2, 4, 8, 16)
        for seed in range(3)
    ]
    text = shown(cells, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert len(text.splitlines()) < 20 * 2 * (4 if width == 80 else 2)


def test_one_method_has_no_such_section_and_show_has_it_after_accuracy(tmp_path: Path) -> None:
    assert shown([accuracy_cell("maml", 4, seed) for seed in range(3)]) == ""
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for part in show_run(write_run(tmp_path / "run", whole_run())):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.index("on fresh test tasks") < text.index("in points against") < text.index("Peak memory")
    assert all(method in text for method in METHODS)
