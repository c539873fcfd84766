"""Mini-ImageNet from pickles, in both forms that people have."""

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mini_imagenet_copies import (
    EXPECTED,
    FOLDERS,
    IMAGES,
    LABELS,
    PIXELS,
    check,
    fails,
    fails_in_little_memory,
    load,
    understate,
    write_images,
    write_lists,
)

from harness.data.archives import LISTED
from harness.workloads import mini_imagenet_copy

Contents = dict[str, dict[str, Any]]

RENS = {split: f"mini-imagenet-cache-{folder}.pkl" for split, folder in FOLDERS.items()}
LEARN2LEARNS = RENS | {"validation": "mini-imagenet-cache-validation.pkl"}
GIDARIS = {
    "train": "miniImageNet_category_split_train_phase_train.pickle",
    "validation": "miniImageNet_category_split_val.pickle",
    "test": "miniImageNet_category_split_test.pickle",
}


def with_class_dict() -> Contents:
    """As Ren et al. 2018 wrote them. The images of a class need not be neighbours."""
    contents: Contents = {}
    for split, labels in EXPECTED.items():
        order = np.arange(len(labels) * IMAGES).reshape(len(labels), IMAGES).T.ravel().argsort()
        pixels = np.concatenate([PIXELS[label] for label in labels])
        rows = order.reshape(len(labels), IMAGES)
        shuffled = np.empty_like(pixels)
        shuffled[order] = pixels
        contents[split] = {
            "image_data": shuffled,
            "class_dict": {label: own.tolist() for label, own in zip(labels, rows, strict=True)},
        }
    return contents


def with_labels() -> Contents:
    """As Gidaris and Komodakis 2018 wrote them; their numbers run on from split to split."""
    return {
        split: {
            "data": np.concatenate([PIXELS[label] for label in labels]),
            "labels": [number + 7 for number, _ in enumerate(labels) for _ in range(IMAGES)],
            "catname2label": {label: number + 7 for number, label in enumerate(labels)},
            "label2catname": dict(enumerate(labels)),
        }
        for split, labels in EXPECTED.items()
    }


