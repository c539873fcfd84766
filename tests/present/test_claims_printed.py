"""What `innerloop claims` prints."""

import io
import shlex

from claims import loaded
from rich.console import Console
from rows import MIB, memory_cell, row, whole_run

from harness.analyze.claims import STATED, claims
from harness.present.tables.claims import claim_sections, shell_lines


def printed(runs: list, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, emoji=False, highlight=False)
    for part in claim_sections(claims(runs), width):
        console.print(part)
    return out.getvalue()


def test_every_claim_has_its_verdict_test_and_command_and_nothing_is_cut_off_at_80_columns() -> None:
    text = printed([loaded(whole_run())])
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = " ".join(text.split())
    for stated in STATED:
        assert stated.statement in words
        assert f"Test: {stated.test}" in words
        assert stated.command.split(" -")[0] in words


def test_runs_that_contradict_each_other_are_counted_and_each_line_says_its_verdict() -> None:
    steps = (1, 2, 4, 8, 16)
    good = loaded([memory_cell("imaml-gd", s) for s in steps], "good")
    bad = loaded([[row(method="imaml-gd", inner_steps=s, value=s * MIB)] for s in steps], "bad")
    words = " ".join(printed([good, bad], 120).split())
    assert "contradicting: reproduced in 1, not reproduced in 1" in words
    assert "- reproduced: good, " in words
    assert "- not reproduced: bad, " in words


def test_rows_that_cannot_decide_are_told_from_none() -> None:
    text = printed([loaded([memory_cell("imaml-gd", steps) for steps in (1, 2)])], 120)
    verdicts = {line.split("  ")[0]: line.rstrip().split("  ")[-1].strip() for line in text.splitlines()}
    assert verdicts["no memory limits"] == "not measured: too weak"
    assert verdicts["gains in accuracy"] == "not measured"


def test_a_command_over_several_lines_is_one_to_a_shell() -> None:
    for stated in STATED:
        lines = shell_lines(stated.command, 60)
        assert shlex.split(lines.replace("\\\n", "")) == shlex.split(stated.command)
        assert max(map(len, lines.splitlines())) <= 66
