"""The cache of decoded images: one file a set, written once, memory-mapped by every process that needs it.

Decoding takes seconds (Omniglot) to minutes (Mini-ImageNet), and every cell is a fresh process. A file lies
in `INNERLOOP_CACHE`, or in `innerloop` in the user's cache folder, and holds

    MAGIC, zeros up to OFFSET | the image bytes, by class name | a footer (JSON) | its length (8 bytes)

*Written.* One class at a time, so that no set need fit in memory, beside its place, and renamed into it once
it is on the disk: whatever kills the writer, a reader sees a whole file or none. One process decodes; others
that want the same wait for it.

*Trusted.* Reading a gigabyte in order to check it would cost every cell seconds. So a file is believed while
its size and its time of modification are those that it got when it was written, since whatever writes to it
later changes that time. If only the time differs (a copy does) the fingerprint of all its bytes decides. A
file that fails is decoded anew.
"""

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.files import sync_folder, write_all
from harness.workloads.imageset import ImageSet, check_layout, fingerprint

MAGIC = b"innerloop images 2\n"  # raise the number with any change to this format
OFFSET = 4096  # bytes; a page, so that the map begins with the first image
LENGTH = 8  # bytes of the footer's length, little-endian
LONGEST_FOOTER = 1 << 20  # bytes; 1,623 names take 60 kB, and a damaged length must not ask for all memory
IN_MEMORY = 256 << 20  # bytes; a set up to this size can do without a cache: Omniglot takes 25 MB
COARSEST = 2 * 10**9  # ns; times of modification are kept in steps of 2 s (FAT) or finer
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Hear = Callable[[int, int], None]
"""Told how many classes of how many are decoded."""

_hear: ContextVar[Hear] = ContextVar("_hear", default=lambda done, of: None)


@contextmanager
def heard_by(hear: Hear) -> Iterator[None]:
    """Within it `hear` is told of every decoding: whoever opens a workload does not see it happen."""
    token = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(token)


@dataclass(frozen=True)
class Decoding:
    """A set of images on its way from a published copy into the cache.

    names: of the classes, sorted and unique.
    shape: of the images of a class: (n, size, size) or (n, 3, size, size).
    classes: the name and the images, uint8 of that shape, of each class, in any order. May raise UsageError.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    classes: Iterable[tuple[str, NDArray[np.uint8]]]

    def __post_init__(self) -> None:
        check_layout(self.names, np.dtype(np.uint8), self.whole_shape)

    @property
    def whole_shape(self) -> tuple[int, ...]:
        return (len(self.names), *self.shape)

    def rows(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Where each class belongs among the names, and its images, contiguous.

        Raises ValueError where a class is missing, comes twice or is not what it should be.
        """
        missing = {name: row for row, name in enumerate(self.names)}
        hear = _hear.get()
        for name, images in self.classes:
            if images.dtype != np.uint8 or images.shape != self.shape:
                raise ValueError(f"{name} is {images.dtype} {images.shape}; wanted uint8 {self.shape}")
            if name not in missing:
                raise ValueError(f"{name} is unknown or comes twice")
            yield missing.pop(name), np.ascontiguousarray(images)
            hear(len(self.names) - len(missing), len(self.names))
        if missing:
            raise ValueError(f"{min(missing)} is missing")


def load_decoded(dataset: str, place: object, facts: object, decode: Callable[[], Decoding]) -> ImageSet:
    """The images that `decode` gives: from the cache if they are there, else decoded into it.

    dataset: begins the file's name.
    place: where the copy is, as JSON. A file is named by it, so that a changed copy takes the room of the old
        one, which may be a gigabyte.
    facts: all that the images depend on, as JSON: which copy, in which state, and how it is decoded.

    A cache folder that may not be written costs a small set only time: it is decoded in memory. Raises
    UsageError for a large one, for a disk that is full, and what `decode` raises.
    """
    key = _hash(facts)
    try:
        file = _cache_folder() / f"{dataset}-{_hash(place)[:20]}.images"
    except RuntimeError as failure:
        return _in_memory(decode(), str(failure))
    cached = _read(file, key)
    if cached is not None:
        return cached
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _take(file.with_suffix(".lock"))
    except OSError as failure:
        if failure.errno in FULL:
            raise _unwritable(file, failure) from failure
        return _in_memory(decode(), f"{file.parent} cannot be written ({failure.strerror})")
    try:
        cached = _read(file, key)  # another process may have decoded meanwhile
        return cached if cached is not None else _write(file, key, decode())
    finally:
        os.close(lock)


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _cache_folder() -> Path:
    """INNERLOOP_CACHE, or `innerloop` in the user's cache folder. Raises RuntimeError: there is no home."""
    own = os.environ.get("INNERLOOP_CACHE")
    if own:
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # Its specification says to ignore a relative one.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "innerloop"


