"""`innerloop new` writes an adapter and a test that pass at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.app import call


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["my-method", "my_method"])
def test_it_writes_two_files_with_three_marked_lines_and_says_what_to_type(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert call(["new", name]) == 0
    assert names(here) == {"my_method.py", "test_my_method.py"}
    adapter = (here / "my_method.py").read_text()
    assert "class MyMethod(Method):" in adapter
    assert [adapter.count(f"  # {i}. ") for i in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert len(adapter.splitlines()) < 30
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "  innerloop check my_method.py:MyMethod",
        "  python -m pytest test_my_method.py",
        "  innerloop run quick --method my_method.py:MyMethod --out results/my-method",
        "  innerloop plot results/reference/quick results/my-method --out plots",
    ]


@pytest.mark.parametrize(
    ("name", "cls"), [("my_method", "MyMethod"), ("check", "Check"), ("CHECKS", "CHECKS")]
)
def test_both_pass_at_once(here: Path, capsys: pytest.CaptureFixture[str], name: str, cls: str) -> None:
    assert call(["new", name]) == 0
    assert call(["check", f"{name}.py:{cls}"]) == 0
    assert f"{name}.py:{cls} conforms" in capsys.readouterr().out
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", f"test_{name}.py"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 passed" in done.stdout


def test_the_test_fails_with_the_remedy_where_the_adapter_is_wrong(here: Path) -> None:
    assert call(["new", "my-method"]) == 0
    text = (here / "my_method.py").read_text()
    (here / "my_method.py").write_text(
        text.replace("tasks.query.gradient(phi)", "tasks.support.gradient(phi)")
    )
    command = [sys.executable, "-m", "pytest", "-q", "test_my_method.py"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.returncode == 1
    assert "MyMethod: what its kind promises: the meta-gradient is not tasks.query.gradient" in done.stdout


@pytest.mark.parametrize("there", ["my_method.py", "test_my_method.py"])
def test_it_overwrites_nothing(here: Path, capsys: pytest.CaptureFixture[str], there: str) -> None:
    (here / there).write_text("years of work")
    assert call(["new", "my-method"]) == 2
    assert capsys.readouterr().err == (
        f"innerloop: new my-method: {there} is there already; choose another name, or move it away.\n"
    )
    assert names(here) == {there}
    assert (here / there).read_text() == "years of work"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2fast", "a method is named by letters, digits and hyphens"),
        ("my method", "a method is named by letters"),
        ("../mine", "a method is named by letters"),
        ("class", "a method is named by letters"),
        ("_", "a method is named by letters"),
        ("maml", "there is a method 'maml' already; choose another name."),
        ("imaml_gd", "there is a method 'imaml-gd' already"),
        ("torch", "torch.py would hide the module 'torch'; choose another name."),
        ("random", "random.py would hide the module 'random'"),
    ],
)
def test_a_name_that_would_not_do_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert call(["new", name]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert names(here) == set()
