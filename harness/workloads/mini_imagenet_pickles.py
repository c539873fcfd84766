"""Mini-ImageNet from the pickles that other libraries load, read without running what is in them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.archives import DAMAGED, Member
from harness.errors import UsageError
from harness.workloads.imageset import COLOURS
from harness.workloads.mini_imagenet_copy import check_counts
from harness.workloads.plain_pickle import Array, NotPlain, read_arrays

SIZE = 84  # pixels of a side
LARGEST_PICKLE = 4 << 30  # bytes; 813 MB of images take up to 3.3 GB as text, in protocol 0

Classes = dict[str, NDArray[np.int64]]
"""Which images of a pickle each class has."""


def pickled_classes(
    pickles: Mapping[str, Member], split: Mapping[str, Sequence[str]], images: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each class with its images [images, 3, 84, 84], one split's pickle in memory at a time.

    Raises UsageError where a pickle cannot be read or is not of the classes of its split.
    """
    for name, member in pickles.items():
        pixels, classes = _read(member)
        for label in sorted(classes):
            if label not in split[name]:
                raise UsageError(
                    f"{member}: class {label} is not of the {name} split of Ravi and Larochelle; take "
                    "pickles of theirs."
                )
        check_counts(member, {label: len(rows) for label, rows in classes.items()}, split[name], images)
        for label, rows in classes.items():
            yield label, pixels[rows].transpose(0, 3, 1, 2)
        del pixels  # before the next one is read


def _read(member: Member) -> tuple[NDArray[np.uint8], Classes]:
    """All images of a pickle, uint8 [n, 84, 84, 3], and which each class has."""
    try:
        if member.size() > LARGEST_PICKLE:
            raise NotPlain(f"it takes more than {LARGEST_PICKLE:,} bytes")
        with member.open() as file:
            content = read_arrays(file, member.size())
        if not isinstance(content, dict):
            raise NotPlain("it holds no dictionary")
        content = {_text(key): value for key, value in content.items()}
        pixels = _pixels(content)
        return pixels, _classes(content, len(pixels))
    except (NotPlain, *DAMAGED) as error:
        raise UsageError(
            f"{member} cannot be read as images of Mini-ImageNet ({error}); get it again from a source that "
            "you trust."
        ) from error


def _pixels(content: Mapping[str, Any]) -> NDArray[np.uint8]:
    array = content.get("image_data", content.get("data"))
    if not isinstance(array, Array) or array.values is None:
        raise NotPlain("it holds no array called image_data or data")
    kind, shape = array.values.dtype, array.values.shape
    if kind != np.uint8 or len(shape) != 4 or shape[1:] != (SIZE, SIZE, COLOURS):
        raise NotPlain(f"its images are {kind} {list(shape)} instead of uint8 [n, {SIZE}, {SIZE}, {COLOURS}]")
    return array.values


def _classes(content: Mapping[str, Any], images: int) -> Classes:
    """From `class_dict`, label -> rows; or from `labels`, a number a row, and `catname2label`."""
    if isinstance(content.get("class_dict"), dict):
        classes = {_text(label): _numbers(rows) for label, rows in content["class_dict"].items()}
    elif isinstance(content.get("catname2label"), dict):
        numbers = _numbers(content.get("labels"))
        known = content["catname2label"].items()
        classes = {_text(label): np.flatnonzero(numbers == number) for label, number in known}
    else:
        raise NotPlain("it holds neither class_dict nor labels with catname2label")
    rows = np.concatenate([*classes.values(), np.empty(0, np.int64)])
    if len(np.unique(rows)) < len(rows) or not np.isin(rows, np.arange(images)).all():
        raise NotPlain("its classes name an image twice, or one that is not there")
    return classes


def _numbers(values: Any) -> NDArray[np.int64]:
    if isinstance(values, Array) and values.values is not None and values.values.ndim == 1:
        return values.values.astype(np.int64)
    if isinstance(values, list | tuple) and all(type(value) is int for value in values):
        return np.array(values, np.int64)
    raise NotPlain("its classes are not lists of whole numbers")


def _text(value: Any) -> str:
    """A name; Python 2 wrote bytes."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, str):
        return value
    raise NotPlain(f"it has a {type(value).__name__} where a name should be")
