"""Where a training is, kept in a file so that its process may die at any moment.

The file: one line of JSON that says whose it is and what the rest hashes to, then the state as torch writes
it. It is replaced as a whole, so no crash tears it; it is read with `weights_only`, so no code of it runs.
"""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness.files import replace_file

FORMAT = 1
WORTH = 50  # times as long as writing the last one took, between two of them: at most 2% of a training's time

State = dict[str, Any]
"""Tensors on the CPU, numbers, strings, and lists, tuples and dictionaries of them."""


class Unusable(Exception):
    """Why a file is no checkpoint to go on from: a clause."""


def pack(owner: str, state: State) -> bytes:
    """The file's content. `owner`: the id of the cell."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    header = {"checkpoint": FORMAT, "cell": owner, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(header).encode() + b"\n" + body


def unpack(owner: str, content: bytes) -> State:
    """The state that `owner` packed. Raises Unusable."""
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
        said, cell, digest = header["checkpoint"], header["cell"], header["sha256"]
    except (ValueError, TypeError, KeyError):
        raise Unusable("it does not begin as a checkpoint does") from None
    if said != FORMAT:
        raise Unusable(f"it is of format {said}, this innerloop writes {FORMAT}")
    if cell != owner:
        raise Unusable(f"it is of the cell {cell}")
    if hashlib.sha256(body).hexdigest() != digest:
        raise Unusable("it is damaged: its content does not hash to what it says")
    try:
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as failure:  # of whatever kind: what hashes right and cannot be read was never readable
        first = str(failure).strip().partition("\n")[0]
        raise Unusable(f"it holds more than tensors and plain values: {first}") from failure


class Checkpoints:
    """The checkpoint of one training: when it is worth writing, and what is in it at the start.

    `every_s`: seconds of wall-clock between two of them; after a validation one may come sooner. Neither
    comes before WORTH times what the last one cost. What goes wrong is told and ends nothing.
    """

    def __init__(
        self,
        path: Path,
        owner: str,
        every_s: float,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.owner = owner
        self.every_s = every_s
        self.trouble = ""
        """Why there is none since the last that was tried, in a clause; empty if there is."""

        self._tell = tell
        self._clock = clock
        self._written = clock()
        self._cost = 0.0
        self._readable: bool | None = None

    def due(self, validated: bool) -> bool:
        """Whether it is time, after a meta-step, or after a validation."""
        if self._readable is False:
            return False
        since = self._clock() - self._written
        return since >= WORTH * self._cost and (validated or since >= self.every_s)

    def write(self, state: State) -> None:
        """Replace the file. A full disk is told once, and tried again when the next is due."""
        begin = self._clock()
        content = pack(self.owner, state)
        if self._readable is None:
            self._readable = self._is_readable(content)
        if self._readable:
            try:
                replace_file(self.path, content)
                self.trouble = ""
            except OSError as failure:
                trouble = f"no checkpoint could be written ({failure.strerror})"
                if trouble != self.trouble:
                    self._tell(f"{self.path}: {trouble}; the training goes on without, and tries again")
                self.trouble = trouble
        self._written = self._clock()
        self._cost = self._written - begin

    def read(self) -> State | None:
        """What there is to go on from; None where that is nothing, or nothing of use, which is told."""
        for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):  # of a process killed as it wrote
            leftover.unlink(missing_ok=True)
        try:
            return unpack(self.owner, self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, Unusable) as failure:
            self.refuse(str(failure))
            return None

    def refuse(self, why: str) -> None:
        """Tell that the file is of no use; the next one takes its place."""
        self._tell(f"{self.path} is not gone on from: {why}; the training starts anew")

    def _is_readable(self, content: bytes) -> bool:
        """Asked once: an adapter's own outer rule may keep what no safe reader takes."""
        try:
            unpack(self.owner, content)
        except Unusable as failure:
            self.trouble = "no checkpoint is written"
            self._tell(f"{self.path}: {self.trouble}, for {failure}")
            return False
        return True


def say(text: str) -> None:
    """A line for the cell's log, which a full disk may not take."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