def write(folder: Path, contents: Contents, names: dict[str, str] = RENS, protocol: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        (folder / names[split]).write_bytes(pickle.dumps(content, protocol))
    return folder


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("names", [RENS, LEARN2LEARNS], ids=["Ren", "learn2learn"])
def test_pickles_with_a_class_dict_are_read(tmp_path: Path, names: dict[str, str], protocol: int) -> None:
    check(load(write(tmp_path / "copy", with_class_dict(), names, protocol)))


@pytest.mark.parametrize("of_numpy", [False, True], ids=["list", "array"])
def test_pickles_with_labels_are_read(tmp_path: Path, of_numpy: bool) -> None:
    contents = with_labels()
    for content in contents.values():
        content["labels"] = np.array(content["labels"]) if of_numpy else content["labels"]
    check(load(write(tmp_path / "copy", contents, GIDARIS)))


def test_what_python_2_calls_text_is_read(tmp_path: Path) -> None:
    """Its strings are bytes here; `test_plain_pickle` has some that it wrote."""
    contents: Any = {
        split: {
            b"image_data": content["image_data"],
            b"class_dict": {label.encode(): rows for label, rows in content["class_dict"].items()},
        }
        for split, content in with_class_dict().items()
    }
    check(load(write(tmp_path / "copy", contents, protocol=3)))


def test_pickles_in_a_zip_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "copy", with_class_dict())
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, Path("mini", file.name))
    check(load(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "truncated or no zip" in fails(path)


def test_a_member_of_a_zip_may_be_larger_than_its_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A true pickle takes 1 GB, and the array in it is read at once."""
    folder = write(tmp_path / "copy", with_class_dict())
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    monkeypatch.setattr(mini_imagenet_copy, "MOST_FILES", 3)
    assert min(file.stat().st_size for file in folder.iterdir()) > 3 * LISTED
    check(load(path))


def test_images_go_before_pickles(tmp_path: Path) -> None:
    folder = write_lists(write_images(tmp_path / "copy", "images/{name}"))
    (folder / RENS["train"]).write_bytes(b"no pickle")
    check(load(folder))


def test_images_and_pickles_of_the_same_pixels_have_one_fingerprint(tmp_path: Path) -> None:
    pickles = write(tmp_path / "pickles", with_class_dict())
    images = write_images(tmp_path / "images", "{split}/{label}/{name}")
    assert load(pickles).fingerprint == load(images).fingerprint


# --- damaged ---


class Runs:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(tmp_path: Path, own_image_cache: Path) -> None:
    contents = with_class_dict()
    contents["validation"]["image_data"] = Runs(f"touch {tmp_path / 'victim'}")
    copy = write(tmp_path / "copy", contents)
    message = fails(copy)
    assert message.startswith(str(copy / "mini-imagenet-cache-val.pkl"))
    assert "names posix.system" in message
    assert "from a source that you trust" in message
    assert not (tmp_path / "victim").exists()
    assert [path.suffix for path in own_image_cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_pickle_is_named(tmp_path: Path, own_image_cache: Path, keep: float) -> None:
    copy = write(tmp_path / "copy", with_class_dict())
    path = copy / "mini-imagenet-cache-test.pkl"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    assert f"{path} cannot be read as images of Mini-ImageNet (it is damaged" in fails(copy)
    assert [path.suffix for path in own_image_cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("split", EXPECTED)
def test_a_missing_pickle_is_named(tmp_path: Path, split: str) -> None:
    copy = write(tmp_path / "copy", with_class_dict())
    (copy / RENS[split]).unlink()
    assert f"but no {RENS[split]}" in fails(copy)


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (change("image_data", None), "no array called image_data or data"),
        (change("image_data", [1]), "no array called image_data or data"),
        (
            change("image_data", PIXELS[LABELS[0]].astype(np.int16)),
            r"int16 \[3, 84, 84, 3\] instead of uint8",
        ),
        (change("image_data", PIXELS[LABELS[0]][:, :32, :32]), r"uint8 \[3, 32, 32, 3\] instead of uint8"),
        (change("image_data", PIXELS[LABELS[0]].astype(float)), "whole numbers"),
        (change("class_dict", 5), "neither class_dict nor labels"),
        (change("class_dict", {"n01532829": ["a"]}), "not lists of whole numbers"),
        (change("class_dict", {"n01532829": 0}), "not lists of whole numbers"),
        (change("class_dict", {1: [0]}), "a int where a name should be"),
        (change("class_dict", {"n01532829": [0, 1, 1]}), "an image twice"),
        (change("class_dict", {"n01532829": [0, 1, 6]}), "one that is not there"),
        (change("class_dict", {"n01532829": [0, 1, -1]}), "one that is not there"),
        (
            change("class_dict", {"n01532829": [0, 1], "n13133613": [2, 3, 4]}),
            "n01532829 has 2 images instead of 3",
        ),
        (
            change("class_dict", {"n01532829": [0, 1, 2]}),
            "1 of 2 classes are missing, the first is n13133613",
        ),
        (change("class_dict", {"n01930112": [0, 1, 2]}), "n01930112 is not of the train split of Ravi"),
        (change("class_dict", {"goose": [0, 1, 2]}), "goose is not of the train split of Ravi"),
        (change(1, 2), "a int where a name should be"),
    ],
)
def test_a_wrong_pickle_is_named(tmp_path: Path, damage: Any, wrong: str) -> None:
    contents = with_class_dict()
    damage(contents["train"])
    copy = write(tmp_path / "copy", contents)
    message = fails(copy)
    assert message.startswith(str(copy / RENS["train"]))
    assert re.search(wrong, message)


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    copy = write(tmp_path / "copy", with_class_dict() | {"test": [1]})  # type: ignore[dict-item]
    assert "it holds no dictionary" in fails(copy)


def test_a_pickle_that_inflates_to_more_than_its_zip_says_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "copy.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in RENS.values():
            archive.writestr(name, pickle.dumps(bytes(2**26), 4))
    understate(path, RENS["train"])
    assert "it is damaged or no pickle: it ends too early" in fails_in_little_memory(path)


def test_a_pickle_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    copy = write(tmp_path / "copy", with_class_dict())
    with (copy / RENS["test"]).open("r+b") as file:
        file.truncate(5 << 30)  # sparse
    assert "takes more than" in fails(copy)
