"""Adapters that are no methods as they are: rows of a run with file and line, never a stopped suite."""

import re
from pathlib import Path

import pytest
from runs import ADAPTER, Notes, assert_complete, rows_of, run_here, statuses, write_adapter, write_suite

from harness.cli.app import call

BROKEN = {
    "class Mine(\n": r"mine\.py, line 1: SyntaxError: .*; mend the file",
    "import harness\n1 / 0\n": r"mine\.py, line 2: ZeroDivisionError: division by zero; mend the file",
    "import sys\nsys.exit('usage: mine.py FILE')\n": r"mine\.py, line 2: SystemExit: usage: mine\.py FILE",
    "\nclass Mine: pass\n": r"mine\.py, line 2: 'Mine' is not a method; derive its class from",
    "from harness import Method\nclass Mine(Method): pass\n": r"mine\.py, line 2: 'Mine' lacks adapt, meta_",
    ADAPTER.format(name="Mine", trouble="pass").replace('"first-order"', '"first order"'): (
        r"mine\.py, line 7: 'Mine' has kind = 'first order'; did you mean 'first-order'\?"
    ),
    ADAPTER.format(name="Mine", trouble="pass")
    + "    def __post_init__(self):\n        self.rat\n": r"AttributeError: .* \(mine\.py, line 21\); mend",
    "import enum\nclass Mode(enum.Enum):\n    A = 1\n\n"
    + ADAPTER.format(name="Mine", trouble="pass").replace("rate: float = 1.0", "mode: Mode = Mode.A"): (
        r"mine\.py, line 11: setting 'mode' is <Mode\.A: 1>, but settings are plain values: .*; mend the file"
    ),
    ADAPTER.format(name="Mine", trouble="pass")
    + "    def __post_init__(self):\n        self.rate + 'x'\n": r"TypeError: .* \(mine\.py, line 21\)",
    ADAPTER.format(name="Mine", trouble="pass")
    + "    def __post_init__(self):\n        raise ValueError\n": r": ValueError \(mine\.py, line 21\)",
    ADAPTER.format(name="Mine", trouble="pass").replace("float = 1.0", "int"): (
        r"mine\.py, line 7: 'Mine' has the setting 'rate' without a default; give it one"
    ),
    ADAPTER.format(name="Mine", trouble="pass").replace("float = 1.0", "object = frozenset()"): (
        r"mine\.py, line 7: setting 'rate' is frozenset\(\), but settings are plain values"
    ),
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_adapter_is_rows_that_say_so_and_the_others_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    suite = write_suite(tmp_path, methods="maml = {}", inner_steps="[1]")
    result = run_here(suite, tmp_path / "run", methods=[f"+{tmp_path}/mine.py:Mine"])
    assert_complete(result)
    assert statuses(result.folder) == {
        (measure, method, 1): status
        for measure in ("memory", "time", "accuracy")
        for method, status in (("maml", "ok"), ("mine", "error"))
    }
    details = {r.detail for r in rows_of(result.folder) if r.status == "error"}
    assert len(details) == 1
    assert re.search(BROKEN[text], details.pop())


def test_a_setting_that_the_class_refuses_is_the_users_unless_the_class_refuses_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = write_adapter(tmp_path, "Mine")
    text = (tmp_path / "mine.py").read_text()
    check = "    def __post_init__(self):\n        if self.rate < {}: raise ValueError('rate is too small')\n"
    suite = write_suite(tmp_path, methods="maml = {}", measures=["memory"], inner_steps="[1]")
    for least, code in (("0.5", 2), ("1.5", 3)):
        (tmp_path / "mine.py").write_text(text + check.format(least))
        run = ["run", str(suite), "-m", f"+{adapter}[rate=0.25]", "--out", f"{tmp_path}/run-{code}"]
        assert call(run) == code
        assert (tmp_path / f"run-{code}").exists() == (code == 3)
    assert statuses(tmp_path / "run-3") == {("memory", "maml", 1): "ok", ("memory", "mine", 1): "error"}
    assert "--method: rate is too small." in capsys.readouterr().err


def test_a_mended_adapter_runs_by_the_same_command_in_the_same_folder(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, "Mine")
    whole = (tmp_path / "mine.py").read_text()
    suite = write_suite(tmp_path, methods="maml = {}", measures=["memory"], inner_steps="[1]")
    seen = []
    for text in ("def (", "import nothing_beside", whole):
        (tmp_path / "beside.py").write_text("")
        (tmp_path / "mine.py").write_text(text.replace("import nothing_beside", "import beside\nbeside.x\n"))
        result = run_here(suite, tmp_path / "run", notes := Notes(), methods=[f"+{adapter}"])
        seen.append((result.plan.run_id, statuses(tmp_path / "run")["memory", "mine", 1], len(notes.todo)))
    assert len({run_id for run_id, _, _ in seen}) == 1
    assert [todo for _, _, todo in seen] == [2, 1, 1]
    current = {c.id for c in result.plan.cells}
    assert {r.status for r in rows_of(tmp_path / "run") if r.cell_id in current} == {"ok"}


def test_what_is_wrong_beside_a_broken_adapter_is_in_its_cells_ids(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, "Mine")
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("import torch\n", "import torch, beside_mine\n"))
    suite = write_suite(tmp_path, methods="maml = {}", measures=["memory"], inner_steps="[1]")
    for contents, status in (("1 / 0\n", "error"), ("\n1 / 0\n", "error"), ("", "ok")):
        (tmp_path / "beside_mine.py").write_text(contents)
        result = run_here(suite, tmp_path / "run", notes := Notes(), methods=[f"+{adapter}"])
        current = {c.id for c in result.plan.cells}
        mine = [r for r in rows_of(tmp_path / "run") if r.cell_id in current and r.method == "mine"]
        assert {r.status for r in mine if r.is_headline} == {status}
    assert len(notes.todo) == 1


