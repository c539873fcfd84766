"""`omniglot-official-runs`: the dataset's own, harder protocol (Lake, Salakhutdinov and Tenenbaum 2015)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from harness.core.episodes import TaskBatch
from harness.core.seeds import generator
from harness.workloads.base import Split, Tasks
from harness.workloads.hausdorff import nearest_by_hausdorff
from harness.workloads.images import ImageTasks, Numbers, episodes
from harness.workloads.imageset import ImageSet, load_split, split_fingerprint
from harness.workloads.official_runs_data import CHARACTERS, OfficialRun, fingerprint, load_official_runs
from harness.workloads.omniglot import OmniglotMinimal, required
from harness.workloads.omniglot_data import reduce

Drawers = Literal["two", "any"]


class OfficialRuns(OmniglotMinimal):
    """The official one-shot runs, 20-way within an alphabet, after training on the minimal background sets.

    Training draws from seven of the sets' alphabets, those that `omniglot-minimal` tests on among them: the
    runs are of others. Validation draws from the eighth, Early Aramaic. Both draw episodes like a run.
    A test task is a run: there are as many as the data root holds, the same ones under every seed. With
    norm=batch-stats the 20 test images of a run, one of each class, are normalised together: that is
    transductive, while the dataset's own baseline sees one image at a time.

    queries: query images of each class in training and validation; a run has 1.
    within: share of the training episodes that stay within one alphabet; the others draw from all classes.
        Of an alphabet with fewer than 20 characters all are taken, and others of the split fill up.
    drawers: whose drawings an episode shows: "two" (all support images are by one drawer, the query images
        by another, or by as many others as there are queries: as in a run) or "any" (drawn for each class).
    rotations: whether rotations make further classes, in training only. An episode within an alphabet is
        turned as a whole, for the turned alphabet is another one: no character meets its own rotation, which
        would give a symmetric one two labels.
    """

    name: ClassVar[str] = "omniglot-official-runs"

    ways: int = CHARACTERS
    queries: int = 1
    within: float = 1.0
    drawers: Drawers = "two"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.ways, self.shots) != (CHARACTERS, 1):
            raise ValueError(
                f"ways={self.ways} and shots={self.shots} are not the official runs' own; leave them at "
                f"{CHARACTERS} and 1"
            )
        if not 0 <= self.within <= 1:
            raise ValueError(f"within is a share from 0 to 1, not {self.within}")

    def open(self, data_root: Path | None) -> Tasks:
        images, runs = self.load(data_root), load_official_runs(required(self.name, data_root))
        split = load_split(self.split_name)
        splits = {
            "train": images.subset([*split["train"], *split["test"]]),
            "validation": images.subset(split["validation"]),
        }
        self.check(splits)
        sources = (images.fingerprint, split_fingerprint(self.split_name), fingerprint(runs))
        return OfficialTasks(self, splits, runs, ":".join(sources))


class OfficialTasks(ImageTasks):
    """Endless episodes like those of a run for training and validation; the runs themselves for testing."""

    workload: OfficialRuns

    def __init__(
        self,
        workload: OfficialRuns,
        splits: Mapping[str, ImageSet],
        runs: Sequence[OfficialRun],
        fingerprint: str,
    ) -> None:
        super().__init__(workload, splits, fingerprint)
        self.runs = runs
        self._pixels = np.stack([reduce(run.drawings()) for run in runs])
        # Names are sorted, so an alphabet's classes lie together: its first and the one after its last.
        alphabets = {
            name: np.array([one.partition("/")[0] for one in images.names]) for name, images in splits.items()
        }
        self._extents = {
            name: np.stack([np.searchsorted(each, each, side) for side in ("left", "right")], 1)
            for name, each in alphabets.items()
        }

    def count(self, split: Split) -> int | None:
        return len(self.runs) if split == "test" else None

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        if split != "test":
            return super().sample(split, seed, start, count)
        w, end = self.workload, start + count
        if end > len(self.runs):
            raise ValueError(f"there are {len(self.runs)} official runs, so no number {end - 1}")
        draws = [generator("episode", w.name, split, seed, i) for i in range(start, end)]
        return episodes(self._pixels[start:end], w.shots, [int(draw.integers(2**62)) for draw in draws])

    def floors(self, seed: int, count: int) -> dict[str, Tensor]:
        """Also the dataset's own baseline, on the drawings as published."""
        hits = [nearest_by_hausdorff(run.test, run.training) == run.labels for run in self.runs[:count]]
        hausdorff = torch.from_numpy(np.array(hits)).double().mean(1)
        return super().floors(seed, count) | {"hausdorff_accuracy": hausdorff}

    def choose(self, split: Split, draw: np.random.Generator) -> tuple[Numbers, Numbers]:
        w = self.workload
        within = split == "validation" or draw.random() < w.within
        classes, drawings = super().choose(split, draw)
        if within:
            classes = self._of_one_alphabet(split, draw)
        if w.drawers == "two":
            drawings = np.broadcast_to(drawings[0], drawings.shape)
        return classes, drawings

    def _of_one_alphabet(self, split: Split, draw: np.random.Generator) -> Numbers:
        """Classes [ways] of a random character's alphabet, all turned alike."""
        extents = self._extents[split]
        characters = len(extents)
        first, end = extents[draw.integers(characters)]
        order = draw.random(characters).argsort()
        own = (first <= order) & (order < end)
        chosen = np.concatenate([order[own], order[~own]])[: self.workload.ways]
        draw.shuffle(chosen)  # where others fill up, no label is theirs alone
        return chosen + characters * draw.integers(self.turns(split))
