"""Omniglot (Lake, Salakhutdinov and Tenenbaum, Science 2015) from a local copy of the published archives.

An archive is a zip or the folder extracted from it. Its images, `<archive>/<Alphabet>/characterNN/*.png`, are
105x105, one bit a pixel, black ink; here ink is 255 on 0, reduced to 28x28 grey: a pixel is the exact share
of ink in its area. (Pillow's BOX filter weighs whole pixels only, up to 6% off here; and Pillow resizes
one-bit images by nearest neighbour whatever is asked for, so code that asks it for LANCZOS on the published
files, as the public MAML code does, drops most pixels.)

Decoding takes seconds and every cell is a fresh process: see `decoded`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.archives import PUBLISHED_SIDE, Member, Source, find_archive
from harness.data.catalogue import ADDRESS
from harness.errors import UsageError
from harness.workloads.decoded import Decoding, load_decoded
from harness.workloads.imageset import DRAWINGS, SIDE, SPLITS, ImageSet, load_split

FULL = ("images_background", "images_evaluation")
MINIMAL = ("images_background_small1", "images_background_small2")

DECODING = 1  # raise it with any change to how images are decoded and reduced: it is part of the cache's key
FINE = 4  # 105 * 4 = 28 * 15: on a grid 4 times as fine, each pixel of the result is 15x15 points
# [28, 105]: how many quarters of each published pixel lie in each resulting one; rows sum to 15.
QUARTERS = (
    np.kron(np.eye(SIDE), np.ones(PUBLISHED_SIDE * FINE // SIDE)).reshape(SIDE, PUBLISHED_SIDE, FINE).sum(2)
)


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
    place = [[source.archive, str(source.path.resolve())] for source in sources]
    facts = [DECODING, [source.identity() for source in sources], sorted(expected)]
    return load_decoded("omniglot", place, facts, lambda: _decode(sources, frozenset(expected)))


def _find(data_root: Path, archive: str) -> Source:
    found = find_archive(data_root, archive)
    if found is None:
        raise UsageError(
            f"{data_root} holds neither {archive}.zip nor the folder {archive}; get it with "
            f"`innerloop data fetch {archive}`, or from {ADDRESS}/{archive}.zip, or name another folder with "
            "--data-root."
        )
    return found


def reduce(ink: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Drawings bool [n, 105, 105] as grey uint8 [n, 28, 28]: 255 times the share of ink in a pixel's area."""
    quarters = QUARTERS @ ink.astype(np.float64) @ QUARTERS.T  # whole numbers: the same on every machine
    return np.rint(quarters * 255 / QUARTERS[0].sum() ** 2).astype(np.uint8)


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
            images = reduce(np.stack([source.ink(drawing) for drawing in drawings]))
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
            f"get {' and '.join(source.archive + '.zip' for source in sources)} again with `innerloop data "
            f"fetch`, or from {ADDRESS}/."
        )
    return Decoding(tuple(sorted(classes)), (DRAWINGS, SIDE, SIDE), classes.items())
