import json
from importlib import resources

import numpy as np
import pytest

from harness.errors import UsageError
from harness.workloads.imageset import SPLITS, ImageSet, fingerprint, load_split, split_fingerprint

COMMITTED = ("glyphs", "omniglot", "omniglot-minimal")


def three_classes() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 28, 28), dtype=np.uint8)
    return ImageSet.of(["b", "a", "c"], images)


def test_classes_are_sorted_with_their_images() -> None:
    images = np.zeros((2, 1, 28, 28), np.uint8)
    images[0] = 7
    made = ImageSet.of(["b", "a"], images)
    assert made.names == ("a", "b")
    assert made.images[:, 0, 0, 0].tolist() == [0, 7]


def test_fingerprint_does_not_depend_on_the_order_given() -> None:
    made = three_classes()
    again = ImageSet.of(["c", "a", "b"], made.images[[2, 0, 1]])
    assert again.fingerprint == made.fingerprint == fingerprint(made.names, made.images)


def test_fingerprint_changes_with_a_pixel_and_with_a_name() -> None:
    made = three_classes()
    images = made.images.copy()
    images[2, 3, 27, 27] ^= 1
    assert ImageSet.of(made.names, images).fingerprint != made.fingerprint
    assert ImageSet.of(["a", "b", "d"], made.images).fingerprint != made.fingerprint


def test_images_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        three_classes().images[0, 0, 0, 0] = 1


def test_rows_say_where_classes_are_in_the_order_of_their_names() -> None:
    assert three_classes().rows(["c", "a", "c"]).tolist() == [0, 2]


def test_rows_name_the_class_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="class 'd' is not in the image set"):
        three_classes().rows(["a", "d"])


@pytest.mark.parametrize(
    ("shape", "channels", "size"), [((2, 5, 28, 28), 1, 28), ((2, 5, 3, 84, 84), 3, 84), ((2, 5, 9, 9), 1, 9)]
)
def test_images_are_square_and_grey_or_in_colour(shape: tuple[int, ...], channels: int, size: int) -> None:
    made = ImageSet.of(["a", "b"], np.zeros(shape, np.uint8))
    assert (made.channels, made.size) == (channels, size)


@pytest.mark.parametrize(
    ("names", "shape", "dtype"),
    [
        (["a", "a"], (2, 1, 28, 28), np.uint8),
        (["a"], (2, 1, 28, 28), np.uint8),
        (["a"], (1, 1, 28, 28), np.float32),
        (["a"], (1, 1, 27, 28), np.uint8),
        (["a"], (1, 1, 1, 28, 28), np.uint8),
        (["a"], (1, 1, 84, 84, 3), np.uint8),
        (["a"], (1, 28, 28), np.uint8),
    ],
    ids=["repeated", "count", "dtype", "size", "one channel", "channels last", "no images"],
)
def test_malformed_sets_are_refused(names: list[str], shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"repeat|images are"):
        ImageSet.of(names, np.zeros(shape, dtype))


@pytest.mark.parametrize("name", COMMITTED)
def test_no_class_is_in_two_splits(name: str) -> None:
    split = load_split(name)
    assert tuple(split) == SPLITS
    names = [name for part in SPLITS for name in split[part]]
    assert len(set(names)) == len(names)
    assert all(list(split[part]) == sorted(split[part]) for part in SPLITS)


@pytest.mark.parametrize("name", COMMITTED)
def test_split_files_hold_one_class_a_line(name: str) -> None:
    text = (resources.files("harness.workloads") / "splits" / f"{name}.json").read_text(encoding="utf-8")
    classes = sum(len(part) for part in json.loads(text).values())
    assert sum("/" in line for line in text.splitlines()) == classes


def test_split_fingerprints_tell_splits_apart() -> None:
    assert len({split_fingerprint(name) for name in COMMITTED}) == len(COMMITTED)


def test_unknown_split_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'omniglot'"):
        load_split("omniglott")
