"""Images of classes in host memory, and the committed files that say which class is in which split.

Knows numpy only. The episode sampler indexes `ImageSet.images`; the data files next door fill it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, nearest

SIDE = 28  # pixels; what conv4 of the meta-learning literature sees on Omniglot
DRAWINGS = 20  # a class, as in Omniglot; enough for 5 shots and 15 queries
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of classes, ink = 255 on 0 background, in host memory as uint8.

    names: sorted and unique, "Alphabet/character07" or "Script/U+0416".
    images: uint8 [classes, drawings, 28, 28], read-only; may be a memory map.
    fingerprint: sha256 (hex) of names and images; equal fingerprints are equal sets.

    Build one with `ImageSet.of`; the bare constructor trusts the fingerprint that it is given.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    fingerprint: str

    @classmethod
    def of(cls, names: Sequence[str], images: NDArray[np.uint8]) -> Self:
        """A set of `names[i]` with drawings `images[i]`, in any order of names.

        Raises ValueError where the images are not uint8 [len(names), drawings, 28, 28] or a name repeats.
        """
        if len(set(names)) != len(names):
            raise ValueError("class names repeat")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[0] != len(names):
            raise ValueError(
                f"images are {images.dtype} {images.shape}; wanted uint8 [{len(names)}, n, 28, 28]"
            )
        if images.shape[2:] != (SIDE, SIDE):
            raise ValueError(f"images are {images.shape[2:]}; wanted {(SIDE, SIDE)}")
        order = sorted(range(len(names)), key=names.__getitem__)
        ordered = np.ascontiguousarray(images[order])
        ordered.flags.writeable = False
        sorted_names = tuple(names[index] for index in order)
        return cls(sorted_names, ordered, fingerprint(sorted_names, ordered))

    def subset(self, names: Iterable[str]) -> "ImageSet":
        """The classes called `names` (in any order) as a set of their own, a copy.

        Raises UsageError where a name is not in the set.
        """
        rows = {name: row for row, name in enumerate(self.names)}
        wanted = sorted(set(names))
        for name in wanted:
            if name not in rows:
                raise UsageError(f"class '{name}' is not in the image set; {_hint(name, self.names)}")
        images = self.images[[rows[name] for name in wanted]]
        images.flags.writeable = False
        return ImageSet(tuple(wanted), images, fingerprint(wanted, images))


def fingerprint(names: Sequence[str], images: NDArray[np.uint8]) -> str:
    """sha256 (hex) of the names, the shape and the image bytes."""
    digest = hashlib.sha256()
    digest.update(json.dumps([list(names), list(images.shape)]).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def load_split(name: str) -> dict[str, tuple[str, ...]]:
    """The committed class split `splits/<name>.json`: train, validation, test -> sorted class names.

    Raises UsageError where no such split is committed.
    """
    content = json.loads(_split_bytes(name))
    return {split: tuple(content[split]) for split in SPLITS}


def split_fingerprint(name: str) -> str:
    """sha256 (hex) of the split's meaning: the layout of the file does not count.

    Raises UsageError where no such split is committed.
    """
    split = load_split(name)
    return hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()


def _split_bytes(name: str) -> bytes:
    folder = resources.files("harness.workloads") / "splits"
    known = [PurePosixPath(file.name).stem for file in folder.iterdir() if file.name.endswith(".json")]
    if name not in known:
        raise UsageError(f"class split '{name}' is unknown; {nearest(name, known)}")
    return (folder / f"{name}.json").read_bytes()


def _hint(name: str, known: Sequence[str]) -> str:
    """As `nearest`, without listing a thousand names."""
    some = nearest(name, known)
    return some if some.startswith("did") else f"it holds {len(known)} classes such as '{known[0]}'."
