"""Archives on disk: Omniglot's found and listed, any read. Nothing is ever extracted.

An archive is a zip or the folder extracted from it. Either may come from anywhere, so it is read within
limits: a path that leads outside, a link, a listing or a member of absurd size is refused in one sentence,
before it is in memory.
"""

import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.catalogue import ADDRESS, ARCHIVES, LAYOUTS
from harness.errors import UsageError

PUBLISHED_SIDE = 105  # pixels of a drawing
DEEPEST = 5  # folders; as data/processed_images/train/n01532829/n0153282900000005.jpg
MOST_MEMBERS = 100_000  # all 32,460 drawings with their folders, and what macOS adds to each, are 70,000
LISTED = 168  # bytes that a member may take in a zip's listing; 46 and the length of its path, mostly
LARGEST_MEMBER = 64 * 2**10  # bytes; a drawing takes some 300
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other decompressors have no bound on what comes out
ENCRYPTED = 0x1  # bit of a member's flags

# Pillow and zipfile raise these, and only these, on damaged content and what they have no code for.
DAMAGED = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

PNG = b"\x89PNG\r\n\x1a\n"


def find_archive(root: Path, name: str) -> "Source | None":
    """The archive `name` below `root`, which may itself be one of the archives, or a zip with all inside.

    A zip before a folder: one file is cheaper to identify than 20,000.
    """
    if root.is_file() and root.stem not in ARCHIVES:
        return Source(name, root)
    root = root.parent if root.stem in ARCHIVES else root
    published = PurePosixPath(ARCHIVES[name].path).parent
    for place in dict.fromkeys(root / layout / below for layout in LAYOUTS for below in ("", published)):
        if (zipped := place / f"{name}.zip").is_file():
            return Source(name, zipped)
        if (folder := place / name).is_dir():
            return Source(name, folder)
    return None


