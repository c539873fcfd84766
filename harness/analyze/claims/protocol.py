"""Under which protocol a run measured: its workloads in few letters, its flags, what is unlike the paper."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from harness.analyze.asked import asked
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed
from harness.frame import split_workload
from harness.settings import format_settings, telling_apart

IMAGES_NAMED, OTHERS_NAMED = ("ways", "shots"), ("condition",)  # settings of a workload that are always told
PAPERS_OWN = ("omniglot", "mini-imagenet")
META_STEPS = 20_000  # what the readme of the authors' code asks for at the least
LEAST_TRAINING = META_STEPS // 10
LEAST_PATIENCE = 5  # validations without a better one: fewer tell only that validation scatters
ENOUGH_TRAINING = (
    f"trainings of {LEAST_TRAINING:,} meta-steps or more, a tenth of what the authors' code asks for, and "
    f"shorter ones that ended because {LEAST_PATIENCE} or more validations in a row brought nothing better"
)


@dataclass(frozen=True, eq=False)
class Protocol:
    """What is said beside every outcome of a run."""

    run: LoadedRun
    name: str  # by which it is told

    def place(self, workload: str) -> str:
        """A workload by its name and the settings that matter or tell it from others of the run."""
        name, settings = split_workload(workload)
        named = IMAGES_NAMED if "ways" in settings else OTHERS_NAMED
        shown = {key: value for key, value in settings.items() if key in (*named, *self._apart[name])}
        return f"{name}[{format_settings(shown)}]" if shown else name

    @cached_property
    def _apart(self) -> dict[str, list[str]]:
        """Of each workload's name, the settings that tell those of this name apart."""
        alike: dict[str, list[dict[str, Any]]] = {}
        for name, settings in map(split_workload, self.run.rows.workload.unique()):
            alike.setdefault(name, []).append(settings)
        return {name: telling_apart(variants) for name, variants in alike.items()}

    def flagged(self, evidence: Iterable[Evidence]) -> str:
        """A clause on the methods whose rows an instrument doubts; empty without any."""
        doubted = [replace(each, metrics=()).rows(self._flags).method_label for each in evidence]
        labels = list(dict.fromkeys(label for labels in doubted for label in labels))
        return f". Flagged: {listed(labels)}, see `innerloop show`" if labels else ""

    @cached_property
    def _flags(self) -> pd.DataFrame:
        return self.run.rows[self.run.rows.metric == "flag"]

    def differences(self, evidence: Iterable[Evidence]) -> str:
        """What is known to be unlike the paper in the rows of this evidence."""
        evidence = list(evidence)
        names = list(dict.fromkeys(split_workload(each.workload)[0] for each in evidence))
        measures = {each.measure for each in evidence}
        said = []
        if measures & {"memory", "time", "accuracy"}:
            strange = [name for name in names if name not in PAPERS_OWN]
            said += [f"on {listed(strange)}, where the paper's Table 2 has Omniglot"] if strange else []
        if measures & {"memory", "time"}:
            machine = self.run.environment.get("device_name")
            said += [f"read on {machine}"] if machine else []
            said.append("the paper's instruments are not known, so shapes are compared, not values")
        if "accuracy" in measures:
            trained = [Training.of(self.run, e.workload).steps for e in evidence if e.measure == "accuracy"]
            short = sorted({steps for steps in trained if steps is not None and steps < META_STEPS})
            numbers = listed([f"{steps:,}" for steps in short])
            asks = f"the authors' code asks for {META_STEPS:,}"
            said += [f"trained for {numbers} meta-steps; {asks}"] if short else []
        if "gradient" in measures:
            said.append("in float64, at the initial parameters: of the paper's nothing is known")
            if names == ["linear-regression"]:
                said.append("on ridge regression of our own making")
        return "; ".join(said)


CELL = ["method_label", "inner_steps", "seed"]


@dataclass(frozen=True)
class Training:
    """How long the cells of a workload were trained.

    steps: those of the one that ended first; None where neither rows nor manifest say.
    has_settled: whether each that ended before `LEAST_TRAINING` did so since validation improved no more.
    """

    steps: int | None
    has_settled: bool

    @classmethod
    def of(cls, run: LoadedRun, workload: str) -> "Training":
        settings = asked(run, "accuracy", workload)
        curves = run.learning_curves
        curves = curves[curves.workload == workload]
        ended = curves.groupby(CELL).meta_step.max()
        if ended.empty or ended.min() == 0:  # only the untrained start was validated
            return cls(settings.get("meta_steps"), has_settled=False)
        patience = settings.get("patience")
        if not isinstance(patience, int) or patience < LEAST_PATIENCE:
            return cls(int(ended.min()), has_settled=False)
        without_better = curves.assign(after=curves.meta_step > curves.selected).groupby(CELL).after.sum()
        settled = (ended >= LEAST_TRAINING) | (without_better >= patience)
        return cls(int(ended.min()), has_settled=bool(settled.all()))

    @property
    def is_enough(self) -> bool:
        return self.steps is not None and (self.steps >= LEAST_TRAINING or self.has_settled)

    @property
    def too_brief(self) -> str:
        """Why accuracies of such a training say nothing yet; empty where they do."""
        if self.steps is None:
            return (
                f"For how many meta-steps they were trained is not known; judged from {LEAST_TRAINING:,} on"
            )
        if not self.is_enough:
            return f"Trained for {self.steps:,} meta-steps; judged from {LEAST_TRAINING:,} on"
        return ""
