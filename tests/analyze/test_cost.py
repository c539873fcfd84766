"""Cost models: planted prices are found again, and what cannot be told is said."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from rows import row

from harness.analyze.cost import COUNTS, CostModel, cost_models, costs
from harness.frame import frame_of
from harness.store import Row

STEPS = (1, 2, 4, 8, 16)
GRADIENT, PRODUCT, OVERHEAD = 0.01, 0.023, 0.004
QUERY = 0.2  # of a support gradient


def asked(method: str, k: int) -> tuple[float, float, float]:
    """Gradients, Hessian products and losses of a meta-step."""
    return {
        "maml": (k + QUERY, k, 0),
        "fomaml": (k + QUERY, 0, 0),
        "reptile": (k * (1 + QUERY), 0, 0),
        "imaml-gd": (k + 1 + QUERY, 5, 0),
        "imaml-hf": (k + 1 + QUERY, 5 * k + 5, 3 * k),
    }[method]


def seconds(gradients: float, products: float, losses: float) -> float:
    return OVERHEAD + GRADIENT * (gradients + losses / 3) + PRODUCT * products


METHODS = ("maml", "fomaml", "reptile", "imaml-gd", "imaml-hf")


def rows_of(
    methods: Iterable[str] = METHODS, *, noise: float = 0.0, seed: int = 0, slow: tuple[str, ...] = ()
) -> list[Row]:
    """Time cells with counts; noise only adds, and differs by block. `slow` methods take twice as long."""
    rng = np.random.default_rng(seed)
    rows = []
    for method in methods:
        for k in STEPS:
            counts = asked(method, k)
            own = seconds(*counts) * (2 if method in slow else 1) * np.exp(rng.normal(0, noise))
            for block in range(3):
                cell = {"measure": "time", "cell_id": f"time-{block}", "method": method, "settings": {}}
                point = cell | {"inner_steps": k, "repeat": block}
                value = float(own * (1 + rng.gamma(1, noise)))
                rows.append(row(**point, metric="step_seconds", unit="s", value=value))
                rows += [
                    row(**point, metric=metric, unit="count", value=float(count))
                    for metric, count in zip(COUNTS, counts, strict=True)
                ]
    return rows


def model_of(rows: list[Row]) -> tuple[CostModel, pd.DataFrame]:
    table = costs(frame_of(rows))
    (model,) = cost_models(table)
    return model, table


def test_planted_prices_are_found_exactly_where_nothing_is_noisy() -> None:
    model, table = model_of(rows_of())
    assert (model.overhead, model.gradient, model.product) == pytest.approx((OVERHEAD, GRADIENT, PRODUCT))
    assert model.ratio == pytest.approx(2.3)
    assert (model.ratio_low, model.ratio_high) == pytest.approx((2.3, 2.3))
    assert table.error.abs().max() < 1e-9
    maml = table[(table.method == "maml") & (table.inner_steps == 4)].iloc[0]
    assert maml.gradients == pytest.approx(4 + QUERY + 2.3 * 4)
    assert model.sentence == (
        "A gradient costs 10 ms (10 to 10), a Hessian product 2.3 gradients (2.3 to 2.3), "
        "a meta-step 4 ms besides; the model misses 0 % (median), no point by more than 20 %."
    )


def test_the_intervals_of_noisy_prices_cover_them_about_as_often_as_they_say() -> None:
    """In 200 draws 89% for the gradient, 95% for the ratio: five methods are few to leave one out of."""
    covered = np.zeros(2)
    draws = 40
    for seed in range(draws):
        model, _ = model_of(rows_of(noise=0.03, seed=seed))
        covered += [
            model.gradient_low <= GRADIENT * 1.01 <= model.gradient_high,  # the minimum of noise that adds
            model.ratio_low <= 2.3 <= model.ratio_high,
        ]
    assert (covered / draws > 0.82).all()


def test_a_method_with_an_overhead_of_its_own_is_named_and_does_not_move_the_prices() -> None:
    model, table = model_of(rows_of(slow=("maml",)))
    assert (model.gradient, model.ratio) == pytest.approx((GRADIENT, 2.3), rel=1e-3)
    assert {label for label, _, _ in model.unexplained} == {"maml"}
    assert {steps for _, steps, _ in model.unexplained} == set(STEPS)
    assert table[table.method == "maml"].error.to_numpy() == pytest.approx(1.0, abs=1e-2)
    assert "It does not explain maml at 1 +100 %, maml at 2 +100 %" in model.sentence


def test_counts_that_grow_together_have_no_prices() -> None:
    """MAML alone: k products, and k gradients and a part."""
    model, table = model_of(rows_of(["maml"]))
    assert np.isnan([model.gradient, model.ratio]).all()
    assert model.sentence == (
        "The times do not identify prices: gradients and Hessian products grow together in all that was "
        "timed: their prices are not told apart. Counts stand alone."
    )
    assert table.predicted.isna().all()


def test_without_products_a_gradient_still_has_a_price() -> None:
    model, table = model_of(rows_of(["fomaml", "reptile"]))
    assert model.gradient == pytest.approx(GRADIENT)
    assert np.isnan(model.ratio)
    assert "no method made a Hessian product" in model.sentence
    assert table.gradients.notna().all()


def test_where_one_method_alone_tells_the_price_of_a_product_nothing_is_priced() -> None:
    model, table = model_of(rows_of(["fomaml", "reptile", "maml"]))
    assert model.ratio == pytest.approx(2.3)
    assert np.isnan([model.ratio_low, model.ratio_high]).all()
    assert model.sentence == (
        "The times do not identify prices: the 95% interval of a Hessian product's price has no bound. "
        "Counts stand alone."
    )
    assert table[["predicted", "error", "gradients"]].isna().all(axis=None)
    assert table[COUNTS].notna().all(axis=None)


def test_a_price_whose_interval_reaches_nothing_prices_nothing() -> None:
    """Reptile takes twice its time. Without FOMAML nobody contradicts it, so who is left out decides."""
    model, table = model_of(rows_of(slow=("reptile",)))
    assert (model.gradient_low, model.ratio_low) == (0, 0)
    assert model.sentence == (
        "The times do not identify prices: the 95% interval of a gradient's price reaches 0. "
        "Counts stand alone."
    )
    assert table[["predicted", "error", "gradients"]].isna().all(axis=None)
    assert table[COUNTS].notna().all(axis=None)


def test_a_model_that_misses_most_points_prices_nothing() -> None:
    rng = np.random.default_rng(0)
    factor = {(method, k): float(rng.choice([0.3, 3.0])) for method in METHODS for k in STEPS}
    rows = [
        Row(**(vars(r) | {"value": (r.value or 0) * factor[r.method, r.inner_steps]}))
        if r.metric == "step_seconds"
        else r
        for r in rows_of()
    ]
    model, table = model_of(rows)
    assert model.typical_error > 0.2
    assert "the best model misses " in model.sentence
    assert table.gradients.isna().all()


def test_no_price_is_negative() -> None:
    """Times that fall with products ask for a negative price: the best other is nothing."""
    rows = [
        Row(**(vars(r) | {"value": 0.2 - 0.001 * asked(r.method, r.inner_steps)[1]}))
        if r.metric == "step_seconds"
        else r
        for r in rows_of(["maml", "fomaml", "imaml-gd"])
    ]
    model, _ = model_of(rows)
    assert model.product == 0


def test_what_was_not_counted_has_a_reason_and_no_cost() -> None:
    rows = rows_of()
    cell = {"measure": "time", "cell_id": "time-0", "settings": {}, "inner_steps": 4}
    over = cell | {"method": "maml@higher"}
    rows.append(row(**over, metric="step_seconds", unit="s", value=0.1))
    why = {"value": None, "status": "skipped", "detail": "its library calls the model by itself"}
    rows += [row(**over, metric=metric, unit="", **why) for metric in COUNTS]
    rows.append(row(**cell | {"method": "old"}, metric="step_seconds", unit="s", value=0.1))
    model, table = model_of(rows)
    table = table.set_index("method")
    assert table.reason["maml@higher"] == "its library calls the model by itself"
    assert table.reason["old"] == "not counted when it was timed"
    assert np.isnan([table.gradients["maml@higher"], table.error["old"]]).all()
    assert model.ratio == pytest.approx(2.3)
    assert "old" not in model.methods


def test_a_run_without_counts_has_no_model() -> None:
    rows = [row(measure="time", metric="step_seconds", unit="s", inner_steps=k, value=1.0) for k in STEPS]
    assert cost_models(costs(frame_of(rows))) == []
    assert cost_models(costs(frame_of(rows).iloc[:0])) == []


def test_a_model_rests_on_the_times_and_counts_of_its_methods() -> None:
    frame = frame_of(rows_of())
    (model,) = cost_models(costs(frame))
    (evidence,) = model.evidence
    assert len(evidence.rows(frame)) == len(frame)
