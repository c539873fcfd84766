"""From a resolved suite to its cells, each with a content-addressed id."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import __version__
from harness.measure_settings import TimeSettings
from harness.protocol import Cell, Point, Resolved, ResolvedMethod, ResolvedWorkload, digest
from harness.settings import flat, format_settings, telling_apart
from harness.suite import Suite


@dataclass(frozen=True)
class Plan:
    """What a run is to do."""

    suite: str
    id: str
    """Hash of what was asked for. Versions and sources are in the cells' ids instead: the same command
    finds the same folder, and what has changed runs anew in it."""

    cells: tuple[Cell, ...]
    memory_budget: int | None = None

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
    resolved = replace(
        resolved,
        methods=with_variants({digest([m.name, m.settings, m.source]): m for m in resolved.methods}.values()),
        workloads=tuple({w.label: w for w in resolved.workloads}.values()),
    )
    cells = tuple(_cells(suite, resolved, data_root, memory_budget))
    asked = {
        "content": suite.content.model_dump(mode="json", exclude={"title", "memory_budget"}),
        "methods": [_asked_for(m) for m in resolved.methods],
        "workloads": [w.label for w in resolved.workloads],
        "device": resolved.device,
        "memory_budget": memory_budget,
    }
    return Plan(suite.name, digest(asked)[:8], cells, memory_budget)


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
    suite: Suite, resolved: Resolved, data_root: str | None, memory_budget: int | None
) -> Iterator[Cell]:
    facts = {key: value for key, value in resolved.environment.items() if key != "code"}
    identity = digest({"version": __version__, **facts})
    for measure, settings in suite.measures.items():
        for workload, seed in itertools.product(resolved.workloads, dict.fromkeys(suite.content.seeds)):
            points = tuple(
                Point(method, steps)
                for method in resolved.methods
                for steps in suite.steps_of(measure, method.spec)
            )

            def cell(
                points: tuple[Point, ...],
                block: int = 0,
                workload: ResolvedWorkload = workload,
                seed: int = seed,
            ) -> Cell:
                return Cell(
                    measure=measure,  # noqa: B023 - called within this turn of the loop
                    settings=settings,  # noqa: B023
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
                    identity=identity,
                )

            if isinstance(settings, TimeSettings):
                yield from (cell(points, block) for block in range(settings.blocks))
            else:
                yield from (cell((point,)) for point in points)
