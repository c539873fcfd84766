"""Who may know whom (imports point down only), read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "methods", "suites")

PARENT = (
    "harness/__init__.py",
    "harness/__main__.py",
    "harness/suite.py",
    "harness/suite_file.py",
    "harness/overrides.py",
    "harness/plan.py",
    "harness/run.py",
    "harness/tune.py",
    "harness/tuned_suite.py",
    "harness/store.py",
    "harness/which_run.py",
    "harness/rows.py",
    "harness/files.py",
    "harness/wall.py",
    "harness/frame.py",
    "harness/rowfile.py",
    "harness/environment.py",
    "harness/errors.py",
    "harness/measure_settings.py",
    "harness/names.py",
    "harness/protocol.py",
    "harness/verdicts.py",
    "harness/templates.py",
    "harness/quantities.py",
    "harness/settings.py",
    "harness/cli/**/*.py",
    "harness/data/**/*.py",
    "harness/executors/*.py",
    "harness/analyze/**/*.py",
    "harness/present/**/*.py",
    "methods/__init__.py",
    "harness/workloads/__init__.py",
    "suites/*.py",
)
"""The parent process's side: it never loads torch."""

COMMAND_LINE = ("harness.cli", "harness.__main__")


def files(*patterns: str) -> list[str]:
    """Dotted names of the modules that match."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return sorted({module_name(path) for path in found if "__pycache__" not in path.parts})


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, functions included, without the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield other
                yield from statements(other)
            continue
        yield child
        yield from statements(child)


@cache
def imports_of(module: str) -> frozenset[str]:
    """What a module imports anywhere in it; `from a import b` is a.b where that is a module."""
    path = source_of(module)
    assert path is not None, module
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if source_of(whole) is not None:
                    found.add(whole)
                elif base == "harness" and alias.name in public_home():
                    found.add(public_home()[alias.name])
                else:
                    found.add(base)
    return frozenset(found)


@cache
def public_home() -> dict[str, str]:
    """Name of the lazy public surface -> the module that it is loaded from."""
    import harness

    return dict(harness._HOME)


def loads(module: str) -> set[str]:
    """The project's modules that importing one loads: its packages, and what those and it import."""
    parts = module.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts) + 1)}


def reachable(module: str) -> dict[str, str]:
    """Every module, of the project or not, that can be loaded from here -> the one that imports it."""
    via: dict[str, str] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        for imported in sorted(imports_of(current)):
            for each in loads(imported) if imported.split(".")[0] in PACKAGES else {imported}:
                if each not in via:
                    via[each] = current
                    if source_of(each) is not None:
                        waiting.append(each)
    return via


def top(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("module", files(*PARENT))
def test_the_parents_side_cannot_reach_torch(module: str) -> None:
    via = reachable(module)
    ways = {name: importer for name, importer in via.items() if top(name) in ("torch", "torchvision")}
    assert not ways, f"{module} reaches torch: {ways}"


def test_the_worker_reaches_torch_so_this_test_sees_what_it_should() -> None:
    assert {"torch", "harness.core.trees", "methods"} <= set(reachable("harness.worker"))


@pytest.mark.parametrize("module", files("methods/**/*.py"))
def test_methods_know_the_core_and_torch_and_nothing_else_of_the_harness(module: str) -> None:
    """Adapters over other libraries included: those go through `load_library`."""
    for imported in imports_of(module):
        allowed = top(imported) in {"torch", "methods"} | set(sys.stdlib_module_names)
        core = imported == "harness" or imported.startswith("harness.core") or imported == "harness.errors"
        assert allowed or core, f"{module} imports {imported}"


@pytest.mark.parametrize("module", files("harness/core/*.py"))
def test_the_core_knows_nothing_above_it(module: str) -> None:
    for imported in imports_of(module):
        inside = imported.startswith("harness.core") or imported == "harness.errors"
        assert top(imported) not in PACKAGES or inside, f"{module} imports {imported}"


@pytest.mark.parametrize(
    "module", files("harness/measure/*.py", "harness/training/*.py", "harness/workloads/**/*.py")
)
def test_measures_training_and_workloads_know_no_method_by_name(module: str) -> None:
    named = {name for name in reachable(module) if top(name) == "methods"}
    assert not named, f"{module} reaches {named}"


@pytest.mark.parametrize("module", files("harness/workloads/**/*.py"))
def test_workloads_know_no_measure_and_no_training(module: str) -> None:
    above = ("harness.measure", "harness.training", "harness.run", "harness.worker", "harness.registry")
    assert not {name for name in reachable(module) if name.startswith(above)}


@pytest.mark.parametrize("module", files("harness/present/**/*.py", "harness/analyze/**/*.py"))
def test_findings_and_pictures_are_made_of_rows_alone(module: str) -> None:
    above = ("harness.run", "harness.executors", "harness.worker", "harness.measure", "harness.training")
    reached = {name for name in reachable(module) if name.startswith(above)}
    assert not reached, f"{module} reaches {reached}"


@pytest.mark.parametrize("module", files("harness/analyze/**/*.py"))
def test_analysis_knows_no_presentation(module: str) -> None:
    assert not {name for name in reachable(module) if name.startswith(("harness.present", "harness.cli"))}


@pytest.mark.parametrize("module", [m for m in files("harness/**/*.py") if not m.startswith(COMMAND_LINE)])
def test_nothing_below_knows_the_command_line(module: str) -> None:
    assert not {name for name in reachable(module) if name.startswith("harness.cli")}


@pytest.mark.parametrize(
    "module", ["harness", "harness.run", "harness.cli", "harness.store", "methods", "harness.workloads"]
)
def test_importing_the_parents_side_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted(m for m in sys.modules if m.partition('.')[0] == 'torch'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_surface_is_what_it_says() -> None:
    import harness

    assert dir(harness) == sorted(harness.__all__)
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Metod'"):
        _ = harness.Metod
