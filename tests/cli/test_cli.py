import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from runs import MEASURES, run_here, start, until, write_adapter, write_suite

from harness import __version__
from harness.cli.app import call

HERE_IS_A_GPU = Path("/dev/nvidia0").exists()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, in which nothing may appear."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("INNERLOOP_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    return tmp_path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    run_here(write_suite(path), path / "run")
    return path / "run"


def images(folder: Path, settings: str, workload: str = "glyphs") -> Path:
    path = folder / "images.toml"
    text = (
        f'workloads = ["{workload}[{settings}]"]\ninner_steps = [1]\ndevice = "cpu"\n[methods]\nmaml = {{}}\n'
    )
    path.write_text(text + MEASURES["memory"])
    return path


def complaint(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 2, empty: bool = True
) -> str:
    """The one sentence on standard error of a command that fails, and leaves nothing behind."""
    assert call(arguments) == code
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("innerloop: ")
    assert said.count("\n") == 1
    assert said.rstrip().endswith((".", "?"))
    assert "Traceback" not in said
    assert not (empty and list(Path.cwd().iterdir()))
    return said.removeprefix("innerloop: ").rstrip()


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--set", "inner_step=3"],
            "--set inner_step: no such key in this suite; did you mean 'inner_steps'?",
        ),
        (["-m", "imaml_gd"], "--method: method 'imaml_gd' is unknown; did you mean 'imaml-gd'?"),
        (["-m", "+fomalm"], "--method: method 'fomalm' is unknown; did you mean 'fomaml'?"),
        (["-m", "maml[inner_rl=0.1]"], "--method: setting 'inner_rl' is unknown; did you mean 'inner_lr'?"),
        (["-m", "maml[inner_lr=fast]"], "--method: setting 'inner_lr' cannot be 'fast': "),
        (["-m", "maml[inner_lr=-0.1]"], "--method: inner_lr must be above 0, not -0.1."),
        (["-m", "reptile[outer.rate=nan]"], "--method: outer: rate must be above 0, not nan."),
        (["-m", "maml[outer.l=1.0]"], "--method: outer: setting 'l' is unknown; "),
        (["-m", "maml[inner_steps=3]"], "'inner_steps' is the axis of the suite"),
        (["-m", "absent.py:Mine"], "--method: there is no file absent.py; give the path of an adapter"),
        (["--set", "workloads=sinusiod"], "workload 'sinusiod' is unknown; did you mean 'sinusoid'?"),
        (["--set", "workloads=sinusoid[shot=3]"], "setting 'shot' is unknown; did you mean 'shots'?"),
        (["--set", "workloads=sinusoid[shots=0]"], "shots must be at least 1, not 0."),
        (["--set", "inner_steps=0"], "--set inner_steps=0: inner_steps.0 = 0 is refused: "),
        (["--set", "inner_steps=4,-2"], "--set inner_steps=4,-2: inner_steps.1 = -2 is refused: "),
        (["--set", "inner_steps=1.5"], "--set inner_steps=1.5: inner_steps.0 = 1.5 is refused: "),
        (["--device", "gpu"], "--device gpu is unknown; write one of auto, cpu, cuda."),
        (["--seed", "one"], "--seed one: a seed is a whole number of 0 or more, such as --seed 0,1,2."),
        (["--seed", "-1"], "--seed -1: a seed is a whole number"),
        (["--timeout", "10"], "--timeout 10: write a positive number with its unit"),
        (["--memory-budget", "12GB"], "--memory-budget 12GB: write a positive number with its unit"),
        (["--retry", "ooms"], "--retry ooms: did you mean 'oom'?"),
        (["--jobs", "0"], "Invalid value for '--jobs'"),
        (["--jbos", "2"], "No such option: --jbos"),
    ],
)
def test_a_bad_option_is_refused_in_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in complaint(capsys, ["run", str(write_suite(here)), *arguments])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("inner_steps = [1, 2]", "inner_step = [1]", "tiny.toml: key 'inner_step"),
        ("inner_steps = [1, 2]", "inner_steps = [0]", "tiny.toml: inner_steps.0 = 0 is refused: "),
        ("inner_steps = [1, 2]", "inner_steps = [-1]", "tiny.toml: inner_steps.0 = -1 is refused: "),
        ("inner_steps = [1, 2]", "inner_steps = [2.5]", "tiny.toml: inner_steps.0 = 2.5 is refused: "),
        (
            "fomaml = {}",
            "fommaml = {}",
            "tiny.toml: methods.fommaml: method 'fommaml' is unknown; did you mean",
        ),
        (
            "inner_lr",
            "inner_rl",
            "tiny.toml: methods.maml: setting 'inner_rl' is unknown; did you mean 'inner_lr'?",
        ),
        (
            "sinusoid",
            "sinusoit",
            "tiny.toml: workloads: workload 'sinusoit' is unknown; did you mean 'sinusoid'?",
        ),
        ('"cpu"', '"tpu"', "tiny.toml: device = 'tpu' is refused: "),
        ("[memory]", "[method_defaults]\nalpha = 1\n[memory]", "the default 'alpha' is a setting of none"),
    ],
)
def test_a_bad_suite_is_refused_with_file_and_key(
    here: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    path = write_suite(here)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert said in complaint(capsys, ["run", str(path)])


def test_an_unknown_suite_or_run_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "suite 'quik' is unknown; did you mean 'quick'?" in complaint(capsys, ["run", "quik"])
    assert "absent.toml cannot be read" in complaint(capsys, ["run", "absent.toml"])
    assert "run 'quick' was not found" in complaint(capsys, ["show", "quick"])
    assert "run 'quick' was not found" in complaint(capsys, ["plot", "quick"])


def test_more_ways_than_classes_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, ["run", str(images(here, "ways=5000"))])
    assert "ways=5000 is more than the" in said
    assert "lower ways" in said


