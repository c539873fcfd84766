import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from problems import linear, parameters, relative_error
from runs import rows_of, write_suite

from harness import adapter_files, registry
from harness.core import libraries
from harness.core.method import Method
from harness.errors import LibraryMissing, UsageError
from harness.preflight import check_names
from harness.protocol import MethodSpec, ResolvedMethod, WorkloadSpec
from harness.registry import Changed, kebab, load_method, make_method, make_workload, resolve_method
from methods import BUILT_IN, OVER_LIBRARIES

ADAPTER = '''"""First-order MAML with a step size that halves."""

from typing import ClassVar

from harness import Method, Objective, Params, TaskObjectives, trees


class HalvingFOMAML(Method):
    """FOMAML whose inner step k has size inner_lr / 2^k."""

    kind: ClassVar = "first-order"
    memory_order: ClassVar = "constant"

    inner_lr: float = 0.4

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = meta
        for k in range(self.inner_steps):
            phi = trees.axpy(-self.inner_lr / 2**k, support.gradient(phi), phi)
        return phi

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return tasks.query.gradient(self.adapt(tasks.support, meta))
'''


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("innerloop_adapter_"):
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_an_adapter_of_under_30_lines_runs_from_its_file(tmp_path: Path) -> None:
    assert len(ADAPTER.splitlines()) < 30
    spec = MethodSpec(f"{write(tmp_path, ADAPTER)}:HalvingFOMAML", {"inner_lr": 0.2}, {}, "--method")
    resolved = resolve_method(spec, 3)
    assert resolved.name == "halving-fomaml"
    assert resolved.missing is None
    method = make_method(resolved, 3)
    tasks = linear()
    theta = parameters(tasks.model, 3)
    phi = theta["layer0.weight"]
    for k in range(3):
        phi = phi - 0.2 / 2**k * tasks.support.gradient({"layer0.weight": phi})["layer0.weight"]
    assert relative_error(method.adapt(tasks.support, theta), {"layer0.weight": phi}) < 1e-14
    expected = tasks.query.gradient({"layer0.weight": phi})
    assert relative_error(method.meta_gradient(tasks, theta), expected) < 1e-13


def test_an_adapter_without_annotations_of_its_class_constants_works_too(tmp_path: Path) -> None:
    text = ADAPTER.replace(": ClassVar", "").replace("from typing import ClassVar\n", "")
    resolved = resolve_method(MethodSpec(f"{write(tmp_path, text)}:HalvingFOMAML", {}, {}, "here"), 1)
    assert set(resolved.settings) == {"inner_lr", "outer"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_methods_resolve_with_all_their_settings(name: str) -> None:
    resolved = resolve_method(MethodSpec(name, {}, {}, "suite"), 5)
    assert resolved.name == name
    assert "outer" in resolved.settings
    assert "inner_steps" not in resolved.settings
    assert make_method(resolved, 5).inner_steps == 5
    assert kebab(load_method(name, "suite")[1].__name__) in (name.replace("@", "-"), name.replace("-", ""))


def test_a_default_counts_where_the_method_has_the_setting_and_the_suite_does_not_say_otherwise() -> None:
    defaults = {"inner_lr": 0.7, "cg_steps": 9}
    maml = resolve_method(MethodSpec("maml", {}, defaults, "suite"), 1).settings
    imaml = resolve_method(MethodSpec("imaml-gd", {"inner_lr": 0.1}, defaults, "suite"), 1).settings
    assert maml["inner_lr"] == 0.7
    assert "cg_steps" not in maml
    assert (imaml["inner_lr"], imaml["cg_steps"]) == (0.1, 9)


def test_inner_steps_are_no_setting_of_a_method() -> None:
    with pytest.raises(UsageError, match="'inner_steps' is the axis of the suite"):
        resolve_method(MethodSpec("maml", {"inner_steps": 3}, {}, "suite"), 1)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UsageError, match="--method: method 'imaml_gd' is unknown; did you mean 'imaml-gd'"):
        load_method("imaml_gd", "--method")
    with pytest.raises(UsageError, match="suite: workload 'omniglott' is unknown; did you mean 'omniglot'"):
        make_workload(WorkloadSpec("omniglott", {}, "suite"))
    with pytest.raises(UsageError, match="suite: setting 'lamb' is unknown; did you mean 'lam'"):
        resolve_method(MethodSpec("imaml-gd", {"lamb": 1.0}, {}, "suite"), 1)
    with pytest.raises(UsageError, match="'wayz' is unknown; did you mean 'ways'"):
        make_workload(WorkloadSpec("glyphs", {"wayz": 5}, "suite"))


