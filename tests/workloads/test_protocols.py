"""The protocols of Omniglot as committed: who is trained on, who is tested on, and that nobody is both."""

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from harness.workloads.base import Split
from harness.workloads.imageset import SPLITS, ImageSet, load_split
from harness.workloads.omniglot import Omniglot
from harness.workloads.omniglot_data import load_omniglot_minimal

BACKGROUND, EVALUATION = 964, 659  # characters of the published halves, of 30 and 20 alphabets


class Marked(Omniglot):
    """Omniglot's protocol over images that say which of the 1,623 characters they show, and how turned: its
    number by two intensities after the upper left corner, where a full one marks which way is up."""

    name: ClassVar[str] = "omniglot-marked"

    def load(self, data_root: Path | None) -> ImageSet:
        names = sorted(name for part in SPLITS for name in load_split("omniglot")[part])
        number = np.arange(len(names))[:, None]
        images = np.zeros((len(names), 20, 28, 28), np.uint8)
        images[..., 0, 0] = 255
        images[..., 0, 1] = 1 + number // 200
        images[..., 0, 2] = 1 + number % 200
        return ImageSet.of(names, images)


def shown(images: Any) -> list[tuple[int, int]]:
    """The character and the quarter turns of each of images [..., 28, 28]."""
    found = []
    for image in (images.numpy().reshape(-1, 28, 28) * 255).round().astype(int):
        (turns,) = [k for k in range(4) if np.rot90(image, -k)[0, 0] == 255]
        upright = np.rot90(image, -turns)
        found.append(((upright[0, 1] - 1) * 200 + upright[0, 2] - 1, turns))
    return found


def test_omniglot_is_split_into_1100_100_and_423_of_its_1623_characters() -> None:
    split = load_split("omniglot")
    assert [len(split[part]) for part in SPLITS] == [1100, 100, 423]
    names = [name for part in SPLITS for name in split[part]]
    assert len(set(names)) == 1623 == BACKGROUND + EVALUATION
    alphabets = Counter(name.partition("/")[0] for name in names)
    assert len(alphabets) == 50
    for alphabet, size in alphabets.items():
        assert {f"{alphabet}/character{i + 1:02d}" for i in range(size)} <= set(names)


def test_a_character_and_its_rotations_share_a_split_and_only_training_turns_them() -> None:
    tasks = Marked(ways=20, queries=1).open(None)
    names = sorted(name for part in SPLITS for name in load_split("omniglot")[part])
    seen: dict[str, set[tuple[int, int]]] = {}
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for split in splits:
        batch = tasks.sample(split, 0, 0, 400)
        seen[split] = {*shown(batch.support.inputs), *shown(batch.query.inputs)}
        assert {names[character] for character, _ in seen[split]} <= set(load_split("omniglot")[split])
    assert {turns for _, turns in seen["train"]} == {0, 1, 2, 3}
    assert {turns for _, turns in seen["validation"] | seen["test"]} == {0}
    turned = Counter(character for character, _ in seen["train"])
    assert max(turned.values()) == 4, "each turn is a class of the same split"


@pytest.mark.parametrize("ways", [5, 20])
@pytest.mark.parametrize("shots", [1, 5])
def test_the_four_settings_of_the_paper_are_episodes_of_omniglot(ways: int, shots: int) -> None:
    tasks = Marked(ways=ways, shots=shots).open(None)
    for split in ("train", "validation", "test"):
        batch = tasks.sample(split, 0, 0, 2)
        assert batch.support.inputs.shape == (2, ways * shots, 1, 28, 28)
        assert batch.query.inputs.shape == (2, ways * 15, 1, 28, 28)
        assert np.bincount(batch.support.targets[0]).tolist() == [shots] * ways


def test_no_image_of_one_split_of_the_minimal_sets_is_one_of_another_even_turned(real_omniglot: Path) -> None:
    images = load_omniglot_minimal(real_omniglot)
    split = load_split("omniglot-minimal")
    assert tuple(sorted(name for part in SPLITS for name in split[part])) == images.names
    assert [len(split[part]) for part in SPLITS] == [154, 22, 66]
    of = {part: images.images[images.rows(split[part])].reshape(-1, 28, 28) for part in SPLITS}
    upright = {part: {one.tobytes() for one in of[part]} for part in SPLITS}
    turned = {np.rot90(one, k).tobytes() for one in of["train"] for k in range(4)}
    assert len(turned) > 4 * len(of["train"]) * 0.99, "hardly a drawing is symmetric"
    assert not turned & upright["validation"]
    assert not turned & upright["test"]
    assert not upright["validation"] & upright["test"]
