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
from harness.workloads.imageset import SPLITS, ImageSet
from harness.workloads.linear_regression import LinearRegression
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
    splits = {name: noise(classes) for name, classes in zip(SPLITS, (1100, 100, 423), strict=True)}
    batch = ImageTasks(Omniglot(ways=20), splits, "").sample(split, 3, 1000, 3)
    assert digest(batch) == OMNIGLOT[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_episodes_of_the_minimal_sets_are_those_of_the_first_day(split: Split, real_omniglot: Path) -> None:
    batch = OmniglotMinimal(shots=5).open(real_omniglot).sample(split, 3, 1000, 3)
    assert digest(batch) == MINIMAL[split]


@pytest.mark.parametrize("split", get_args(Split))
def test_regressions_are_those_of_the_first_day(split: Split) -> None:
    """Their values pass through a sine and a matrix product, whose last bits are the machine's own."""
    drawn = [w.open(None).sample(split, 3, 1000, 3) for w in (Sinusoid(), LinearRegression())]
    assert [digest(batch, tensors=False) for batch in drawn] == REGRESSIONS[split]
