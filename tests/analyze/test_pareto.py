"""The Pareto set against its definition, point by point."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import GLYPHS, MIB, SETTINGS, accuracy_cell, gradient_cell, memory_cell, row, whole_run, write_run

from harness.analyze.loaded import load_run
from harness.analyze.pareto import AXES, dominated_points, pareto_points
from harness.rows import Row


def points(path: Path, cells: list[list[Row]], **manifest: Any) -> pd.DataFrame:
    return pareto_points(load_run(write_run(path, cells, **manifest)))


def by_definition(costs: list[list[float]]) -> list[bool]:
    """Whether each point is dominated; `costs` with NaN where unknown, lower being better."""
    found = []
    for own in costs:
        known = [axis for axis, value in enumerate(own) if not math.isnan(value)]
        found.append(
            any(
                all(not math.isnan(other[axis]) for axis in known)
                and all(other[axis] <= own[axis] for axis in known)
                and any(other[axis] < own[axis] for axis in known)
                for other in costs
                if other is not own
            )
        )
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_point_is_dominated_exactly_where_the_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 4, (30, 4)).astype(float)  # few values: many ties and equals
    costs[rng.random(costs.shape) < 0.15] = np.nan
    assert dominated_points(costs, costs).tolist() == by_definition(costs.tolist())


def test_of_what_is_not_dominated_every_other_point_has_one_that_dominates_it() -> None:
    """Also through points that are themselves dominated: domination is transitive, unknown axes and all."""
    rng = np.random.default_rng(1)
    costs = rng.integers(0, 5, (60, 4)).astype(float)
    costs[rng.random(costs.shape) < 0.2] = np.nan
    dominated = dominated_points(costs, costs)
    kept = costs[~dominated]
    for own in costs[dominated]:
        assert by_definition([own.tolist(), *kept.tolist()])[0]


def choice(method: str, steps: int, accuracy: float, mib: float, seconds: float) -> list[list[Row]]:
    """A point of three axes: ± 0.01 of accuracy over the tasks of one seed, and exact seconds."""
    place = {"method": method, "settings": SETTINGS[method], "inner_steps": steps, "workload": GLYPHS}
    name = f"{method}-{steps}"
    scored = {"measure": "accuracy", "cell_id": f"a-{name}", "unit": "fraction"}
    timed = {
        "measure": "time",
        "cell_id": f"t-{name}",
        "unit": "s",
        "metric": "step_seconds",
        "value": seconds,
    }
    return [
        [
            row(**place | scored | {"metric": "accuracy", "value": accuracy}),
            row(**place | scored | {"metric": "accuracy_ci95", "value": 0.01}),
        ],
        [row(**place, cell_id=f"m-{name}", value=mib * MIB)],
        [row(**place | timed | {"repeat": i}) for i in range(3)],
    ]


def test_a_point_alone_is_held_against_nothing(tmp_path: Path) -> None:
    found = points(tmp_path / "run", choice("maml", 4, 0.8, 100, 0.2))
    assert found.is_efficient.isna().all()


def test_worse_on_every_axis_is_not_efficient_and_better_on_one_is(tmp_path: Path) -> None:
    cells = [
        *choice("maml", 4, 0.80, 100, 0.2),
        *choice("fomaml", 4, 0.75, 50, 0.1),
        *choice("reptile", 4, 0.70, 60, 0.3),
        *choice("imaml-gd", 4, 0.80, 100, 0.2),  # the equal of maml: neither is better
    ]
    found = points(tmp_path / "run", cells).set_index("method")
    assert set(found.known_axes) == {"accuracy,peak_bytes,step_seconds"}
    assert found.is_efficient.to_dict() == {"fomaml": True, "imaml-gd": True, "maml": True, "reptile": False}
    assert not found.may_be_efficient["reptile"]


def test_what_intervals_do_not_tell_apart_may_be_efficient(tmp_path: Path) -> None:
    cells = [
        *choice("maml", 4, 0.800, 100, 0.2),
        *choice("fomaml", 4, 0.795, 110, 0.3),  # within the interval of maml
        *choice("reptile", 4, 0.770, 110, 0.3),  # below it
    ]
    found = points(tmp_path / "run", cells).set_index("method")
    assert found.is_efficient.to_dict() == {"maml": True, "fomaml": False, "reptile": False}
    assert found.may_be_efficient.to_dict() == {"maml": True, "fomaml": True, "reptile": False}
    assert set(found.accuracy_interval) == {"tasks"}


def test_without_an_interval_nothing_is_beyond_doubt(tmp_path: Path) -> None:
    cells = [*choice("maml", 4, 0.9, 50, 0.1), *choice("reptile", 4, 0.5, 60, 0.2)]
    cells[0] = cells[0][:1]
    found = points(tmp_path / "run", cells).set_index("method")
    assert found.is_efficient.to_dict() == {"maml": True, "reptile": False}
    assert found.may_be_efficient.all()


def test_of_losses_the_lower_is_efficient(tmp_path: Path) -> None:
    cells = [accuracy_cell(m, 4, s, metric="loss") for m in ("maml", "reptile") for s in range(3)]
    cells += [memory_cell(m, 4, budget_mib=1000) for m in ("maml", "reptile")]
    found = points(tmp_path / "run", cells).set_index("method")
    assert found.accuracy["reptile"] < found.accuracy["maml"]
    assert found.is_efficient.to_dict() == {"maml": False, "reptile": True}


def test_where_neither_accuracy_nor_gradient_error_is_known_there_is_nothing_to_weigh(tmp_path: Path) -> None:
    """Memory and time alone would praise the fewest inner steps."""
    found = points(tmp_path / "run", whole_run())
    known = found.accuracy.notna() & found.peak_bytes.notna()  # maml at 16 steps needs too much memory
    assert known.any()
    assert (~known).any()
    assert found.is_efficient[~known].isna().all()
    assert found.is_efficient[known].notna().all()
    assert not ((found.method == "maml") & (found.inner_steps == 32)).any()  # diverged: nothing is known


def test_the_efficient_points_of_a_whole_run_are_those_of_the_definition(tmp_path: Path) -> None:
    found = points(tmp_path / "run", whole_run()).dropna(subset=["accuracy", "peak_bytes"])
    costs = found[[*AXES]].assign(accuracy=-found.accuracy).to_numpy().tolist()
    assert found.is_efficient.tolist() == [not dominated for dominated in by_definition(costs)]


def test_gradient_errors_are_weighed_against_one_true_gradient(tmp_path: Path) -> None:
    """Two methods have an implicit one, three an unrolled one: those are compared."""
    errors = {"maml": (None, 0.0), "imaml-gd": (1e-3, 0.1), "fomaml": (0.2, 0.3)}
    cells = []
    for method, (implicit, unrolled) in errors.items():
        values = {"rel_error_implicit": implicit, "rel_error_unrolled": unrolled}
        cells.append(gradient_cell(method, 4, values=values, workload=GLYPHS, settings=SETTINGS[method]))
        cells.append(memory_cell(method, 4))
    found = points(tmp_path / "run", cells).set_index("method")
    assert set(found.gradient_target) == {"rel_error_unrolled"}
    assert found.gradient_error.to_dict() == {"fomaml": 0.3, "imaml-gd": 0.1, "maml": 0.0}
    assert found.is_efficient.all()  # the less memory, the larger the error


def test_measures_that_ran_otherwise_are_noted(tmp_path: Path) -> None:
    cells = choice("maml", 4, 0.8, 100, 0.2)
    settings = SETTINGS["maml"] | {"inner_lr": 0.4}
    cells[1] = [row(inner_steps=4, settings=settings, cell_id="other")]
    lost = {"measure": "accuracy", "cell_id": "lost", "metric": "accuracy", "value": None, "seed": 1}
    cells.append([row(**lost, status="diverged", settings=SETTINGS["maml"])])
    content = {"accuracy": {"meta_batch_size": 8}, "memory": {"meta_batch_size": 1}}
    found = points(tmp_path / "run", cells, content=content)
    assert list(found.note) == [
        "measures differ in inner_lr; 8 tasks a meta-step for accuracy, 1 for memory; "
        "1 seed of the accuracy failed"
    ]


def test_a_run_of_nothing_has_no_points(tmp_path: Path) -> None:
    assert points(tmp_path / "run", []).empty
