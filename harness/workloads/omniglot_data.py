"""Omniglot (Lake, Salakhutdinov and Tenenbaum, Science 2015) from a local copy of the published archives.

An archive is a zip or the folder extracted from it. Its images, `<archive>/<Alphabet>/characterNN/*.png`, are
105x105, one bit a pixel, black ink; here ink is 255 on 0, reduced to 28x28 grey: a pixel is the exact share
of ink in its area. (Pillow's BOX filter weighs whole pixels only, up to 6% off here; and Pillow resizes
one-bit images by nearest neighbour whatever is asked for, so code that asks it for LANCZOS on the published
files, as the public MAML code does, drops most pixels.)

Decoding takes seconds and every cell is a fresh process: see `decoded`.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import UsageError
from harness.workloads.decoded import Decoding, load_decoded
from harness.workloads.imageset import DRAWINGS, SIDE, SPLITS, ImageSet, load_split

ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
FULL = ("images_background", "images_evaluation")
MINIMAL = ("images_background_small1", "images_background_small2")

DECODING = 1  # raise it with any change to how images are decoded and reduced: it is part of the cache's key
PUBLISHED_SIDE = 105  # pixels
FINE = 4  # 105 * 4 = 28 * 15: on a grid 4 times as fine, each pixel of the result is 15x15 points
# [28, 105]: how many quarters of each published pixel lie in each resulting one; rows sum to 15.
QUARTERS = (
    np.kron(np.eye(SIDE), np.ones(PUBLISHED_SIDE * FINE // SIDE)).reshape(SIDE, PUBLISHED_SIDE, FINE).sum(2)
)

# Pillow and zipfile raise these, and only these, on damaged content.
DAMAGED = (OSError, EOFError, SyntaxError, ValueError, zipfile.BadZipFile, zlib.error)

# Where a copy may lie below the data root: bare, as torchvision leaves it, as the public repository has it.
LAYOUTS = ("", "omniglot-py", "omniglot", "python", "omniglot/python")


def load_omniglot(data_root: Path, *, expected: Collection[str] | None = None) -> ImageSet:
    """The background and evaluation sets: 1,623 characters x 20 drawings, uint8 [1623, 20, 28, 28].

    data_root: the folder that holds both archives, or one of the archives, or one zip with both inside.
    expected: the classes to read, all of them needed; by default those of the split file.

    Raises UsageError where an archive or class is missing or damaged.
    """
    return _load(Path(data_root), FULL, _classes("omniglot") if expected is None else expected)


def load_omniglot_minimal(data_root: Path, *, expected: Collection[str] | None = None) -> ImageSet:
    """The two minimal background sets: 242 characters of 8 alphabets, uint8 [242, 20, 28, 28].

    The sets share Greek and Latin (1,000 identical images), which count once. Arguments and errors as in
    `load_omniglot`.
    """
    return _load(Path(data_root), MINIMAL, _classes("omniglot-minimal") if expected is None else expected)


def _classes(split_name: str) -> list[str]:
    split = load_split(split_name)
    return [name for part in SPLITS for name in split[part]]


def _load(data_root: Path, archives: Sequence[str], expected: Collection[str]) -> ImageSet:
    sources = [_find(data_root, archive) for archive in archives]
    facts = [DECODING, [source.identity() for source in sources], sorted(expected)]
    return load_decoded("omniglot", facts, lambda: _decode(sources, frozenset(expected)))


# --- the archives -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One published archive, found on disk."""

    archive: str  # its name as published, without ".zip"
    path: Path  # a zip, or the folder called `archive`

    def files(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        """(Alphabet/characterNN/drawing.png, how to read it) in the order of names."""
        members = self._zip_members() if self.path.is_file() else self._folder_members()
        return iter(sorted(members, key=lambda pair: pair[0]))

    def identity(self) -> object:
        """Changes when the content does, as far as the file system tells: sizes and times of modification."""
        path = str(self.path.resolve())
        if self.path.is_file():
            status = self.path.stat()
            return [self.archive, path, status.st_size, status.st_mtime_ns]
        listing = hashlib.sha256()
        for name, size, modified in sorted(_listing(path)):
            listing.update(f"{name}\0{size}\0{modified}\n".encode(errors="surrogateescape"))
        return [self.archive, path, listing.hexdigest()]

    def again(self) -> str:
        """The remedy for a damaged copy."""
        return f"download {ADDRESS}/{self.archive}.zip again"

    def _zip_members(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        try:
            archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            reason = f"is truncated or no zip archive ({error})"
            raise UsageError(f"{self.path} {reason}; {self.again()}.") from error
        for name in archive.namelist():
            path = PurePosixPath(name)
            if len(path.parts) >= 4 and path.parts[-4] == self.archive and _is_drawing(path):
                yield PurePosixPath(*path.parts[-3:]), Member(self, name, archive)

    def _folder_members(self) -> Iterator[tuple[PurePosixPath, "Member"]]:
        for file in self.path.glob("*/*/*.png"):
            path = PurePosixPath(*file.relative_to(self.path).parts)
            if _is_drawing(path):
                yield path, Member(self, str(path), None)


@dataclass(frozen=True)
class Member:
    """One file of a source."""

    source: Source
    name: str
    archive: zipfile.ZipFile | None

    def content(self) -> bytes:
        """Its bytes. Raises one of DAMAGED where they cannot be read."""
        if self.archive is None:
            return (self.source.path / self.name).read_bytes()
        return self.archive.read(self.name)

    def ink(self) -> NDArray[np.bool_]:
        """The drawing as published: bool [105, 105]. Raises UsageError where the PNG cannot be read."""
        try:
            with Image.open(io.BytesIO(self.content()), formats=["PNG"]) as drawing:
                if drawing.size != (PUBLISHED_SIDE, PUBLISHED_SIDE):
                    raise ValueError(f"{drawing.width}x{drawing.height} pixels, not 105x105")
                return ~np.asarray(drawing.convert("1"))
        except DAMAGED as error:
            raise UsageError(
                f"{self.source.path}: the image {self.name} cannot be read ({error}); {self.source.again()}."
            ) from error


def reduce(ink: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Drawings bool [n, 105, 105] as grey uint8 [n, 28, 28]: 255 times the share of ink in a pixel's area."""
    quarters = QUARTERS @ ink.astype(np.float64) @ QUARTERS.T  # whole numbers: the same on every machine
    return np.rint(quarters * 255 / QUARTERS[0].sum() ** 2).astype(np.uint8)


def _is_drawing(path: PurePosixPath) -> bool:
    """Whether a path is an image, and not what macOS adds to zips and folders."""
    return path.suffix == ".png" and not any(
        part == "__MACOSX" or part.startswith(".") for part in path.parts
    )


def _listing(folder: str) -> Iterator[tuple[str, int, int]]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _listing(entry.path)
        else:
            status = entry.stat()
            yield entry.path, status.st_size, status.st_mtime_ns


def _find(data_root: Path, archive: str) -> Source:
    """The archive below `data_root`; a zip before a folder: one file is cheaper to identify than 20,000."""
    known = {*FULL, *MINIMAL}
    if data_root.is_file() and data_root.stem not in known:
        return Source(archive, data_root)
    root = data_root.parent if data_root.stem in known else data_root
    for layout in LAYOUTS:
        zipped = root / layout / f"{archive}.zip"
        if zipped.is_file():
            return Source(archive, zipped)
        folder = root / layout / archive
        if folder.is_dir():
            return Source(archive, folder)
    raise UsageError(
        f"{root} holds neither {archive}.zip nor the folder {archive}; download "
        f"{ADDRESS}/{archive}.zip and name the folder it is in with --data-root."
    )


def _decode(sources: Sequence[Source], expected: frozenset[str]) -> Decoding:
    """The expected classes of all sources; a class that two of them hold must be the same in both."""
    classes: dict[str, NDArray[np.uint8]] = {}
    for source in sources:
        members: dict[str, list[Member]] = {}
        for path, member in source.files():
            name = str(path.parent)
            if name in expected:
                members.setdefault(name, []).append(member)
        for name, drawings in members.items():
            if len(drawings) != DRAWINGS:
                raise UsageError(
                    f"{source.path}: class {name} has {len(drawings)} drawings instead of {DRAWINGS}; "
                    f"{source.again()}."
                )
            images = reduce(np.stack([drawing.ink() for drawing in drawings]))
            if name in classes and not np.array_equal(classes[name], images):
                raise UsageError(
                    f"{source.path}: class {name} differs from that of {sources[0].path}; {source.again()}."
                )
            classes[name] = images
    missing = sorted(expected - classes.keys())
    if missing:
        places = " and ".join(str(source.path) for source in sources)
        raise UsageError(
            f"{places}: {len(missing)} of {len(expected)} classes are missing, the first is {missing[0]}; "
            f"download {' and '.join(source.archive + '.zip' for source in sources)} again from {ADDRESS}/."
        )
    return Decoding(tuple(sorted(classes)), (DRAWINGS, SIDE, SIDE), classes.items())