def test_more_shots_than_drawings_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, ["run", str(images(here, "shots=15,queries=10"))])
    assert "shots=15 and queries=10 need 25 drawings a class, but there are 20; lower one of them." in said


def test_a_missing_archive_is_refused_with_where_to_get_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = str(images(here, "ways=5", "omniglot"))
    said = complaint(capsys, ["run", suite])
    assert f"there is no folder {here}/user/innerloop; get them with `innerloop data fetch omniglot`" in said
    (here / "data").mkdir()
    said = complaint(capsys, ["run", suite, "--data-root", str(here / "data")])
    assert f"{here}/data holds neither images_background.zip nor" in said
    assert "`innerloop data fetch images_background`, or from https://" in said


def test_a_truncated_archive_is_refused_with_where_to_get_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(here / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}/Greek/character01/0001_01.png", b"0" * 1000)
    whole = (here / "images_background.zip").read_bytes()
    (here / "images_background.zip").write_bytes(whole[: len(whole) // 2])
    said = complaint(capsys, ["run", str(images(here, "ways=5", "omniglot")), "--data-root", str(here)])
    assert f"{here}/images_background.zip is truncated or no zip archive" in said
    assert "again" in said


@pytest.mark.parametrize("out", ["file/below", "file"])
def test_an_output_folder_that_cannot_be_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (here / "file").write_text("")
    said = complaint(capsys, ["run", str(write_suite(here)), "--out", str(here / out)])
    assert f"{here}/{out} cannot be made a run folder" in said
    assert "--out" in said.replace(str(here), "").partition(";")[2]


def test_a_folder_of_something_else_is_not_written_into(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "other").mkdir()
    (here / "other" / "thesis.tex").write_text("years of work")
    said = complaint(capsys, ["run", str(write_suite(here)), "--out", str(here / "other")])
    assert "is not empty and is no run folder" in said
    assert [p.name for p in (here / "other").iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(HERE_IS_A_GPU, reason="there is a CUDA device here")
def test_cuda_without_a_device_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, ["run", str(write_suite(here)), "--device", "cuda"])
    assert "torch sees no CUDA device" in said
    assert "use --device cpu" in said
    assert "torch sees no CUDA device" in complaint(capsys, ["env", "--device", "cuda"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def (", "line 1: SyntaxError"),
        ("import harness\n1 / 0\n", "line 2: ZeroDivisionError: division by zero; mend the file."),
        ("x = 3\n", "has no class 'Mine'"),
        ("class Mine: pass\n", "is not a method; derive its class from harness.Method."),
        (
            "from harness import Method\nclass Mine(Method): pass\n",
            "lacks adapt, meta_gradient, kind, memory_order",
        ),
    ],
)
def test_a_broken_adapter_is_refused_with_its_line(
    here: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    (here / "mine.py").write_text(code)
    assert said in complaint(capsys, ["run", str(write_suite(here)), "-m", f"{here}/mine.py:Mine"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument 'suite'; see innerloop run --help."),
        (["list", "method"], "list method: did you mean 'methods'?"),
        (["list"], "see innerloop list --help."),
        (["env", "--device", "gpu"], "--device gpu is unknown; write one of auto, cpu, cuda."),
    ],
)
def test_a_bad_command_line_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in complaint(capsys, arguments)


def test_a_plot_of_nothing_and_into_a_file_is_refused(
    here: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    said = complaint(capsys, ["plot", str(run_folder), "--out", str(here / "file")])
    assert f"--out {here}/file cannot be made a folder" in said


def test_debug_shows_the_traceback_wherever_it_stands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["run", "quik", "--debug"]) == call(["--debug", "run", "quik"]) == 2
    assert capsys.readouterr().err.count("Traceback") == 2


def test_two_methods_of_one_name_from_different_sources_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(here, measures=["memory"])
    adapter = write_adapter(here, "Maml")
    said = complaint(capsys, ["run", str(suite), "-m", "maml", "-m", adapter])
    assert said == (
        f"--method: '{adapter}' would be 'maml' in rows and plots, as is 'maml'; rename its class."
    )


# --- what works -------------------------------------------------------------------------------------------


def test_a_run_shows_its_tables_and_where_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_suite(here, measures=["memory"])
    assert call(["run", str(suite), "-m", "maml", "--seed", "0,1", "--jobs", "1"]) == 0
    out, said = capsys.readouterr()
    assert said == ""
    assert "\x1b" not in out
    (folder,) = (Path.cwd() / "results").iterdir()
    assert folder.name.startswith("tiny-")
    assert f"Rows, tables and plots are in results/{folder.name}" in out
    assert out.startswith(f"tiny: 4 of 4 cells to run, 1 at once, into results/{folder.name}\n")
    assert "[4/4] memory sinusoid maml 2 seed 1: peak " in out
    assert (folder / "plots" / "memory.svg").exists()


def test_a_run_with_failures_ends_with_code_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_suite(here, measures=["memory"], inner_steps="[1]")
    adapter = write_adapter(here, "Raises", "raise ValueError('no luck')")
    assert call(["run", str(suite), "-m", "maml", "-m", adapter, "--out", str(here / "run")]) == 3
    assert (
        "memory sinusoid raises 1 seed 0: error: ValueError: no luck (raises.py, line"
        in capsys.readouterr().out
    )


def test_a_run_of_skipped_points_shows_why_and_has_nothing_to_plot(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(here, methods="reptile = {}", measures=[], inner_steps="[1]")
    suite.write_text(suite.read_text() + "[gradient]\n")
    folder = str(here / "run")
    assert call(["run", str(suite), "--out", folder]) == 0
    out = capsys.readouterr().out
    assert "Failed and skipped" in out
    assert f"Rows and tables are in {folder}" in out
    assert "it has no meta-gradient to be wrong about" in " ".join(out.split())
    assert call(["run", str(suite), "--out", folder]) == 0  # again, with nothing left to run
    capsys.readouterr()
    said = complaint(capsys, ["plot", folder])
    assert said.startswith(f"{folder}: no accuracy, gradient, memory or time was measured")


def test_a_dry_run_lists_the_cells_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["run", str(write_suite(here)), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny: 10 of 10 cells to run")
    assert "  time sinusoid block 1 seed 0" in lines
    assert len(lines) == 11
    assert not list(Path.cwd().iterdir())


def test_a_shipped_suite_is_run_by_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["run", "sinusoid", "--dry-run", "--set", "inner_steps=1"]) == 0
    assert "accuracy sinusoid imaml-hf 1 seed 0" in capsys.readouterr().out


def test_show_prints_a_run_and_writes_nothing(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run_folder.rglob("*"))
    assert call(["show", str(run_folder)]) == 0
    out = capsys.readouterr().out
    assert "Peak memory of a meta-step" in out
    assert "\x1b" not in out
    assert sorted(run_folder.rglob("*")) == before


def test_plot_draws_and_says_where(run_folder: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plot", str(run_folder), "--out", str(here / "pictures")]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {"memory.svg", "memory.png", "time.svg", "accuracy.png"} <= {p.name for p in written}
    assert all(p.exists() for p in written)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("suites", ["quick", "sinusoid"]),
        ("methods", ["maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"]),
        ("workloads", ["sinusoid", "linear-regression", "glyphs", "omniglot", "omniglot-minimal"]),
    ],
)
def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str], what: str, names: list[str]) -> None:
    assert call(["list", what]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert set(names) <= set(listed)


def test_env_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["env", "--device", "cpu"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"innerloop", "python", "torch", "device", "device_name", "cores", "packages"} <= set(facts)
    assert {"affinity", "load_average", "gpus", "interop_threads", "cudnn_benchmark"} <= set(facts)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"innerloop {__version__}\n"
    assert call(["--help"]) == 0
    assert "Usage: innerloop" in capsys.readouterr().out
    assert call(["run", "--help"]) == 0
    assert "--memory-budget" in capsys.readouterr().out
    assert call([]) == 2
    assert "Usage: innerloop" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom harness.cli.app import call\ncall(['--help'])\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert (done.stdout, done.stderr) == (f"innerloop {__version__}\n", "")


def test_a_reader_that_goes_away_is_no_error(run_folder: Path) -> None:
    show = f"{sys.executable} -m harness show {run_folder} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", show], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny")
    assert lines[1:] == ["0"]
    assert done.stderr == ""


def test_a_run_goes_on_when_its_reader_goes_away(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, measures=["memory"])
    run = f"{sys.executable} -m harness run {suite} --out run | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""
    assert (tmp_path / "run" / "rows.jsonl").read_text().count('"cell_done"') == 4


def on_a_full_disk(arguments: list[str], cwd: Path) -> tuple[int, str]:
    """Exit code and complaint of a command whose output, buffered as it is, goes to a full disk."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "harness", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=cwd, env=buffered
        )
    return done.returncode, done.stderr


def test_a_run_goes_on_when_the_disk_that_its_output_goes_to_is_full(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, measures=["memory"])
    code, said = on_a_full_disk(["run", str(suite), "--out", "run"], tmp_path)
    assert (code, said) == (
        0, "innerloop: No space left on device; the run goes on, and prints nothing more.\n",
    )  # fmt: skip
    assert (tmp_path / "run" / "rows.jsonl").read_text().count('"cell_done"') == 4


def test_what_cannot_be_shown_for_a_full_disk_is_one_sentence(run_folder: Path, tmp_path: Path) -> None:
    assert on_a_full_disk(["show", str(run_folder)], tmp_path) == (
        1, "innerloop: No space left on device; mend that and issue the same command again.\n",
    )  # fmt: skip


def test_an_interruption_before_the_run_leaves_nothing(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    parent = start(["run", str(suite)], f"early-{os.getpid()}", tmp_path)
    until(
        lambda: Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().strip(), "it has children"
    )
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert said.startswith("innerloop: interrupted")
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]
