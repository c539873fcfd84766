"""README promises nothing that was not run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def innerloop(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_ci_calls_the_readmes_test_command() -> None:
    command = next(block.strip() for block in blocks("sh") if "tox" in block)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_adapter_of_the_readme_is_under_thirty_lines_and_runs_in_a_suite(tmp_path: Path) -> None:
    (adapter,) = blocks("python")
    assert len(adapter.splitlines()) < 30
    (tmp_path / "mine.py").write_text(adapter)
    small = ["inner_steps=1", "time.rounds=1", "time.blocks=1", "accuracy.meta_steps=2"]
    small += ["accuracy.validation_tasks=2", "accuracy.test_tasks=4"]
    changes = [part for change in small for part in ("--set", change)]
    done = innerloop("run", "quick", "-m", "maml", "-m", "+mine.py:SignMAML", *changes, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sign-maml" in done.stdout


def readme_runs() -> list[str]:
    lines = [line.strip() for block in blocks("sh") for line in block.splitlines()]
    runs = [line for line in lines if line.startswith("innerloop run")]
    return [line for line in runs if not any(data in line for data in ("omniglot", "imagenet"))]


@pytest.mark.parametrize("line", readme_runs())
def test_the_run_commands_of_the_readme_are_sound(line: str, tmp_path: Path) -> None:
    (adapter,) = blocks("python")
    (tmp_path / "mine.py").write_text(adapter)
    done = innerloop(*shlex.split(line, comments=True)[1:], "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]


def readme_readings() -> list[str]:
    """Commands on reference runs alone: what they print and write is at hand wherever README is."""
    lines = [line.strip() for block in blocks("sh") for line in block.splitlines()]
    reading = [
        line for line in lines if line.startswith(("innerloop compare", "innerloop claims", "innerloop plot"))
    ]
    return [line for line in reading if all("results/reference" in run for run in runs_in(line))]


def runs_in(line: str) -> list[str]:
    return [
        word for word in shlex.split(line, comments=True)[2:] if "/" in word or word in ("quick", "before")
    ]


def test_readme_compares_plots_and_judges_reference_runs() -> None:
    assert {line.split()[1] for line in readme_readings()} == {"compare", "plot", "claims"}


@pytest.mark.parametrize("line", readme_readings())
def test_the_reading_commands_of_the_readme_do_what_they_say(line: str, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    done = innerloop(*shlex.split(line, comments=True)[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_notebook_example_of_the_readme_runs_on_the_reference_run_that_it_names(tmp_path: Path) -> None:
    (example,) = blocks("py")
    shows = """
single, flagged = run.caveats  # of its figures, and none of its folder
assert "a single seed" in single and "warn of" in flagged
assert not run.rows.empty and run.failures.empty and len(run.flags)
assert set(peaks.columns) == {"maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"}
assert peaks.maml.is_monotonic_increasing and peaks.maml.iloc[-1] > 2 * peaks.maml.iloc[0]
import sys
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example + shows], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    first, *findings = done.stdout.splitlines()
    assert re.fullmatch(r"LoadedRun results/reference/quick: (\d+) of \1 cells, [\d,]+ rows: .*time", first)
    (linear,) = (line for line in findings if line.startswith("maml: +") and "MiB a step" in line)
    assert linear.count("', '") == 4  # the ids of the five cells that it rests on


def test_the_files_that_the_readme_points_to_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