def test_a_name_unlike_all_others_lists_them() -> None:
    with pytest.raises(
        UsageError, match=r"the methods are: anil, fomaml, .*imaml-gd, .*imaml@authors, .*reptile"
    ):
        load_method("xyzzy", "--method")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--method: there is no file .*absent\.py"):
        load_method(f"{tmp_path / 'absent.py'}:Mine", "--method")


@pytest.mark.parametrize("ending", ["", ":", ":not a name"])
def test_a_path_without_a_class_says_how_to_write_one(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UsageError, match=r"names no class; write path/to/file\.py:ClassName"):
        load_method(write(tmp_path, ADAPTER) + ending, "--method")


def test_a_class_that_is_not_in_the_file_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no class 'HalvingFOMAM'; did you mean 'HalvingFOMAML'"):
        load_method(f"{write(tmp_path, ADAPTER)}:HalvingFOMAM", "--method")


@pytest.mark.parametrize("body", ["class Mine:\n    pass\n", "Mine = 3\n"])
def test_what_is_not_a_method_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(UsageError, match=r"is not a method; derive its class from harness\.Method"):
        load_method(f"{write(tmp_path, body)}:Mine", "--method")


def test_a_method_that_lacks_a_part_of_the_contract_is_told_which(tmp_path: Path) -> None:
    text = ADAPTER[: ADAPTER.index("    def meta_gradient")].replace(
        '    kind: ClassVar = "first-order"\n', ""
    )
    with pytest.raises(UsageError, match=r"lacks meta_gradient, kind; define what harness\.Method asks for"):
        load_method(f"{write(tmp_path, text)}:HalvingFOMAML", "--method")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import math\n\nclass Mine(\n", r"line 3: SyntaxError"),
        ("import math\n\n\nx = math.sqrt(-1)\n", r"line 4: ValueError: .*; mend the file"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"line 2: ZeroDivisionError"),
        ("from harness import Metod\n", r"line 1: ImportError: cannot import name 'Metod'"),
        ("import math\nimport harness.xyz\n", r"line 2: ModuleNotFoundError: No module named 'harness\.xyz'"),
        (
            "from methods.mamal import MAML\n",
            r"line 1: ModuleNotFoundError: No module named 'methods\.mamal'",
        ),
    ],
    ids=["syntax", "exception", "in a function", "wrong name", "own module", "own method"],
)
def test_a_file_that_fails_to_load_is_an_error_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"--method: .*mine\.py, {said}"):
        load_method(f"{write(tmp_path, text)}:Mine", "--method")


def test_a_missing_library_says_what_to_install_and_its_points_are_skipped(tmp_path: Path) -> None:
    name = f"{write(tmp_path, 'import a_library_that_nobody_has.part' + chr(10))}:Mine"
    with pytest.raises(LibraryMissing, match="install 'a_library_that_nobody_has'"):
        load_method(name, "--method")
    resolved = resolve_method(MethodSpec(name, {"x": 1}, {}, "--method"), 1)
    assert resolved.missing is not None
    assert "a_library_that_nobody_has" in resolved.missing
    assert resolved.settings == {"x": 1}


def test_an_edited_file_changes_the_source_and_is_what_runs(tmp_path: Path) -> None:
    spec = MethodSpec(f"{write(tmp_path, ADAPTER)}:HalvingFOMAML", {}, {}, "here")
    first = resolve_method(spec, 1)
    assert resolve_method(spec, 1).source == first.source
    write(tmp_path, ADAPTER.replace("inner_lr: float = 0.4", "inner_lr: float = 0.5"))
    second = resolve_method(spec, 1)
    assert second.source != first.source
    assert second.settings["inner_lr"] == 0.5


def test_an_adapter_that_is_no_longer_the_resolved_one_makes_no_method(tmp_path: Path) -> None:
    spec = MethodSpec(f"{write(tmp_path, ADAPTER)}:HalvingFOMAML", {}, {}, "here")
    resolved = resolve_method(spec, 1)
    make_method(resolved, 1)
    write(tmp_path, ADAPTER + "# edited\n")
    with pytest.raises(Changed, match="the source of halving-fomaml changed during the run"):
        make_method(resolved, 1)
    make_method(resolve_method(spec, 1), 1)


# --- modules beside an adapter ----------------------------------------------------------------------------

