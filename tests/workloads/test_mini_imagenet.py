from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import UsageError
from harness.workloads import mini_imagenet
from harness.workloads.base import Tasks
from harness.workloads.imageset import SPLITS, ImageSet, load_split
from harness.workloads.mini_imagenet import MiniImagenet

IMAGES = 18


@pytest.fixture(scope="module")
def numbered() -> ImageSet:
    """Of the right classes; red says which class, green which image, and blue grows from the top down."""
    names = sorted(name for split in load_split("mini-imagenet").values() for name in split)
    images = np.zeros((len(names), IMAGES, 3, 84, 84), np.uint8)
    images[:, :, 0] = np.arange(len(names))[:, None, None, None]
    images[:, :, 1] = np.arange(IMAGES)[:, None, None]
    images[:, :, 2] = np.arange(84)[:, None] * 3
    return ImageSet.of(names, images)


@pytest.fixture
def tasks(numbered: ImageSet, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.setattr(mini_imagenet, "load_mini_imagenet", lambda root: numbered)
    return MiniImagenet(shots=3).open(Path())


def test_episodes_are_of_colour_images_of_the_splits_own_classes(tasks: Tasks, numbered: ImageSet) -> None:
    split = load_split("mini-imagenet")
    for name in SPLITS:
        batch = tasks.sample(name, 0, 0, 20)  # type: ignore[arg-type]
        assert batch.support.inputs.shape == (20, 15, 3, 84, 84)
        assert batch.query.inputs.shape == (20, 75, 3, 84, 84)
        pixels = (torch.cat([batch.support.inputs, batch.query.inputs], 1) * 255).round().int()
        classes = {numbered.names[row] for row in pixels[:, :, 0].unique().tolist()}
        assert classes <= set(split[name])
        assert len(classes) > 0.7 * len(split[name])


def test_no_image_is_turned_and_none_is_both_support_and_query(tasks: Tasks) -> None:
    batch = tasks.sample("train", 0, 0, 20)
    for shots in (batch.support, batch.query):
        blue = (shots.inputs[:, :, 2] * 255).round().int()
        assert (blue == torch.arange(84, dtype=torch.int32)[:, None] * 3).all()
    seen = torch.cat([batch.support.inputs, batch.query.inputs], 1)[:, :, :2, 0, 0]
    labels = torch.cat([batch.support.targets, batch.query.targets], 1)
    for images, own in zip((seen * 255).round().int(), labels, strict=True):
        assert len({tuple(image) for image in images.tolist()}) == 90
        assert len({(int(image[0]), int(label)) for image, label in zip(images, own, strict=True)}) == 5


def test_the_network_is_that_of_the_literature(tasks: Tasks) -> None:
    """Four blocks of 32 filters, max-pooled from 84 to 5: 32 * 5 * 5 features (Finn et al. 2017)."""
    model = MiniImagenet().model()
    params = model.initial(0)
    assert params["conv0.weight"].shape == (32, 3, 3, 3)
    assert params["head.weight"].shape == (5, 800)
    batch = tasks.sample("test", 0, 0, 2)
    repeated = {name: p.expand(2, *p.shape) for name, p in params.items()}
    assert model.forward(repeated, batch.support.inputs).shape == (2, 15, 5)


def test_more_images_than_a_class_has_are_refused(tasks: Tasks) -> None:
    with pytest.raises(UsageError, match="shots=4 and queries=15 need 19 images a class, but there are 18"):
        MiniImagenet(shots=4).open(Path())


def test_without_a_copy_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no Mini-ImageNet; give --data-root a folder or zip"):
        MiniImagenet().open(tmp_path / "nowhere")
