"""The live-storage tracker: bytes held by tensors, exact at operator borders on every device."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.core import phases
from harness.core.phases import Phase

TRACE_POINTS = 512  # of a trace that is kept: more than a plot is wide in points


class VirtualOutOfMemory(Exception):
    """Live tensors outgrew the virtual budget."""


class LiveStorages(TorchDispatchMode):
    """Counts the storages of all tensors that operators make inside the block, while they live.

    `resident` are tensors that exist before; their storages count from the start. `peak` is the largest
    number of bytes alive after any operator, `peak_operator` and `peak_phase` tell after which, and in which
    part of the meta-step. Kernel scratch, freed before its operator returns, is not seen.
    With `limit` (bytes) the first operator that leaves more alive raises VirtualOutOfMemory.
    `block` (bytes) is the unit in which an allocator hands memory out: every storage counts as whole blocks.
    `device` ("cpu", "cuda") is the kind whose storages count; None for all.
    """

    def __init__(
        self,
        resident: Iterable[Tensor],
        limit: int | None = None,
        *,
        block: int = 1,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.device = device
        self.limit = limit
        self.block = block
        self.live = 0
        self.peak = 0
        self.peak_operator = ""
        self.peak_phase: Phase | None = None
        self.trace: list[tuple[int, Phase]] = []
        """Bytes alive after each operator, and the part of the meta-step that it belongs to."""

        self._storages: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        for tensor in resident:
            self._see(tensor)
        self.peak = self.live
        self._check("the meta-parameters, outer state and meta-batch alone")

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        phase = phases.current()
        self.trace.append((self.live, phase))
        if self.live > self.peak:
            self.peak, self.peak_operator, self.peak_phase = self.live, str(func), phase
            self._check(f"in {phase}, after {func}")
        return result

    def short_trace(self) -> dict[str, list[Any]]:
        """The trace as columns, at most TRACE_POINTS long: of each stretch of operators the largest."""
        stretch = -(-len(self.trace) // TRACE_POINTS) or 1
        kept = [
            max(range(start, min(start + stretch, len(self.trace))), key=lambda i: self.trace[i][0])
            for start in range(0, len(self.trace), stretch)
        ]
        return {
            "operator": [i + 1 for i in kept],
            "live_bytes": [self.trace[i][0] for i in kept],
            "phase": [self.trace[i][1] for i in kept],
        }

    def _see(self, tensor: Tensor) -> None:
        if self.device is not None and tensor.device.type != self.device:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = -(-storage.nbytes() // self.block) * self.block
        self._storages[key] = (weakref.ref(storage, lambda _: self._forget(key)), size)
        self.live += size

    def _forget(self, key: int) -> None:
        self.live -= self._storages.pop(key)[1]

    def _check(self, when: str) -> None:
        if self.limit is not None and self.live > self.limit:
            raise VirtualOutOfMemory(
                f"{self.live:,} bytes of live tensors exceed the virtual budget of {self.limit:,} ({when})"
            )


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind `tensors`."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
