"""The JSON files of a run folder: what of them can be read, and a caveat for what cannot.

What is returned has the shapes that a run writes, so that its readers need not doubt them: a value of
another shape, as another version or an accident leaves it, is left out and named.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Shape = Callable[[Any], bool]
WITHOUT_PLAN = "what was planned is unknown, and all rows are shown"
WITHOUT_ENVIRONMENT = "the machine and the versions are unknown"
WITHOUT_SELFCHECKS = "how the instruments did is unknown"


def read_manifest(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Without `cells` where they cannot be told. Raises OSError for a file that may not be read."""
    content, caveats = _read(path, dict, WITHOUT_PLAN)
    if caveats:
        return {}, caveats
    if not _are_cells(content.get("cells")):
        content.pop("cells", None)
        caveats = [f"{path.name} names no cells: {WITHOUT_PLAN}."]
    return content, [*caveats, *_drop_misshapen(path.name, content, MANIFEST)]


def read_environment(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Raises OSError for a file that may not be read."""
    content, caveats = _read(path, dict, WITHOUT_ENVIRONMENT)
    return content, [*caveats, *_drop_misshapen(path.name, content, ENVIRONMENT)]


def read_selfchecks(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Old runs have none, and older ones one alone. Raises OSError for a file that may not be read."""
    if not path.exists():
        return [], []
    content, caveats = _read(path, object, WITHOUT_SELFCHECKS)
    if caveats:
        return [], caveats
    found = content if isinstance(content, list) else [content]
    if not all(map(_is_selfcheck, found)):
        return [], [_damaged(path.name, "not what a run writes", WITHOUT_SELFCHECKS)]
    return found, []


def _read(path: Path, shape: type, without: str) -> tuple[Any, list[str]]:
    """What is in a file and no caveat; or nothing of its shape and a caveat."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return shape(), [f"There is no {path.name}: {without}."]
    except (ValueError, RecursionError) as failure:
        return shape(), [_damaged(path.name, str(failure), without)]
    if not isinstance(content, shape):
        return shape(), [_damaged(path.name, "not what a run writes", without)]
    return content, []


def _damaged(name: str, how: str, without: str) -> str:
    return f"{name} is damaged ({how}): {without}."


def _drop_misshapen(name: str, content: dict[str, Any], shapes: Mapping[str, Shape]) -> list[str]:
    """Takes them out of `content`, and says so."""
    wrong = sorted(key for key, is_sound in shapes.items() if key in content and not is_sound(content[key]))
    for key in wrong:
        del content[key]
    return [_damaged(name, f"{', '.join(wrong)}: not what a run writes", "left out")] if wrong else []


def _is(*kinds: type) -> Shape:
    return lambda value: isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def _are_of(kind: type) -> Shape:
    return lambda value: isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _are_cells(cells: Any) -> bool:
    return _are_of(dict)(cells) and all("id" in cell and _has_points(cell) for cell in cells)


def _has_points(cell: dict[str, Any]) -> bool:
    """Or names none at all."""
    if "points" not in cell:
        return True
    return _are_points(cell["points"]) and all(
        isinstance(cell.get(key), str) for key in ("measure", "workload")
    )


def _are_points(points: Any) -> bool:
    return isinstance(points, list) and all(
        isinstance(point, dict)
        and isinstance(point.get("method"), str)
        and isinstance(point.get("settings"), dict)
        and isinstance(point.get("inner_steps"), int)
        for point in points
    )


def _is_selfcheck(found: Any) -> bool:
    """Where and before which cells they were made, earlier versions did not keep."""
    return (
        isinstance(found, dict)
        and _are_of(dict)(found.get("checks"))
        and _are_of(str)(found.get("cells", []))
        and _is_machine(found.get("machine", {}))
    )


def _is_machine(machine: Any) -> bool:
    if not isinstance(machine, dict):
        return False
    return all(is_sound(machine[key]) for key, is_sound in MACHINE.items() if key in machine)


def _are_tables(settings: Any) -> bool:
    """Of each workload a table."""
    return isinstance(settings, dict) and all(isinstance(each, dict) for each in settings.values())


def _is_search(tuning: Any) -> bool:
    """What `harness.tune` keeps of each method's trials."""
    return (
        isinstance(tuning, dict)
        and _are_of(dict)(tuning.get("methods"))
        and all(
            isinstance(method.get("method"), str)
            and isinstance(method.get("space"), dict)
            and isinstance(method.get("own"), dict)
            and _are_of(dict)(method.get("trials"))
            and all(map(_is_trial, method["trials"]))
            for method in tuning["methods"]
        )
    )


def _is_trial(trial: dict[str, Any]) -> bool:
    return (
        _is(int)(trial.get("number"))
        and isinstance(trial.get("changes"), dict)
        and _is(int, float, type(None))(trial.get("score"))
        and isinstance(trial.get("reason"), str)
    )


_text = _is(str)
_told = _is(str, type(None))  # None where the system did not tell
_bytes = _is(int, float, type(None))
_count = _is(int, type(None))
MACHINE: dict[str, Shape] = {
    "cpu": _text, "cores": _count, "memory_bytes": _bytes, "gpus": _are_of(str)
}  # fmt: skip
MANIFEST: dict[str, Shape] = {
    "suite": _text, "title": _text, "run_id": _text, "command": _text,
    "memory_budget": _bytes, "content": _is(dict), "settings": _are_tables, "tuning": _is_search,
}  # fmt: skip
ENVIRONMENT: dict[str, Shape] = {
    "innerloop": _told, "torch": _told, "device": _told, "device_name": _told, "cpu": _told,
    "cpu_capability": _told, "cores": _count, "threads": _count, "interop_threads": _count,
    "memory_bytes": _bytes, "gpus": _are_of(dict), "packages": _is(dict), "code": _told,
}  # fmt: skip
