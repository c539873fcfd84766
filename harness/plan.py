"""From a resolved suite to its cells, each with a content-addressed id."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import UsageError
from harness.measure_settings import Measure, MeasureSettings, TimeSettings
from harness.protocol import (
    Cell,
    Point,
    Resolved,
    ResolvedMethod,
    ResolvedWorkload,
    WorkloadSpec,
    digest,
)
from harness.settings import flat, format_settings, telling_apart
from harness.suite import Suite, distinct

BESIDE_THE_PLAN = {"title", "source", "deviations", "memory_budget"}
"""What a suite says that makes no other plan: its words, and the budget, which the command line may give."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do."""

    suite: str
    id: str
    """Hash of what was asked for. Versions and sources are in the cells' ids instead: the same command
    finds the same folder, and what has changed runs anew in it."""

    cells: tuple[Cell, ...]
    memory_budget: int | None = None
    settings: dict[str, dict[Measure, Any]] = field(default_factory=dict)
    """Of each workload's label the measures with their settings, as this workload has them."""

    @property
    def run_id(self) -> str:
        return f"{self.suite}-{self.id}"

    def manifest(self, suite: Suite, command: str) -> dict[str, Any]:
        """The resolved plan as JSON: every cell, its id, the exact command."""
        return {
            "suite": self.suite,
            "title": suite.content.title,
            "run_id": self.run_id,
            "command": command,
            "memory_budget": self.memory_budget,
            "content": suite.content.model_dump(mode="json", exclude_none=True),
            "settings": self.settings,
            "cells": [
                {
                    "id": cell.id,
                    "measure": cell.measure,
                    "workload": cell.workload.label,
                    "seed": cell.seed,
                    "block": cell.block,
                    "points": [
                        {"method": p.method.name, "settings": p.method.settings, "inner_steps": p.inner_steps}
                        for p in cell.points
                    ],
                }
                for cell in self.cells
            ],
        }


def make_plan(suite: Suite, resolved: Resolved, *, data_root: str | None, memory_budget: int | None) -> Plan:
    """All cells, memory first, then time, then accuracy: time leaves out what memory showed not to fit.

    What is asked for twice, in other words even (`maml` and `maml[lam=0.0]`), is done once.
    """
    parts = tuple(_parts(suite, resolved))
    cells = tuple(_cells(suite, resolved, parts, data_root, memory_budget))
    asked = {
        "content": suite.content.model_dump(mode="json", exclude=BESIDE_THE_PLAN),
        "methods": distinct(_asked_for(m) for part in parts for m in part.methods),
        "workloads": [part.workload.label for part in parts],
        "device": resolved.device,
        "memory_budget": memory_budget,
    }
    settings: dict[str, dict[Measure, Any]] = {
        part.workload.label: {
            measure: settings.model_dump(mode="json", exclude_none=True)
            for measure, settings in part.suite.measures.items()
        }
        for part in parts
    }
    return Plan(suite.name, digest(asked)[:8], cells, memory_budget, settings)


@dataclass(frozen=True)
class Part:
    """A workload of the suite, with what is run there, as the preflight found it."""

    suite: Suite
    workload: ResolvedWorkload
    methods: tuple[ResolvedMethod, ...]

    def points(self, measure: Measure) -> tuple[Point, ...]:
        """The points at which a measure observes this workload."""
        return tuple(
            Point(method, steps)
            for method in self.methods
            for steps in self.suite.steps_of(measure, method.spec)
        )

    def means(self) -> list[Any]:
        """All that is asked for here."""
        return [
            (settings, [(p.method.name, p.method.settings, p.inner_steps) for p in self.points(measure)])
            for measure, settings in self.suite.measures.items()
        ]


def _parts(suite: Suite, resolved: Resolved) -> Iterator[Part]:
    """One a workload. Raises UsageError for one that stands twice in the suite, with different settings."""
    first: dict[str, Part] = {}
    workloads = _told_apart(resolved.workloads)
    for each in suite.parts:
        workload = next(w for w in workloads if w.spec == each.workloads[0])
        found = [next(m for m in resolved.methods if m.spec == spec) for spec in each.methods]
        once = {digest([m.name, m.settings, m.source]): m for m in found}
        part = Part(each, workload, with_variants(once.values()))
        other = first.setdefault(workload.label, part)
        if other is part:
            yield part
        elif other.means() != part.means():
            raise UsageError(
                f"{workload.spec.where}: '{workload.label}' is there twice, with other settings; leave one "
                "out, or name a method twice, each with its settings in brackets."
            )


def _told_apart(workloads: Sequence[ResolvedWorkload]) -> list[ResolvedWorkload]:
    """Workloads that share their name, told apart by the settings in which the suite's words differ."""
    alike: dict[str, list[WorkloadSpec]] = {}
    for workload in workloads:
        alike.setdefault(workload.spec.name, []).append(workload.spec)

    def variant(spec: WorkloadSpec) -> str:
        names = telling_apart([other.settings for other in alike[spec.name]])
        settings = flat(spec.settings)
        return format_settings({name: settings[name] for name in names if name in settings})

    return [replace(workload, variant=variant(workload.spec)) for workload in workloads]


def _asked_for(method: ResolvedMethod) -> list[Any]:
    """A method as the plan is named by it. A file counts by its name alone: how the path to it is written is
    no other plan; nor is what the file now says the settings are, for it may be edited, and mended."""
    from_file = ".py:" in method.spec.name
    return [
        method.name,
        Path(method.spec.name).name,
        method.spec.settings if from_file else method.settings,
    ]


def with_variants(methods: Iterable[ResolvedMethod]) -> tuple[ResolvedMethod, ...]:
    """Methods that share their name, told apart by the settings in which they differ."""
    methods = tuple(methods)
    named: dict[str, list[ResolvedMethod]] = {}
    for method in methods:
        named.setdefault(method.name, []).append(method)

    def variant(method: ResolvedMethod) -> str:
        names = telling_apart([other.settings for other in named[method.name]])
        settings = flat(method.settings)
        return format_settings({name: settings[name] for name in names if name in settings})

    return tuple(replace(method, variant=variant(method)) for method in methods)


def _cells(
    suite: Suite,
    resolved: Resolved,
    parts: Sequence[Part],
    data_root: str | None,
    memory_budget: int | None,
) -> Iterator[Cell]:
    facts = {key: value for key, value in resolved.environment.items() if key != "code"}
    identity = digest({"version": __version__, **facts})
    for measure in suite.measures:
        for part, seed in itertools.product(parts, dict.fromkeys(suite.content.seeds)):

            def cell(
                points: tuple[Point, ...],
                settings: MeasureSettings,
                block: int = 0,
                workload: ResolvedWorkload = part.workload,
                seed: int = seed,
            ) -> Cell:
                return Cell(
                    measure=measure,  # noqa: B023 - called within this turn of the loop
                    settings=settings,
                    workload=workload,
                    points=points,
                    seed=seed,
                    device=resolved.device,
                    threads=suite.content.threads,
                    data_root=data_root,
                    memory_budget=memory_budget,
                    block=block,
                    code=str(resolved.environment["code"]),
                    deterministic=suite.content.deterministic,
                    tf32=suite.content.tf32,
                    identity=identity,
                )

            points, settings = part.points(measure), part.suite.measures[measure]
            if isinstance(settings, TimeSettings):
                yield from (cell(points, settings, block) for block in range(settings.blocks))
            else:
                for point in points:
                    yield cell((point,), part.suite.settings_of(measure, point.method.spec))
