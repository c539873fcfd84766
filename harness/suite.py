"""A suite: one TOML file, with what the command line changes in it, checked as far as torch is not needed."""

import copy
import itertools
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import NothingSelected, UsageError, nearest
from harness.measure_settings import (
    ALL_OTHERS,
    SETTINGS,
    AccuracySettings,
    Measure,
    MeasureSettings,
    SteppingSettings,
)
from harness.overrides import Overrides, apply
from harness.protocol import MetaStep, MethodSpec, Request, WorkloadSpec
from harness.quantities import size
from harness.settings import merged, parse_spec
from harness.suite_file import BY_METHOD, SuiteFile, on_each_workload, origin_of, validated

T = TypeVar("T")


@dataclass(frozen=True)
class Suite:
    """A suite ready to be resolved: what is asked for, not yet whether it exists."""

    name: str
    content: SuiteFile
    folder: Path
    """Where its file is: paths of adapters start from here."""

    methods: tuple[MethodSpec, ...]
    """As they are on a workload that says nothing of them."""

    workloads: tuple[WorkloadSpec, ...]
    parts: tuple["Suite", ...] = ()
    """The suite as each of its workloads has it: one of a single workload, and without parts, for each."""

    @property
    def measures(self) -> dict[Measure, MeasureSettings]:
        """The measures that the suite has, in the order in which they run."""
        return {m: s for m in SETTINGS if (s := getattr(self.content, m)) is not None}

    @property
    def memory_budget(self) -> int | None:
        """The suite's virtual limit in bytes."""
        return size("memory_budget", self.content.memory_budget)

    def steps_of(self, measure: Measure, method: MethodSpec) -> list[int]:
        """The inner steps at which `measure` observes `method`; empty where only a workload says."""
        tables = (self.measures[measure].inner_steps, self.content.inner_steps)
        own: list[list[int]] = [steps for table in tables if (steps := self._own(table, method))]
        return sorted(set(own[0])) if own else []

    def settings_of(self, measure: Measure, method: MethodSpec) -> MeasureSettings:
        """What a cell of this method measures with: of a table by method its own value."""
        settings = self.measures[measure]
        if isinstance(settings, AccuracySettings) and isinstance(settings.test_inner_steps, dict):
            own = self._own(settings.test_inner_steps, method)
            return settings.model_copy(update={"test_inner_steps": own})
        return settings

    def _own(self, table: Any, method: MethodSpec) -> Any:
        """The value for a method of what may be a table by method, None if there is none."""
        if not isinstance(table, dict):
            return table
        named = {located(name, self.folder): own for name, own in table.items()}
        return named.get(method.name, named.get(ALL_OTHERS))

    def measuring(self, measure: Measure, **changes: Any) -> "Suite":
        """The suite with this measure alone, its settings changed, on every workload."""
        settings = self.measures[measure].model_copy(update=changes)
        content = self.content.model_copy(update={m: settings if m == measure else None for m in SETTINGS})
        parts = tuple(part.measuring(measure, **changes) for part in self.parts)
        return replace(self, content=content, parts=parts)

    def having(self, methods: tuple[MethodSpec, ...]) -> "Suite":
        """The suite with these methods in place of its own, on every workload."""
        return replace(self, methods=methods, parts=tuple(part.having(methods) for part in self.parts))

    def request(self, data_root: str | None, memory_budget: int | None = None) -> Request:
        """What the preflight is to check."""
        parts = self.parts or (self,)
        steps = {k for p in parts for m in p.measures for s in p.methods for k in p.steps_of(m, s)}
        measures = [settings for part in parts for settings in part.measures.values()]
        meta_steps = [
            MetaStep(method, part.workloads[0], settings.meta_batch_size)
            for part in parts
            for method in part.methods
            for settings in part.measures.values()
        ]
        c = self.content
        return Request(
            distinct(method for part in parts for method in part.methods),
            distinct(self.workloads),
            tuple(sorted(steps)),
            c.device,
            c.threads,
            data_root,
            memory_budget,
            distinct(meta_steps),
            c.deterministic,
            c.tf32,
            frozenset(s.precision for s in measures if isinstance(s, SteppingSettings)),
        )


