"""Adapters given by path: `path/to/file.py:Class`, with the modules beside the file that it imports."""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from harness.core.libraries import libraries_of, library_fault
from harness.errors import BrokenAdapter, LibraryMissing

OWN_PACKAGES = ("harness", "methods", "suites")
_beside_adapters: set[str] = set()
"""Names of the modules that adapters have imported from their folders; every adapter imports its own."""


@dataclass(frozen=True)
class AdapterFile:
    """A loaded file and the modules of its own folder that it imported."""

    module: ModuleType
    files: tuple[Path, ...]
    names: frozenset[str]
    """Of all these modules."""

    libraries: dict[str, str]
    """Package -> version, of what these modules name."""


def load_file(path: Path, where: str) -> AdapterFile:
    """The adapter file as it now is. Raises BrokenAdapter naming the line, or LibraryMissing."""
    stamp = path.stat()
    return _load(path, path.resolve(), stamp.st_mtime_ns, stamp.st_size, where)


@functools.cache
def _load(path: Path, place: Path, mtime_ns: int, size: int, where: str) -> AdapterFile:
    """Cached by the file's time and size: a block makes many methods of one file."""
    name = f"innerloop_adapter_{place.stem}_{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, place, loader=_FromSource(name, str(place)))
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    for other in _beside_adapters & set(sys.modules):
        del sys.modules[other]
    before = set(sys.modules)
    try:
        with _importable(place.parent):
            spec.loader.exec_module(module)
    except LibraryMissing:
        raise
    except (Exception, SystemExit) as failure:
        if said := library_fault(failure, is_own, place.parent):
            raise LibraryMissing(f"{said}, which {path} imports") from failure
        frames = traceback.extract_tb(failure.__traceback__)
        inside = [f.lineno for f in frames if f.filename == str(place)]
        line = failure.lineno if isinstance(failure, SyntaxError) else (inside or [None])[-1]
        raise BrokenAdapter(
            f"{where}: {path}, line {line}: {type(failure).__name__}: {failure}; mend the file."
        ) from failure
    finally:
        loaded = {other: sys.modules[other] for other in set(sys.modules) - before if not is_own(other)}
        beside = dict(_beside(place, loaded))
        _beside_adapters.update(beside)
    libraries = libraries_of([module, *(loaded[other] for other in beside)])
    return AdapterFile(module, (place, *sorted(beside.values())), frozenset({spec.name, *beside}), libraries)


def is_own(module: str | None) -> bool:
    """Whether a module is, or would be if it existed, innerloop's own."""
    return (module or "").partition(".")[0] in OWN_PACKAGES


def hash_files(files: Iterable[Path], versions: Mapping[str, str] | None = None) -> str:
    """16 hexadecimal digits of the SHA-256 of the files' contents, in the order of their names, and of
    libraries' versions."""
    digest = hashlib.sha256(repr(sorted(versions.items())).encode() if versions else b"")
    for path in sorted(files, key=lambda p: (p.name, str(p))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def line_of(path: Path, name: str) -> int:
    """The line of a file at whose top level `name` is given its meaning; 1 if that is not to be seen."""
    for node in ast.parse(path.read_bytes()).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        named = [getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)]
        if name in named:
            return node.lineno
    return 1


def defined_at(cls: type, function: str) -> str:
    """Where a method's function stands, as `mine.py, line 12`."""
    code = inspect.unwrap(getattr(cls, function)).__code__
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"


def defining_files(cls: type) -> list[str]:
    """The files of a method's class and of the classes that it is derived from, innerloop's own left out."""
    names = {base.__module__ for base in cls.__mro__ if not base.__module__.startswith("harness")}
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return [file for file in files if file]


def blame(failure: BaseException, files: Iterable[str] = ()) -> str:
    """What was raised and where, on one line: the innermost place in `files`, or the innermost of all."""
    first = str(failure).strip().partition("\n")[0]
    said = f"{type(failure).__name__}: {first}" if first else type(failure).__name__
    return f"{said}{place(failure, files)}"


def place(failure: BaseException, files: Iterable[str] = ()) -> str:
    """` (mine.py, line 12)`, or nothing if it was never raised."""
    frames = list(traceback.extract_tb(failure.__traceback__))
    own = set(files)
    frames = [f for f in frames if f.filename in own] or frames
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Python finds the modules of `folder` inside, as it does for a script, and leaves no bytecode there."""
    sys.path.insert(0, str(folder))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))


class _FromSource(SourceFileLoader):
    """Reads the source whatever bytecode there is: that goes by whole seconds and sizes, and may be stale."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _beside(place: Path, loaded: Mapping[str, ModuleType]) -> Iterator[tuple[str, Path]]:
    """The source files of modules in the adapter's folder; an environment inside it is not the adapter's."""
    for name, module in loaded.items():
        file = Path(getattr(module, "__file__", None) or "/")
        if file.suffix == ".py" and place.parent in file.parents and "site-packages" not in file.parts:
            yield name, file
