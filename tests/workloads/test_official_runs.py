import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import registry
from harness.errors import UsageError
from harness.protocol import WorkloadSpec
from harness.workloads.imageset import ImageSet
from harness.workloads.official_runs import OfficialRuns, OfficialTasks
from harness.workloads.official_runs_data import OfficialRun

SIZES = {"Alpha": 24, "Beta": 30, "Gamma": 17}
DRAWERS = 6
ALPHABET = [name for name, size in SIZES.items() for _ in range(size)]  # of each class


def numbered(sizes: dict[str, int]) -> ImageSet:
    """Images that say what they are: class and drawer as intensities in the two pixels after the upper
    left corner, where a full one marks which way is up."""
    names = [f"{name}/character{i + 1:02d}" for name, size in sizes.items() for i in range(size)]
    images = np.zeros((len(names), DRAWERS, 28, 28), np.uint8)
    images[..., 0, 0] = 255
    images[..., 0, 1] = 10 + np.arange(len(names))[:, None]
    images[..., 0, 2] = 100 + np.arange(DRAWERS)
    return ImageSet.of(names, images)


def made_up_run(number: int) -> OfficialRun:
    """Character c is a blot of c + 1 pixels, that of its test item one row lower; labels are mixed."""
    training = np.zeros((20, 105, 105), bool)
    for c in range(20):
        training[c, number, : c + 1] = True
    labels = np.random.default_rng(number).permutation(20)
    return OfficialRun(f"run{number:02d}", training, np.roll(training, 1, axis=1)[labels], labels)


def tasks_of(**settings: Any) -> OfficialTasks:
    splits = {"train": numbered(SIZES), "validation": numbered({"Delta": 22})}
    return OfficialTasks(OfficialRuns(**settings), splits, [made_up_run(1), made_up_run(2)], "")


def read(images: torch.Tensor) -> np.ndarray:
    """Of images [T, n, 1, h, w]: class, drawer and quarter turns [T, n, 3]."""
    pixels = (images[:, :, 0] * 255).round().int().numpy()
    found = np.empty((*pixels.shape[:2], 3), int)
    for t, n in np.ndindex(*pixels.shape[:2]):
        (turns,) = [k for k in range(4) if np.rot90(pixels[t, n], -k)[0, 0] == 255]
        upright = np.rot90(pixels[t, n], -turns)
        found[t, n] = upright[0, 1] - 10, upright[0, 2] - 100, turns
    return found


def alphabets(classes: np.ndarray) -> Counter[str]:
    return Counter(ALPHABET[c] for c in classes)


# --- training and validation ---


def test_a_training_episode_is_of_one_alphabet_turned_as_a_whole() -> None:
    found = read(tasks_of().sample("train", 0, 0, 400).support.inputs)
    drawn: Counter[str] = Counter()
    for task in found:
        assert len(set(task[:, 0])) == 20
        assert len(set(task[:, 2])) == 1
        ((name, most),) = alphabets(task[:, 0]).most_common(1)
        assert most == min(20, SIZES[name]), "the rest of a small alphabet's episode is of others"
        drawn[name] += 1
    turns = Counter(found[:, 0, 2].tolist())
    assert set(turns) == {0, 1, 2, 3}
    assert all(abs(times / 400 - 1 / 4) < 0.07 for times in turns.values())  # 3 standard deviations
    for name, size in SIZES.items():  # an alphabet is drawn as often as it has characters
        assert abs(drawn[name] / 400 - size / 71) < 0.075, name


def test_those_who_fill_up_a_small_alphabet_have_no_label_of_their_own() -> None:
    found = read(tasks_of().sample("train", 0, 0, 400).support.inputs)
    strangers = Counter(
        label
        for task in found
        if alphabets(task[:, 0])["Gamma"] == 17
        for label, character in enumerate(task[:, 0])
        if ALPHABET[character] != "Gamma"
    )
    assert len(strangers) == 20
    assert max(strangers.values()) < 4 * np.mean(list(strangers.values()))


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_other_training_episodes_draw_from_all_classes_in_all_their_turns(share: float) -> None:
    found = read(tasks_of(within=share).sample("train", 0, 0, 400).support.inputs)
    mixed = [task for task in found if len(alphabets(task[:, 0])) == 3 and len(set(task[:, 2])) > 1]
    assert abs(len(mixed) / 400 - (1 - share)) < 0.075
    assert {(c, turn) for task in mixed for c, _, turn in task} == {
        (c, q) for c in range(71) for q in range(4)
    }


def test_without_rotations_no_training_episode_is_turned() -> None:
    for share in (0.0, 1.0):
        found = read(tasks_of(rotations=False, within=share).sample("train", 0, 0, 50).query.inputs)
        assert set(found[..., 2].flat) == {0}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_validation_is_the_held_out_alphabet_upright(share: float) -> None:
    found = read(tasks_of(within=share).sample("validation", 0, 0, 60).query.inputs)
    assert set(found[..., 0].flat) == set(range(22))
    assert set(found[..., 2].flat) == {0}
    assert all(len(set(task[:, 0])) == 20 for task in found)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_one_drawers_images_are_the_support_and_anothers_the_query(split: Any) -> None:
    batch = tasks_of().sample(split, 0, 0, 100)
    support, query = read(batch.support.inputs)[..., 1], read(batch.query.inputs)[..., 1]
    assert (support == support[:, :1]).all()
    assert (query == query[:, :1]).all()
    assert (support[:, 0] != query[:, 0]).all()
    assert set(support[:, 0]) == set(query[:, 0]) == set(range(DRAWERS))
    mixed = tasks_of(drawers="any").sample(split, 0, 0, 100)
    assert all(len(set(task)) > 1 for task in read(mixed.support.inputs)[..., 1])


