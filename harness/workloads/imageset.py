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

SIDE = 28  # pixels of a character's side; what conv4 of the meta-learning literature sees on Omniglot
DRAWINGS = 20  # of a character, as in Omniglot; enough for 5 shots and 15 queries
COLOURS = 3  # channels of a colour image: red, green, blue
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of classes in host memory as uint8. Drawn characters are ink = 255 on 0 background.

    names: sorted and unique, "Alphabet/character07" or "Script/U+0416".
    images: uint8 [classes, images of a class, size, size] or, in colour, [classes, images of a class, 3,
        size, size]; read-only; may be a memory map.
    fingerprint: sha256 (hex) of names and images; equal fingerprints are equal sets.

    Build one with `ImageSet.of`; the bare constructor trusts the fingerprint that it is given.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    fingerprint: str

    @classmethod
    def of(cls, names: Sequence[str], images: NDArray[np.uint8]) -> Self:
        """A set of `names[i]` with images `images[i]`, in any order of names.

        Raises ValueError where the images have another shape or type than above or a name repeats.
        """
        order = sorted(range(len(names)), key=names.__getitem__)
        sorted_names = tuple(names[index] for index in order)
        check_layout(sorted_names, images.dtype, images.shape)
        ordered = np.ascontiguousarray(images[order])
        ordered.flags.writeable = False
        return cls(sorted_names, ordered, fingerprint(sorted_names, ordered))

    @property
    def channels(self) -> int:
        return 1 if self.images.ndim == 4 else COLOURS

    @property
    def size(self) -> int:
        """Pixels of an image's side."""
        return self.images.shape[-1]

    def rows(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Where in `images` the classes called `names` are, in the order of their names.

        Rows and not a set of their own: a split of a memory-mapped gigabyte must not become a copy.
        Raises UsageError where a name is not in the set.
        """
        row_of = {name: row for row, name in enumerate(self.names)}
        wanted = sorted(set(names))
        for name in wanted:
            if name not in row_of:
                raise UsageError(f"class '{name}' is not in the image set; {_hint(name, self.names)}")
        return np.array([row_of[name] for name in wanted], np.int64)


def check_layout(names: Sequence[str], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Raise ValueError for names and images that are no `ImageSet`."""
    if list(names) != sorted(set(names)):
        raise ValueError("class names repeat or are not sorted")
    known = len(shape) == 4 or (len(shape) == 5 and shape[2] == COLOURS)
    if dtype != np.uint8 or not known or shape[0] != len(names) or shape[-1] != shape[-2]:
        wanted = f"uint8 [{len(names)}, n, size, size] or [{len(names)}, n, {COLOURS}, size, size]"
        raise ValueError(f"images are {dtype} {shape}; wanted {wanted}")


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
