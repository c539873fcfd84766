"""`innerloop plot`, as it is typed."""

from pathlib import Path

import pytest
from rows import METHODS, accuracy_cell, memory_cell, whole_run, write_run

from harness.cli.app import call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", whole_run())


def written(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_only_the_pictures_that_are_named_are_drawn(run: Path, tmp_path: Path) -> None:
    named = ["--metric", "peak_bytes", "--metric", "accuracy"]
    assert call(["plot", str(run), "--out", str(tmp_path), *named, "--format", "svg,pdf"]) == 0
    kinds = ("csv", "pdf", "svg")
    assert written(tmp_path) == {f"{name}.{kind}" for name in ("accuracy", "memory") for kind in kinds}


def test_a_style_for_a_paper_writes_pdf_and_captions(run: Path, tmp_path: Path) -> None:
    assert call(["plot", str(run), "--out", str(tmp_path), "--metric", "time", "--style", "paper"]) == 0
    assert written(tmp_path) == {"time.csv", "time.txt", "time.pdf"}


def test_methods_and_workloads_are_left_out_as_asked(run: Path, tmp_path: Path) -> None:
    options = ["--method", "maml", "-m", "imaml-gd", "--workload", "glyphs", "--metric", "memory"]
    assert call(["plot", str(run), "--out", str(tmp_path), "--format", "svg", *options]) == 0
    lines = (tmp_path / "memory.csv").read_text().splitlines()[1:]
    assert {method for line in lines for method in METHODS if f",{method}," in line} == {"maml", "imaml-gd"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--metric", "acuracy"], "--metric acuracy has no picture; did you mean 'accuracy'?"),
        (["--metric", "step_second"], "--metric step_second has no picture; did you mean 'step_seconds'?"),
        (["--metric", "loss"], "--metric loss was not measured; it belongs to the picture accuracy."),
        (
            ["--metric", "predicted_peak_bytes"],
            "--metric predicted_peak_bytes has no picture of its own; it belongs to the picture memory.",
        ),
        (
            ["--metric", "hessian_products"],
            "--metric hessian_products has no picture of its own; it belongs to the picture gradient-work.",
        ),
        (["--style", "papre"], "--style papre is unknown; did you mean 'paper'?"),
        (["--format", "svg,pfd"], "--format pfd is unknown; did you mean 'pdf'?"),
        (["--log", "z"], "--log z is unknown; known are: none, x, xy, y."),
        (["--method", "imaml-dg"], "--method imaml-dg was not measured; did you mean 'imaml-gd'?"),
        (["--workload", "sinus"], "--workload sinus was not measured; measured are: glyphs"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert call(["plot", str(run), "--out", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_picture_that_was_not_measured_is_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [memory_cell("maml", 1)])
    assert call(["plot", str(run), "--out", str(tmp_path / "out"), "--metric", "time"]) == 2
    said = "nothing that time would show was measured, so there is nothing to plot; measured were: memory.\n"
    assert capsys.readouterr().err.endswith(said)


def test_loss_stands_for_the_workloads_that_have_it(tmp_path: Path) -> None:
    loss = {"metric": "loss", "workload": "sinusoid", "unit": "1"}
    run = write_run(tmp_path / "run", [accuracy_cell("maml", 4), accuracy_cell("maml", 8, **loss)])
    out = tmp_path / "out"
    assert call(["plot", str(run), "--out", str(out), "--metric", "loss", "--format", "svg"]) == 0
    assert written(out) == {"accuracy.csv", "accuracy.svg"}
    (line,) = (out / "accuracy.csv").read_text().splitlines()[1:]
    assert ",sinusoid," in line


def test_what_is_unlike_is_said_on_the_command_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", [memory_cell("maml", 1)], memory_budget=10**9)
    arguments = ["plot", str(run), str(other), "--out", str(tmp_path / "out"), "--metric", "memory"]
    assert call([*arguments, "--format", "svg"]) == 0
    said = capsys.readouterr()
    assert said.err.count("memory budget differs") == 1
    assert said.out.split() == [str(tmp_path / "out" / f"memory.{kind}") for kind in ("csv", "svg")]
