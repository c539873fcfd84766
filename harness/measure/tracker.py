"""The live-storage tracker: bytes held by tensors, exact at operator borders on every device."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class VirtualOutOfMemory(Exception):
    """Live tensors outgrew the virtual budget."""


class LiveStorages(TorchDispatchMode):
    """Counts the storages of all tensors that operators make inside the block, while they live.

    `resident` are tensors that exist before; their storages count from the start. `peak` is the largest
    number of bytes alive after any operator. Kernel scratch, freed before its operator returns, is not seen.
    With `limit` (bytes) the first operator that leaves more alive raises VirtualOutOfMemory.
    """

    def __init__(self, resident: Iterable[Tensor], limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.live = 0
        self.peak = 0
        self._storages: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        for tensor in resident:
            self._see(tensor)
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
        self._check(f"after {func}")
        return result

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = storage.nbytes()
        self._storages[key] = (weakref.ref(storage, lambda _: self._forget(key)), size)
        self.live += size

    def _forget(self, key: int) -> None:
        self.live -= self._storages.pop(key)[1]

    def _check(self, when: str) -> None:
        self.peak = max(self.peak, self.live)
        if self.limit is not None and self.live > self.limit:
            raise VirtualOutOfMemory(
                f"{self.live:,} bytes of live tensors exceed the virtual budget of {self.limit:,} ({when})"
            )


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind `tensors`."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
