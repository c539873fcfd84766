"""Where one method's curve crosses another's, on rows whose crossing is known."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from rows import MIB, row

from harness.analyze.scaling.crossings import Crossing, crossings, telling
from harness.analyze.scaling.laws import scaling_fits
from harness.analyze.summary import time_summary
from harness.frame import frame_of
from harness.present.palette import label_order
from harness.store import Row

STEPS = (1, 2, 4, 8, 16, 32)
TIMED = {"measure": "time", "metric": "step_seconds", "unit": "s", "settings": {}}
ROUNDS = 5


def timed(
    laws: dict[str, Callable[[int], float]], *, blocks: int = 3, spread: float = 0.0, seed: int = 0
) -> list[Row]:
    """Rounds that are slow together, by a factor of up to 100; `spread` is that of a block's own value."""
    rng = np.random.default_rng(seed)
    rows = []
    for block in range(blocks):
        slow = rng.uniform(1, 100, size=(len(STEPS), ROUNDS))
        for method, law in laws.items():
            for k, steps in enumerate(STEPS):
                own = law(steps) * np.exp(rng.normal(0, spread))
                for i in range(ROUNDS):
                    place = {"cell_id": f"time-{block}", "repeat": block * ROUNDS + i, "method": method}
                    value = float(own * slow[k, i])
                    rows.append(row(**TIMED, **place, inner_steps=steps, value=value))
    return rows


def only(rows: list[Row] | pd.DataFrame) -> Crossing:
    (found,) = crossings(rows if isinstance(rows, pd.DataFrame) else frame_of(rows))
    return found


def linear(constant: float, slope: float) -> Callable[[int], float]:
    return lambda k: constant + slope * k


def test_a_crossing_of_time_is_found_through_rounds_that_are_slow_for_both() -> None:
    """2 + k against 5 + k / 2: equal at 6 steps."""
    found = only(timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5)}))
    assert (found.verdict, found.winner, found.loser) == ("crosses", "imaml-gd", "maml")
    assert (found.before_step, found.from_step) == (4, 8)
    assert found.estimate == pytest.approx(6, rel=0.02)
    assert found.sentence == (
        "From 8 inner steps on, imaml-gd is faster than maml (0.90 times there; still slower at 4, "
        "equal at about 6 by interpolation)"
    )


def test_from_step_is_where_the_interval_excludes_one_for_good() -> None:
    """With noise the crossing is told later than where the estimates cross, and both sides of it are sure."""
    for seed in range(20):
        found = only(timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5)}, spread=0.02, seed=seed))
        if found.verdict != "crosses":
            continue
        assert found.before_step is not None
        assert found.before_step < 6
        assert found.from_step is None or found.from_step >= 8
        k = len(STEPS) - 1
        assert found.winner == "imaml-gd"
        assert found.first == "imaml-gd"
        assert found.low[k] <= (5 + 16) / (2 + 32) <= found.high[k] or found.ahead[k] == 1


def test_equal_methods_seldom_seem_to_differ_and_never_cross() -> None:
    """At 95% a point of two equal curves is told apart once in twenty times."""
    draws, told = 60, 0
    for seed in range(draws):
        found = only(timed({"maml": linear(2, 1), "reptile": linear(2, 1)}, spread=0.03, seed=seed))
        told += sum(map(abs, found.ahead))
    share = told / (draws * len(STEPS))
    assert 0.02 < share < 0.09


def test_without_a_crossing_the_range_is_said() -> None:
    found = only(timed({"maml": linear(2, 1), "fomaml": linear(1, 0.25)}))
    assert (found.verdict, found.from_step, np.isnan(found.estimate)) == ("never", 1, True)
    assert found.sentence == "fomaml is faster than maml from 1 to 32 inner steps: 0.26 to 0.42 times"


def test_one_block_is_too_weak_to_call() -> None:
    found = only(timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5)}, blocks=1))
    assert (found.verdict, found.winner, found.from_step) == ("weak", "", None)
    assert found.sentence == (
        "imaml-gd or maml: too weak to call from 1 to 32 inner steps (one block: no interval)"
    )


