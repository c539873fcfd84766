"""Episode i of a split under a seed is the same for good: rows of different days are paired by it.

The hashes were taken once. One that changes makes every earlier row of its workload incomparable.
"""

import hashlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from harness.core.episodes import TaskBatch
from harness.workloads.base import Split
from harness.workloads.glyphs import Glyphs
from harness.workloads.images import ImageTasks
from harness.workloads.imageset import ImageSet
from harness.workloads.linear_regression import LinearRegression
from harness.workloads.official_runs import OfficialRuns
from harness.workloads.omniglot import Omniglot, OmniglotMinimal
from harness.workloads.sinusoid import Sinusoid


def digest(batch: TaskBatch, *, tensors: bool = True) -> str:
    """Of the episodes' own seeds and, where they are the same bits on every machine, of all tensors."""
    content = repr(batch.seeds).encode()
    if tensors:
        content += b"".join(t.numpy().tobytes() for t in batch.tensors())
    return hashlib.sha256(content).hexdigest()[:16]


def noise(classes: int) -> ImageSet:
    """Images that are all different, from a generator whose bits are the same in every version."""
    pixels = np.random.Philox(classes).random_raw(classes * 20 * 98).view(np.uint8)
    return ImageSet.of([f"class{i:04}" for i in range(classes)], pixels.reshape(classes, 20, 28, 28))


GLYPHS = {"train": "0f1b84ab61011eb7", "validation": "3bc0a72f0c5fcae8", "test": "d65088993cd9fc34"}
OMNIGLOT = {"train": "9badecfebb1af7dc", "validation": "ce8669b94504d5d0", "test": "7629c6c15ad83d81"}
MINIMAL = {"train": "841b96289d1a4f01", "validation": "d5f9b256c61249ae", "test": "b8a635b5474fe09b"}
OFFICIAL = {"train": "3904b5fc38eade62", "validation": "f3dc9825ce73d651", "test": "e697eb3ad62dc20d"}
FINGERPRINTS = {
    "glyphs": "bb1b636130f061d2a9909e99d83ac3efa79ffeec6a0cf916ccaf663437203541"
    ":b3bdc8210f765c20dfe55e26cc8930b905ad2510b5c8b071856a7ece16ceadb9",
    "omniglot-minimal": "b37eb4770a6e6caa6dd639d12fc10dbca849bc4733f3767c97b1ae49e85bb830"
    ":04825bd72e405dce57380fecb8e4c162304f71aa90e1b2b036d09a4c3fb64083",
}
REGRESSIONS = {
    "train": ["e259ae2914f7842b", "83f7edc6c10893cd"],
    "validation": ["02e1ee8672796975", "04cc83e5d825e1e9"],
    "test": ["310121d444905c57", "0d2e94565dc8c5c4"],
}


@pytest.mark.parametrize("split", get_args(Split))
def test_glyph_episodes_are_those_of_the_first_day(split: Split) -> None:
    assert digest(Glyphs().open(None).sample(split, 3, 1000, 3)) == GLYPHS[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_omniglot_draws_classes_and_drawings_as_on_the_first_day(split: Split) -> None:
    images = noise({"train": 1100, "validation": 100, "test": 423}[split])
    rows = {split: np.arange(len(images.names))}
    batch = ImageTasks(Omniglot(ways=20), images, rows, "").sample(split, 3, 1000, 3)
    assert digest(batch) == OMNIGLOT[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_episodes_of_the_minimal_sets_are_those_of_the_first_day(split: Split, real_omniglot: Path) -> None:
    batch = OmniglotMinimal(shots=5).open(real_omniglot).sample(split, 3, 1000, 3)
    assert digest(batch) == MINIMAL[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_episodes_like_official_runs_are_those_of_the_first_day(split: Split, real_omniglot: Path) -> None:
    """Of the test split the first three runs, which are the same under every seed, and their own seeds."""
    start = 0 if split == "test" else 1000
    batch = OfficialRuns(queries=2, within=0.5).open(real_omniglot).sample(split, 3, start, 3)
    assert digest(batch) == OFFICIAL[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_regressions_are_those_of_the_first_day(split: Split) -> None:
    """Their values pass through a sine and a matrix product, whose last bits are the machine's own."""
    drawn = [w.open(None).sample(split, 3, 1000, 3) for w in (Sinusoid(), LinearRegression())]
    assert [digest(batch, tensors=False) for batch in drawn] == REGRESSIONS[split]


def test_the_data_of_recorded_runs_have_the_fingerprints_that_they_had(real_omniglot: Path) -> None:
    assert Glyphs().open(None).fingerprint == FINGERPRINTS["glyphs"]
    assert OmniglotMinimal().open(real_omniglot).fingerprint == FINGERPRINTS["omniglot-minimal"]