def test_where_nothing_could_run_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def (\n")
    (tmp_path / "peer.py").write_text("import no_such_library\n")
    suite = write_suite(tmp_path, measures=["memory"])
    for methods in (["mine.py:Mine"], ["mine.py:Mine", "peer.py:Peer"]):
        asked = [part for method in methods for part in ("-m", f"{tmp_path}/{method}")]
        assert call(["run", str(suite), *asked, "--out", f"{tmp_path}/run"]) == 2
        assert "mine.py, line 1: SyntaxError" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


WRONG = {
    "return None": r"^wrong\.py, line \d+: meta_gradient returned NoneType, not a dictionary of tensors",
    "return {}": r"^wrong\.py, line \d+: meta_gradient must return the names of `meta`; missing or too many",
    "return trees.combine(lambda p: p[0], meta)": r"^wrong\.py, line \d+: meta_gradient returned '.*' as \(",
}


@pytest.mark.parametrize("trouble", WRONG)
def test_wrong_names_or_shapes_are_an_error_with_file_and_line(tmp_path: Path, trouble: str) -> None:
    adapter = write_adapter(tmp_path, "Wrong", trouble)
    suite = write_suite(tmp_path, methods="maml = {}", inner_steps="[1]", measures=["memory", "time"])
    result = run_here(suite, tmp_path / "run", methods=[f"+{adapter}"])
    rows = [r for r in rows_of(result.folder) if r.method == "wrong" and r.is_headline]
    assert {(r.status, r.value) for r in rows} == {("error", None)}
    assert all(re.search(WRONG[trouble], r.detail) for r in rows), {r.detail for r in rows}


def test_what_adapt_returns_is_looked_at_too(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, "Wrong")
    text = (tmp_path / "wrong.py").read_text()
    (tmp_path / "wrong.py").write_text(text.replace("return trees.detach(meta)", "return {'w': meta}"))
    suite = write_suite(tmp_path, methods="maml = {}", inner_steps="[1]", measures=["accuracy"])
    result = run_here(suite, tmp_path / "run", methods=[f"+{adapter}"])
    (row,) = [r for r in rows_of(result.folder) if r.method == "wrong"]
    assert row.status == "error"
    assert re.search(r"^wrong\.py, line \d+: adapt must return the names of the model; missing", row.detail)


def test_an_error_within_torch_names_the_adapters_line(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, "Wrong", "torch.nn.functional.linear(torch.ones(2), torch.ones(3, 3))")
    suite = write_suite(tmp_path, methods="maml = {}", inner_steps="[1]", measures=["memory"])
    result = run_here(suite, tmp_path / "run", methods=[f"+{adapter}"])
    (row,) = [r for r in rows_of(result.folder) if r.method == "wrong" and r.is_headline]
    assert re.search(r"\(wrong\.py, line \d+\)$", row.detail)
