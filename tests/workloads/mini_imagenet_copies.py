"""A small Mini-ImageNet in the forms that people have: a few classes of each split, a few images a class."""

import io
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import UsageError
from harness.workloads.imageset import ImageSet
from harness.workloads.mini_imagenet_data import load_mini_imagenet

EXPECTED = {
    "train": ("n01532829", "n13133613"),
    "validation": ("n01855672",),
    "test": ("n01930112", "n07613480"),
}
FOLDERS = {"train": "train", "validation": "val", "test": "test"}
IMAGES = 3
LABELS = sorted(label for labels in EXPECTED.values() for label in labels)
PIXELS = {
    label: np.random.default_rng(number).integers(0, 256, (IMAGES, 84, 84, 3), dtype=np.uint8)
    for number, label in enumerate(LABELS)
}
"""The images of each class [IMAGES, 84, 84, 3], in the order of their names."""


def load(copy: Path) -> ImageSet:
    return load_mini_imagenet(copy, expected=EXPECTED, images=IMAGES)


def check(images: ImageSet) -> None:
    """What was written is what is read."""
    assert images.names == tuple(LABELS)
    assert (images.channels, images.size) == (3, 84)
    for label, found in zip(images.names, images.images, strict=True):
        np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), PIXELS[label])


def fails(copy: Path, call: Callable[[Path], object] = load) -> str:
    """The sentence that says why; nothing is left in the cache."""
    with pytest.raises(UsageError) as failure:
        call(copy)
    message = str(failure.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def named() -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Split, label, file name as in the published lists and pixels of every image."""
    for split, labels in EXPECTED.items():
        for label in labels:
            for number, pixels in enumerate(PIXELS[label]):
                yield split, label, f"{label}{number + 5:08}.jpg", pixels


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """Without loss, unless another form is wanted: Pillow goes by the content, not by the name."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def lists() -> dict[str, str]:
    """The three CSVs by their names."""
    texts = dict.fromkeys((f"{folder}.csv" for folder in FOLDERS.values()), "filename,label\n")
    for split, label, name, _ in named():
        texts[f"{FOLDERS[split]}.csv"] += f"{name},{label}\n"
    return texts


def write_images(folder: Path, place: str) -> Path:
    """All images at `place`, in which {split}, {label} and {name} stand for theirs."""
    for split, label, name, pixels in named():
        path = folder / place.format(split=FOLDERS[split], label=label, name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))
    return folder


def write_lists(folder: Path, place: str = ".") -> Path:
    (folder / place).mkdir(parents=True, exist_ok=True)
    for name, text in lists().items():
        (folder / place / name).write_text(text)
    return folder


def understate(path: Path, name: str) -> None:
    """Make a zip say that its member `name` takes 5,000 bytes."""
    content = bytearray(path.read_bytes())
    listing = content.index(b"PK\x01\x02")
    for found, field in (
        (content.index(name.encode()) - 30, 22),
        (content.index(name.encode(), listing) - 46, 24),
    ):
        struct.pack_into("<I", content, found + field, 5_000)
    path.write_bytes(content)


def fails_in_little_memory(copy: Path) -> str:
    """As `fails`, within 16 MiB."""
    tracemalloc.start()
    try:
        message = fails(copy)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    return message