HELPED = ADAPTER.replace(
    "from harness import", "from shrinking import FACTOR\n\nfrom harness import"
).replace("2**k", "FACTOR**k")


def helped(folder: Path, factor: float, file: str = "mine.py", **settings: Any) -> ResolvedMethod:
    """An adapter that has its factor from the module beside it."""
    folder.mkdir(exist_ok=True)
    write(folder, f"FACTOR = {factor}\n", "shrinking.py")
    name = f"{write(folder, HELPED, file)}:HalvingFOMAML"
    return resolve_method(MethodSpec(name, settings, {}, f"suite: {settings}"), 2)


def factor_of(resolved: ResolvedMethod) -> float:
    """The factor by which the second step is smaller than it would be at 1."""
    method = make_method(resolved, 2)
    return float(sys.modules[type(method).__module__].FACTOR)


def test_an_adapter_may_import_the_modules_beside_it_and_they_are_part_of_its_source(tmp_path: Path) -> None:
    path_before = list(sys.path)
    first = helped(tmp_path, 2.0)
    assert factor_of(first) == 2.0
    assert sys.path == path_before
    assert helped(tmp_path, 2.0).source == first.source
    assert helped(tmp_path, 2.5).source != first.source
    with pytest.raises(Changed):
        make_method(first, 2)


def test_adapters_of_two_folders_have_each_the_module_beside_it(tmp_path: Path) -> None:
    one, two = helped(tmp_path / "one", 2.0), helped(tmp_path / "two", 3.0)
    assert one.source != two.source
    for _ in range(2):
        assert (factor_of(one), factor_of(two)) == (2.0, 3.0)


def test_adapters_of_one_folder_share_a_module_and_it_is_of_both_sources(tmp_path: Path) -> None:
    """A worker that loads the second alone must find the source that the preflight found."""
    first = [helped(tmp_path, 2.0, file) for file in ("a.py", "b.py")]
    second = [helped(tmp_path, 2.5, file) for file in ("a.py", "b.py")]
    assert all(old.source != new.source for old, new in zip(first, second, strict=True))


def test_a_base_class_may_stand_beside_the_adapter(tmp_path: Path) -> None:
    write(tmp_path, ADAPTER, "base.py")
    text = "from base import HalvingFOMAML\n\nclass Mine(HalvingFOMAML):\n    inner_lr: float = 0.7\n"
    spec = MethodSpec(f"{write(tmp_path, text)}:Mine", {}, {}, "here")
    resolved = resolve_method(spec, 1)
    assert resolved.settings["inner_lr"] == 0.7
    helped(tmp_path / "other", 2.0)
    make_method(resolved, 1)
    write(tmp_path, ADAPTER + "# edited\n", "base.py")
    assert resolve_method(spec, 1).source != resolved.source


def test_a_library_that_a_module_beside_the_adapter_lacks_is_missing_too(tmp_path: Path) -> None:
    write(tmp_path, "import a_library_that_nobody_has\n", "shrinking.py")
    with pytest.raises(LibraryMissing, match="install 'a_library_that_nobody_has'"):
        load_method(f"{write(tmp_path, HELPED)}:HalvingFOMAML", "--method")


# --- one name, one source ---------------------------------------------------------------------------------


def resolve_path(folder: Path, text: str, cls: str, file: str = "mine.py", **settings: Any) -> ResolvedMethod:
    folder.mkdir(exist_ok=True)
    return resolve_method(MethodSpec(f"{write(folder, text, file)}:{cls}", settings, {}, "--method"), 1)


def test_two_methods_of_one_name_from_different_sources_are_refused(tmp_path: Path) -> None:
    one = resolve_path(tmp_path / "one", ADAPTER, "HalvingFOMAML")
    two = resolve_path(tmp_path / "two", ADAPTER + "# other\n", "HalvingFOMAML")
    with pytest.raises(UsageError) as refusal:
        check_names((one, two))
    assert str(refusal.value) == (
        f"--method: '{two.spec.name}' would be 'halving-fomaml' in rows and plots, as is '{one.spec.name}'; "
        "rename its class."
    )


def test_a_changed_copy_of_a_built_in_is_refused_beside_it(tmp_path: Path) -> None:
    text = Path(str(sys.modules[load_method("maml", "here")[1].__module__].__file__)).read_text()
    copy = resolve_path(tmp_path, text + "# mine\n", "MAML")
    maml = resolve_method(MethodSpec("maml", {}, {}, "suite"), 1)
    for both in ((maml, copy), (copy, maml)):
        with pytest.raises(
            UsageError, match=r"would be 'maml' in rows and plots, as is .*; rename its class"
        ):
            check_names(both)
    check_names((copy,))