def _take(path: Path) -> int:
    """A lock file, once no other process holds it; closing it, or dying, gives it back. Raises OSError.

    The file stays: removing it would race.
    """
    import fcntl  # POSIX only; listing workloads works elsewhere too

    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _in_memory(decoding: Decoding, why: str) -> ImageSet:
    size = math.prod(decoding.whole_shape)
    if size > IN_MEMORY:
        raise UsageError(
            f"{why}, and {size / 1e9:.1f} GB of decoded images are too much to hold in every process; name a "
            "folder that can be written in the environment variable INNERLOOP_CACHE."
        )
    images = np.empty(decoding.whole_shape, np.uint8)
    for row, one in decoding.rows():
        images[row] = one
    return ImageSet.of(decoding.names, images)


def _read(file: Path, key: str) -> ImageSet | None:
    """The memory-mapped set, or None where there is none or its file is damaged."""
    try:
        with file.open("rb") as source:
            status = os.fstat(source.fileno())
            if source.read(len(MAGIC)) != MAGIC:
                return None
            source.seek(-LENGTH, os.SEEK_END)
            length = int.from_bytes(source.read(LENGTH), "little")
            if length > LONGEST_FOOTER:
                return None
            source.seek(-LENGTH - length, os.SEEK_END)
            footer = json.loads(source.read(length))
            names, shape = tuple(footer["names"]), tuple(footer["shape"])
            whole = OFFSET + math.prod(shape) + length + LENGTH
            if footer["key"] != key or status.st_size != whole:
                return None
            images = np.memmap(source, np.uint8, "r", offset=OFFSET, shape=shape).view(np.ndarray)
        if status.st_mtime_ns != footer["written_ns"]:
            if fingerprint(names, images) != footer["fingerprint"]:
                return None
            with suppress(OSError):
                os.utime(file, ns=(footer["written_ns"], footer["written_ns"]))
        return ImageSet(names, images, footer["fingerprint"])
    # No file, a short one, a footer that is no longer JSON or not of this kind.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, key: str, decoding: Decoding) -> ImageSet:
    """Decodes into the file, which is there whole or not at all. Raises UsageError."""
    part = file.with_suffix(".part")  # the lock's holder writes it, over what a killed one left
    shape, size = decoding.whole_shape, math.prod(decoding.shape)
    try:
        with _told(file):
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            with _told(file):
                write_all(handle, MAGIC.ljust(OFFSET, b"\0"))
            for row, images in decoding.rows():
                with _told(file):
                    os.lseek(handle, OFFSET + row * size, os.SEEK_SET)
                    write_all(handle, images.data.cast("B"))
            written = time.time_ns() // COARSEST * COARSEST
            footer = {
                "key": key,
                "names": decoding.names,
                "shape": shape,
                "fingerprint": fingerprint(decoding.names, np.memmap(part, np.uint8, "r", OFFSET, shape)),
                "written_ns": written,
            }
            content = json.dumps(footer).encode()
            with _told(file):
                os.lseek(handle, 0, os.SEEK_END)
                write_all(handle, content + len(content).to_bytes(LENGTH, "little"))
                os.utime(handle, ns=(written, written))
                os.fsync(handle)
        finally:
            os.close(handle)
        with _told(file):
            part.replace(file)
            sync_folder(file.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    decoded = _read(file, key)
    if decoded is None:
        raise UsageError(f"{file} cannot be read back; name a folder on another disk in INNERLOOP_CACHE.")
    return decoded


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What writing the cache raises becomes a sentence; what decoding raises is not its business."""
    try:
        yield
    except OSError as failure:
        raise _unwritable(file, failure) from failure


def _unwritable(file: Path, failure: OSError) -> UsageError:
    elsewhere = "name another folder in the environment variable INNERLOOP_CACHE"
    if failure.errno in FULL:
        what = f"{file.parent} has no room for the decoded images ({failure.strerror})"
        return UsageError(f"{what}; make some, or {elsewhere}.")
    return UsageError(f"{file} cannot be written ({failure.strerror}); {elsewhere}.")
