import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rows import gradient_cell, inner_kappa, meta_gradient_run, optimisers_run, write_run

from harness.present.tables.show import show_run
from harness.store import Row, RunFolder


def shown(cells: list[list[Row]], path: Path, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for renderable in show_run(write_run(path, cells)):
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def table(text: str, title: str) -> dict[str, list[str]]:
    """First word of each line -> the other words, from the title to the next empty line."""
    lines = text.partition(title)[2].split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines if line.split()}


def at_10(cells: list[list[Row]]) -> list[list[Row]]:
    return [cell for cell in cells if "condition=10.0" in cell[0].workload]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_nothing_is_cut_off(tmp_path: Path, width: int) -> None:
    text = shown(meta_gradient_run() + optimisers_run(), tmp_path, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_errors_stand_in_a_grid_of_methods_and_inner_steps(tmp_path: Path) -> None:
    found = table(shown(at_10(meta_gradient_run()), tmp_path, 200), "exact implicit meta-gradient")
    assert found["inner"] == ["steps", *(str(2**i) for i in range(10))]
    assert found["imaml-gd[cg_steps=2]"][-4:] == ["3.0e-2"] * 4
    assert found["imaml-gd[cg_steps=20]"][:2] == ["0.85", "0.72"]
    assert list(found)[1:6] == ["maml", *(f"imaml-gd[cg_steps={n}]" for n in (2, 5, 10, 20))]


def test_a_grid_that_is_too_wide_goes_on_below_with_its_names(tmp_path: Path) -> None:
    text = shown(at_10(meta_gradient_run()), tmp_path, 80)
    grid = text.partition("exact implicit meta-gradient")[2].partition("Relative L2")[0]
    heads = [line.split()[2:] for line in grid.splitlines() if line.startswith("inner steps")]
    assert [step for head in heads for step in head] == [str(2**i) for i in range(10)]
    assert len(heads) == 2
    assert grid.count("imaml-gd[cg_steps=20]") == 2


def test_the_floor_of_each_method_is_said_with_its_residuals(tmp_path: Path) -> None:
    lines = shown(at_10(meta_gradient_run()), tmp_path, 200).splitlines()
    assert (
        "imaml-gd[cg_steps=2]: 3.0e-2 at 512 inner steps (not falling; inner residual 1.0e-17; "
        "solver residual 6.0e-2)"
    ) in lines


def test_residuals_and_counts_stand_side_by_side(tmp_path: Path) -> None:
    found = table(shown(at_10(meta_gradient_run()), tmp_path, 120), "Where an error comes from")
    assert found["method"] == ["steps", "1", "-", "cos", "inner", "solver", "norm", "matvecs", "gradients",
                               "products"]  # fmt: skip
    assert found["imaml-gd[cg_steps=5]"] == ["512", "8.0e-8", "1.0e-17", "8.0e-4", "0.8", "5", "513", "5"]
    assert found["maml"] == ["512", "0", "1.0e-17", "-", "0.8", "-", "513", "512"]


def test_work_is_shown_for_each_error_and_what_was_never_reached_is_a_dash(tmp_path: Path) -> None:
    found = table(shown(at_10(meta_gradient_run()), tmp_path, 120), "Work to reach an error")
    assert found["error"] == ["1e-1", "1e-2", "1e-4", "1e-6", "1e-8"]
    assert " ".join(found["imaml-gd[cg_steps=5]"]) == "17 + 5 33 + 5 - - -"
    assert " ".join(found["maml"][:3]) == "65 + 64"


def test_plain_unrolled_methods_do_not_stand_beside_errors_against_another_truth(tmp_path: Path) -> None:
    values = {"rel_error_unrolled": 0.0, "gradient_evaluations": 2.0, "hessian_products": 1.0}
    place = {"workload": meta_gradient_run()[0][0].workload, "settings": {}}
    cells = [*at_10(meta_gradient_run()), gradient_cell("maml-replay", 1, values=values, **place)]
    text = shown(cells, tmp_path / "both", 120)
    assert "maml-replay" in table(text, "Error against the derivative of phi_K")
    assert "maml-replay" not in table(text, "Work to reach an error")
    alone = shown(cells[-1:], tmp_path / "alone", 120)
    assert table(alone, "Work to reach an error")["maml-replay"][:3] == ["2", "+", "1"]
    assert "Errors are those against the derivative of phi_K, products the slowest task's." in alone


def test_the_order_in_the_condition_number_is_a_table_and_a_sentence(tmp_path: Path) -> None:
    text = shown(optimisers_run([2**i for i in range(13)]), tmp_path, 200)
    found = table(text, "Work grows with the condition number")
    assert found["imaml-gd[optimiser=accelerated]"][-2:] == ["0.45", "(0.50)"]
    # An error of 0.1 takes kappa ln 10 steps, one gradient more and the 20 products of the solve.
    kappas = np.array([inner_kappa(condition) for condition in (10, 100, 1000)])
    whole = np.polyfit(np.log(kappas), np.log(kappas * np.log(10) + 21), 1)[0]
    exponents = [float(word.strip("()")) for word in found["imaml-gd[optimiser=gradient-descent]"][:2]]
    assert exponents == pytest.approx([whole, 1.0], abs=0.02)
    assert (
        "imaml-gd[optimiser=accelerated]: work to an error of 1e-8 grows as kappa^0.45, without the linear "
        "solver's products as kappa^0.50 (from 3 condition numbers of the inner problem, 9.91 to 500, no "
        "interval)"
    ) in " ".join(text.split())


def test_a_skipped_method_is_listed_with_its_reason_and_has_no_grid(tmp_path: Path) -> None:
    cell = gradient_cell("reptile", 4, values={"rel_error_unrolled": None}, settings={}, detail="no gradient")
    text = shown([cell], tmp_path)
    assert "Error against" not in text
    assert table(text, "Failed and skipped")["gradient"] == ["reptile", "4", "skipped", "no", "gradient"]


def test_derived_tables_hold_every_row_of_the_measure(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", at_10(meta_gradient_run())))
    run.derive_tables()
    kept = pd.read_csv(run.tables_path / "gradient.csv")
    assert len(kept) == len(run.rows()) == len(pd.read_parquet(run.parquet_path))
    assert set(kept["method.cg_steps"].dropna()) == {2, 5, 10, 20}
    assert set(kept["workload.condition"]) == {10.0}
