"""learn2learn's task loader (Arnold et al. 2020, arXiv 2008.12284) over the images that our sampler has."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from harness.core.libraries import load_library

Example = tuple[Tensor, Any]
"""An image [channels, h, w], float32 from 0 to 1, and its class."""

Episodes = list[tuple[Tensor, Tensor]]
"""Of each task its images [ways * k, channels, h, w] and their labels [ways * k]."""

QUARTERS = [0.0, 90.0, 180.0, 270.0]  # degrees


def load_learn2learn() -> ModuleType:
    """Raises LibraryMissing."""
    return load_library("learn2learn", at_least="0.2.0", hint=", as README says")


def task_loader(
    images: Dataset[Example], ways: int, per_class: int, *, rotations: bool
) -> Callable[[int], Episodes]:
    """Draws as many tasks as asked for, each of `ways` classes with `per_class` of the `images`.

    As its users write it: MetaDataset and Taskset with NWays, KShots, LoadData, RemapLabels and
    ConsecutiveLabels, and RandomClassRotation where `rotations` make classes of their own (which in 0.2.0
    turns all classes of a task alike: by what was drawn for the last one). Raises LibraryMissing.
    """
    l2l = load_learn2learn()
    steps = l2l.data.transforms
    dataset = l2l.data.MetaDataset(images)
    chain = [
        steps.NWays(dataset, ways),
        steps.KShots(dataset, per_class),
        steps.LoadData(dataset),
        steps.RemapLabels(dataset),
        steps.ConsecutiveLabels(dataset),
    ]
    if rotations:
        chain.append(l2l.vision.transforms.RandomClassRotation(dataset, QUARTERS))
    tasks = l2l.data.Taskset(dataset, chain)
    return lambda count: [tasks.sample() for _ in range(count)]


def in_memory(images: NDArray[np.uint8]) -> Dataset[Example]:
    """All of `images` [classes, n, h, w] or [classes, n, 3, h, w], converted beforehand."""
    classes, drawings = images.shape[:2]
    pixels = torch.from_numpy(np.array(images)).float().div_(255)
    pixels = pixels.reshape(classes * drawings, -1, *images.shape[-2:])
    return TensorDataset(pixels, torch.arange(classes).repeat_interleave(drawings))  # type: ignore[return-value]


class OnDisk(Dataset[Example]):
    """The same images as PNG files in `folder`, each opened and converted at every access, as learn2learn's
    own data set of Omniglot does it, which also resizes it from 105 pixels to 28."""

    def __init__(self, images: NDArray[np.uint8], folder: Path) -> None:
        folder.mkdir()
        self.files = []
        for number, drawings in enumerate(images):
            for which, drawing in enumerate(drawings):
                path = folder / f"{number:05d}_{which:03d}.png"
                Image.fromarray(np.moveaxis(drawing, 0, -1) if drawing.ndim == 3 else drawing).save(path)
                self.files.append((path, number))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        path, number = self.files[index]
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image)).float().div_(255)
        return (pixels.movedim(-1, 0) if pixels.dim() == 3 else pixels.unsqueeze(0)), number
