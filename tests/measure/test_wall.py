from collections.abc import Callable
from typing import Any

import pytest

from harness.measure.wall import Climb
from harness.protocol import Search

GIB = 2**30


def climb(peak: Callable[[int], int], budget: int, up_to: int = 1000, **changes: Any) -> Climb:
    """A climb to its end, at no cost of time unless `clock` says so."""
    search = Search(None, budget, "tensors", up_to, changes.pop("patience_s", 60.0), False)  # type: ignore[arg-type]
    found = Climb(peak, search, **{"clock": lambda: 0.0} | changes)
    found.run()
    return found


def brute_force(peak: Callable[[int], int], budget: int, up_to: int) -> int:
    """The largest number of steps that fits; 0 if none."""
    return max((k for k in range(1, up_to + 1) if peak(k) <= budget), default=0)


CURVES: dict[str, Callable[[int], int]] = {
    "linear": lambda k: 50_000 + 27_628_224 * k,
    "linear after a flat start": lambda k: max(900_000_000, 27_628_224 * k),
    "square root": lambda k: 10_000_000 + int(50_000_000 * k**0.5),
    "quadratic": lambda k: 1_000_000 + 100_000 * k * k,
    "in stairs": lambda k: 30_000_000 * (1 + k // 7),
    "logarithmic": lambda k: 90_000_000 * k.bit_length(),
    "one step too many": lambda k: 2**29 if k < 613 else 2**31,
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("budget", [10**8, 10**9, GIB, 3 * GIB, 12 * GIB])
def test_the_wall_stands_where_trying_every_number_finds_it(name: str, budget: int) -> None:
    peak = CURVES[name]
    expected = brute_force(peak, budget, 1000)
    found = climb(peak, budget)
    assert (found.fits or 0) == expected
    assert found.fails == (None if expected == 1000 else expected + 1)
    assert all(found.peaks[k] == peak(k) for k in found.peaks)


@pytest.mark.parametrize("name", CURVES)
def test_it_takes_few_looks(name: str) -> None:
    assert len(climb(CURVES[name], 3 * GIB).peaks) <= 24


def test_a_straight_line_takes_the_first_looks_and_the_two_neighbours() -> None:
    found = climb(CURVES["linear"], 12 * GIB)
    assert sorted(found.peaks) == [1, 2, 4, 8, 466, 467]
    assert (found.fits, found.fails) == (466, 467)


def test_a_flat_curve_has_no_limit_up_to_where_was_looked() -> None:
    found = climb(lambda k: 10**6, GIB, up_to=500)
    assert (found.fits, found.fails, found.note) == (500, None, "no limit up to 500")
    assert sorted(found.peaks) == [1, 2, 4, 8, 500]


def test_what_does_not_fit_at_one_step_fits_nowhere() -> None:
    found = climb(lambda k: 2 * GIB, GIB)
    assert (found.fits, found.fails) == (None, 1)


def test_the_budget_itself_fits() -> None:
    assert climb(lambda k: 100 * k, 1700).fits == 17
    assert climb(lambda k: 100 * k, 1699).fits == 16


def test_a_flat_curve_is_followed_as_far_as_patience_goes() -> None:
    now = [0.0]

    def slow(k: int) -> int:
        now[0] += 0.1 * k
        return 10**6

    found = climb(slow, GIB, patience_s=10.0, clock=lambda: now[0])
    assert found.fails is None
    assert found.fits == 85  # 1.5 s for 1, 2, 4 and 8 leave 8.5 s
    assert "for want of --patience" in found.note
    assert now[0] <= 10.0


def test_a_wall_in_sight_is_walked_up_to_whatever_the_patience() -> None:
    now = [0.0]

    def slow(k: int) -> int:
        now[0] += 1.0 * k
        return 10**7 * k

    found = climb(slow, GIB, patience_s=20.0, clock=lambda: now[0])
    assert (found.fits, found.fails) == (107, 108)