def test_one_source_with_different_settings_is_one_name(tmp_path: Path) -> None:
    """Also where the settings are part of the key that asked for it."""
    one, two = helped(tmp_path, 2.0, inner_lr=0.1), helped(tmp_path, 2.0, inner_lr=0.2)
    assert one.spec.where != two.spec.where
    check_names((one, two))
    built_in = [resolve_method(MethodSpec("maml", {"inner_lr": lr}, {}, "suite"), 1) for lr in (0.1, 0.2)]
    check_names(tuple(built_in))


# --- settings that make no sense --------------------------------------------------------------------------

SENSELESS = [
    *((name, "inner_lr", value) for name in BUILT_IN if name != "imaml-hf" for value in (0.0, -0.1)),
    *((name, "lam", value) for name in ("imaml-gd", "imaml-hf") for value in (0.0, -1.0)),
    *((name, "cg_steps", value) for name in ("imaml-gd", "imaml-hf") for value in (0, -1)),
    *((name, "cg_tolerance", 0.0) for name in ("imaml-gd", "imaml-hf")),
    ("imaml-hf", "newton_cg_steps", 0),
    ("imaml-hf", "newton_cg_steps", -1),
    ("maml", "lam", -0.5),
    ("reptile", "batch_size", -1),
    ("maml-checkpointed", "segment", -1),
    ("maml-truncated", "backward_steps", -1),
    *((name, "lam", -0.5) for name in ("maml-replay", "maml-checkpointed", "maml-truncated")),
    ("imaml-neumann", "terms", 0),
    *(("imaml-neumann", name, 0.0) for name in ("lam", "tolerance")),
    ("imaml-neumann", "step_size", -1.0),
    ("imaml@authors", "cg_steps", 0),
    *(("imaml@authors", name, -0.5) for name in ("lam", "cg_damping")),
    *((name, "inner_lr", float(bad)) for name in BUILT_IN if name != "imaml-hf" for bad in ("nan", "inf")),
    *((name, "lam", float(bad)) for name in ("maml", "imaml-gd", "imaml-hf") for bad in ("nan", "inf")),
]


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_momenta_lie_from_0_to_below_1(value: float) -> None:
    for settings in ({"momentum": value}, {"outer": {"beta1": value}}, {"outer": {"beta2": value}}):
        with pytest.raises(UsageError, match="must be at least 0 and below 1"):
            resolve_method(MethodSpec("imaml-gd", settings, {}, "suite"), 1)


@pytest.mark.parametrize(("name", "setting", "value"), SENSELESS)
def test_a_setting_that_makes_no_sense_is_refused(name: str, setting: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"^suite: {setting} must be (above|at least) \d, not {value}\.$"):
        resolve_method(MethodSpec(name, {setting: value}, {}, "suite"), 1)


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", BUILT_IN)
def test_an_outer_rate_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    rate = "rate" if name == "reptile" else "lr"
    with pytest.raises(UsageError, match=rf"^suite: outer: {rate} must be above 0, not {value}\.$"):
        resolve_method(MethodSpec(name, {"outer": {rate: value}}, {}, "suite"), 1)
    with pytest.raises(UsageError, match=rf"^suite: outer: lr must be above 0, not {value}\.$"):
        resolve_method(MethodSpec(name, {"outer": {"rule": "sgd", "lr": value}}, {}, "suite"), 1)


@pytest.mark.parametrize(("name", "settings"), [("maml", {"lam": 0.0}), ("reptile", {"batch_size": 0})])
def test_a_zero_that_switches_something_off_is_fine(name: str, settings: dict[str, Any]) -> None:
    assert resolve_method(MethodSpec(name, settings, {}, "suite"), 1).settings.items() >= settings.items()


def test_a_built_in_methods_source_is_of_its_base_classes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = MethodSpec("imaml-gd", {}, {}, "here")
    _, cls = load_method(spec.name, spec.where)
    seen: set[str] = set()

    def remember(files: Any, versions: Any) -> str:
        seen.update(Path(f).name for f in files)
        return ""

    monkeypatch.setattr(registry, "hash_files", remember)
    registry.source_of(spec, cls)
    assert seen == {"imaml.py", "method.py"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MyMethod", "my-method"),
        ("ImamlGD", "imaml-gd"),
        ("MAML", "maml"),
        ("FOMAMLPlus", "fomaml-plus"),
        ("MetaSGD2Steps", "meta-sgd2-steps"),
        ("a", "a"),
    ],
)
def test_class_names_become_kebab_case(name: str, expected: str) -> None:
    assert kebab(name) == expected


