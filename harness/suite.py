"""A suite: one TOML file, with what the command line changes in it, checked as far as torch is not needed."""

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import NothingSelected, UsageError, nearest
from harness.measure_settings import (
    SETTINGS,
    AccuracySettings,
    GradientSettings,
    Measure,
    MeasureSettings,
    MemorySettings,
    Positive,
    PositiveSteps,
    TimeSettings,
)
from harness.protocol import MethodSpec, Request, WorkloadSpec
from harness.quantities import size
from harness.settings import merged, parse_spec, parse_value, set_dotted, split_outside_brackets

DEVICES = ("auto", "cpu", "cuda")
ALL_OTHERS = "*"  # in a table of inner steps: every method that it does not name


class SuiteFile(BaseModel):
    """The keys of a suite file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    workloads: Annotated[list[str], Field(min_length=1)]
    """Names with settings in brackets: `glyphs[ways=5,shots=1]`."""

    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """Name, or `path/to/file.py:Class` from the suite's folder -> settings."""

    method_defaults: dict[str, Any] = {}
    """Settings of every method that has them and does not say otherwise."""

    inner_steps: PositiveSteps
    seeds: Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1)] = [0]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive = 1
    """Threads of every cell, whatever `--jobs` says: accuracies depend on it in the last bit."""

    memory_budget: str | None = None
    """A virtual limit on live tensors, such as "1GiB": a point over it is `oom` for every measure."""

    deterministic: bool = False
    """Deterministic GPU kernels only; on a CPU accuracies repeat bit for bit anyway."""

    memory: MemorySettings | None = None
    time: TimeSettings | None = None
    gradient: GradientSettings | None = None
    accuracy: AccuracySettings | None = None


@dataclass(frozen=True)
class Overrides:
    """What the command line changes in a suite."""

    methods: Sequence[str] = ()
    settings: Sequence[str] = ()
    seeds: Sequence[int] = ()
    device: str | None = None
    measures: Sequence[str] = ()


@dataclass(frozen=True)
class Suite:
    """A suite ready to be resolved: what is asked for, not yet whether it exists."""

    name: str
    content: SuiteFile
    folder: Path
    """Where its file is: paths of adapters start from here."""

    methods: tuple[MethodSpec, ...]
    workloads: tuple[WorkloadSpec, ...]

    @property
    def measures(self) -> dict[Measure, MeasureSettings]:
        """The measures that the suite has, in the order in which they run."""
        return {m: s for m in SETTINGS if (s := getattr(self.content, m)) is not None}

    @property
    def memory_budget(self) -> int | None:
        """The suite's virtual limit in bytes."""
        return size("memory_budget", self.content.memory_budget)

    def steps_of(self, measure: Measure, method: MethodSpec) -> list[int]:
        """The inner steps at which `measure` observes `method`."""
        steps = self.measures[measure].inner_steps
        if isinstance(steps, dict):
            named = {located(name, self.folder): own for name, own in steps.items()}
            steps = named.get(method.name, named.get(ALL_OTHERS))
        return sorted(set(steps or self.content.inner_steps))

    def request(self, data_root: str | None, memory_budget: int | None = None) -> Request:
        """What the preflight is to check."""
        steps = tuple(sorted({k for m in self.measures for s in self.methods for k in self.steps_of(m, s)}))
        c = self.content
        batches = tuple(sorted({s.meta_batch_size for s in self.measures.values()}))
        return Request(
            self.methods,
            self.workloads,
            steps,
            c.device,
            c.threads,
            data_root,
            memory_budget,
            batches,
            c.deterministic,
        )


def check_device(name: str) -> None:
    """Refuse what `--device` does not know."""
    if name not in DEVICES:  # all of them are named: the nearest word to "gpu" is "cpu"
        raise UsageError(f"--device {name} is unknown; write one of {', '.join(DEVICES)}.")


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
    _validated(document, where, {})
    changed = copy.deepcopy(document)
    origins = _apply(changed, overrides)
    content = _validated(changed, where, origins)
    size(f"{_origin('memory_budget', where, origins)}: memory_budget", content.memory_budget)
    if not any(getattr(content, measure) for measure in SETTINGS):
        if overrides.measures:
            raise NothingSelected(
                f"{where} does not measure {' or '.join(overrides.measures)}; nothing was selected."
            )
        raise UsageError(f"{where}: there is nothing to measure; add a table [{'] or ['.join(SETTINGS)}].")
    named = _methods_of_file(content, where, folder, origins)
    methods = _chosen_methods(named, overrides.methods, content.method_defaults)
    _check_step_tables(content, where, folder, origins, {spec.name for spec in (*named, *methods)})
    origin = origins.get("workloads", f"{where}: workloads")
    workloads = tuple(WorkloadSpec(*parse_spec(text, origin), origin) for text in content.workloads)
    return Suite(name, content, folder, methods, workloads)


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


