"""A training: meta-steps, validations, the choice among them, and the way back in after an interruption."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from harness.core.record import Records, recording
from harness.core.trees import Params
from harness.measure_settings import AccuracySettings
from harness.protocol import Progress
from harness.training.checkpoint import Checkpoints, State, say
from harness.training.evaluation import evaluate, evaluation_chunk, for_testing
from harness.training.generators import generator_states, set_generator_states
from harness.training.meta_learner import Diverged, MetaLearner
from harness.workloads.base import Tasks, Workload


@dataclass
class Course:
    """How far a training has come: all that its end depends on beside the learner, and its clocks."""

    step: int = 0
    """Meta-steps taken."""

    best: Params = field(default_factory=dict)
    """The meta-parameters that did best on validation tasks."""

    best_step: int = 0
    validation: list[tuple[int, float]] = field(default_factory=list)
    """Meta-step and mean validation score, in order; step 0 is the untrained initialisation."""

    records: Records = field(default_factory=Records)
    """What the method has recorded."""

    stepping_s: float = 0.0
    """Wall-clock of the meta-steps, their sampling included."""

    validating_s: float = 0.0
    resumed_at: list[int] = field(default_factory=list)
    """The meta-steps at which a later process went on from a checkpoint."""

    @property
    def best_score(self) -> float:
        """The validation score of the selected meta-step."""
        return dict(self.validation)[self.best_step]

    @property
    def steps_per_second(self) -> float:
        return self.step / self.stepping_s

    def seconds_of(self, validations: float) -> float:
        """How long so many of them take, by those that there were."""
        return validations * self.validating_s / len(self.validation)

    @property
    def without_a_better(self) -> int:
        """How many validations there were since the best."""
        return sum(step > self.best_step for step, _ in self.validation)


def train(
    learner: MetaLearner,
    workload: Workload,
    tasks: Tasks,
    settings: AccuracySettings,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[Progress], None],
    checkpoints: Checkpoints | None = None,
) -> Course:
    """Meta-train for `settings.meta_steps` or until the patience is out; select on validation tasks alone.

    With `checkpoints` it goes on from the one that is there: on a CPU to the same end bit for bit as if it
    had never been cut short, on a GPU from the same state, as repeatably as its kernels are. Raises Diverged.
    """
    training = Training(learner, workload, tasks, settings, seed, device, progress, checkpoints)
    training.run()
    return training.course


@dataclass
class Training:
    """One training under way."""

    learner: MetaLearner
    workload: Workload
    tasks: Tasks
    settings: AccuracySettings
    seed: int
    device: torch.device
    progress: Callable[[Progress], None]
    checkpoints: Checkpoints | None
    course: Course = field(default_factory=Course, init=False)

    def run(self) -> None:
        self._resume()
        with recording(self.course.records):
            if not self.course.validation:
                self._validate()
            while not self._is_over():
                self._step()
                validated = self._validation_is_due()
                if validated:
                    self._validate()
                if self.checkpoints is not None and self.checkpoints.due(validated):
                    self.checkpoints.write(self._state())
                self.progress(self._progress())

    def _is_over(self) -> bool:
        patience, course = self.settings.patience, self.course
        return course.step >= self.settings.meta_steps or (
            patience is not None and course.without_a_better >= patience
        )

    def _validation_is_due(self) -> bool:
        step = self.course.step
        return step % self.settings.validate_every == 0 or step == self.settings.meta_steps

    def _step(self) -> None:
        begin = time.perf_counter()
        size = self.settings.meta_batch_size
        batch = self.tasks.sample("train", self.seed, self.course.step * size, size)
        self.learner.step(batch.to(self.device))
        self.course.step += 1
        self.learner.check_finite(f"meta-step {self.course.step}")  # which waits for the device
        self.course.stepping_s += time.perf_counter() - begin

    def _validate(self) -> None:
        course, settings = self.course, self.settings
        begin = time.perf_counter()
        scores = evaluate(
            for_testing(self.learner.method, settings),
            self.workload,
            self.learner.model,
            self.tasks,
            self.learner.meta,
            split="validation",
            seed=self.seed,
            count=settings.validation_tasks,
            chunk=evaluation_chunk(settings),
            execution=settings.execution,
        )
        score = float(scores.mean())
        if not torch.isfinite(scores).all():
            what = f"the validation {self.workload.score}"
            raise Diverged(f"{what} is not finite at meta-step {course.step}")
        if not course.validation or self._is_better(score):
            course.best, course.best_step = copy.deepcopy(self.learner.meta), course.step
        course.validation.append((course.step, score))
        course.validating_s += time.perf_counter() - begin
        say(self._in_words())

    def _is_better(self, score: float) -> bool:
        best = self.course.best_score
        return score > best if self.workload.score == "accuracy" else score < best

    # How it goes

    def _in_words(self) -> str:
        """`meta-step 300 of 2000, validation accuracy 0.812 (best 0.823 at 200), 4.1 meta-steps/s`"""
        course = self.course
        step, score = course.validation[-1]
        best = f" (best {course.best_score:.3f} at {course.best_step})" if course.best_step != step else ""
        pace = f", {course.steps_per_second:.3g} meta-steps/s" if course.step else ""
        read = f"validation {self.workload.score} {score:.3f}{best}"
        of = "of" if self.settings.patience is None else "of at most"
        return f"meta-step {course.step} {of} {self.settings.meta_steps}, {read}{pace}"

    def _progress(self) -> Progress:
        course, settings = self.course, self.settings
        trouble = self.checkpoints.trouble if self.checkpoints is not None else ""
        came = f"gone on from meta-step {course.resumed_at[-1]}" if course.resumed_at else ""
        note = "; ".join(filter(None, (self._in_words(), came, trouble)))
        steps = settings.meta_steps - course.step
        validations = -(-settings.meta_steps // settings.validate_every) + 1 - len(course.validation)
        test_tasks = self.tasks.count("test") or settings.test_tasks if settings.test else 0
        tests = test_tasks / settings.validation_tasks
        left = steps / course.steps_per_second + course.seconds_of(validations + tests)
        return Progress(course.step / settings.meta_steps, note, left)

    # Cut short and gone on with

    def _state(self) -> State:
        course = {name: value for name, value in vars(self.course).items() if name != "records"}
        return {
            "learner": self.learner.state(),
            "course": copy.deepcopy(course) | {"records": asdict(self.course.records)},
            "generators": generator_states(self.device),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.learner.restore(state["learner"])
        course = Course(**state["course"] | {"records": Records(**state["course"]["records"])})
        course.best = {name: p.to(self.device) for name, p in course.best.items()}
        set_generator_states(state["generators"], self.device)
        self.course = course

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one of this training."""
        if self.checkpoints is None or (state := self.checkpoints.read()) is None:
            return
        start = self._state()
        try:
            self._restore(state)
        except Exception as failure:  # whatever a state that is not of this training makes torch say
            self._restore(start)
            first = str(failure).strip().partition("\n")[0]
            self.checkpoints.refuse(f"its state does not fit ({type(failure).__name__}: {first})")
            return
        self.course.resumed_at.append(self.course.step)
        say(f"gone on from the checkpoint at meta-step {self.course.step}")