def test_a_lead_that_is_lost_in_noise_at_the_end_is_no_lead_from_then_on() -> None:
    """Ahead at 8 and 16 steps; at 32 blocks disagree."""
    rows = timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5)})
    shaken = [
        Row(**(vars(r) | {"value": (r.value or 0) * (1, 0.2, 9)[int(r.cell_id[-1])]}))
        if (r.method, r.inner_steps) == ("maml", 32)
        else r
        for r in rows
    ]
    found = only(shaken)
    assert (found.verdict, found.from_step, found.ahead[-1]) == ("crosses", None, 0)
    assert found.sentence.startswith("At 16 inner steps imaml-gd is faster than maml (")
    assert found.sentence.endswith("too weak to call beyond")


def test_memory_crosses_exactly() -> None:
    rows = [row(inner_steps=k, value=(45 + 26 * k) * MIB) for k in STEPS]
    rows += [row(method="imaml-gd", inner_steps=k, value=100.0 * MIB) for k in STEPS]
    found = only(rows)
    assert (found.metric, found.verdict, found.before_step, found.from_step) == (
        "peak_bytes",
        "crosses",
        2,
        4,
    )
    assert found.sentence.startswith(
        "From 4 inner steps on, imaml-gd needs less memory than maml (0.67 times there;"
    )
    assert 2 < found.estimate < 4


def test_peaks_that_differ_by_rounding_are_equal() -> None:
    rows = [row(inner_steps=k, value=100.0 * MIB) for k in STEPS]
    rows += [row(method="fomaml", inner_steps=k, value=100.0 * MIB + 512) for k in STEPS]
    assert only(rows).sentence == (
        "fomaml and maml need the same memory from 1 to 32 inner steps, but for rounding"
    )


def test_a_lead_by_a_hair_is_not_shown_as_none() -> None:
    rows = [row(inner_steps=k, value=100.0 * k * MIB) for k in STEPS]
    rows += [row(method="fomaml", inner_steps=k, value=99.8 * MIB) for k in STEPS]
    assert only(rows).sentence.endswith(": 0.031 to 0.998 times")


@pytest.mark.parametrize("peaks", [(0.0, 1.0), (1.0, 0.0)])
def test_a_peak_of_nothing_breaks_no_ratio(peaks: tuple[float, float]) -> None:
    first, second = peaks
    rows = [row(inner_steps=k, value=first * MIB) for k in (1, 2)]
    rows += [row(method="fomaml", inner_steps=k, value=second * MIB) for k in (1, 2)]
    rows += [row(method=method, inner_steps=4, value=MIB) for method in ("maml", "fomaml")]
    assert isinstance(only(rows).sentence, str)


def test_a_crossing_from_no_inner_steps_on_is_interpolated() -> None:
    """2 + 4k against 4 at 0, 2 and 4 steps: the ratio passes 1 between 0 and 2."""
    place = {"method": "maml", "measure": "gradient", "metric": "rel_error_implicit", "unit": "ratio"}
    rows = [
        row(**place | {"method": method}, settings={}, cell_id=f"{method}-{seed}", seed=seed, inner_steps=k,
            value=float(law(k)) * (1 + 0.001 * seed))
        for method, law in (("maml", lambda k: 2 + 4 * k), ("imaml-gd", lambda k: 4))
        for seed in range(3)
        for k in (0, 2, 4)
    ]  # fmt: skip
    found = only(rows)
    assert (found.before_step, found.from_step) == (0, 2)
    assert found.estimate == pytest.approx(2 * np.log(2) / np.log(5))


def test_products_that_bend_a_curve_are_told_beside_the_crossing() -> None:
    """A solver of at most 5 steps that stops early; MAML's products grow with every step alike."""
    rows = timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5)})
    solver = dict(zip(STEPS, (2, 3, 4, 5, 5, 5), strict=True))
    counts = [
        row(**TIMED | {"metric": "hessian_products", "unit": "count"}, cell_id="time-0", method=method,
            inner_steps=k, value=float(count))
        for k in STEPS
        for method, count in (("maml", k), ("imaml-gd", solver[k]))
    ]  # fmt: skip
    found = only([*rows, *counts])
    assert found.sentence.endswith(
        "; imaml-gd makes 2, 3, 4, 5, 5 and 5 Hessian products at 1, 2, 4, 8, 16 and 32 inner steps"
    )
    assert found.evidence[0].metrics == ("step_seconds", "hessian_products")
    law = next(
        f for f in scaling_fits(time_summary(frame_of(rows)), frame_of([*rows, *counts])) if f.products
    )
    assert law.method == "imaml-gd"
    assert "; it makes 2, 3, 4, 5, 5 and 5 Hessian products" in law.sentence