def distinct(things: Iterable[T]) -> tuple[T, ...]:
    """Each of them once, in order; they need not be hashable."""
    found: list[T] = []
    for thing in things:
        if thing not in found:
            found.append(thing)
    return tuple(found)


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    files = resources.files("suites").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_suite(text: str, overrides: Overrides) -> Suite:
    """The suite of a name or a path, changed by the command line. Raises UsageError."""
    name, where, source, folder = read_suite(text)
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as failure:
        raise UsageError(f"{where} is not TOML: {failure}; mend that line.") from failure
    validated(document, where, {})
    changed = copy.deepcopy(document)
    origins = apply(changed, overrides)
    content = validated(changed, where, origins)
    size(f"{origin_of('memory_budget', where, origins)}: memory_budget", content.memory_budget)
    if not any(getattr(content, measure) for measure in SETTINGS):
        if overrides.measures:
            raise NothingSelected(
                f"{where} does not measure {' or '.join(overrides.measures)}; nothing was selected."
            )
        raise UsageError(f"{where}: there is nothing to measure; add a table [{'] or ['.join(SETTINGS)}].")

    def suite(content: SuiteFile, here: str, own: Collection[str], parts: tuple[Suite, ...] = ()) -> Suite:
        """`own`: the methods whose settings stand `here`, not in the suite's own table."""
        places = {key: here if key in own else where for key in content.methods}
        named = _methods_of_file(content, places, folder, origins)
        methods = _chosen_methods(named, overrides.methods, content.method_defaults)
        _check_tables(content, here, folder, origins, {spec.name for spec in (*named, *methods)})
        origin = origins.get("workloads", f"{where}: workloads")
        tasks = [task for entry in content.workloads for task in entry.task]
        workloads = tuple(WorkloadSpec(*parse_spec(task, origin), origin) for task in tasks)
        return Suite(name, content, folder, methods, workloads, parts)

    whole = suite(content, where, ())
    parts = []
    for here, of_workload, own in on_each_workload(changed, content.workloads, where):
        part = suite(validated(of_workload, here, origins), here, own)
        _check_steps(part, f"{origin_of('inner_steps', here, origins)}: inner_steps")
        parts.append(part)
    return replace(whole, parts=tuple(parts))


def read_suite(text: str) -> tuple[str, str, str, Path]:
    """Name, how errors call it, contents and folder of a suite given by name or path."""
    path = Path(text)
    if path.suffix == ".toml" or path.is_file():
        try:
            return path.stem, str(path), path.read_text(encoding="utf-8"), path.parent
        except OSError as failure:
            raise UsageError(
                f"{path} cannot be read: {failure.strerror}; give the path of a suite file."
            ) from failure
        except UnicodeDecodeError as failure:
            raise UsageError(f"{path} is not a text file; a suite is a TOML file in UTF-8.") from failure
    if text not in suite_names():
        hint = nearest(text, suite_names(), "the suites")
        raise UsageError(f"suite '{text}' is unknown; {hint} A path to a TOML file works too.")
    resource = resources.files("suites") / f"{text}.toml"
    return text, f"suites/{text}.toml", resource.read_text(encoding="utf-8"), Path()


def located(name: str, folder: Path) -> str:
    """The name of a method; that of a file in the suite starts from the suite's folder."""
    return str(folder / name) if ".py:" in name else name


def _check_tables(
    content: SuiteFile, where: str, folder: Path, origins: Mapping[str, str], known: set[str]
) -> None:
    """A table by method names methods of its suite, or such as the command line adds."""
    tables: dict[str, Any] = {"inner_steps": content.inner_steps}
    for measure, name in itertools.product(SETTINGS, BY_METHOD):
        tables[f"{measure}.{name}"] = getattr(getattr(content, measure), name, None)
    for key, table in tables.items():
        for name in table if isinstance(table, dict) else ():
            if located(name, folder) not in known | {ALL_OTHERS}:
                raise UsageError(
                    f"{origin_of(key, where, origins)}: {key}: '{name}' is no method of this suite; "
                    f"{nearest(name, known | {ALL_OTHERS}, 'its methods')}"
                )


def _check_steps(part: Suite, where: str) -> None:
    """Every method has inner steps in every measure."""
    for measure, method in itertools.product(part.measures, part.methods):
        if not part.steps_of(measure, method):
            raise UsageError(
                f"{where} tells none for '{method.name}'; name it there, or all others as \"{ALL_OTHERS}\"."
            )


def _methods_of_file(
    content: SuiteFile, places: Mapping[str, str], folder: Path, origins: Mapping[str, str]
) -> list[MethodSpec]:
    specs = []
    for key, table in content.methods.items():
        where = places[key]
        name, settings = parse_spec(key, f"{where}: methods")
        setters = [k for k in origins if k.startswith(f"methods.{key}")]
        origin = origins[setters[-1]] if setters else f"{where}: methods.{key}"
        specs.append(MethodSpec(located(name, folder), merged(settings, table), {}, origin))
    return specs


def _chosen_methods(
    named: list[MethodSpec], wanted: Sequence[str], defaults: dict[str, Any]
) -> tuple[MethodSpec, ...]:
    """The suite's methods, or those that `--method` asks for.

    A method named in the suite keeps its settings there; one named several times there is meant in all its
    variants.
    """
    replacing = [text for text in wanted if not text.startswith("+")]
    chosen = [] if replacing else list(named)
    for text in wanted:
        name, settings = parse_spec(text.removeprefix("+"), "--method")
        for kept in [s for s in named if s.name == name] or [MethodSpec(name)]:
            origin = "--method" if settings else kept.where
            chosen.append(MethodSpec(name, merged(kept.settings, settings), {}, origin))
    unique: dict[str, MethodSpec] = {}
    for spec in chosen:
        unique.setdefault(f"{spec.name}{sorted(spec.settings.items(), key=str)}", spec)
    return tuple(MethodSpec(s.name, s.settings, defaults, s.where) for s in unique.values())
