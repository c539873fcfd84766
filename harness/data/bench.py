"""The sampler beside a meta-step and beside learn2learn's loader: ratios within a round, and their spread."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.protocol import Sampled

LEVEL = 0.95
FEWEST = 6  # rounds: the median lies between the least and the most of n with probability 1 - 2 / 2^n


@dataclass(frozen=True)
class Spread:
    """A median over rounds, with the interval of order statistics that holds it with probability LEVEL or
    more, whatever the law; all that there is where the rounds are too few for that."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How many times as long the one took as the other, round by round."""

    of: str
    to: str
    spread: Spread


def spread_of(values: Sequence[float]) -> Spread:
    """Of rounds that are independent of each other."""
    ordered = sorted(values)
    n, below, cut = len(ordered), 0.0, 0
    # The k-th smallest lies above the median with probability P(fewer than k of n heads).
    while cut < (n - 1) // 2 and (below := below + math.comb(n, cut) / 2**n) <= (1 - LEVEL) / 2:
        cut += 1
    cut = max(0, cut - 1)
    return Spread(statistics.median(ordered), ordered[cut], ordered[n - 1 - cut])


def ratios(sampled: Sampled) -> list[Ratio]:
    """Each sampler to the meta-step, and the other library's loader to the sampler of the same episodes."""
    found = []
    for name in sampled.seconds:
        who, _, what = name.partition(", ")
        if who == "sampler":
            found.append(_ratio(sampled, name, "meta-step"))
        elif what:
            found.append(_ratio(sampled, name, f"sampler, {what}"))
    return found


def _ratio(sampled: Sampled, of: str, to: str) -> Ratio:
    pairs = zip(sampled.seconds[of], sampled.seconds[to], strict=True)
    return Ratio(of, to, spread_of([a / b for a, b in pairs]))