def test_a_peak_that_did_not_fit_decides_where_its_bound_does() -> None:
    """maml fits at 1 and 2 steps only; at 4 it needs more than 90 MiB, and imaml-gd 80."""
    words = f"{91 * MIB:,} bytes of live tensors exceed the virtual budget of {90 * MIB:,} (in inner loop)"
    rows = [row(inner_steps=k, value=(45 + 15 * k) * MIB) for k in (1, 2)]
    rows.append(row(inner_steps=4, value=None, status="oom", detail=words))
    rows += [row(method="imaml-gd", inner_steps=k, value=80.0 * MIB) for k in (1, 2, 4)]
    found = only(rows)
    assert (found.verdict, found.before_step, found.from_step) == ("crosses", 2, 4)
    assert "by the bound of what did not fit" in found.sentence
    bare = [r if r.status == "ok" else Row(**(vars(r) | {"detail": "killed"})) for r in rows]
    assert only(bare).verdict == "never"


def test_errors_are_paired_by_seed() -> None:
    """Seeds differ by a factor of a thousand, the methods' ratio is the same in each."""
    rows = [
        row(method=method, measure="gradient", metric="rel_error_implicit", unit="ratio", settings={},
            cell_id=f"{method}-{k}-{seed}", seed=seed, inner_steps=k, value=scale * value)
        for seed, scale in enumerate((1.0, 0.03, 1e-3))
        for k in STEPS
        for method, value in (("maml", 4.0 / k), ("imaml-gd", 0.7))
    ]  # fmt: skip
    found = only(rows)
    assert (found.winner, found.before_step, found.from_step) == ("maml", 4, 8)
    assert found.sentence.startswith(
        "From 8 inner steps on, maml is closer to the implicit meta-gradient than"
    )
    one = only([r for r in rows if r.seed == 0])
    assert one.sentence.endswith("(one seed: no interval)")


def test_newton_steps_are_another_axis() -> None:
    assert crossings(frame_of(timed({"maml": linear(2, 1), "imaml-hf": linear(5, 0.5)}))) == []


def test_those_told_are_the_crossings_of_own_methods_in_order_and_not_too_many() -> None:
    laws = {
        "maml": linear(2, 1),
        "imaml-gd": linear(5, 0.5),
        "imaml-neumann": linear(3, 0.5),
        "fomaml": linear(1, 0.25),
        "maml@higher": linear(2, 1),
    }
    found = crossings(frame_of(timed(laws)))
    assert len(found) == 10
    told = telling(found, label_order)
    assert [(each.winner, each.from_step) for each in told] == [("imaml-neumann", 4), ("imaml-gd", 8)]
    assert telling(found, label_order, most=1) == told[:1]


def test_a_crossing_by_a_hair_is_not_told() -> None:
    found = only(timed({"maml": lambda k: 1.0 + 0.0001 * k, "reptile": lambda k: 1.001}))
    assert found.verdict == "crosses"
    assert telling([found]) == []


def test_a_crossing_rests_on_the_rows_of_both_sides() -> None:
    frame = frame_of(timed({"maml": linear(2, 1), "imaml-gd": linear(5, 0.5), "fomaml": linear(1, 0.2)}))
    found = next(c for c in crossings(frame) if {c.first, c.second} == {"maml", "imaml-gd"})
    (evidence,) = found.evidence
    assert set(evidence.rows(frame).method) == {"maml", "imaml-gd"}
    assert len(evidence.rows(frame)) == 2 * len(STEPS) * 3 * ROUNDS


def test_nothing_in_common_has_no_crossing() -> None:
    apart = [row(inner_steps=1), row(inner_steps=2), row(method="fomaml", inner_steps=4)]
    assert crossings(frame_of(apart)) == []
    assert crossings(frame_of(apart).iloc[:0]) == []


