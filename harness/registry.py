"""From a name to a method or workload class: built-in tables, entry points, paths to a file."""

import dataclasses
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import methods
from harness import workloads
from harness.core.method import Method
from harness.core.outer import RULES
from harness.errors import UsageError, nearest
from harness.protocol import MethodSpec, ResolvedMethod, WorkloadSpec
from harness.settings import build, merged, settings_of
from harness.workloads.base import Workload

ENTRY_POINTS = "innerloop.methods"


class LibraryMissing(Exception):
    """An adapter's library is not installed: its points are skipped, with what to install."""


def method_names() -> dict[str, str]:
    """Known names -> `module:class`: built in first, then those that installed packages offer."""
    offered = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return methods.BUILT_IN | {name: home for name, home in offered.items() if name not in methods.BUILT_IN}


def load_method(name: str, where: str) -> tuple[str, type[Method]]:
    """The bare name and the class of a method given by name or as `path/to/file.py:Class`.

    Raises UsageError for what is no method, LibraryMissing if a library that it imports is absent.
    """
    if ".py:" in name or name.endswith(".py"):
        return _load_path(name, where)
    known = method_names()
    if name not in known:
        hint = nearest(name, known, "the methods")
        raise UsageError(f"{where}: method '{name}' is unknown; {hint}")
    module, _, attribute = known[name].partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as failure:
        raise LibraryMissing(f"install '{failure.name}' to run {name}") from failure
    return name, _checked(cls, name, where)


def resolve_method(spec: MethodSpec, inner_steps: int) -> ResolvedMethod:
    """The method with all its settings, checked. The suite's defaults count where it has such a setting."""
    try:
        name, cls = load_method(spec.name, spec.where)
    except LibraryMissing as failure:
        return ResolvedMethod(spec, spec.name, spec.settings, source="", missing=str(failure))
    return ResolvedMethod(spec, name, _settings(spec, cls, inner_steps), source_of(cls))


def make_method(resolved: ResolvedMethod, inner_steps: int) -> Method:
    """An instance at this number of inner steps."""
    _, cls = load_method(resolved.spec.name, resolved.spec.where)
    return build(cls, resolved.settings | {"inner_steps": inner_steps}, resolved.spec.where, RULES)


def _settings(spec: MethodSpec, cls: type[Method], inner_steps: int) -> dict[str, Any]:
    known = {f.name for f in dataclasses.fields(cls)}
    wanted = merged({key: value for key, value in spec.defaults.items() if key in known}, spec.settings)
    if "inner_steps" in wanted:
        raise UsageError(
            f"{spec.where}: 'inner_steps' is the axis of the suite, not a setting of one method; use "
            f'--set inner_steps=..., or inner_steps = {{ {spec.name} = [...], "*" = [...] }} in a measure.'
        )
    settings = settings_of(build(cls, wanted | {"inner_steps": inner_steps}, spec.where, RULES), RULES)
    del settings["inner_steps"]
    return settings


def make_workload(spec: WorkloadSpec) -> Workload:
    """The workload with its settings, checked; its data is not opened yet."""
    if spec.name not in workloads.BUILT_IN:
        hint = nearest(spec.name, workloads.BUILT_IN, "the workloads")
        raise UsageError(f"{spec.where}: workload '{spec.name}' is unknown; {hint}")
    return build(workload_class(spec.name), spec.settings, f"{spec.where}: workload '{spec.name}'")


def workload_class(name: str) -> type[Workload]:
    """The class of a known workload."""
    module, _, attribute = workloads.BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def source_of(cls: type[Method]) -> str:
    """Hash of the file that defines an adapter, and of those that its base classes come from."""
    own = [base for base in cls.__mro__ if issubclass(base, Method)]
    files = {Path(str(sys.modules[base.__module__].__file__)) for base in own}
    return hash_files(files)


def hash_files(files: Iterable[Path]) -> str:
    """16 hexadecimal digits of the SHA-256 of the files' contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kebab(name: str) -> str:
    """`MyMethod` as `my-method`, `ImamlGD` as `imaml-gd`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def _load_path(text: str, where: str) -> tuple[str, type[Method]]:
    file, colon, attribute = text.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise UsageError(f"{where}: '{text}' names no class; write path/to/file.py:ClassName.")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{where}: there is no file {path}; give the path of an adapter.")
    spec = importlib.util.spec_from_file_location(f"innerloop_adapter_{path.stem}", path.resolve())
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        if isinstance(failure, ModuleNotFoundError) and not _is_own(failure.name):
            raise LibraryMissing(f"install '{failure.name}', which {path} imports") from failure
        frames = traceback.extract_tb(failure.__traceback__)
        inside = [f.lineno for f in frames if f.filename == str(path.resolve())]
        line = failure.lineno if isinstance(failure, SyntaxError) else (inside or [None])[-1]
        raise UsageError(
            f"{where}: {path}, line {line}: {type(failure).__name__}: {failure}; mend the file."
        ) from failure
    if not hasattr(module, attribute):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Method)]
        raise UsageError(
            f"{where}: {path} has no class '{attribute}'; {nearest(attribute, classes, 'its methods')}"
        )
    return kebab(attribute), _checked(getattr(module, attribute), text, where)


def _is_own(module: str | None) -> bool:
    """Whether a module that was not found would be innerloop's own: then its name is misspelt."""
    return (module or "").partition(".")[0] in ("harness", "methods")


def _checked(cls: Any, name: str, where: str) -> type[Method]:
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise UsageError(f"{where}: '{name}' is not a method; derive its class from harness.Method.")
    absent = sorted(getattr(cls, "__abstractmethods__", ()))
    absent += [n for n in ("kind", "memory_order") if not hasattr(cls, n)]
    if absent:
        raise UsageError(f"{where}: '{name}' lacks {', '.join(absent)}; every method defines them.")
    return cls