def test_each_further_query_is_another_drawers() -> None:
    batch = tasks_of(queries=3).sample("train", 0, 0, 20)
    query = read(batch.query.inputs)[..., :2].reshape(20, 20, 3, 2)
    support = read(batch.support.inputs)[..., :2]
    assert (query[..., 0] == support[:, :, None, 0]).all()
    for task in range(20):
        assert (query[task, :, :, 1] == query[task, 0, :, 1]).all()
        assert len({support[task, 0, 1], *query[task, 0, :, 1]}) == 4


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_episode_does_not_depend_on_how_many_are_drawn_at_once(split: Any) -> None:
    tasks = tasks_of(within=0.5)
    both = tasks.sample(split, 3, 0, 2)
    (_, second) = both.chunks(1)
    alone = tasks.sample(split, 3, 1, 1)
    assert second.seeds == alone.seeds != tasks.sample(split, 4, 1, 1).seeds
    assert all(map(torch.equal, second.tensors(), alone.tensors()))


# --- testing ---


def test_the_test_split_ends_with_the_runs_and_is_the_same_under_every_seed() -> None:
    tasks = tasks_of()
    assert (tasks.count("train"), tasks.count("validation"), tasks.count("test")) == (None, None, 2)
    first, other = tasks.sample("test", 0, 0, 2), tasks.sample("test", 9, 0, 2)
    assert all(map(torch.equal, first.tensors(), other.tensors()))
    with pytest.raises(ValueError, match="2 official runs, so no number 2"):
        tasks.sample("test", 0, 1, 2)


def test_a_run_is_one_task_whose_query_images_bear_the_label_of_their_character() -> None:
    batch = tasks_of(queries=5).sample("test", 0, 0, 2)
    for shots in (batch.support, batch.query):
        assert shots.inputs.shape == (2, 20, 1, 28, 28)
        ink = (shots.inputs.sum((2, 3, 4)) * (105 / 28) ** 2).round()  # pixels as published
        assert (ink.int() - 1 == shots.targets).all()
    assert not torch.equal(batch.support.inputs, batch.query.inputs)


def test_a_neighbour_in_pixels_errs_on_the_published_runs_as_an_independent_count_says(
    real_omniglot: Path,
) -> None:
    """The count reduces by Pillow's resampling of the grey image: close, not equal, to the exact areas."""
    tasks = OfficialRuns().open(real_omniglot)
    hits = []
    with zipfile.ZipFile(real_omniglot / "one_shot_runs_01_to_10.zip") as archive:

        def image(name: str) -> np.ndarray:
            grey = Image.open(io.BytesIO(archive.read(name))).convert("L")
            return np.asarray(grey.resize((28, 28), Image.Resampling.BOX), float).ravel()

        for number in range(1, 11):
            said = archive.read(f"run{number:02d}/class_labels.txt").decode().split()
            examples = {name: image(name) for name in said[1::2]}
            for item, character in zip(said[::2], said[1::2], strict=True):
                own = image(item)
                nearest = min(examples, key=lambda name: float(((examples[name] - own) ** 2).sum()))
                hits.append(nearest == character)
    floors = tasks.floors(0, 10)
    assert floors["neighbour_accuracy"].shape == (10,)
    assert float(floors["neighbour_accuracy"].mean()) == pytest.approx(np.mean(hits), abs=0.03)


def test_training_sees_no_alphabet_of_validation_and_validation_is_that_of_the_minimal_split(
    real_omniglot: Path,
) -> None:
    tasks = OfficialRuns().open(real_omniglot)
    assert isinstance(tasks, OfficialTasks)
    of = {
        split: Counter(name.partition("/")[0] for name in images.names)
        for split, images in tasks.splits.items()
    }
    assert of == {
        "train": {
            "Balinese": 24,
            "Greek": 24,
            "Japanese_(katakana)": 47,
            "Korean": 40,
            "Latin": 26,
            "Sanskrit": 42,
            "Tagalog": 17,
        },
        "validation": {"Early_Aramaic": 22},
    }


def test_the_fingerprint_is_of_images_split_and_runs(real_omniglot: Path) -> None:
    images, split, runs = OfficialRuns().open(real_omniglot).fingerprint.split(":")
    assert len(images) == len(split) == len(runs) == 64
    again = OfficialRuns(filters=8, queries=3, within=0.5).open(real_omniglot).fingerprint
    assert again == f"{images}:{split}:{runs}"


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ways": 5}, "ways=5 and shots=1 are not the official runs' own; leave them at 20 and 1"),
        ({"shots": 5}, "ways=20 and shots=5 are not the official runs' own; leave them at 20 and 1"),
        ({"within": 1.5}, "within is a share from 0 to 1, not 1.5"),
        ({"within": -0.1}, "within is a share from 0 to 1, not -0.1"),
        ({"drawers": "one"}, "setting 'drawers' cannot be 'one'"),
    ],
)
def test_settings_that_are_none_of_the_protocol_are_refused(settings: dict[str, Any], said: str) -> None:
    spec = WorkloadSpec("omniglot-official-runs", settings, "suites/mine.toml")
    with pytest.raises(UsageError) as failure:
        registry.make_workload(spec)
    assert f"suites/mine.toml: workload 'omniglot-official-runs': {said}" in str(failure.value)


def test_without_a_data_root_it_says_how_to_give_one() -> None:
    with pytest.raises(UsageError, match=r"workload 'omniglot-official-runs' needs .* --data-root"):
        OfficialRuns().open(None)
