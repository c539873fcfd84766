"""Pickles of arrays and plain containers, read without running anything that they name.

A pickle is a program: it names functions, and the reader calls them. Here the few names that numpy writes for
arrays of whole numbers stand for functions of this file, and every other name is refused before anything is
called. numpy itself sees bytes, a known type and a shape, nothing else.

What a writer may have been: Python 2 (whose strings are read as bytes) or 3, protocols 0 to 5, numpy 1 or 2.
"""

import math
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

KINDS = frozenset(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8))
"""numpy's short names of whole numbers of 1 to 8 bytes."""


class NotPlain(Exception):
    """A pickle that is damaged or holds something else: a clause that says what."""


def read_arrays(file: BinaryIO, size: int) -> Any:
    """What a pickle of `size` bytes holds: containers, text, bytes and numbers, and `Array` for arrays.

    Raises NotPlain.
    """
    try:
        return _Unpickler(cast(BinaryIO, _Bounded(file, size)), size).load()
    except NotPlain:
        raise
    # The library says of damaged pickles that they may raise anything.
    except (Exception, MemoryError) as failure:
        what = (
            "it ends too early" if isinstance(failure, EOFError) else str(failure) or type(failure).__name__
        )
        raise NotPlain(f"it is damaged or no pickle: {what}") from failure


class _Bounded:
    """The file, of which nobody asks for more than its size: a zip would inflate that, whatever it states."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.readline = file.readline
        self._read, self._size = file.read, size

    def read(self, count: int) -> bytes:
        if count > self._size:
            raise EOFError
        return self._read(count)


class Array:
    """An array of whole numbers; what `numpy.ndarray` is in a pickle."""

    values: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_Kind", bool, bytes]) -> None:
        _, shape, kind, fortran, content = state
        self.fill(content, kind, shape, "F" if fortran else "C")

    def fill(self, content: bytes, kind: "_Kind", shape: tuple[int, ...], order: str) -> None:
        if not isinstance(kind, _Kind) or not isinstance(content, bytes):
            raise NotPlain("it holds an array of something else than whole numbers")
        if not all(type(length) is int and length >= 0 for length in shape) or order not in ("C", "F"):
            raise NotPlain("it holds an array of no shape")
        size = math.prod(shape) * kind.dtype.itemsize
        if size != len(content):
            raise NotPlain(f"it holds an array of {len(content):,} bytes instead of {size:,}")
        self.values = np.frombuffer(content, kind.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


class _Kind:
    """What `numpy.dtype` is in a pickle."""

    def __init__(self, name: str | bytes, align: object = False, copy: object = False) -> None:
        kind = name.decode("latin1") if isinstance(name, bytes) else name
        if kind not in KINDS:
            raise NotPlain(f"it holds an array of numpy's type {kind!r}; wanted whole numbers")
        self.dtype = np.dtype(f"<{kind}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order == ">":
            self.dtype = self.dtype.newbyteorder(">")
        elif order not in ("<", "|"):
            raise NotPlain(f"it holds an array of the byte order {order!r}")


def _reconstruct(kind: object, shape: object, code: object) -> Array:
    return Array()  # its state follows


def _from_buffer(content: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> Array:
    array = Array()
    array.fill(content, kind, shape, order)
    return array


def _scalar(kind: _Kind, content: bytes) -> int:
    array = Array()
    array.fill(content, kind, (), "C")
    assert array.values is not None
    return int(array.values)


NAMES: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("collections", "OrderedDict"): dict,
}


class _Unpickler(pickle._Unpickler):
    """The reader in Python: the one in C sets aside what memory a file asks for, 34 GB for one of 9 bytes."""

    # bytearrays as bytes, which are written alike and are not set aside before they are read.
    dispatch = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]
    }

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, encoding="bytes")
        self.left = size

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in NAMES:
            raise NotPlain(f"it names {module}.{name}, which is neither an array nor a plain container")
        return NAMES[module, name]

    def _encode(self, text: str, encoding: str) -> bytes:
        """How protocols 0 to 2 of Python 3 write bytes; one text can be named any number of times."""
        if encoding not in ("latin1", b"latin1"):
            raise NotPlain(f"it asks for the encoding {encoding!r}")
        self.left -= len(text)
        if self.left < 0:
            raise NotPlain("it makes more bytes than it has")
        return text.encode("latin1")

    def persistent_load(self, pid: Any) -> Any:
        raise NotPlain("it refers to objects outside itself")
