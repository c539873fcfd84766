"""What a suite file may say, and what it says of each of its workloads: TOML, checked, without torch."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from harness.errors import UsageError, nearest
from harness.measure_settings import (
    ALL_OTHERS,
    SETTINGS,
    AccuracySettings,
    GradientSettings,
    InnerSteps,
    MeasureSettings,
    MemorySettings,
    Positive,
    TimeSettings,
)
from harness.settings import merged, parse_spec

BY_METHOD = ("inner_steps", "test_inner_steps")  # a value for all methods, or a table of them by name


class WorkloadEntry(BaseModel):
    """A workload, with what is different there: tables that are laid over the suite's, key by key.

    For inner steps the nearest word counts: the entry's own table of the measure, then the suite's table of
    the measure, then the entry, then the suite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Annotated[
        list[str],
        BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
        Field(min_length=1),
    ]
    """A name with settings in brackets, `glyphs[ways=5,shots=1]`, or several that share all else."""

    inner_steps: InnerSteps | None = None
    methods: dict[str, dict[str, Any]] = {}
    """A method of the suite -> the settings that it has here instead."""

    memory: dict[str, Any] = {}
    time: dict[str, Any] = {}
    gradient: dict[str, Any] = {}
    accuracy: dict[str, Any] = {}

    @model_serializer(mode="wrap")
    def _as_written(self, serialise: SerializerFunctionWrapHandler) -> Any:
        """A bare name where nothing is different."""
        said = {key: value for key, value in serialise(self).items() if value}
        if len(self.task) == 1:
            said["task"] = self.task[0]
        return said["task"] if said.keys() == {"task"} and len(self.task) == 1 else said


Entry = Annotated[
    WorkloadEntry, BeforeValidator(lambda given: {"task": given} if isinstance(given, str) else given)
]


class SuiteFile(BaseModel):
    """The keys of a suite file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    source: str = ""
    """Whose protocol and settings these are."""

    deviations: list[str] = []
    """What is done otherwise than there, a sentence each: a reader of the results is told."""

    workloads: Annotated[list[Entry], Field(min_length=1)]
    """Names with settings in brackets, `glyphs[ways=5,shots=1]`, or tables, `{ task = "...", ... }`."""

    methods: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """Name, or `path/to/file.py:Class` from the suite's folder -> settings."""

    method_defaults: dict[str, Any] = {}
    """Settings of every method that has them and does not say otherwise."""

    inner_steps: InnerSteps
    seeds: Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1)] = [0]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive = 1
    """Threads of every cell, whatever `--jobs` says: accuracies depend on it in the last bit."""

    memory_budget: str | None = None
    """A virtual limit on live tensors, such as "1GiB": a point over it is `oom` for every measure."""

    deterministic: bool = False
    """Deterministic GPU kernels only; on a CPU accuracies repeat bit for bit anyway."""

    tf32: bool = False
    """Let a GPU round the factors of float32 products to 10 bits; a tensor core takes no float32 as it is."""

    memory: MemorySettings | None = None
    time: TimeSettings | None = None
    gradient: GradientSettings | None = None
    accuracy: AccuracySettings | None = None


def validated(document: Mapping[str, Any], where: str, origins: Mapping[str, str]) -> SuiteFile:
    """The document of a suite, checked. Raises UsageError with the key, and `where` it stands or the option
    that set it, of which `origins` tells."""
    try:
        return SuiteFile.model_validate(document)
    except ValidationError as failure:
        raise UsageError(_sentence(failure, where, origins)) from failure


