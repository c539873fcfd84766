"""Settings of methods and workloads: written in brackets or TOML tables, checked against dataclass fields."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from harness.errors import UsageError, nearest

T = TypeVar("T")


def parse_spec(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """A name with settings in brackets. Values are TOML; a bare word is a string.

    >>> parse_spec("imaml-gd[cg_steps=10,lam=1.0]", "--method")
    ('imaml-gd', {'cg_steps': 10, 'lam': 1.0})
    """
    match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[(.*)\])?\s*", text, re.DOTALL)
    if match is None:
        raise UsageError(f"{where}: '{text}' is not a name with settings; write NAME or NAME[key=value,...].")
    name, inside = match.groups()
    settings: dict[str, Any] = {}
    for part in split_outside_brackets(inside or ""):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{where}: '{part.strip()}' in '{text}' is not a setting; write key=value.")
        set_dotted(settings, key.strip(), parse_value(value.strip()))
    return name, settings


def split_outside_brackets(text: str) -> list[str]:
    """`text` split at its top-level commas; empty parts are dropped."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text + ","):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append((text + ",")[start:i])
            start = i + 1
    return [part for part in parts if part.strip()]


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def set_dotted(table: dict[str, Any], key: str, value: Any) -> None:
    """`table["a"]["b"] = value` for the key `a.b`, as TOML has it."""
    *path, last = key.split(".")
    for part in path:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = table[part] = {}
        table = inner
    table[last] = value


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` changed by `changes`, key by key also in tables; another rule brings its own settings."""
    result = dict(settings)
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and "rule" not in value:
            value = merged(inner, value)
        result[key] = value
    return result


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings without tables in them, named as in brackets.

    >>> flat({"lam": 1.0, "outer": {"lr": 0.01}})
    {'lam': 1.0, 'outer.lr': 0.01}
    """
    named: dict[str, Any] = {}
    for name, value in settings.items():
        named |= flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return named


def telling_apart(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of settings, as `flat` has them, that tell variants apart: all that differ, or the one that
    gives each a name.

    A word, such as an optimiser, is a name; a number beside others that differ is not, for it would make a
    series of what is none.

    >>> telling_apart([{"optimiser": "adam", "lr": 0.1}, {"optimiser": "sgd", "lr": 1.0}])
    ['optimiser']
    """
    variants = [flat(each) for each in variants]
    names = sorted({name for each in variants for name in each})
    values = {n: [json.dumps(v.get(n), sort_keys=True) for v in variants] for n in names}
    differing = [name for name in names if len(set(values[name])) > 1]
    enough = [
        name
        for name in differing
        if len(set(values[name])) == len(variants) and all(isinstance(v.get(name), str) for v in variants)
    ]
    return enough if len(enough) == 1 else differing


def not_plain(settings: Mapping[str, Any]) -> str | None:
    """A clause on the first setting that is no plain value; None if all are.

    Settings are part of a cell's id and of its rows, and are read where no adapter is loaded: not even a
    subclass of `str` comes there.
    """
    for name, value in settings.items():
        if not _is_plain(value):
            return (
                f"setting '{name}' is {value!r}, but settings are plain values: numbers, strings, true and "
                "false, lists and tables of them"
            )
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(inner) for inner in value)
    return value is None or type(value) in (str, int, float, bool)


def format_settings(settings: Mapping[str, Any]) -> str:
    """The inverse of `parse_spec`'s brackets, without them: `ways=5,norm=batch-stats,outer.lr=0.01`."""
    parts = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            parts += [f"{key}.{part}" for part in split_outside_brackets(format_settings(value))]
        else:
            parts.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    return ",".join(parts)


def build(
    cls: type[T],
    settings: Mapping[str, Any],
    where: str,
    rules: Mapping[str, type] | None = None,
) -> T:
    """An instance of the dataclass `cls` with `settings`, each checked against its field's type.

    A field that is itself a dataclass takes a table; `rule` in it names another class of `rules`.
    Raises UsageError for an unknown name, a wrong type or a value that the class refuses.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, given in settings.items():
        if key not in known and not callable(getattr(cls, key, callable)):
            kind = type(getattr(cls, key)).__name__
            raise UsageError(f"{where}: '{key}' is no setting yet: annotate it, as in `{key}: {kind} = ...`.")
        if key not in known:
            raise UsageError(f"{where}: setting '{key}' is unknown; {nearest(key, known, 'its settings')}")
        default = known[key].default
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            values[key] = _build_part(default, given, f"{where}: {key}", rules or {})
            continue
        try:
            adapter = TypeAdapter(hints[key], config=ConfigDict(strict=True))
            values[key] = adapter.validate_python(given)
        except ValidationError as failure:
            reason = failure.errors()[0]["msg"]
            raise UsageError(f"{where}: setting '{key}' cannot be {given!r}: {reason}.") from failure
    try:
        return cls(**values)
    except (ValueError, TypeError) as failure:
        raise UsageError(f"{where}: {failure}.") from failure


def _build_part(default: Any, given: Any, where: str, rules: Mapping[str, type]) -> Any:
    """The dataclass `default` changed by the table `given`."""
    if not isinstance(given, Mapping):
        raise UsageError(f"{where} takes a table of settings, such as {{lr = 1e-3}}, not {given!r}.")
    given = dict(given)
    rule = given.pop("rule", None)
    if rule is None:
        start = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
        return build(type(default), start | given, where)
    if rule not in rules:
        raise UsageError(f"{where}: rule '{rule}' is unknown; {nearest(str(rule), rules, 'the rules')}")
    return build(rules[rule], given, where)


def settings_of(instance: Any, rules: Mapping[str, type] | None = None) -> dict[str, Any]:
    """All settings of a dataclass instance, plain and sorted; `build` makes the same instance of them."""
    names = {cls: name for name, cls in (rules or {}).items()}
    plain: dict[str, Any] = {}
    for f in sorted(dataclasses.fields(instance), key=lambda f: f.name):
        value = getattr(instance, f.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = settings_of(value)
            value = ({"rule": names[type(value)]} if type(value) in names else {}) | inner
        plain[f.name] = value
    return plain
