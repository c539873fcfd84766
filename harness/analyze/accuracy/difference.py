"""How much more accurate one method is than another, and how sure that is: one comparison, in words."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from harness.analyze.accuracy.scores import NOT_RUN
from harness.analyze.finding import Evidence
from harness.analyze.intervals import ALPHA, MOST_SEEDS
from harness.analyze.steps import share_an_axis
from harness.analyze.words import counted

FIRST, SECOND = "first is better", "second is better"
WEAK, UNCOMPARED = "too weak to call", "not compared"
FATES = {
    "oom": "ran out of memory",
    "timeout": "timed out",
    "error": "failed",
    "skipped": "was skipped",
    "interrupted": "was interrupted",
    NOT_RUN: "was not run",
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`first` minus `second` on one workload: fractions of accuracy, or units of loss, where lower is better.

    verdict: `FIRST` or `SECOND` where p_holm < 0.05 over at least three seeds, else `WEAK`; `UNCOMPARED`
    where no seed finished on both sides, or no number of inner steps can be paired.
    seeds_needed: with which a difference like this would be called with probability 0.8 as the strictest of
    its family; None where it was called, cannot be known (fewer than three seeds) or exceeds 1,000.
    lost: seeds that count for neither side since one of them did not finish, with what became of it.
    """

    workload: str
    metric: str
    first: str
    second: str
    first_method: str
    second_method: str
    first_steps: int
    second_steps: int
    chosen: bool  # these are the steps that the validation tasks of each choose
    leader: str | None  # the label that does best on the validation tasks of this workload
    difference: float
    low: float
    high: float
    interval: str  # "seeds" | "tasks" | "unpaired", or empty
    p: float
    p_holm: float
    family: int  # comparisons that were corrected together
    seeds: int  # finished by both
    tasks: int | None  # test tasks a seed
    same_tasks: bool  # the same in every seed, being all that there are
    spread: float  # standard deviation of the per-seed differences
    verdict: str
    seeds_needed: int | None
    lost: tuple[str, ...] = ()

    @property
    def inner_steps(self) -> int | None:
        """Those of both; None where each has its own, be it that one's are Newton steps."""
        equal = self.first_steps == self.second_steps
        return self.first_steps if equal and share_an_axis(self.first_method, self.second_method) else None

    @property
    def matched(self) -> bool:
        """Whether there was anything by which to hold the two against each other."""
        return self.chosen or self.inner_steps is not None

    @property
    def better(self) -> str | None:
        """The label of the winner, where one was called."""
        return {FIRST: self.first, SECOND: self.second}.get(self.verdict)

    @property
    def models_differ(self) -> bool:
        """Below three seeds: whether these trained models do, whatever other training runs would give."""
        return self.interval in ("tasks", "unpaired") and self.p_holm < ALPHA

    def seen_from(self, label: str) -> "Difference":
        """The same with `label`, one of the two, as the first."""
        if label == self.first:
            return self
        return replace(
            self,
            first=self.second,
            second=self.first,
            first_method=self.second_method,
            second_method=self.first_method,
            first_steps=self.second_steps,
            second_steps=self.first_steps,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            verdict={FIRST: SECOND, SECOND: FIRST}.get(self.verdict, self.verdict),
        )

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Those of both sides; Holm's correction rests on the other comparisons of the workload too."""

        def of(label: str, steps: int) -> Evidence:
            metrics = (self.metric, f"{self.metric}_ci95")
            return Evidence(
                measure="accuracy",
                workload=self.workload,
                methods=(label,),
                metrics=(*metrics, f"validation_{self.metric}") if self.chosen else metrics,
                inner_steps=(steps,),
            )

        return of(self.first, self.first_steps), of(self.second, self.second_steps)

    @property
    def sentence(self) -> str:
        lost = f"; {self.lost_in_words}" if self.lost else ""
        if self.verdict == UNCOMPARED and not self.matched:
            why = "no number of inner steps in common, and no validation scores to choose any by"
            return f"{self.first} against {self.second}: {UNCOMPARED}, {why}"
        if self.verdict == UNCOMPARED:
            why = "no seed finished on both sides"
            return f"{self.first} against {self.second} {self._where}: {UNCOMPARED}, {why}{lost}"
        winner = {FIRST: "is better than", SECOND: "is worse than"}.get(self.verdict, "against")
        numbers = f"{self.difference_in_words} ({self.interval_in_words})"
        return f"{self.first} {winner} {self.second} {self._where}: {numbers}{self._doubt}{lost}"

    @property
    def _where(self) -> str:
        if self.inner_steps is not None:
            return f"at {counted(self.inner_steps, 'inner step')}"
        chosen = ", as validation chose" if self.chosen else ""
        return f"(at {self.first_steps} and {counted(self.second_steps, 'inner step')}{chosen})"

    @property
    def difference_in_words(self) -> str:
        """`+2.5 points`, `-0.031 in loss`."""
        unit = "points" if self.metric == "accuracy" else "in loss"
        return f"{self.shown(self.difference)} {unit}"

    def shown(self, value: float) -> str:
        """A difference as a signed number: percentage points of accuracy, or of loss three digits."""
        if self.metric == "accuracy":
            return f"{round(100 * value, 1) + 0.0:+.1f}"
        return f"{value + 0.0:+.3g}"

    @property
    def interval_in_words(self) -> str:
        seeds = counted(self.seeds, "seed")
        if not np.isfinite(self.low):
            return f"no interval is known, {seeds}"
        ends = f"95% {self.shown(self.low)} to {self.shown(self.high)}"
        if self.interval == "seeds":
            return f"{ends}, {seeds}{f', for these {self.tasks} test tasks alone' if self.same_tasks else ''}"
        tasks = f"{self.tasks} test tasks" if self.tasks else "the test tasks"
        how = ", not paired by episode" if self.interval == "unpaired" else ""
        return f"{ends}, {tasks} of {seeds}{how}"

    @property
    def _doubt(self) -> str:
        if self.better is not None:
            return f", {self.p_in_words}"
        if self.interval == "seeds":
            return f", {WEAK} ({self.p_in_words}): {self.needed_in_words}"
        scope = ", of these trained models only" if self.interval else ""
        return f"{scope}; between the methods {WEAK}: {self.needed_in_words}"

    @property
    def p_in_words(self) -> str:
        """Empty below three seeds: a p over tasks, however small, is of these trained models alone."""
        if self.interval != "seeds" or not np.isfinite(self.p_holm):
            return ""
        value = "p < 0.0001" if self.p_holm < 1e-4 else f"p = {self.p_holm:.2g}"
        return f"{value} by Holm among {self.family}"

    @property
    def needed_in_words(self) -> str:
        """How many seeds would do; empty where a winner was called."""
        if self.verdict != WEAK:
            return ""
        if self.interval != "seeds":
            return f"how many seeds would do cannot be known from {'one' if self.seeds == 1 else 'two'}"
        if self.difference == 0 and self.spread == 0:
            return "the same in every seed"
        if self.seeds_needed is None:
            return f"more than {MOST_SEEDS:,} seeds would be needed"
        return f"some {self.seeds_needed} seeds would do"

    @property
    def lost_in_words(self) -> str:
        """What the comparison leaves out; empty where nothing."""
        if not self.lost:
            return ""
        told = ", ".join(f"{why}: {n}" for why, n in Counter(self.lost).items())
        failed = any(FATES[NOT_RUN] not in why for why in self.lost)
        return (
            f"{counted(len(self.lost), 'seed')} left out ({told})"
            f"{', which may flatter what failed there' if failed and self.seeds else ''}"
        )


def fate_in_words(fate: str) -> str:
    """What became of a cell, after its method's name: `diverged`, `ran out of memory`."""
    return FATES.get(fate, fate)
