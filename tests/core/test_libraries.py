"""Libraries that are absent, too old, broken, or upgraded: made up, so that none need be installed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import libraries
from harness.core.libraries import libraries_of, library_fault, load_library
from harness.errors import LibraryMissing

BROKEN = "import collections\n\n\ndef start():\n    return collections.Mapping\n\n\nstart()\n"


def install(folder: Path, name: str, version: str, code: str = "") -> None:
    """A library `name` in `folder`, as pip would leave it there."""
    (folder / f"{name}.py").write_text(code)
    for other in folder.glob(f"{name}-*.dist-info/METADATA"):
        other.unlink()
    (folder / f"{name}-{version}.dist-info").mkdir(exist_ok=True)
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(told)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for libraries, as site-packages is one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    libraries._packages.cache_clear()
    yield tmp_path
    libraries._packages.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_library_of_the_version_that_is_needed_is_loaded(site: Path) -> None:
    install(site, "fastgrad", "0.10.0", "ANSWER = 42\n")
    assert load_library("fastgrad", at_least="0.9").ANSWER == 42


def test_an_absent_library_says_what_to_install() -> None:
    with pytest.raises(LibraryMissing, match=r"^fastgrad is not installed: install 'fastgrad>=1\.0'$"):
        load_library("fastgrad", at_least="1.0")
    with pytest.raises(LibraryMissing, match=r"install 'fastgrad>=1\.0', from its source$"):
        load_library("fastgrad", at_least="1.0", hint=", from its source")


@pytest.mark.parametrize("version", ["0.9.9", "1.0rc1", "0.10"])
def test_a_library_that_is_too_old_is_not_even_imported(site: Path, version: str) -> None:
    install(site, "fastgrad", version, "raise SystemExit\n")
    said = rf"^fastgrad {version} is too old: install 'fastgrad>=1\.0'$"
    with pytest.raises(LibraryMissing, match=said):
        load_library("fastgrad", at_least="1.0")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (BROKEN, "AttributeError: module 'collections' has no attribute 'Mapping'"),
        (
            "from collections import Mapping\n",
            r"ImportError: cannot import name 'Mapping' from 'collections' .*",
        ),
        ("raise RuntimeError\n", "RuntimeError"),
        ("x = (\n", r"SyntaxError: .*"),
    ],
    ids=["attribute", "import", "any", "syntax"],
)
def test_a_library_that_breaks_in_its_own_import_is_named_with_its_version(
    site: Path, code: str, said: str
) -> None:
    install(site, "fastgrad", "1.2", code)
    sentence = rf"^fastgrad 1\.2 does not import here \({said}\): install 'fastgrad>=1\.0'$"
    with pytest.raises(LibraryMissing, match=sentence):
        load_library("fastgrad", at_least="1.0")


def test_a_library_that_lacks_another_says_to_install_that(site: Path) -> None:
    install(site, "fastgrad", "1.2", "import a_library_that_nobody_has\n")
    with pytest.raises(LibraryMissing, match=r"install 'a_library_that_nobody_has'$"):
        load_library("fastgrad", at_least="1.0")


def failure_of(code: str, path: Path) -> Exception:
    """What running the adapter file `path` with this code raises."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        exec(compile(code, str(path), "exec"), {"__name__": "mine"})
    return caught.value


def is_mine(module: str) -> bool:
    return module == "mine"


def test_what_breaks_within_a_librarys_import_is_not_the_adapters_fault(site: Path) -> None:
    install(site, "fastgrad", "1.2", BROKEN)
    failure = failure_of("import fastgrad\n", site / "adapters" / "mine.py")
    said = library_fault(failure, is_mine, site / "adapters")
    assert said.startswith("fastgrad 1.2 does not import here (AttributeError: ")
    assert said.endswith("): install another version of it")


@pytest.mark.parametrize(
    "code",
    ["import fastgrad\nfastgrad.gone\n", "import fastgrad\nfastgrad.fail()\n", "from fastgrad import gone\n"],
)
def test_what_an_adapter_does_wrong_with_a_library_is_its_own_fault(site: Path, code: str) -> None:
    install(site, "fastgrad", "1.2", "def fail():\n    raise AttributeError('none of mine')\n")
    failure = failure_of(code, site / "adapters" / "mine.py")
    assert library_fault(failure, is_mine, site / "adapters") == ""


def test_a_module_beside_an_adapter_is_no_library(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = site / "adapters"
    adapters.mkdir()
    (adapters / "beside.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(adapters))
    failure = failure_of("import beside\n", adapters / "mine.py")
    assert library_fault(failure, is_mine, adapters) == ""


def test_the_libraries_of_an_adapter_are_those_that_it_names_with_their_versions(site: Path) -> None:
    import types

    install(site, "fastgrad", "1.2", "class Optimiser: ...\n\ndef descend(): ...\n")
    for line in ("import fastgrad", "from fastgrad import Optimiser", "from fastgrad import descend as f"):
        adapter = types.ModuleType("mine")
        exec(f"import math, torch, numpy\nfrom typing import Any\n{line}\n", vars(adapter))
        assert libraries_of([adapter]) == {"fastgrad": "1.2"}, line
