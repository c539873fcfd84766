"""From a name to a method or workload class: built-in tables, entry points, paths to a file."""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any, get_args

from harness import workloads
from harness.adapter_files import blame, defining_files, hash_files, is_own, line_of, load_file
from harness.core.libraries import libraries_of, library_fault
from harness.core.method import Kind, Method, Order
from harness.core.outer import RULES
from harness.core.search import Choice, Range, SearchSpace
from harness.errors import BrokenAdapter, LibraryMissing, UsageError, nearest
from harness.names import kebab, method_names
from harness.protocol import MethodSpec, ResolvedMethod, WorkloadSpec, digest
from harness.settings import build, merged, not_plain, settings_of
from harness.workloads.base import Workload

CONSTANTS = {"kind": get_args(Kind), "memory_order": get_args(Order)}


def load_method(name: str, where: str) -> tuple[str, type[Method]]:
    """The bare name and the class of a method given by name or as `path/to/file.py:Class`.

    Raises UsageError for what is not there, BrokenAdapter for what is no method, LibraryMissing if a library
    that it imports is absent or broken.
    """
    if is_path(name):
        return _load_path(name, where)
    known = method_names()
    if name not in known:
        hint = nearest(name, known, "the methods")
        raise UsageError(f"{where}: method '{name}' is unknown; {hint}")
    module, _, attribute = known[name].partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except LibraryMissing:
        raise
    except (Exception, SystemExit) as failure:
        package = module.partition(".")[0]
        said = library_fault(failure, lambda other: is_own(other) or other.partition(".")[0] == package)
        if not said and is_own(module):
            raise
        if not said:
            raise BrokenAdapter(f"{where}: '{name}' ({known[name]}): {blame(failure)}; mend it.") from failure
        raise LibraryMissing(f"{said} to run {name}") from failure
    return name, _checked(cls, attribute, f"{where}: '{name}' ({known[name]})")


def resolve_method(spec: MethodSpec, inner_steps: int) -> ResolvedMethod:
    """The method with all its settings, checked. The suite's defaults count where it has such a setting."""
    try:
        name, cls = load_method(spec.name, spec.where)
    except LibraryMissing as failure:
        return ResolvedMethod(spec, spec.name, spec.settings, source="", missing=str(failure))
    except BrokenAdapter as failure:
        return _broken(spec, failure)
    try:
        files, libraries = _made_of(spec, cls)
        settings = _settings(spec, cls, inner_steps)
        fault = not_plain(settings) or _not_searchable(cls.search_space, settings)
        said = f"{_home(cls)}: {fault}" if fault else ""
    except UsageError:
        if not (said := _fails_by_itself(cls, inner_steps)):
            raise
    except Exception as failure:  # an annotation that means nothing, say
        said = blame(failure, defining_files(cls))
    if said:
        return _broken(spec, BrokenAdapter(f"{spec.where}: {said}; mend the file."))
    source = hash_files(files, libraries)
    return ResolvedMethod(
        spec, name, settings, source, libraries=libraries, search_space=dict(cls.search_space)
    )


def _not_searchable(space: SearchSpace, settings: dict[str, Any]) -> str | None:
    """A clause on what of a search space is no range or choice of a setting; None if all is. A setting of
    another outer rule than the one in force may be there: it is not searched."""
    for name, where in space.items():
        if not isinstance(where, Range | Choice):
            return f"search_space['{name}'] is {where!r}, but a place to search is a Range or a Choice"
        if name.partition(".")[0] not in settings:
            return (
                f"search_space has '{name}', which is no setting; {nearest(name, settings, 'the settings')}"
            )
    return None


def _fails_by_itself(cls: type[Method], inner_steps: int) -> str:
    """What the class raises with the settings that it gives itself, and where; empty if nothing."""
    try:
        build(cls, {"inner_steps": inner_steps}, cls.__name__, RULES)
    except Exception as failure:
        return blame(failure.__cause__ or failure, defining_files(cls))
    return ""