def test_every_built_in_method_is_a_method_and_says_what_it_is() -> None:
    for name in BUILT_IN:
        _, cls = load_method(name, "here")
        assert issubclass(cls, Method)
        assert cls.kind in ("unrolled", "implicit", "first-order", "approximate", "pseudo")
        assert cls.memory_order in ("constant", "sqrt", "linear")


# --- libraries --------------------------------------------------------------------------------------------


def install(folder: Path, name: str, version: str, code: str = "") -> None:
    """A library `name` in `folder`, as pip would leave it there."""
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(told)
    (folder / f"{name}.py").write_text(code)


def resolved_with(site: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedMethod:
    """An adapter as a process that starts with these libraries finds it."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        libraries._packages.cache_clear()
        adapter_files._load.cache_clear()
        try:
            return resolve_method(MethodSpec(f"{adapter}:HalvingFOMAML", {}, {}, "here"), 1)
        finally:
            sys.modules.pop("fastgrad", None)
            libraries._packages.cache_clear()


def test_an_upgraded_library_changes_the_source_of_the_adapters_that_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.2", "1.3"):
        install(tmp_path / version, "fastgrad", version)
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    with_it, without = adapters / "with.py", adapters / "without.py"
    with_it.write_text(ADAPTER.replace("from typing", "import fastgrad\nfrom typing", 1))
    without.write_text(ADAPTER)
    old, new = (resolved_with(tmp_path / v, with_it, monkeypatch) for v in ("1.2", "1.3"))
    assert (old.libraries, new.libraries) == ({"fastgrad": "1.2"}, {"fastgrad": "1.3"})
    assert old.source != new.source
    old, new = (resolved_with(tmp_path / v, without, monkeypatch) for v in ("1.2", "1.3"))
    assert old.libraries == new.libraries == {}
    assert old.source == new.source


def test_an_adapters_points_are_skipped_where_its_library_breaks_in_its_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "fastgrad", "1.2", "import collections\n\ncollections.Mapping\n")
    adapter = tmp_path / "adapters" / "mine.py"
    adapter.parent.mkdir()
    adapter.write_text(ADAPTER.replace("from typing", "import fastgrad\nfrom typing", 1))
    missing = resolved_with(tmp_path / "site", adapter, monkeypatch).missing
    assert missing is not None
    assert missing.startswith("fastgrad 1.2 does not import here (AttributeError: module 'collections' has")
    assert missing.endswith(f"install another version of it, which {adapter} imports")


def test_a_run_skips_the_adapters_whose_library_is_missing_too_old_or_broken(tmp_path: Path) -> None:
    """And goes on: the others are measured, and the exit code is that of a run in which all is well."""
    site = tmp_path / "site"
    install(site, "higher", "0.1.5")
    install(site, "torchopt", "0.8.0", "import collections\n\ncollections.Mapping\n")
    install(site, "learn2learn", "0.2.1", "import a_library_that_nobody_has\n")
    names = ["maml", *OVER_LIBRARIES]
    suite = write_suite(
        tmp_path, methods="".join(f"'{n}' = {{}}\n" for n in names), measures=["memory"], inner_steps="[1]"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments], env=environment, capture_output=True, text=True
        )

    done = call("run", str(suite), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    said = {row.method: (row.status, row.detail) for row in rows_of(tmp_path / "run") if row.is_headline}
    assert said["maml"][0] == "ok"
    reasons = {
        "learn2learn": "learn2learn 0.2.1 does not import here (ModuleNotFoundError: No module named "
        "'a_library_that_nobody_has'): install 'a_library_that_nobody_has'",
        "higher": "higher 0.1.5 is too old: install 'higher>=0.2.1'",
        "torchopt": "torchopt 0.8.0 does not import here (AttributeError: module 'collections' has no "
        "attribute 'Mapping'): install 'torchopt>=0.7.3'",
    }
    for name in OVER_LIBRARIES:
        assert said[name] == ("skipped", reasons[name.partition("@")[2]])
    listed = " ".join(call("list", "methods").stdout.split())
    assert "maml@higher not available: higher 0.1.5 is too old: install 'higher>=0.2.1'" in listed
