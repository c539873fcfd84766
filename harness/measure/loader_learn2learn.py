"""learn2learn's task loader (Arnold et al. 2020, arXiv 2008.12284) over the images that our sampler has."""

import contextlib
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from harness.core.libraries import load_library
from harness.errors import LibraryMissing

Episodes = list[tuple[Tensor, Tensor]]
"""Of each task its images [ways * k, channels, h, w], float32 from 0 to 1, and their labels [ways * k]."""

QUARTERS = [0.0, 90.0, 180.0, 270.0]  # degrees


def task_loader(
    images: NDArray[np.uint8], ways: int, per_class: int, *, rotations: bool
) -> Callable[[int], Episodes]:
    """What draws so many tasks of `ways` classes with `per_class` images each from `images` [classes, n, ...].

    As its users write it: MetaDataset and TaskDataset with NWays, KShots, LoadData, RemapLabels and
    ConsecutiveLabels, and RandomClassRotation where `rotations` make new classes. The images lie in memory,
    converted beforehand, which is kinder than its own Omniglot benchmark: that opens, resizes and converts a
    PNG file at every access.

    Raises LibraryMissing.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(None):  # of gym, which it imports
        warnings.simplefilter("ignore")
        load_library("learn2learn", at_least="0.2.0", hint=", as README says")
        try:
            from learn2learn.data import MetaDataset, TaskDataset
            from learn2learn.data import transforms as steps
            from learn2learn.vision.transforms import RandomClassRotation
        except ImportError as failure:
            raise LibraryMissing(f"learn2learn's loader does not import here ({failure})") from failure

    dataset = MetaDataset(in_memory(images))
    chain = [
        steps.NWays(dataset, ways),
        steps.KShots(dataset, per_class),
        steps.LoadData(dataset),
        steps.RemapLabels(dataset),
        steps.ConsecutiveLabels(dataset),
    ]
    if rotations:
        chain.append(RandomClassRotation(dataset, QUARTERS))
    tasks = TaskDataset(dataset, chain)
    return lambda count: [tasks.sample() for _ in range(count)]


def in_memory(images: NDArray[np.uint8]) -> Dataset[tuple[Tensor, ...]]:
    """All images [classes, n, h, w] or [classes, n, 3, h, w] with their class, ready to be stacked."""
    classes, drawings = images.shape[:2]
    pixels = torch.from_numpy(np.array(images)).float().div_(255)
    pixels = pixels.reshape(classes * drawings, -1, *images.shape[-2:])
    return TensorDataset(pixels, torch.arange(classes).repeat_interleave(drawings))
