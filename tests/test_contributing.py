"""CONTRIBUTING's walk, from nothing to a new method's curve: its files and commands as printed there."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
WALK = TEXT[TEXT.index("## Add a method") : TEXT.index("### The contract")]


def blocks(language: str, text: str = WALK) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def innerloop(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )


def printed(command: str) -> str:
    """What the document shows as the output of a command."""
    (output,) = (b.partition("\n")[2] for b in blocks("console") if b.startswith(f"$ {command}\n"))
    return output


def without_figures(table: str) -> list[str]:
    """Lines of a table with their figures left out: the last digits of a rounding error are the machine's."""
    lines = (re.sub(r"\b\d[\d.,e-]*", "", line) for line in table.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip(" ─")]


def write_boil(folder: Path) -> str:
    (adapter,) = blocks("python")
    (folder / "boil.py").write_text(adapter)
    return adapter


def test_new_and_check_print_what_the_walk_shows(tmp_path: Path) -> None:
    new = innerloop("new", "boil", cwd=tmp_path)
    assert (new.returncode, new.stdout) == (0, printed("innerloop new boil"))
    template = (tmp_path / "boil.py").read_text()
    adapter = write_boil(tmp_path)
    assert len(adapter.splitlines()) <= 30
    assert template != adapter
    marks = [re.findall(r"  # (\d)\. ", text) for text in (template, adapter)]
    assert marks == [["1", "2", "3"]] * 2
    check = innerloop("check", "boil.py:Boil", cwd=tmp_path)
    assert check.returncode == 0, check.stdout + check.stderr
    assert without_figures(check.stdout) == without_figures(printed("innerloop check boil.py:Boil"))


def test_without_its_graph_the_method_of_the_walk_fails_as_shown(tmp_path: Path) -> None:
    adapter = write_boil(tmp_path)
    (tmp_path / "boil.py").write_text(adapter.replace(", graph=True)", ")"))
    check = innerloop("check", "boil.py:Boil", cwd=tmp_path)
    assert check.returncode == 4
    (shown,) = (block for block in blocks("console") if not block.startswith("$"))
    assert without_figures(check.stdout)[-3:] == without_figures(shown)


def test_the_walks_last_commands_end_in_a_curve_over_the_reference_curves(tmp_path: Path) -> None:
    assert innerloop("new", "boil", cwd=tmp_path).returncode == 0
    write_boil(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    (commands,) = blocks("sh")
    test, run, plot = (shlex.split(line) for line in commands.splitlines())
    assert test[:3] == ["python", "-m", "pytest"]
    subprocess.run([sys.executable, *test[1:]], cwd=tmp_path, check=True, capture_output=True)
    small = ["inner_steps=1,2", "time.rounds=1", "time.blocks=1", "accuracy.meta_steps=2"]
    small += ["accuracy.validation_tasks=2", "accuracy.test_tasks=4"]
    done = innerloop(*run[1:], *(part for s in small for part in ("--set", s)), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = innerloop(*plot[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = (tmp_path / "plots" / "memory.csv").read_text()
    assert {"boil", "maml", "reptile"} <= {
        line.split('",')[1].split(",")[0] for line in drawn.splitlines()[1:]
    }
    assert (tmp_path / "plots" / "overview.png").exists()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with one that offers the method of the walk, as pip would leave it."""
    (snippet,) = (tomllib.loads(b) for b in blocks("toml", TEXT) if "entry-points" in b)
    offered = snippet["project"]["entry-points"]["innerloop.methods"]
    info = tmp_path / "site" / "boil-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boil\nVersion: 1.0\n")
    lines = [f"{name} = {home}" for name, home in offered.items()]
    (info / "entry_points.txt").write_text("\n".join(["[innerloop.methods]", *lines, ""]))
    write_boil(info.parent)
    return info.parent


def test_a_package_offers_its_method_by_name(site: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    listed = innerloop("list", "methods", cwd=tmp_path, PYTHONPATH=path)
    assert "MAML whose inner loop adapts the body alone" in listed.stdout
    check = innerloop("check", "boil", cwd=tmp_path, PYTHONPATH=path)
    assert check.returncode == 0, check.stdout + check.stderr
    assert "boil conforms: 14 checks ok." in check.stdout
    refused = innerloop("new", "boil", cwd=tmp_path, PYTHONPATH=path)
    assert refused.returncode == 2
    assert "there is a method 'boil' already" in refused.stderr


def test_a_package_that_is_broken_is_told_with_file_and_line(site: Path, tmp_path: Path) -> None:
    (site / "boil.py").write_text("import harness\n1 / 0\n")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    check = innerloop("check", "boil", cwd=tmp_path, PYTHONPATH=path)
    assert check.returncode == 4
    said = "'boil' (boil:Boil): ZeroDivisionError: division by zero (boil.py, line 2); mend it.\n"
    assert f"loads: boil: {said}" in check.stdout
    listed = innerloop("list", "methods", cwd=tmp_path, PYTHONPATH=path)
    assert "not available: " in listed.stdout
    assert "iMAML with the Hessian-free" in listed.stdout


def test_a_package_whose_method_raises_by_itself_hides_no_other(site: Path, tmp_path: Path) -> None:
    with (site / "boil.py").open("a") as file:
        file.write("\n    def __post_init__(self) -> None:\n        raise ValueError('no luck today')\n")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    listed = innerloop("list", "methods", cwd=tmp_path, PYTHONPATH=path)
    assert listed.returncode == 0, listed.stderr
    said = " ".join(listed.stdout.split())
    assert "not available: list: ValueError: no luck today (boil.py, line " in said
    assert "iMAML with the Hessian-free" in said
