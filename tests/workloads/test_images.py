import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from harness import registry
from harness.core.episodes import TaskBatch
from harness.errors import UsageError
from harness.protocol import WorkloadSpec
from harness.workloads.base import Split
from harness.workloads.glyphs import Glyphs
from harness.workloads.images import ROTATIONS, Characters, ImageTasks
from harness.workloads.imageset import DRAWINGS, SIDE, ImageSet, load_split
from harness.workloads.omniglot import Omniglot

CLASSES = 12
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

EPISODE_HASH = """
import hashlib
from harness.workloads.glyphs import Glyphs
batch = Glyphs(ways=3, queries=2).open(None).sample("train", 4, 7, 2)
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in batch.tensors())).hexdigest(), batch.seeds)
"""


def numbered() -> ImageSet:
    """Images that say what they are: class and drawing as intensities in the two pixels after the upper
    left corner, where a full one marks which way is up."""
    images = np.zeros((CLASSES, DRAWINGS, SIDE, SIDE), np.uint8)
    images[..., 0, 0] = 255
    images[..., 0, 1] = 10 + np.arange(CLASSES)[:, None]
    images[..., 0, 2] = 100 + np.arange(DRAWINGS)
    return ImageSet.of([f"class{i:02}" for i in range(CLASSES)], images)


class Numbered(Characters):
    name: ClassVar[str] = "numbered"
    split_name: ClassVar[str] = "glyphs"

    def load(self, data_root: Path | None) -> ImageSet:
        return numbered()


def tasks_of(**settings: Any) -> ImageTasks:
    return ImageTasks(Numbered(**settings), numbered(), dict.fromkeys(SPLITS, np.arange(CLASSES)), "")


def read(images: torch.Tensor) -> np.ndarray:
    """Of images [T, n, 1, h, w]: class, drawing and quarter turns [T, n, 3]."""
    pixels = (images[:, :, 0] * 255).round().int().numpy()
    found = np.empty((*pixels.shape[:2], 3), int)
    for t, n in np.ndindex(*pixels.shape[:2]):
        (turns,) = [k for k in range(ROTATIONS) if np.rot90(pixels[t, n], -k)[0, 0] == 255]
        upright = np.rot90(pixels[t, n], -turns)
        found[t, n] = upright[0, 1] - 10, upright[0, 2] - 100, turns
    return found


def same(a: TaskBatch, b: TaskBatch) -> bool:
    return a.seeds == b.seeds and all(map(torch.equal, a.tensors(), b.tensors()))


def test_an_episode_does_not_depend_on_how_many_are_drawn_at_once() -> None:
    tasks = tasks_of(ways=4, shots=2, queries=3)
    eight = tasks.sample("train", 3, 0, 8)
    (sixth,) = (chunk for i, chunk in enumerate(eight.chunks(1)) if i == 5)
    assert same(sixth, tasks.sample("train", 3, 5, 1))
    assert not same(sixth, tasks.sample("train", 3, 6, 1))


def test_episodes_differ_between_splits_seeds_and_numbers() -> None:
    tasks = tasks_of(rotations=False)
    drawn = [
        tasks.sample(split, seed, i, 1) for split in ("train", "test") for seed in (0, 1) for i in (0, 1)
    ]
    assert len({batch.seeds for batch in drawn}) == len(drawn)
    assert len({batch.support.inputs.numpy().tobytes() for batch in drawn}) == len(drawn)


def test_glyph_episodes_are_identical_in_every_process() -> None:
    results = {
        subprocess.run(
            [sys.executable, "-c", EPISODE_HASH],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(results) == 1
    assert len(results.pop()) > 64


@pytest.mark.parametrize("split", SPLITS)
def test_labels_tell_the_classes_of_an_episode_apart(split: Any) -> None:
    batch = tasks_of(ways=5, shots=2, queries=3).sample(split, 0, 0, 20)
    assert batch.support.targets.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]] * 20
    assert batch.query.targets.tolist() == [sorted([0, 1, 2, 3, 4] * 3)] * 20
    support, query = read(batch.support.inputs), read(batch.query.inputs)
    for t in range(20):
        classes = []
        for label in range(5):
            shots = support[t][batch.support.targets[t] == label]
            queries = query[t][batch.query.targets[t] == label]
            both = np.concatenate([shots, queries])
            assert len({(c, turns) for c, _, turns in both}) == 1, "a label means one class, turned one way"
            assert len({drawing for _, drawing, _ in both}) == 5, "no drawing is both support and query"
            classes.append((both[0, 0], both[0, 2]))
        assert len(set(classes)) == 5