def _broken(spec: MethodSpec, failure: BrokenAdapter) -> ResolvedMethod:
    """The method as far as it is known. Its source changes with the file, and with what is wrong: the module
    beside the file may be what was edited."""
    name, content = spec.name, ""
    if is_path(spec.name):
        file, _, attribute = spec.name.rpartition(":")
        name, content = kebab(attribute), hash_files([Path(file)])
    source = digest(["broken", str(failure), content])
    return ResolvedMethod(spec, name, spec.settings, source, broken=str(failure))


class Changed(Exception):
    """Code or data are no longer what the preflight saw: a cell of this id cannot be run any more."""


def make_method(resolved: ResolvedMethod, inner_steps: int) -> Method:
    """An instance at this number of inner steps. Raises Changed if its source is not the resolved one."""
    _, cls = load_method(resolved.spec.name, resolved.spec.where)
    if source_of(resolved.spec, cls) != resolved.source:
        raise Changed(f"the source of {resolved.name} changed during the run")
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


def source_of(spec: MethodSpec, cls: type[Method]) -> str:
    """Hash of the adapter's file, of those that its base classes come from, of its modules beside it, and of
    the versions of the libraries that they name."""
    files, libraries = _made_of(spec, cls)
    return hash_files(files, libraries)


def _home(cls: type[Method]) -> str:
    """Where the class is defined, as `mine.py, line 12`."""
    file = Path(str(sys.modules[cls.__module__].__file__))
    return f"{file.name}, line {line_of(file, cls.__name__)}"


def _made_of(spec: MethodSpec, cls: type[Method]) -> tuple[set[Path], dict[str, str]]:
    """The files, and the libraries with their versions, that make the adapter."""
    modules = {base.__module__ for base in cls.__mro__ if issubclass(base, Method)}
    files: set[Path] = set()
    libraries: dict[str, str] = {}
    if is_path(spec.name):
        adapter = load_file(Path(spec.name.rpartition(":")[0]), spec.where)
        files.update(adapter.files)
        libraries.update(adapter.libraries)
        modules -= adapter.names
    files.update(Path(str(sys.modules[module].__file__)) for module in modules)
    libraries.update(libraries_of(sys.modules[module] for module in modules))
    return files, libraries


def is_path(name: str) -> bool:
    """Whether a method is named by its file."""
    return ".py:" in name or name.endswith(".py")


def _load_path(text: str, where: str) -> tuple[str, type[Method]]:
    file, colon, attribute = text.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise UsageError(f"{where}: '{text}' names no class; write path/to/file.py:ClassName.")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{where}: there is no file {path}; give the path of an adapter.")
    module = load_file(path, where).module
    if not hasattr(module, attribute):
        found = vars(module).items()
        classes = [n for n, v in found if isinstance(v, type) and issubclass(v, Method) and v is not Method]
        raise UsageError(
            f"{where}: {path} has no class '{attribute}'; {nearest(attribute, classes, 'its methods')}"
        )
    at = f"{where}: {path}, line {line_of(path, attribute)}"
    return kebab(attribute), _checked(getattr(module, attribute), attribute, at)


def _checked(cls: Any, name: str, where: str) -> type[Method]:
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise BrokenAdapter(f"{where}: '{name}' is not a method; derive its class from harness.Method.")
    absent = sorted(getattr(cls, "__abstractmethods__", ()))
    absent += [n for n in CONSTANTS if not hasattr(cls, n)]
    if absent:
        raise BrokenAdapter(
            f"{where}: '{name}' lacks {', '.join(absent)}; define what harness.Method asks for."
        )
    for f in dataclasses.fields(cls):
        given = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        if f.init and not given and f.name != "inner_steps":
            raise BrokenAdapter(
                f"{where}: '{name}' has the setting '{f.name}' without a default; give it one, as in "
                f"`{f.name}: float = 0.1`."
            )
    for constant, known in CONSTANTS.items():
        if (value := getattr(cls, constant)) not in known:
            hint = nearest(str(value), known, "known ones")
            raise BrokenAdapter(f"{where}: '{name}' has {constant} = {value!r}; {hint}")
    return cls
