"""What the command line changes in a suite: `--set`, `--measure`, `--seed`, `--device`, `--method`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError, nearest
from harness.measure_settings import SETTINGS
from harness.settings import parse_spec, parse_value, set_dotted, split_outside_brackets
from harness.suite_file import SuiteFile

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Overrides:
    """What the command line changes in a suite."""

    methods: Sequence[str] = ()
    settings: Sequence[str] = ()
    seeds: Sequence[int] = ()
    device: str | None = None
    measures: Sequence[str] = ()


def check_device(name: str) -> None:
    """Refuse what `--device` does not know."""
    if name not in DEVICES:  # all of them are named: the nearest word to "gpu" is "cpu"
        raise UsageError(f"--device {name} is unknown; write one of {', '.join(DEVICES)}.")


def apply(document: dict[str, Any], overrides: Overrides) -> dict[str, str]:
    """Change a suite's document by what the command line says, its methods apart. Returns key -> the option
    that set it. What is set goes before what the file says of single workloads too."""
    origins: dict[str, str] = {}
    for text in overrides.settings:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {text}: write KEY=VALUE, such as --set inner_steps=1,2,4.")
        for target in _targets(key, document):
            wanted = _value(target, value.strip())
            if target == "workloads":
                wanted = _as_in_the_suite(wanted, document[target], f"--set {text}")
            set_dotted(document, target, wanted)
            origins[target] = f"--set {text}"
            for entry in _entries(document):
                _drop_dotted(entry, target)
        if key == "inner_steps":
            for table in (document, *_entries(document)):
                for measure in SETTINGS:
                    _drop_dotted(table, f"{measure}.{key}")
    for name in overrides.measures:
        if name not in SETTINGS:
            raise UsageError(f"--measure {name}: {nearest(name, SETTINGS, 'the measures')}")
    for measure in SETTINGS:
        if overrides.measures and measure not in overrides.measures:
            for table in (document, *_entries(document)):
                table.pop(measure, None)
    if overrides.seeds:
        document["seeds"] = list(dict.fromkeys(overrides.seeds))
        origins["seeds"] = "--seed"
    if overrides.device is not None:
        check_device(overrides.device)
        document["device"] = overrides.device
    return origins


def _entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The workloads of which the file says more than their names."""
    return [entry for entry in document["workloads"] if isinstance(entry, dict)]


def _as_in_the_suite(wanted: Any, entries: list[Any], where: str) -> Any:
    """Names of workloads; those that the suite has keep what it says of them."""
    if not isinstance(wanted, list):
        return wanted
    known = [(task, entry) for entry in entries if isinstance(entry, dict) for task in _tasks(entry)]

    def found(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        same = (e for task, e in known if parse_spec(task, where) == parse_spec(text, where))
        return {**entry, "task": text} if (entry := next(same, None)) else text

    return [found(text) for text in wanted]


def _tasks(entry: Mapping[str, Any]) -> list[str]:
    return [entry["task"]] if isinstance(entry["task"], str) else entry["task"]


def _drop_dotted(table: dict[str, Any], key: str) -> None:
    """Without `table["a"]["b"]` for the key `a.b`, if it is there."""
    *path, last = key.split(".")
    for part in path:
        table = table.get(part, {})
        if not isinstance(table, dict):
            return
    table.pop(last, None)


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
