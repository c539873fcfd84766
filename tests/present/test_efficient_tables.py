import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rows import accuracy_cell, memory_cell, whole_run, write_run

from harness.analyze.loaded import load_run
from harness.analyze.pareto import pareto_points
from harness.present.tables.efficient import efficient_sections
from harness.store import Row


def shown(path: Path, cells: list[list[Row]], **manifest: Any) -> list[str]:
    points = pareto_points(load_run(write_run(path, cells, **manifest)))
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for part in efficient_sections(points):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_efficient_points_stand_by_method_with_their_inner_steps(tmp_path: Path) -> None:
    """Memory is flat in steps but for MAML, accuracy rises: the most steps of each. MAML at 4 steps needs
    more memory than FOMAML at 16 and is less accurate, but not beyond the intervals."""
    methods = ("maml", "reptile", "fomaml")
    cells = [accuracy_cell(m, k, s) for m in methods for k in (4, 16) for s in range(3)]
    cells += [memory_cell(m, k, budget_mib=1e6) for m in methods for k in (4, 16)]
    content = {"accuracy": {"meta_batch_size": 8}, "memory": {"meta_batch_size": 1}}
    lines = shown(tmp_path / "run", cells, content=content)
    assert lines[0] == "Efficient in accuracy and peak memory: glyphs[shots=1,ways=20]"
    assert lines[2:5] == ["maml 16 4", "fomaml 16", "reptile 16"]
    assert "8 tasks a meta-step for accuracy, 1 for memory." in lines


def test_where_nothing_is_to_be_weighed_there_is_no_such_section(tmp_path: Path) -> None:
    assert shown(tmp_path / "run", [cell for cell in whole_run() if cell[0].measure != "accuracy"]) == []
