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
from harness.workloads.imageset import SIDE, ImageSet, load_split, split_fingerprint
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
    """

    score: ClassVar[Score] = "accuracy"
    loss_function = staticmethod(cross_entropy)
    split_name: ClassVar[str]
    channels: ClassVar[int] = 1
    size: ClassVar[int] = SIDE
    """Of the images that `load` gives: 1 channel or 3, and the pixels of a side."""
    examples: ClassVar[str] = "images"

    ways: int = 5
    shots: int = 1
    queries: int = 15
    filters: int = 64
    norm: Norm = "batch-stats"
    down: Down = "stride"

    def __post_init__(self) -> None:
        for setting in ("ways", "shots", "queries", "filters"):
            if getattr(self, setting) < 1:
                raise ValueError(f"{setting} must be at least 1, not {getattr(self, setting)}")
        if self.ways < 2:
            raise ValueError("ways must be at least 2: there is nothing to tell apart in one class")

    @abstractmethod
    def load(self, data_root: Path | None) -> ImageSet:
        """The images of all splits."""

    def turns(self, split: Split) -> int:
        """How many quarter turns of a class are classes of their own; 1 where only the upright one is."""
        return 1

    def model(self) -> Model:
        return Conv4(
            ways=self.ways,
            filters=self.filters,
            channels=self.channels,
            size=self.size,
            norm=self.norm,
            down=self.down,
        )

    def open(self, data_root: Path | None) -> Tasks:
        images = self.load(data_root)
        assert (images.channels, images.size) == (self.channels, self.size), "what `model` is made for"
        rows = {split: images.rows(classes) for split, classes in load_split(self.split_name).items()}
        self.check(images, rows)
        return ImageTasks(self, images, rows, f"{images.fingerprint}:{split_fingerprint(self.split_name)}")

    def check(self, images: ImageSet, rows: Mapping[str, Numbers]) -> None:
        """Raise UsageError where an episode asks for more than the splits have."""
        drawings = images.images.shape[1]
        if self.shots + self.queries > drawings:
            raise UsageError(
                f"workload '{self.name}': shots={self.shots} and queries={self.queries} need "
                f"{self.shots + self.queries} {self.examples} a class, but there are {drawings}; "
                "lower one of them."
            )
        smallest = min(rows, key=lambda split: len(rows[split]))
        if self.ways > len(rows[smallest]):
            raise UsageError(
                f"workload '{self.name}': ways={self.ways} is more than the {len(rows[smallest])} "
                f"classes of its {smallest} split; lower ways."
            )


class Characters(FewShotImages):
    """Few-shot classification of drawn characters.

    rotations: whether rotations by 90 degrees make further classes, in training only.
    """

    examples: ClassVar[str] = "drawings"

    rotations: bool = True

    def turns(self, split: Split) -> int:
        return ROTATIONS if self.rotations and split == "train" else 1


class ImageTasks(Tasks):
    """Episodes over classes held in host memory as uint8; a meta-batch is one indexing operation.

    rows: for each split, which classes of `images` it has.
    """

    def __init__(
        self,
        workload: FewShotImages,
        images: ImageSet,
        rows: Mapping[str, Numbers],
        fingerprint: str,
    ) -> None:
        self.workload = workload
        self.images = images.images
        self.rows = rows
        self.fingerprint = fingerprint

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        w = self.workload
        rows, turns = self.rows[split], w.turns(split)
        characters = len(rows)
        classes = np.empty((count, w.ways), np.int64)
        chosen = np.empty((count, w.ways, w.shots + w.queries), np.int64)
        seeds = []
        for row in range(count):
            draw = generator("episode", w.name, split, seed, start + row)
            classes[row], chosen[row] = self.choose(split, draw)
            seeds.append(int(draw.integers(2**62)))
        pixels = self.images[rows[classes % characters][..., None], chosen]
        for quarter in range(1, turns):
            where = classes // characters == quarter
            pixels[where] = np.rot90(pixels[where], quarter, axes=(-2, -1))
        return episodes(pixels, w.shots, seeds)

    def images_of(self, split: Split) -> NDArray[np.uint8]:
        """All that episodes of `split` are drawn from: uint8 [classes, images of a class, ...], a copy."""
        return self.images[self.rows[split]]

    def choose(self, split: Split, draw: np.random.Generator) -> tuple[Numbers, Numbers]:
        """An episode's classes [ways] and the drawings of each [ways, shots + queries].

        Class `i + q * n` of a split with n classes is its i-th, turned by q quarters.
        """
        w = self.workload
        classes = draw.choice(len(self.rows[split]) * w.turns(split), w.ways, replace=False)
        return classes, draw.random((w.ways, self.images.shape[1])).argsort(1)[:, : w.shots + w.queries]

    def floors(self, seed: int, count: int) -> dict[str, Tensor]:
        return {"neighbour_accuracy": neighbour_accuracy(self, seed, count)}


def episodes(pixels: NDArray[np.uint8], shots: int, seeds: Sequence[int]) -> TaskBatch:
    """Of images [T, ways, shots + queries, ...]: the first `shots` of each class are its support."""
    return TaskBatch(_shots(pixels[:, :, :shots]), _shots(pixels[:, :, shots:]), tuple(seeds))


def _shots(pixels: NDArray[np.uint8]) -> Shots:
    """[T, ways, k, h, w] or [T, ways, k, 3, h, w] as shots [T, ways * k, 1 or 3, h, w], float32 from 0 to 1,
    with their classes."""
    tasks, ways, k = pixels.shape[:3]
    targets = torch.arange(ways).repeat_interleave(k).repeat(tasks, 1)
    # Put in order as bytes, which are a quarter of the floats that they become.
    ordered = torch.from_numpy(pixels.reshape(tasks, ways * k, -1, *pixels.shape[-2:]))
    return Shots(ordered.float().div_(255), targets)
