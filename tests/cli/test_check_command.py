"""`innerloop check` as its user types it."""

import json
import re
from pathlib import Path

import pytest
from runs import write_adapter

from harness.cli.app import call
from harness.conformance.kit import CHECKS

NAMES = [check.name for check in CHECKS]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path


def test_a_method_that_conforms_has_a_line_a_check_and_exit_code_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(["check", "fomaml[inner_lr=0.05]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fomaml[inner_lr=0.05]"
    assert [line.strip().split("   ")[0] for line in lines[4 : 4 + len(NAMES)]] == NAMES
    assert lines[-1] == f"fomaml[inner_lr=0.05] conforms: {len(NAMES)} checks ok."


def test_a_broken_adapter_has_its_remedies_under_the_table_and_exit_code_4(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = write_adapter(here, "Noisy", "raise ValueError('no luck today')")
    assert call(["check", "reptile", adapter]) == 4
    out = capsys.readouterr().out
    assert "reptile conforms: 12 checks ok, 2 skipped." in out
    assert re.search(r"^finite results: ValueError: no luck today \(noisy\.py, line \d+\)\.$", out, re.M)
    assert f"{adapter} fails 13 of {len(NAMES)} checks." in out
    assert "Traceback" not in out


def test_machines_read_the_same_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = write_adapter(here, "Doubles", "meta = trees.scale(2.0, meta)")
    assert call(["check", "--json", adapter, "fomaml"]) == 4
    doubles, fomaml = json.loads(capsys.readouterr().out)
    assert fomaml["passed"]
    assert [c["check"] for c in fomaml["checks"]] == NAMES
    assert not doubles["passed"]
    assert [c["check"] for c in doubles["checks"] if c["status"] == "failed"] == ["zero inner steps"]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("ctypes.CDLL(None).sleep(60)", "came to no end within 3 s. No later check was made."),
        ("os._exit(3)", "ended early (exit code 3)"),
        ("ctypes.string_at(0)", "ended early (signal SIGSEGV)"),
    ],
    ids=["hangs", "exits", "crashes"],
)
def test_a_check_in_which_the_process_hangs_or_dies_is_a_failed_line_and_the_last(
    here: Path, capsys: pytest.CaptureFixture[str], trouble: str, said: str
) -> None:
    adapter = write_adapter(here, "Dies", trouble)
    assert call(["check", "--json", "--timeout", "3s", adapter]) == 4
    (verdict,) = json.loads(capsys.readouterr().out)
    assert [(c["check"], c["status"]) for c in verdict["checks"]] == [(NAMES[0], "ok"), (NAMES[1], "failed")]
    assert said in verdict["checks"][-1]["note"]


def test_a_missing_library_is_skipped_and_nothing_selected_where_it_is_all(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "peer.py").write_text("import no_such_library\n")
    assert call(["check", "peer.py:Peer"]) == 5
    out, err = capsys.readouterr()
    assert out == "peer.py:Peer: skipped: install 'no_such_library', which peer.py imports\n"
    assert err == "innerloop: nothing was checked: install 'no_such_library', which peer.py imports.\n"
    assert call(["check", "peer.py:Peer", "fomaml"]) == 0
    assert "fomaml conforms" in capsys.readouterr().out


def test_a_file_that_is_broken_is_a_failed_line_and_the_others_are_checked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.py").write_text("import harness\n1 / 0\n")
    (here / "none.py").write_text("import harness\n\nclass Mine: pass\n")
    adapter = write_adapter(here, "Stern")
    with Path("stern.py").open("a") as file:
        file.write("    def __post_init__(self):\n        self.rate + 'x'\n")
    assert call(["check", "bad.py:B", "none.py:Mine", adapter, "fomaml"]) == 4
    out = capsys.readouterr().out
    said = [
        "bad.py, line 2: ZeroDivisionError: division by zero; mend the file.",
        "none.py, line 3: 'Mine' is not a method; derive its class from harness.Method.",
        "TypeError: unsupported operand type(s) for +: 'float' and 'str' (stern.py, line 21); mend the file.",
    ]
    names = ["bad.py:B", "none.py:Mine", adapter]
    for name, sentence in zip(names, said, strict=True):
        assert f"loads: {name}: {sentence}\n{name} fails 1 of 1 checks.\n" in out
    assert f"fomaml conforms: {len(NAMES)} checks ok." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fomalm"], "fomalm: method 'fomalm' is unknown; did you mean 'fomaml'?"),
        (["absent.py:Mine"], "absent.py:Mine: there is no file absent.py; give the path of an adapter."),
        (["maml[inner_rl=0.1]"], "setting 'inner_rl' is unknown; did you mean 'inner_lr'?"),
        (["maml[inner_lr=-1.0]"], "inner_lr must be above 0, not -1.0."),
        (["maml[inner_steps=3]"], "each check has inner steps of its own; leave 'inner_steps' out."),
        (["maml", "--timeout", "9"], "--timeout 9: write a positive number with its unit"),
        ([], "Missing argument 'METHOD...'; see innerloop check --help."),
    ],
)
def test_an_unknown_name_or_setting_is_refused_in_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert call(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
