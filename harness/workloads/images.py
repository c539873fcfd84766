"""Few-shot classification of images: the episodic protocol of Vinyals et al. 2016, as N-way K-shot tasks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.objective import cross_entropy
from harness.core.seeds import generator
from harness.errors import UsageError
from harness.workloads.base import Score, Split, Tasks, Workload
from harness.workloads.floors import neighbour_accuracy
from harness.workloads.imageset import ImageSet, load_split, split_fingerprint
from harness.workloads.models import Conv4, Down, Norm

Numbers = NDArray[np.int64]

ROTATIONS = 4  # by 0, 90, 180 and 270 degrees, each a class of its own, as in Santoro et al. 2016


class FewShotImages(Workload):
    """N-way K-shot tasks over a set of image classes, learned by conv4.

    ways, shots: N and K.
    queries: query images of each class.
    filters: filters of each convolution.
    norm: what batch norm normalises by: "batch-stats" (the batch at hand, transductive: as published),
        "support-stats" (the support set's statistics for the query too) or "none".
    down: how a block halves the image: "stride" or "max-pool".
    rotations: whether rotations by 90 degrees make further classes, in training only.
    """

    score: ClassVar[Score] = "accuracy"
    loss_function = staticmethod(cross_entropy)
    split_name: ClassVar[str]

    ways: int = 5
    shots: int = 1
    queries: int = 15
    filters: int = 64
    norm: Norm = "batch-stats"
    down: Down = "stride"
    rotations: bool = True

    def __post_init__(self) -> None:
        for setting in ("ways", "shots", "queries", "filters"):
            if getattr(self, setting) < 1:
                raise ValueError(f"{setting} must be at least 1, not {getattr(self, setting)}")
        if self.ways < 2:
            raise ValueError("ways must be at least 2: there is nothing to tell apart in one class")

    @abstractmethod
    def load(self, data_root: Path | None) -> ImageSet:
        """The images of all splits."""

    def model(self) -> Model:
        return Conv4(ways=self.ways, filters=self.filters, norm=self.norm, down=self.down)

    def open(self, data_root: Path | None) -> Tasks:
        images = self.load(data_root)
        splits = {name: images.subset(classes) for name, classes in load_split(self.split_name).items()}
        self.check(splits)
        return ImageTasks(self, splits, f"{images.fingerprint}:{split_fingerprint(self.split_name)}")

    def check(self, splits: Mapping[str, ImageSet]) -> None:
        """Raise UsageError where an episode asks for more than the data have."""
        drawings = min(images.images.shape[1] for images in splits.values())
        if self.shots + self.queries > drawings:
            raise UsageError(
                f"workload '{self.name}': shots={self.shots} and queries={self.queries} need "
                f"{self.shots + self.queries} drawings a class, but there are {drawings}; lower one of them."
            )
        smallest = min(splits, key=lambda name: len(splits[name].names))
        if self.ways > len(splits[smallest].names):
            raise UsageError(
                f"workload '{self.name}': ways={self.ways} is more than the {len(splits[smallest].names)} "
                f"classes of its {smallest} split; lower ways."
            )


class ImageTasks(Tasks):
    """Episodes over classes held in host memory as uint8; a meta-batch is one indexing operation."""

    def __init__(self, workload: FewShotImages, splits: Mapping[str, ImageSet], fingerprint: str) -> None:
        self.workload = workload
        self.splits = splits
        self.fingerprint = fingerprint

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        w = self.workload
        images = self.splits[split].images
        characters = len(images)
        classes = np.empty((count, w.ways), np.int64)
        chosen = np.empty((count, w.ways, w.shots + w.queries), np.int64)
        seeds = []
        for row in range(count):
            draw = generator("episode", w.name, split, seed, start + row)
            classes[row], chosen[row] = self.choose(split, draw)
            seeds.append(int(draw.integers(2**62)))
        pixels = images[(classes % characters)[..., None], chosen]
        for quarter in range(1, self.turns(split)):
            where = classes // characters == quarter
            pixels[where] = np.rot90(pixels[where], quarter, axes=(-2, -1))
        return episodes(pixels, w.shots, seeds)

    def turns(self, split: Split) -> int:
        """How many classes a character of `split` makes: one for each rotation."""
        return ROTATIONS if self.workload.rotations and split == "train" else 1

    def choose(self, split: Split, draw: np.random.Generator) -> tuple[Numbers, Numbers]:
        """An episode's classes [ways] and the drawings of each [ways, shots + queries].

        Class `character + q * characters` is the character turned by q quarters.
        """
        w = self.workload
        characters, drawings = self.splits[split].images.shape[:2]
        classes = draw.choice(characters * self.turns(split), w.ways, replace=False)
        return classes, draw.random((w.ways, drawings)).argsort(1)[:, : w.shots + w.queries]

    def floors(self, seed: int, count: int) -> dict[str, Tensor]:
        return {"neighbour_accuracy": neighbour_accuracy(self, seed, count)}


def episodes(pixels: NDArray[np.uint8], shots: int, seeds: Sequence[int]) -> TaskBatch:
    """Of drawings [T, ways, shots + queries, h, w]: the first `shots` of each class are its support."""
    inputs = torch.from_numpy(pixels).float().div_(255)
    return TaskBatch(_shots(inputs[:, :, :shots]), _shots(inputs[:, :, shots:]), tuple(seeds))


def _shots(images: Tensor) -> Shots:
    """[T, ways, k, h, w] as shots [T, ways * k, 1, h, w] with their classes."""
    tasks, ways, k = images.shape[:3]
    targets = torch.arange(ways).repeat_interleave(k).repeat(tasks, 1)
    return Shots(images.reshape(tasks, ways * k, 1, *images.shape[3:]).contiguous(), targets)
