"""Other libraries that an adapter runs on: absent, too old, broken, or of a version that rows depend on."""

import functools
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType

from packaging.version import Version

from harness.errors import LibraryMissing

IN_EVERY_ID = frozenset({"torch", "numpy", "harness", "methods"})
"""Libraries and own packages whose versions the id of every cell holds anyway."""


def load_library(name: str, at_least: str, hint: str = "") -> ModuleType:
    """The library `name` (its import name and its package's), of version `at_least` or later.

    Raises LibraryMissing with one sentence that says what to install, and `hint` where that takes more than
    `pip install`. An exception of the library's own import is the library's fault, not the adapter's.
    """
    remedy = f"install '{name}>={at_least}'{hint}"
    installed = version_of(name)
    if installed is None:
        raise LibraryMissing(f"{name} is not installed: {remedy}")
    if Version(installed) < Version(at_least):
        raise LibraryMissing(f"{name} {installed} is too old: {remedy}")
    try:
        return importlib.import_module(name)
    except Exception as failure:
        if isinstance(failure, ModuleNotFoundError) and failure.name:
            remedy = f"install '{failure.name}'"
        raise LibraryMissing(f"{_does_not_import(name, failure)}: {remedy}") from failure


def library_fault(
    failure: BaseException, is_adapters: Callable[[str], bool], folder: Path | None = None
) -> str:
    """What to install, if importing an adapter failed within a library; empty if it is the adapter's fault.

    The adapter is what `is_adapters` says of a module's name, and what lies in `folder`. A library is absent,
    or raises in its own import: made, say, for other versions of what it imports in turn.
    """
    if isinstance(failure, ModuleNotFoundError) and not is_adapters(failure.name or ""):
        return f"install '{failure.name}'"
    for frame, _ in traceback.walk_tb(failure.__traceback__):
        name, file = str(frame.f_globals.get("__name__")), Path(frame.f_code.co_filename)
        top = name.partition(".")[0]
        beside = folder in file.parents and "site-packages" not in file.parts
        foreign = not (is_adapters(name) or beside or top in sys.stdlib_module_names)
        # Where no module's body is at work, the adapter has called a library that is there, wrongly.
        if foreign and frame.f_code.co_name == "<module>":
            return f"{_does_not_import(top, failure)}: install another version of it"
    return ""


def libraries_of(modules: Iterable[ModuleType]) -> dict[str, str]:
    """Package -> version of the libraries that these modules name: by a module, class or function of theirs.

    Python's own are left out, and those that every cell's id holds anyway.
    """
    modules = list(modules)
    passed_over = sys.stdlib_module_names | IN_EVERY_ID | {module.__name__ for module in modules}
    found: dict[str, str] = {}
    for module in modules:
        for value in list(vars(module).values()):
            home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            top = home.partition(".")[0] if isinstance(home, str) else ""
            if top and top not in passed_over:
                found.update(_packages(top))
    return dict(sorted(found.items()))


def version_of(package: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def _packages(top: str) -> tuple[tuple[str, str], ...]:
    """The packages, with their versions, that bring the top-level module `top`; most bear its name."""
    names = [top] if version_of(top) is not None else packages_distributions().get(top, [])
    return tuple((name, version(name)) for name in names)


def _does_not_import(name: str, failure: BaseException) -> str:
    first = str(failure).strip().partition("\n")[0]
    said = f"{type(failure).__name__}: {first}" if first else type(failure).__name__
    return f"{name} {version_of(name) or 'of no known version'} does not import here ({said})"
