import numpy as np
import pytest

from harness.data.bench import Ratio, Spread, ratios, spread_of
from harness.protocol import Sampled


@pytest.mark.parametrize(("rounds", "low", "high"), [(3, 1, 3), (5, 1, 5), (6, 1, 6), (9, 2, 8), (15, 4, 12)])
def test_the_interval_of_a_median_is_that_of_the_sign_test(rounds: int, low: int, high: int) -> None:
    """The k-th smallest and largest of tables such as Conover's, for 95%; all that there is below 6."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, rounds + 1))
    assert spread_of(list(values)) == Spread((rounds + 1) / 2, low, high)


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1).exponential(size=(4000, 15))
    spreads = [spread_of(list(row)) for row in draw]
    held = np.mean([s.low <= np.log(2) <= s.high for s in spreads])
    assert 0.95 < held < 0.98


def test_ratios_are_taken_within_a_round_and_of_the_same_episodes() -> None:
    seconds = {
        "meta-step": [1.0, 2.0, 4.0],
        "sampler, rotated": [0.01, 0.02, 0.04],
        "learn2learn from memory, rotated": [1.0, 2.0, 8.0],
        "sampler, upright": [0.025, 0.025, 0.025],
        "learn2learn from files, upright": [0.25, 0.5, 0.75],
    }
    assert ratios(Sampled(seconds)) == [
        Ratio("sampler, rotated", "meta-step", Spread(0.01, 0.01, 0.01)),
        Ratio("learn2learn from memory, rotated", "sampler, rotated", Spread(100.0, 100.0, 200.0)),
        Ratio("sampler, upright", "meta-step", Spread(0.0125, 0.00625, 0.025)),
        Ratio("learn2learn from files, upright", "sampler, upright", Spread(20.0, 10.0, 30.0)),
    ]
