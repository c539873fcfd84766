import errno
import hashlib
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.training import checkpoint
from harness.training.checkpoint import FORMAT, WORTH, Checkpoints, Unusable, pack, unpack

STATE = {
    "meta": {"w": torch.tensor([0.1, float("nan"), -0.0, float("inf")])},
    "course": {"step": 7, "validation": [(0, 0.1 + 0.2)], "largest": -float("inf")},
    "generators": {"python": (3, tuple(range(625)), None)},
}


def wrapped(body: bytes) -> bytes:
    """A body under a header that is right about it."""
    header = {"checkpoint": FORMAT, "cell": "mine", "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(header).encode() + b"\n" + body


def test_a_state_comes_back_bit_for_bit() -> None:
    again = unpack("mine", pack("mine", STATE))
    assert again["meta"]["w"].view(torch.int32).tolist() == STATE["meta"]["w"].view(torch.int32).tolist()
    assert again["course"] == STATE["course"]
    assert again["generators"] == STATE["generators"]


def test_a_checkpoint_with_one_bit_changed_or_cut_anywhere_is_refused() -> None:
    whole = pack("mine", STATE)
    draw = np.random.default_rng(0)
    for place in draw.integers(len(whole), size=60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.integers(8)
        with pytest.raises(Unusable):
            unpack("mine", bytes(damaged))
        with pytest.raises(Unusable):
            unpack("mine", whole[:place])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pack("yours", STATE), "it is of the cell yours"),
        (pack("mine", STATE).replace(b'"checkpoint": 1', b'"checkpoint": 9', 1), "it is of format 9"),
        (b"", "does not begin as a checkpoint does"),
        (b"[1, 2]\nrest", "does not begin as a checkpoint does"),
        (wrapped(b"no archive"), "it holds more than tensors and plain values"),
    ],
    ids=["of another cell", "of another format", "empty", "other JSON", "no state"],
)
def test_what_is_no_checkpoint_of_this_cell_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        unpack("mine", content)


class Code:
    """What runs code where a pickle is read without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"meta": Code()}, buffer)
    for body in (buffer.getvalue(), pickle.dumps(Code())):
        with pytest.raises(Unusable, match="more than tensors and plain values"):
            unpack("mine", wrapped(body))
    assert not (tmp_path / "planted").exists()


# --- when, and what goes wrong ----------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def checkpoints(path: Path, told: list[str], clock: Clock | None = None) -> Checkpoints:
    return Checkpoints(path, "mine", 60.0, told.append, clock or Clock())


def test_one_is_due_after_its_time_or_a_validation_but_never_for_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    mine = checkpoints(tmp_path / "checkpoint", [], clock)
    assert mine.due(validated=True)  # none has cost anything yet
    assert not mine.due(validated=False)
    clock.now = 60.0
    assert mine.due(validated=False)

    def slow(path: Path, content: bytes) -> None:
        clock.now += 2.0

    monkeypatch.setattr(checkpoint, "replace_file", slow)
    mine.write(STATE)
    written = clock.now
    for since, due in ((59.0, False), (61.0, False), (2.0 * WORTH - 0.1, False), (2.0 * WORTH, True)):
        clock.now = written + since
        assert (mine.due(validated=True), mine.due(validated=False)) == (due, due)
    assert 2.0 / (2.0 + 2.0 * WORTH) < 0.02


def test_a_full_disk_is_told_once_leaves_the_last_one_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    path = tmp_path / "checkpoint"
    mine = checkpoints(path, told)
    mine.write(STATE)
    before = path.read_bytes()

    def full(handle: int, data: bytes) -> None:
        os.write(handle, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("harness.files.write_all", full)
        for _ in range(3):
            mine.write(STATE | {"more": 1})
    assert told == [
        f"{path}: no checkpoint could be written (No space left on device); the training goes on without, "
        "and tries again"
    ]
    assert mine.trouble == "no checkpoint could be written (No space left on device)"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    mine.write(STATE | {"more": 1})
    assert mine.trouble == ""
    assert checkpoints(path, told).read() is not None
    assert len(told) == 1


def test_a_state_that_no_safe_reader_takes_is_told_and_not_written(tmp_path: Path) -> None:
    told: list[str] = []
    mine = checkpoints(tmp_path / "checkpoint", told)
    mine.write({"optimiser": Code()})
    assert not (tmp_path / "checkpoint").exists()
    assert not mine.due(validated=True)
    assert len(told) == 1
    assert "no checkpoint is written, for it holds more than tensors and plain values" in told[0]


def test_nothing_there_is_nothing_to_tell_and_what_is_damaged_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "checkpoint"
    half = tmp_path / ".checkpoint.abc.tmp"
    half.write_bytes(b"half")
    assert checkpoints(path, told).read() is None
    assert (told, half.exists()) == ([], False)
    path.write_bytes(pack("mine", STATE)[:-1])
    assert checkpoints(path, told).read() is None
    assert told == [
        f"{path} is not gone on from: it is damaged: its content does not hash to what it says; "
        "the training starts anew"
    ]
