"""Where a copy of Mini-ImageNet is, and its files: in a folder or in a zip, of which nothing is extracted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.data.archives import DEEPEST, Member, members_of
from harness.errors import UsageError
from harness.workloads.imageset import load_split

PICKLES = {
    "train": ("mini-imagenet-cache-train.pkl", "miniImageNet_category_split_train_phase_train.pickle"),
    "validation": (
        "mini-imagenet-cache-val.pkl",
        "mini-imagenet-cache-validation.pkl",  # learn2learn's name for it
        "miniImageNet_category_split_val.pickle",
    ),
    "test": ("mini-imagenet-cache-test.pkl", "miniImageNet_category_split_test.pickle"),
}
"""What the pickle of each split is called."""

LANDMARKS = frozenset(
    ("train.csv", "images", "train", *(name for several in PICKLES.values() for name in several))
)
"""Files and folders of which any copy has one at its top; or it has the folders of classes there."""

MOST_FILES = 200_000  # 60,000 images and what macOS adds to each, with room
REMEDY = "name a whole copy of Mini-ImageNet, and nothing else"
CONTENT = (
    "give --data-root a folder or zip with images/ and train.csv, val.csv and test.csv, or with train/, val/ "
    "and test/, each with a folder for every class, or with the three mini-imagenet-cache pickles"
)


def find_copy(data_root: Path) -> "Copy":
    """The copy at `data_root`, or below it as `mini-imagenet`, `miniImagenet.zip` or the like.

    Raises UsageError where there is none.
    """
    if data_root.is_file():
        return Copy(data_root)
    entries = sorted(data_root.iterdir()) if data_root.is_dir() else []
    for entry in entries:
        name = entry.stem if entry.suffix == ".zip" else entry.name
        if name.lower().replace("-", "").replace("_", "") == "miniimagenet":
            return Copy(entry)
    if _are_of_a_copy(entry.name for entry in entries):
        return Copy(data_root)
    raise UsageError(f"{data_root} holds no Mini-ImageNet; {CONTENT}.")


def look_for_copy(data_root: Path) -> "Copy | None":
    """As `find_copy`, but a zip that is the data root must have something of a copy in it.

    Raises UsageError where it cannot be read.
    """
    if data_root.is_file():
        copy = Copy(data_root)
        return copy if any(_are_of_a_copy(path.parts) for path in copy.members()) else None
    try:
        return find_copy(data_root)
    except UsageError:
        return None


def _are_of_a_copy(names: Iterable[str]) -> bool:
    classes = {label for labels in load_split("mini-imagenet").values() for label in labels}
    return any(name in LANDMARKS or name in classes for name in names)


@dataclass(frozen=True)
class Copy:
    """A zip or a folder with Mini-ImageNet in it."""

    path: Path

    def members(self) -> dict[PurePosixPath, Member]:
        """All files, by their paths below the folder where the lists, images or pickles begin.

        What macOS adds is left out. Raises UsageError.
        """
        plain = dict(members_of(self.path, MOST_FILES, REMEDY))
        around = _folders_around(plain)
        return {PurePosixPath(*path.parts[around:]): member for path, member in plain.items()}


def _folders_around(paths: Mapping[PurePosixPath, object]) -> int:
    """How many folders a zip has around the copy."""
    for depth in range(DEEPEST):
        if _are_of_a_copy(path.parts[depth] for path in paths if len(path.parts) > depth):
            return depth
    return 0


def check_counts(where: object, counts: Mapping[str, int], labels: Iterable[str], images: int) -> None:
    """Refuse a class of `labels` that is missing, or has not as many images as it should."""
    wanted = sorted(labels)
    missing = [label for label in wanted if label not in counts]
    if missing:
        raise UsageError(
            f"{where}: {len(missing)} of {len(wanted)} classes are missing, the first is {missing[0]}; "
            "complete the copy."
        )
    for label in wanted:
        if counts[label] != images:
            raise UsageError(
                f"{where}: class {label} has {counts[label]} images instead of {images}; complete the copy."
            )
