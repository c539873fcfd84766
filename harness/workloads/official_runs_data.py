"""The official one-shot classification runs of Omniglot (Lake, Salakhutdinov and Tenenbaum 2015).

A run is one 20-way 1-shot task within one alphabet: `runNN/training/classNN.png` (20 characters by one
drawer), `runNN/test/itemNN.png` (the same characters by another) and `runNN/class_labels.txt` (which is
which). Twenty were published, two of each of ten evaluation alphabets, as `all_runs.zip`; here any number of
them is read, from any zip or folder that holds them, whatever its name.
"""

import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.workloads.omniglot_data import ADDRESS, DAMAGED, FULL, LAYOUTS, MINIMAL, Member, Source

ARCHIVE = "one-shot-classification/all_runs"  # as published, below ADDRESS
RUN = re.compile(r"run\d+")
CHARACTERS = 20  # of a run
TRAINING = tuple(f"training/class{number:02d}.png" for number in range(1, CHARACTERS + 1))
TEST = tuple(f"test/item{number:02d}.png" for number in range(1, CHARACTERS + 1))
LABELS = "class_labels.txt"

# Where they may lie below the data root, or in a folder there: beside the images, or where published.
FOLDERS = tuple(f"{layout}/{below}".strip("/") for layout in LAYOUTS for below in ("", ARCHIVE.split("/")[0]))


@dataclass(frozen=True, eq=False)
class OfficialRun:
    """One run: `training[i]` is the only example of class i, `test[j]` is a drawing of class `labels[j]`."""

    name: str
    training: NDArray[np.bool_]
    """Ink as published [20, 105, 105]."""

    test: NDArray[np.bool_]
    """Ink as published [20, 105, 105]."""

    labels: NDArray[np.int64]

    def drawings(self) -> NDArray[np.bool_]:
        """Ink as published [20, 2, 105, 105]: of each class its example, then its test item."""
        return np.stack([self.training, self.test[np.argsort(self.labels)]], 1)

    def fingerprint(self) -> str:
        """sha256 (hex) of name, drawings and labels."""
        digest = hashlib.sha256(self.name.encode())
        for part in (self.training, self.test, self.labels):
            digest.update(part.tobytes())
        return digest.hexdigest()


def load_official_runs(data_root: Path) -> tuple[OfficialRun, ...]:
    """All runs in the data root, in the order of their names; a run that lies there twice counts once.

    data_root: a zip or folder that holds `runNN/`, or a folder with such zips and folders in it.

    Raises UsageError where there is none, or one is incomplete, damaged, or there twice and not the same.
    """
    runs: dict[str, tuple[OfficialRun, Path]] = {}
    for source in _sources(Path(data_root)):
        for path, files in sorted(_runs(source).items()):
            run = _read(source, path, files)
            first, place = runs.setdefault(run.name, (run, source.path))
            if first.fingerprint() != run.fingerprint():
                raise UsageError(f"{source.path}: {path} differs from that of {place}; remove one of them.")
    if not runs:
        raise UsageError(
            f"{data_root} holds no official one-shot runs; download {ADDRESS}/{ARCHIVE}.zip and put it there."
        )
    return tuple(run for _, (run, _) in sorted(runs.items()))


def _sources(data_root: Path) -> Iterator[Source]:
    """Whatever may hold runs."""
    images = {*FULL, *MINIMAL}
    root = data_root.parent if data_root.stem in images else data_root
    if root.is_file():
        yield Source(ARCHIVE, root)
        return
    for place in filter(Path.is_dir, (root / folder for folder in FOLDERS)):
        for path in (place, *sorted(place.iterdir())):
            zipped = path.suffix == ".zip" and path.stem not in images and path.is_file()
            if zipped or (path.is_dir() and any(RUN.fullmatch(entry.name) for entry in path.iterdir())):
                yield Source(ARCHIVE, path)


def _runs(source: Source) -> dict[PurePosixPath, dict[str, Member]]:
    """Path of a run -> its files by their path in it; whatever else lies there is passed over."""
    runs: dict[PurePosixPath, dict[str, Member]] = {}
    wanted = {*TRAINING, *TEST, LABELS}
    for path, member in _members(source):
        for run in list(path.parents)[:2]:  # of run01/class_labels.txt and of run01/test/item01.png
            inside = str(path.relative_to(run))
            if RUN.fullmatch(run.name) and inside in wanted and "__MACOSX" not in run.parts:
                runs.setdefault(run, {})[inside] = member
    return runs


def _members(source: Source) -> Iterator[tuple[PurePosixPath, Member]]:
    if source.path.is_dir():
        for file in source.path.glob("run*/**/*"):
            inside = file.relative_to(source.path).as_posix()
            yield PurePosixPath(inside), Member(source, inside, None)
        return
    try:
        archive = zipfile.ZipFile(source.path)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise UsageError(
            f"{source.path} is truncated or no zip archive ({error}), so it cannot be told whether it holds "
            f"official runs; {source.again()} if it should, or move it away."
        ) from error
    for name in archive.namelist():
        yield PurePosixPath(name), Member(source, name, archive)


def _read(source: Source, path: PurePosixPath, files: Mapping[str, Member]) -> OfficialRun:
    missing = [file for file in (*TRAINING, *TEST, LABELS) if file not in files]
    if missing:
        raise UsageError(
            f"{source.path}: {path} lacks {len(missing)} of its {2 * CHARACTERS + 1} files, the first is "
            f"{missing[0]}; {source.again()}."
        )
    training = np.stack([files[file].ink() for file in TRAINING])
    test = np.stack([files[file].ink() for file in TEST])
    for file, ink in zip((*TRAINING, *TEST), (*training, *test), strict=True):
        if not ink.any():
            raise UsageError(f"{source.path}: {files[file].name} is blank; {source.again()}.")
    return OfficialRun(path.name, training, test, _labels(source, files[LABELS]))


def _labels(source: Source, member: Member) -> NDArray[np.int64]:
    """The class of each test item, from lines such as `run01/test/item01.png run01/training/class08.png`."""
    try:
        pairs = [line.split() for line in member.content().decode().splitlines() if line.strip()]
        stated = {_inside(item): TRAINING.index(_inside(character)) for item, character in pairs}
        labels = [stated.pop(item) for item in TEST]
        if stated or sorted(labels) != list(range(CHARACTERS)):
            raise ValueError
    except (KeyError, *DAMAGED) as error:
        raise UsageError(
            f"{source.path}: {member.name} does not give each of the {CHARACTERS} test items a class of its "
            f"own; {source.again()}."
        ) from error
    return np.array(labels, np.int64)


def _inside(path: str) -> str:
    """The path within its run."""
    return "/".join(PurePosixPath(path).parts[-2:])


def fingerprint(runs: Sequence[OfficialRun]) -> str:
    """sha256 (hex) of all runs."""
    return hashlib.sha256("".join(run.fingerprint() for run in runs).encode()).hexdigest()
