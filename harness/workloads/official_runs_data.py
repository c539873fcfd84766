"""The official one-shot classification runs of Omniglot (Lake, Salakhutdinov and Tenenbaum 2015).

A run is one 20-way 1-shot task within one alphabet: `runNN/training/classNN.png` (20 characters by one
drawer), `runNN/test/itemNN.png` (the same characters by another) and `runNN/class_labels.txt` (which is
which). Twenty were published, two of each of ten evaluation alphabets, as `all_runs.zip`; here any number of
them is read, from any zip or folder that holds them, whatever its name.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.data.archives import DAMAGED, Member, Source
from harness.data.catalogue import ADDRESS, ARCHIVES, LAYOUTS
from harness.errors import UsageError

PUBLISHED = "all_runs"  # the archive
RUN = re.compile(r"run\d+")
CHARACTERS = 20  # of a run
TRAINING = tuple(f"training/class{number:02d}.png" for number in range(1, CHARACTERS + 1))
TEST = tuple(f"test/item{number:02d}.png" for number in range(1, CHARACTERS + 1))
LABELS = "class_labels.txt"

# Where they may lie below the data root, or in a folder there: beside the images, or where published.
FOLDERS = tuple(
    Path(layout, below) for layout in LAYOUTS for below in ("", Path(ARCHIVES[PUBLISHED].path).parent)
)


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
    runs: dict[str, tuple[OfficialRun, PurePath]] = {}
    for source, place, files in find_runs(Path(data_root)):
        run = read_run(source, place, files)
        first, other = runs.setdefault(run.name, (run, place))
        if first.fingerprint() != run.fingerprint():
            raise UsageError(f"{place} is not the same as {other}; remove one of them.")
    if not runs:
        raise UsageError(
            f"{data_root} holds no official one-shot runs; get them with `innerloop data fetch {PUBLISHED}`, "
            f"or from {ADDRESS}/{ARCHIVES[PUBLISHED].path}, or name another folder with --data-root."
        )
    return tuple(run for _, (run, _) in sorted(runs.items()))


def find_runs(data_root: Path) -> Iterator[tuple[Source, PurePath, dict[str, Member]]]:
    """Every run in the data root: what it lies in, its place and its files by their path in it.

    Raises UsageError where a zip there cannot be read.
    """
    for source in _sources(data_root):
        for place, files in sorted(runs_of(source).items()):
            yield source, place, files


def _sources(data_root: Path) -> Iterator[Source]:
    """Every zip and every folder of a run, where they may lie."""
    images = ARCHIVES.keys() - {PUBLISHED}
    root = data_root.parent if data_root.stem in images else data_root
    if root.is_file():
        yield Source(PUBLISHED, root)
        return
    for place in filter(Path.is_dir, (root / folder for folder in FOLDERS)):
        inside = sorted(place.iterdir())
        for zipped in inside:
            if zipped.suffix == ".zip" and zipped.is_file() and zipped.stem not in images:
                yield Source(PUBLISHED, zipped)
        for folder in filter(Path.is_dir, (place, *inside)):
            for entry in sorted(folder.iterdir()):
                if RUN.fullmatch(entry.name) and entry.is_dir():
                    yield Source(PUBLISHED, entry)


def runs_of(source: Source) -> dict[PurePath, dict[str, Member]]:
    """Place of a run -> its files by their path in it; whatever else lies there is passed over."""
    runs: dict[PurePath, dict[str, Member]] = {}
    wanted = {*TRAINING, *TEST, LABELS}
    try:
        members = list(source.members())
    except UsageError as error:
        raise UsageError(f"{error} If it has nothing to do with the official runs, move it away.") from error
    for path, member in members:
        file = PurePath(source.path, path)
        for run in list(file.parents)[:2]:  # of run01/class_labels.txt and of run01/test/item01.png
            inside = file.relative_to(run).as_posix()
            if RUN.fullmatch(run.name) and inside in wanted:
                runs.setdefault(run, {})[inside] = member
    return runs


def read_run(source: Source, place: PurePath, files: Mapping[str, Member]) -> OfficialRun:
    """The run at `place`. Raises UsageError where it is incomplete or damaged."""
    missing = [file for file in (*TRAINING, *TEST, LABELS) if file not in files]
    if missing:
        raise UsageError(
            f"{place} lacks {len(missing)} of its {2 * CHARACTERS + 1} files, the first is {missing[0]}; "
            f"{source.again()}."
        )
    training = np.stack([source.ink(files[file]) for file in TRAINING])
    test = np.stack([source.ink(files[file]) for file in TEST])
    for file, ink in zip((*TRAINING, *TEST), (*training, *test), strict=True):
        if not ink.any():
            raise UsageError(f"{place / file} is blank; {source.again()}.")
    try:
        labels = _labels(files[LABELS].content().decode())
    except (KeyError, *DAMAGED) as error:
        raise UsageError(
            f"{place / LABELS} does not give each of the {CHARACTERS} test items a class of its own; "
            f"{source.again()}."
        ) from error
    return OfficialRun(place.name, training, test, labels)


def _labels(text: str) -> NDArray[np.int64]:
    """The class of each test item, from lines such as `run01/test/item01.png run01/training/class08.png`.

    Raises KeyError or ValueError where they are not one class an item.
    """
    pairs = [line.split() for line in text.splitlines() if line.strip()]
    stated = {_inside(item): TRAINING.index(_inside(character)) for item, character in pairs}
    labels = [stated.pop(item) for item in TEST]
    if stated or sorted(labels) != list(range(CHARACTERS)):
        raise ValueError
    return np.array(labels, np.int64)


def _inside(path: str) -> str:
    """The path within its run."""
    return "/".join(PurePosixPath(path).parts[-2:])


def fingerprint(runs: Sequence[OfficialRun]) -> str:
    """sha256 (hex) of all runs."""
    return hashlib.sha256("".join(run.fingerprint() for run in runs).encode()).hexdigest()
