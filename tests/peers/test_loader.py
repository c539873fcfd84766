"""learn2learn's loader as the bench times it: it draws what our sampler draws."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.errors import LibraryMissing
from harness.measure.loader_learn2learn import OnDisk, in_memory, load_learn2learn, task_loader

CLASSES, DRAWINGS = 12, 20


@pytest.fixture(scope="module", autouse=True)
def learn2learn() -> None:
    try:
        load_learn2learn()
    except LibraryMissing as failure:
        pytest.skip(str(failure))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Images that say which class and drawing they are, and which way is up."""
    made = np.zeros((CLASSES, DRAWINGS, 28, 28), np.uint8)
    made[..., 0, 0] = 255
    made[..., 0, 1] = 10 + np.arange(CLASSES)[:, None]
    made[..., 0, 2] = 100 + np.arange(DRAWINGS)
    return made


@pytest.mark.parametrize("form", ["memory", "files"])
@pytest.mark.parametrize("rotations", [False, True])
def test_a_task_has_ways_classes_of_distinct_drawings(
    images: NDArray[np.uint8], tmp_path: Path, form: str, rotations: bool
) -> None:
    dataset = in_memory(images) if form == "memory" else OnDisk(images, tmp_path / "images")
    random.seed(0)  # learn2learn draws from Python's own generator
    episodes = task_loader(dataset, 5, 16, rotations=rotations)(24)
    assert len(episodes) == 24
    turns = set()
    for pixels, labels in episodes:
        assert pixels.shape == (80, 1, 28, 28)
        assert pixels.dtype == torch.float32
        assert sorted(labels.tolist()) == sorted(list(range(5)) * 16)
        seen = np.rint(pixels[:, 0].numpy() * 255).astype(int)
        found = []
        for drawing in seen:
            (turned,) = [k for k in range(4) if np.rot90(drawing, -k)[0, 0] == 255]
            upright = np.rot90(drawing, -turned)
            found.append((upright[0, 1] - 10, upright[0, 2] - 100))
            turns.add(turned)
        assert len(set(found)) == 80
        assert len({c for c, _ in found}) == 5
        assert len({(c, int(label)) for (c, _), label in zip(found, labels, strict=True)}) == 5
    assert turns == ({0, 1, 2, 3} if rotations else {0})