@dataclass(frozen=True)
class Source:
    """One published archive, found on disk."""

    archive: str  # its name as published, without ".zip"
    path: Path  # a zip, or the folder extracted from it

    def members(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        """All files, by their path inside, with how to read each; what macOS adds is left out.

        Raises UsageError where it is no archive, or holds what no archive of drawings does.
        """
        return members_of(self.path, MOST_MEMBERS, self.again())

    def files(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        """(Alphabet/characterNN/drawing.png, how to read it) in the order of names. Raises as `members`."""
        return iter(sorted(self._drawings(), key=lambda pair: pair[0]))

    def identity(self) -> object:
        """Changes when the content does, as far as the file system tells: sizes and times of modification."""
        return [self.archive, *state_of(self.path)]

    def again(self) -> str:
        """The remedy for a damaged copy."""
        address = f"{ADDRESS}/{ARCHIVES[self.archive].path}"
        return f"get it again with `innerloop data fetch {self.archive}`, or from {address}"

    def ink(self, member: "Member") -> NDArray[np.bool_]:
        """A drawing as published: bool [105, 105]. Raises UsageError where the PNG cannot be read."""
        try:
            content = member.content()
            if content[:8] == PNG and len(content) >= 24:
                width, height = struct.unpack(">II", content[16:24])  # Pillow would first ask for the memory
                if (width, height) != (PUBLISHED_SIDE, PUBLISHED_SIDE):
                    raise ValueError(f"{width}x{height} pixels, not {PUBLISHED_SIDE}x{PUBLISHED_SIDE}")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as drawing:
                return ~np.asarray(drawing.convert("1"))
        except DAMAGED as error:
            raise UsageError(
                f"{self.path}: the image {member.name} cannot be read ({error}); {self.again()}."
            ) from error

    def _drawings(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        zipped = self.path.is_file()
        for path, member in self.members():
            if path.suffix != ".png":
                continue
            if not zipped and len(path.parts) == 3:
                yield path, member
            elif zipped and len(path.parts) >= 4 and path.parts[-4] == self.archive:
                yield PurePosixPath(*path.parts[-3:]), member


@dataclass(frozen=True)
class Member:
    """One file of a folder or a zip."""

    place: Path
    name: str
    archive: zipfile.ZipFile | None

    def __str__(self) -> str:
        return str(self.place / self.name) if self.archive is None else f"{self.place}: {self.name}"

    def open(self) -> BinaryIO:
        """Raises one of DAMAGED."""
        if self.archive is None:
            return (self.place / self.name).open("rb")
        entry = self.archive.getinfo(self.name)
        check_readable(entry)
        return cast(BinaryIO, self.archive.open(entry))

    def size(self) -> int:
        """Bytes, as the folder or the archive says, and no more can be read. Raises one of DAMAGED."""
        if self.archive is None:
            return (self.place / self.name).stat().st_size
        return self.archive.getinfo(self.name).file_size

    def content(self, most: int = LARGEST_MEMBER) -> bytes:
        """Its bytes. Raises one of DAMAGED, also where there are more than `most`."""
        size = self.size()
        if size > most:
            raise ValueError(f"it takes {size:,} bytes, above the {most:,} allowed")
        with self.open() as file:
            return file.read(size)  # a zip inflates all that it is asked for, whatever size it states


def members_of(place: Path, most: int, remedy: str) -> Iterator[tuple[PurePosixPath, Member]]:
    """All files of a zip or a folder, by path inside, with how to read each; what macOS adds is left out.

    Raises UsageError, with the remedy, for more than `most`, for what is no zip and for what leads outside.
    """
    members = _zip_members(place, most, remedy) if place.is_file() else _folder_members(place)
    for count, (path, member) in enumerate(members, start=1):
        if count > most:
            raise UsageError(f"{place} holds more than {most:,} files; {remedy}.")
        if not any(part == "__MACOSX" or part.startswith(".") for part in path.parts):
            yield path, member


def _zip_members(place: Path, most: int, remedy: str) -> Iterator[tuple[PurePosixPath, Member]]:
    try:
        archive = BoundedZip(place, most * LISTED)
    except DAMAGED as error:
        raise UsageError(f"{place} is truncated or no zip archive ({error}); {remedy}.") from error
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{place} holds the path {entry.filename!r}, which leads outside; {remedy}.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UsageError(f"{place} holds the link {entry.filename!r}; {remedy}.")
        if not entry.is_dir():
            yield path, Member(place, entry.filename, archive)


def _folder_members(place: Path) -> Iterator[tuple[PurePosixPath, Member]]:
    for entry in walk(place):
        inside = Path(entry.path).relative_to(place)
        yield PurePosixPath(inside), Member(place, inside.as_posix(), None)


def walk(folder: Path, depth: int = 1) -> Iterator["os.DirEntry[str]"]:
    """All files: to a limited depth, for links may lead in circles."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield entry
            elif entry.is_dir() and depth < DEEPEST:
                yield from walk(Path(entry.path), depth + 1)


def state_of(path: Path) -> list[str | int]:
    """Changes when the content of a file or folder does, as far as the file system tells: sizes and times of
    modification."""
    place = str(path.resolve())
    if path.is_file():
        status = path.stat()
        return [place, status.st_size, status.st_mtime_ns]
    listing = hashlib.sha256()
    for entry in sorted(walk(path), key=lambda entry: entry.path):
        status = entry.stat()
        line = f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        listing.update(line.encode(errors="surrogateescape"))
    return [place, listing.hexdigest()]


def check_readable(entry: zipfile.ZipInfo) -> None:
    """Raise ValueError for a member of a zip that is not read here."""
    if entry.flag_bits & ENCRYPTED:
        raise ValueError("it is encrypted")
    if entry.compress_type not in READABLE:
        raise ValueError(f"it is compressed by method {entry.compress_type}, not deflated")


class BoundedZip(zipfile.ZipFile):
    """A zip whose listing is refused where it takes more than `largest` bytes. Raises as ZipFile does."""

    _handle: int | None = None
    _reader: "_BoundedReader | None" = None

    def __init__(self, path: Path, largest: int) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        try:
            # The handle is closed here alone: garbage may be finalised in any order, and a reader that goes
            # before its zip would warn that it is open.
            self._reader = reader = _BoundedReader(io.FileIO(self._handle, closefd=False))
            reader.largest = largest
            super().__init__(reader)
            reader.largest = None
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        super().close()
        self._release()

    def _release(self) -> None:
        if self._reader is not None:
            self._reader.close()  # or an open member would go on with the next file that has the number
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class _BoundedReader(io.BufferedReader):
    """ZipFile reads the whole listing at once, of the length that the file states."""

    largest: int | None = None
    """Bytes of one read, while there is such a limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and self.largest is not None and size > self.largest:
            raise zipfile.BadZipFile(f"a listing of {size:,} bytes")
        return super().read(size)