def _validated(document: dict[str, Any], where: str, origins: Mapping[str, str]) -> SuiteFile:
    try:
        return SuiteFile.model_validate(document)
    except ValidationError as failure:
        raise UsageError(_sentence(failure, where, origins)) from failure


def _sentence(failure: ValidationError, where: str, origins: Mapping[str, str]) -> str:
    """One complaint of pydantic as a sentence with the key and the remedy."""
    # Where a value may be of several types each has its complaint; the one that got deepest fits best.
    error = max(failure.errors(), key=lambda e: (len(e["loc"]), e["type"] in ("extra_forbidden", "missing")))
    location = [part for part in error["loc"] if not (isinstance(part, str) and "[" in part)]
    key = ".".join(str(part) for part in location)
    origin = _origin(key, where, origins)
    match error["type"]:
        case "extra_forbidden":
            cls = SETTINGS.get(location[0]) if len(location) > 1 else None  # type: ignore[call-overload]
            known = (cls or SuiteFile).model_fields
            return f"{origin}: key '{key}' is unknown; {nearest(str(location[-1]), known, 'the keys here')}"
        case "missing":
            return f"{origin}: key '{key}' is missing; add it."
    said = error["msg"][0].lower() + error["msg"][1:]
    return f"{origin}: {key} = {error['input']!r} is refused: {said}."


def _origin(key: str, where: str, origins: Mapping[str, str]) -> str:
    """The option that set `key` or what holds it; `where`, the suite's file, if none did."""
    setters = [k for k in origins if key == k or key.startswith(f"{k}.")]
    return origins[max(setters, key=len)] if setters else where


def located(name: str, folder: Path) -> str:
    """The name of a method; that of a file in the suite starts from the suite's folder."""
    return str(folder / name) if ".py:" in name else name


def _check_step_tables(
    content: SuiteFile, where: str, folder: Path, origins: Mapping[str, str], known: set[str]
) -> None:
    """A table of inner steps names methods of its suite, or such as the command line adds."""
    for measure in SETTINGS:
        settings = getattr(content, measure)
        if settings is None or not isinstance(settings.inner_steps, dict):
            continue
        for name in settings.inner_steps:
            if located(name, folder) not in known | {ALL_OTHERS}:
                key = f"{measure}.inner_steps"
                raise UsageError(
                    f"{_origin(key, where, origins)}: {key}: '{name}' is no method of this suite; "
                    f"{nearest(name, known | {ALL_OTHERS}, 'its methods')}"
                )


def _methods_of_file(
    content: SuiteFile, where: str, folder: Path, origins: Mapping[str, str]
) -> list[MethodSpec]:
    specs = []
    for key, table in content.methods.items():
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


def _apply(document: dict[str, Any], overrides: Overrides) -> dict[str, str]:
    """Change the document by what the command line says. Returns key -> the option that set it."""
    origins: dict[str, str] = {}
    for text in overrides.settings:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {text}: write KEY=VALUE, such as --set inner_steps=1,2,4.")
        for target in _targets(key, document):
            set_dotted(document, target, _value(target, value.strip()))
            origins[target] = f"--set {text}"
        if key == "inner_steps":
            for measure in SETTINGS:
                document.get(measure, {}).pop("inner_steps", None)
    for name in overrides.measures:
        if name not in SETTINGS:
            raise UsageError(f"--measure {name}: {nearest(name, SETTINGS, 'the measures')}")
    for measure in SETTINGS:
        if overrides.measures and measure not in overrides.measures:
            document.pop(measure, None)
    if overrides.seeds:
        document["seeds"] = list(dict.fromkeys(overrides.seeds))
        origins["seeds"] = "--seed"
    if overrides.device is not None:
        check_device(overrides.device)
        document["device"] = overrides.device
    return origins


def _targets(key: str, document: Mapping[str, Any]) -> list[str]:
    """The full keys that `--set key` means: at the top, or in every measure that has it."""
    top, _, rest = key.partition(".")
    if top in SuiteFile.model_fields and (rest or top not in SETTINGS):
        return [key]
    having = [m for m, s in SETTINGS.items() if key in s.model_fields and m in document]
    if having:
        return [f"{measure}.{key}" for measure in having]
    known = {*SuiteFile.model_fields, *(f for s in SETTINGS.values() for f in s.model_fields)} - {*SETTINGS}
    raise UsageError(f"--set {key}: no such key in this suite; {nearest(key, known, 'the keys')}")


def _value(target: str, text: str) -> Any:
    """The value of `--set`; a list may go without its brackets."""
    wants_list = target.rpartition(".")[2] in ("inner_steps", "seeds", "workloads")
    if wants_list and not text.startswith(("[", "{")):
        return [parse_value(part.strip()) for part in split_outside_brackets(text)]
    return parse_value(text)