def on_each_workload(
    document: Mapping[str, Any], entries: list[WorkloadEntry], where: str
) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """The document as each workload has it: how errors call it, the document, and the methods that the
    workload's entry changes. Raises UsageError where an entry changes what is not there."""
    for entry in entries:
        for task in entry.task:
            here = where if len(entry.model_fields_set) == 1 else f"{where}: workload '{task}'"
            changed: dict[str, Any] = {**document, "workloads": [task]}
            if entry.inner_steps is not None:
                changed["inner_steps"] = _laid_over(document.get("inner_steps"), entry.inner_steps)
            changed["methods"], named = _methods_changed(document["methods"], entry.methods, here)
            for measure in SETTINGS:
                if own := getattr(entry, measure):
                    if measure not in document:
                        raise UsageError(
                            f"{here}: {measure} is not measured by this suite; add a table [{measure}], or "
                            "leave it out here."
                        )
                    changed[measure] = _measure_changed(document[measure], own)
            yield here, changed, named


def _methods_changed(
    methods: Mapping[str, Any], own: Mapping[str, dict[str, Any]], here: str
) -> tuple[dict[str, Any], set[str]]:
    """The suite's methods with an entry's settings, and the keys of those that it changes: a bare name means
    the method in all its variants."""
    changed = dict(methods)
    named: set[str] = set()
    for name, settings in own.items():
        keys = [key for key in methods if name in (key, parse_spec(key, here)[0])]
        if not keys:
            hint = nearest(name, methods, "its methods")
            raise UsageError(f"{here}: methods: '{name}' is no method of this suite; {hint}")
        for key in keys:
            changed[key] = merged(changed[key], settings)
            named.add(key)
    return changed, named


def _measure_changed(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(own)
    for name in BY_METHOD:
        if name in own:
            changed[name] = _laid_over(settings.get(name), own[name])
    return {**settings, **changed}


def _laid_over(value: Any, own: Any) -> Any:
    """A value that may be a table by method, changed by an entry's: one value for all methods replaces what
    there was, a table changes the methods that it names."""
    if value is None or not isinstance(own, Mapping):
        return own
    return {**(value if isinstance(value, Mapping) else {ALL_OTHERS: value}), **own}


def _sentence(failure: ValidationError, where: str, origins: Mapping[str, str]) -> str:
    """One complaint of pydantic as a sentence with the key and the remedy."""
    # Where a value may be of several types each has its complaint; the one that got deepest fits best.
    # A misspelt key is missing too, under its right name.
    rank = {"extra_forbidden": 2, "missing": 1}
    error = max(failure.errors(), key=lambda e: (len(e["loc"]), rank.get(e["type"], 0)))
    location = [part for part in error["loc"] if not _is_tag(part)]
    key = ".".join(str(part) for part in location)
    origin = origin_of(key, where, origins)
    match error["type"]:
        case "extra_forbidden":
            table = _keys_at(location)
            if issubclass(table, MeasureSettings) and (why := table.without.get(str(location[-1]))):
                return f"{origin}: key '{key}' does not exist, for {why}; leave it out."
            known = table.model_fields
            return f"{origin}: key '{key}' is unknown; {nearest(str(location[-1]), known, 'the keys here')}"
        case "missing":
            return f"{origin}: key '{key}' is missing; add it."
    said = error["msg"].removeprefix("Value error, ")
    said = said[0].lower() + said[1:]
    return f"{origin}: {key} = {error['input']!r} is refused: {said}."


def _is_tag(part: object) -> bool:
    """Whether a part of pydantic's location names one of several types, not a key."""
    return isinstance(part, str) and ("[" in part or part == "constrained-int")


def _keys_at(location: list[Any]) -> type[BaseModel]:
    """What has the keys of a table of a suite."""
    if len(location) > 1 and location[0] == "workloads":
        return WorkloadEntry
    return SETTINGS.get(location[0], SuiteFile) if len(location) > 1 else SuiteFile


def origin_of(key: str, where: str, origins: Mapping[str, str]) -> str:
    """The option that set `key` or what holds it; `where`, the suite's file, if none did."""
    setters = [k for k in origins if key == k or key.startswith(f"{k}.")]
    return origins[max(setters, key=len)] if setters else where
