"""The claims of "Meta-Learning with Implicit Gradients", arXiv 1909.04630, each as a stated test on rows."""

from collections.abc import Sequence

from harness.analyze.claims.accuracies import TABLE_2_REACHED, TABLE_3_REACHED
from harness.analyze.claims.claim import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, Claim, Stated, judged
from harness.analyze.claims.cost import NO_DEARER
from harness.analyze.claims.figure2 import ERRORS, TIME
from harness.analyze.claims.gains import GAINS
from harness.analyze.claims.memory import CURVES, MEMORY_FACTOR, MEMORY_LIMIT, ORDERS
from harness.analyze.claims.protocol import Protocol
from harness.analyze.claims.solution import PATH
from harness.analyze.claims.table1 import (
    COMPUTE_ACCELERATED,
    COMPUTE_PLAIN,
    ERROR_IMPLICIT,
    ERROR_TRUNCATED,
    ERROR_UNROLLED,
)
from harness.analyze.claims.vanishing import VANISHING
from harness.analyze.comparison.sides import sides_of
from harness.analyze.loaded import LoadedRun

__all__ = ["NOT_MEASURED", "NOT_REPRODUCED", "REPRODUCED", "STATED", "Claim", "Stated", "claims"]

STATED: tuple[Stated, ...] = (
    *(PATH, VANISHING, MEMORY_LIMIT, MEMORY_FACTOR, NO_DEARER, GAINS),
    *(ERRORS, CURVES, TIME),
    *(COMPUTE_PLAIN, COMPUTE_ACCELERATED, ORDERS, ERROR_UNROLLED, ERROR_TRUNCATED, ERROR_IMPLICIT),
    *(TABLE_2_REACHED, TABLE_3_REACHED),
)


def claims(runs: Sequence[LoadedRun], names: Sequence[str] | None = None) -> list[Claim]:
    """What these runs say to each claim, in the paper's order.

    A claim has a line for each run and workload that decides it, so runs that contradict each other are both
    told; runs that are too weak are named only where none decides. Rows of different runs are never mixed.
    names: by which the runs are told; by default those of their folders, with a letter before where two share
    one.
    """
    if names is None:
        names = [run.name for run in runs]
        names = names if len(set(names)) == len(names) else [side.name for side in sides_of(runs)]
    protocols = [Protocol(run, name) for run, name in zip(runs, names, strict=True)]
    return [claim for stated in STATED for claim in judged(stated, protocols)]