def test_a_crossing_that_bounds_alone_decide_is_told() -> None:
    """Each did not fit where the other did."""
    words = f"{91 * MIB:,} bytes of live tensors exceed the virtual budget of {90 * MIB:,} (in inner loop)"
    lost = {"value": None, "status": "oom", "detail": words}
    rows = [row(inner_steps=1, value=50.0 * MIB), row(method="imaml-gd", inner_steps=1, **lost)]
    rows += [row(inner_steps=2, **lost), row(method="imaml-gd", inner_steps=2, value=50.0 * MIB)]
    (told,) = telling([only(rows)])
    assert (told.winner, told.before_step, told.from_step) == ("imaml-gd", 1, 2)
    assert told.sentence == (
        "From 2 inner steps on, imaml-gd needs less memory than maml (by the bound of what did not fit; "
        "still more at 1)"
    )


def test_curves_that_cross_twice_are_not_said_to_cross() -> None:
    """maml takes 100 + (k - 3)(k - 12): more, less from 4 to 8 steps, and more again."""
    found = only(timed({"maml": lambda k: 100.0 + (k - 3) * (k - 12), "imaml-gd": lambda k: 100.0}))
    assert (found.verdict, found.turns, np.isnan(found.estimate)) == ("changes", 2, True)
    assert found.sentence == "imaml-gd and maml change places more than once from 1 to 32 inner steps"
    assert telling([found]) == []


def test_the_estimate_lies_between_the_points_that_show_the_crossing() -> None:
    """Past 8 steps both take the same but for noise, and change sides by a hair again."""
    laws = {"maml": {1: 1.0, 2: 1.0, 4: 2.0, 8: 2.0}, "imaml-gd": {1: 1.5, 2: 1.5, 4: 1.0, 8: 1.0}}
    rows = timed({name: lambda k, law=law: law.get(k, 2.0) for name, law in laws.items()})
    shakes = {16: (1.1, 0.9, 1.02), 32: (1.1, 0.9, 0.98)}
    shaken = [
        Row(**(vars(r) | {"value": (r.value or 0) * shakes[r.inner_steps][int(r.cell_id[-1])]}))
        if r.method == "maml" and r.inner_steps in shakes
        else r
        for r in rows
    ]
    found = only(shaken)
    assert (found.verdict, found.before_step, found.ahead[-2:]) == ("crosses", 2, (0, 0))
    assert 2 < found.estimate < 4


def test_equal_peaks_beside_a_lead_are_said_to_be_equal() -> None:
    rows = [row(inner_steps=k, value=float(max(100, 20 * k)) * MIB) for k in (1, 4, 16)]
    rows += [row(method="fomaml", inner_steps=k, value=100.0 * MIB) for k in (1, 4, 16)]
    assert only(rows).sentence == (
        "fomaml needs less memory than maml at 16 inner steps (0.31 times there); "
        "equal but for rounding at 1 and 4"
    )


def test_a_ratio_that_is_known_at_one_step_only_says_at_which() -> None:
    words = f"{91 * MIB:,} bytes of live tensors exceed the virtual budget of {90 * MIB:,} (in inner loop)"
    rows = [row(inner_steps=1, value=50.0 * MIB)]
    rows.append(row(inner_steps=4, value=None, status="oom", detail=words))
    rows += [row(method="fomaml", inner_steps=k, value=40.0 * MIB) for k in (1, 4)]
    assert only(rows).sentence == (
        "fomaml needs less memory than maml from 1 to 4 inner steps: 0.80 times at 1, elsewhere by the bound "
        "of what did not fit"
    )


def test_where_neither_fits_none_is_ahead_whatever_their_bounds() -> None:
    def lost(mib: int) -> dict[str, object]:
        words = (
            f"{mib * MIB + 1:,} bytes of live tensors exceed the virtual budget of {mib * MIB:,} (in loop)"
        )
        return {"value": None, "status": "oom", "detail": words}

    rows = [row(inner_steps=k, value=50.0 * MIB) for k in (1, 2)]
    rows += [row(method="fomaml", inner_steps=k, value=40.0 * MIB) for k in (1, 2)]
    rows += [row(inner_steps=4, **lost(90)), row(method="fomaml", inner_steps=4, **lost(60))]
    found = only(rows)
    assert (found.steps, found.ahead) == ((1, 2), (1, 1))