def test_all_drawings_of_a_class_are_used_where_an_episode_needs_them() -> None:
    batch = tasks_of(ways=2, shots=5, queries=DRAWINGS - 5).sample("test", 0, 0, 3)
    drawings = np.concatenate([read(batch.support.inputs), read(batch.query.inputs)], 1)[..., 1]
    assert all(sorted(task) == sorted([*range(DRAWINGS)] * 2) for task in drawings.tolist())


def test_rotations_make_classes_in_training_only() -> None:
    tasks = tasks_of(ways=4)
    turns = {s: set(read(tasks.sample(s, 0, 0, 50).query.inputs)[..., 2].flat) for s in SPLITS}
    assert turns == {"train": {0, 1, 2, 3}, "validation": {0}, "test": {0}}
    without = tasks_of(ways=4, rotations=False).sample("train", 0, 0, 50)
    assert set(read(without.query.inputs)[..., 2].flat) == {0}


def test_every_class_and_every_drawing_is_drawn_equally_often() -> None:
    found = read(tasks_of(ways=4, queries=4).sample("test", 0, 0, 600).query.inputs)
    for axis, kinds in ((0, CLASSES), (1, DRAWINGS)):
        counts = np.bincount(found[..., axis].ravel(), minlength=kinds)
        expected = found[..., axis].size / kinds
        assert np.abs(counts / expected - 1).max() < 0.25


def test_the_class_behind_a_label_is_not_fixed() -> None:
    found = read(tasks_of(ways=2, rotations=False).sample("test", 0, 0, 200).support.inputs)
    assert set(found[:, 0, 0]) == set(found[:, 1, 0]) == set(range(CLASSES))


def test_images_are_float32_ink_between_0_and_1() -> None:
    batch = Glyphs(ways=5, shots=2, queries=3).open(None).sample("train", 0, 0, 2)
    assert batch.support.inputs.shape == (2, 10, 1, 28, 28)
    assert batch.query.inputs.shape == (2, 15, 1, 28, 28)
    assert batch.support.inputs.dtype == torch.float32
    assert set(batch.query.inputs.unique().tolist()) == {0.0, 1.0}
    assert all(t.is_contiguous() for t in batch.tensors())


def test_the_model_tells_apart_as_many_classes_as_there_are_ways() -> None:
    workload = Glyphs(ways=7, filters=4, norm="none", down="max-pool")
    params = workload.model().initial(0)
    assert params["head.weight"].shape[0] == 7
    assert params["conv1.weight"].shape == (4, 4, 3, 3)
    assert not any(name.startswith("norm") for name in params)


def test_the_fingerprint_is_of_images_and_split() -> None:
    images, split = Glyphs().open(None).fingerprint.split(":")
    assert len(images) == len(split) == 64
    assert Glyphs(ways=2, shots=3).open(None).fingerprint == f"{images}:{split}"


@pytest.mark.parametrize("setting", ["ways", "shots", "queries", "filters"])
def test_numbers_below_one_are_refused_by_name(setting: str) -> None:
    spec = WorkloadSpec("glyphs", {setting: 0}, "suites/mine.toml")
    with pytest.raises(UsageError, match=f"suites/mine.toml: workload 'glyphs': {setting} must be at least"):
        registry.make_workload(spec)


def test_one_way_is_refused() -> None:
    with pytest.raises(UsageError, match="ways must be at least 2"):
        registry.make_workload(WorkloadSpec("glyphs", {"ways": 1}))


def test_more_drawings_than_there_are_is_an_error_that_names_both_settings() -> None:
    with pytest.raises(UsageError, match=r"workload 'glyphs': shots=6 and queries=15 need 21 drawings.* 20"):
        Glyphs(shots=6).open(None)
    assert Glyphs(shots=5).open(None).sample("test", 0, 0, 1).query.per_task == 75


def test_more_ways_than_classes_is_an_error_that_names_the_smallest_split() -> None:
    sizes = {split: len(classes) for split, classes in load_split("glyphs").items()}
    smallest = min(sizes.values())
    with pytest.raises(UsageError, match=rf"workload 'glyphs': ways={smallest + 1} .* {smallest} classes"):
        Glyphs(ways=smallest + 1).open(None)
    Glyphs(ways=smallest).open(None)


def test_a_workload_without_its_images_says_how_to_give_them() -> None:
    with pytest.raises(UsageError, match=r"workload 'omniglot' needs .* --data-root"):
        Omniglot().open(None)
