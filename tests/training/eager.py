"""Adapters whose every meta-step is followed by a checkpoint, and that die where a file beside them says.

Loaded by path in the process of a cell, and nowhere else.
"""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch

from harness import Method, Objective, Params, TaskObjectives, files, record, trees
from harness.training import checkpoint
from methods.maml import MAML
from methods.reptile import Reptile

checkpoint.WORTH = 0
BOMB = Path(__file__).with_name("bomb")


def _arm() -> None:
    """`half-written 5`: die at the fifth checkpoint, with half of it written."""
    if not BOMB.exists():
        return
    where, number = BOMB.read_text().split()
    BOMB.unlink()
    write, sync, rename = files.write_all, os.fsync, Path.replace
    reached = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half(handle: int, data: bytes) -> None:
        nonlocal reached
        reached += 1
        if reached == int(number) and where == "half-written":
            write(handle, data[: len(data) // 2])
            die()
        write(handle, data)

    def not_synced(handle: int) -> None:
        if reached == int(number) and where == "not-synced":
            die()
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        if reached == int(number) and where == "not-renamed":
            die()
        rename(self, target)
        if reached == int(number) and where == "renamed":
            die()
        return target

    files.write_all, os.fsync = write_half, not_synced
    Path.replace = renamed  # type: ignore[method-assign,assignment]


_arm()


class EagerMAML(MAML):
    """Its outer rule is Adam."""


class EagerReptile(Reptile):
    """Its outer rule anneals."""


class Noisy(Method):
    """First-order, with noise from every global generator: no good method, but one that may be written."""

    kind = "approximate"
    memory_order = "constant"
    pause_s: float = 0.0

    def adapt(self, support: Objective, meta: Params) -> Params:
        return trees.detach(meta)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        time.sleep(self.pause_s)
        size = random.random() + float(np.random.rand()) + float(torch.rand(()))
        record("noise", size)
        return trees.combine(lambda g: g + size * torch.randn_like(g), tasks.query.gradient(meta))
