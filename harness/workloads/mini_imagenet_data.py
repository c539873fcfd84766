"""Mini-ImageNet (Vinyals et al. 2016) with the splits of Ravi and Larochelle (2017), from a local copy.

100 classes of ImageNet, 600 colour images each. A copy is a folder or a zip of one of these forms:

*Images and lists*: `train.csv`, `val.csv` and `test.csv` as Ravi and Larochelle published them (columns
filename and label, a WordNet id), at the top or in `split/`, and the images that they name, wherever people
have put them: `images/` (where MAML's code wants them), `images/<label>/` (MMFewShot's), `train/<label>/` and
so on (what MAML's code and the mini-imagenet-tools make of them), or `<label>/`.

*Images alone*, in folders called after their classes, as above.

*Pickles*: `mini-imagenet-cache-{train,val,test}.pkl` with `image_data` and `class_dict`, of Ren et al. (2018)
and learn2learn; or `miniImageNet_category_split_{train_phase_train,val,test}.pickle` with `data`, `labels`
and `catname2label`, of Gidaris and Komodakis (2018). Where a copy has images too, those are read.

Lists say which images a class has. Which split it is in says the committed split, which holds the classes of
the lists that Ravi and Larochelle published; lists, folders and pickles that say otherwise are refused.

Images of another size than 84x84 are squeezed to it whole, by Lanczos' filter, as MAML's code does with the
published ones. Others took other filters (the mini-imagenet-tools average areas), so copies differ in their
pixels: the fingerprint of the data tells them apart.
"""

import csv
import io
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.data.archives import DAMAGED, Member, state_of
from harness.errors import UsageError
from harness.workloads.decoded import Decoding, load_decoded
from harness.workloads.imageset import COLOURS, SPLITS, ImageSet, load_split
from harness.workloads.mini_imagenet_copy import (
    CONTENT,
    PICKLES,
    Copy,
    check_counts,
    find_copy,
)
from harness.workloads.mini_imagenet_pickles import SIZE, pickled_classes

DECODING = 1  # raise it with any change to how images are decoded and resized: it is part of the cache's key
IMAGES = 600  # of a class

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
"""What folders and lists of the splits are called."""

LISTS = {split: (f"{name}.csv", f"split/{name}.csv") for split, name in FOLDERS.items()}
SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST_LIST = 64 << 20  # bytes; the published train.csv takes 1.2 MB
LARGEST_IMAGE = 64 << 20  # bytes; ImageNet's photographs take some 100 kB, the largest a few MB

Files = Mapping[PurePosixPath, Member]


def load_mini_imagenet(
    data_root: Path, *, expected: Mapping[str, Sequence[str]] | None = None, images: int = IMAGES
) -> ImageSet:
    """All 100 classes, named by their WordNet ids: uint8 [100, 600, 3, 84, 84].

    data_root: the copy, or a folder that holds it as `mini-imagenet`, `miniImagenet.zip` or the like.
    expected: the classes of each split, all of them needed; by default the committed split.
    images: how many each class must have.

    Raises UsageError where the copy, one of its images or its lists are missing, damaged or disagree.
    """
    split = load_split("mini-imagenet") if expected is None else expected
    copy = find_copy(Path(data_root))
    facts = [DECODING, state_of(copy.path), {name: sorted(split[name]) for name in SPLITS}, images]
    place = str(copy.path.resolve())
    return load_decoded("mini-imagenet", place, facts, lambda: _decode(copy, split, images))


def check_copy(copy: Copy) -> None:
    """Decode every image, and keep none. Raises UsageError as `load_mini_imagenet`."""
    for _ in _decode(copy, load_split("mini-imagenet"), IMAGES).rows():
        pass


def _decode(copy: Copy, split: Mapping[str, Sequence[str]], images: int) -> Decoding:
    files = copy.members()
    pictures = {path: member for path, member in files.items() if path.suffix.lower() in SUFFIXES}
    pickles = {} if pictures else _one_each(copy, files, PICKLES)
    lists = {} if pickles else _one_each(copy, files, LISTS)
    classes: Iterable[tuple[str, NDArray[np.uint8]]]
    if pickles:
        classes = pickled_classes(pickles, split, images)
    elif pictures or lists:
        splits = {label: name for name in SPLITS for label in split[name]}
        of_class = _listed(copy, lists, pictures, splits) if lists else _by_folder(copy, pictures, splits)
        check_counts(copy.path, {label: len(found) for label, found in of_class.items()}, splits, images)
        classes = ((label, np.stack([_pixels(one) for one in found])) for label, found in of_class.items())
    else:
        raise UsageError(f"{copy.path} holds no Mini-ImageNet; {CONTENT}.")
    names = tuple(sorted(label for name in SPLITS for label in split[name]))
    return Decoding(names, (images, COLOURS, SIZE, SIZE), classes)


def _one_each(copy: Copy, files: Files, names: Mapping[str, Sequence[str]]) -> dict[str, Member]:
    """For each split the file of one of its names: of all three splits, or of none."""
    found: dict[str, Member] = {}
    for split, several in names.items():
        there = [PurePosixPath(name) for name in several if PurePosixPath(name) in files]
        if there:
            found[split] = files[there[0]]
    missing = [several[0] for split, several in names.items() if split not in found]
    if found and missing:
        other = next(iter(found.values())).name
        raise UsageError(f"{copy.path} has {other} but no {missing[0]}; complete the copy.")
    return found


def _listed(
    copy: Copy, lists: Mapping[str, Member], pictures: Files, splits: Mapping[str, str]
) -> dict[str, list[Member]]:
    """The images of each class as the lists have them, in the order of their names."""
    found: dict[str, dict[str, Member]] = defaultdict(dict)
    absent = []
    for split, member in lists.items():
        for line, name, label in _rows(member):
            where = f"{member}, line {line}"
            if label not in splits:
                raise UsageError(f"{where}: {label} is no class of Mini-ImageNet; take the published lists.")
            if splits[label] != split:
                raise UsageError(
                    f"{where}: class {label} is of the {splits[label]} split of Ravi and Larochelle, not of "
                    f"{split}; take their lists."
                )
            if name in found[label]:
                raise UsageError(f"{where}: {name} is listed a second time; take the published lists.")
            picture = _placed(name, label, FOLDERS[split], pictures)
            if picture is None:
                absent.append(f"{name} of {member.name}, line {line}")
            else:
                found[label][name] = picture
    if absent:
        raise UsageError(
            f"{copy.path}: {len(absent):,} images of the lists are missing, the first is {absent[0]}; put "
            "them into images/ beside the lists."
        )
    return {label: [named[name] for name in sorted(named)] for label, named in found.items()}


def _placed(name: str, label: str, folder: str, pictures: Files) -> Member | None:
    """The image that a list calls `name`, in any of the places where people have them."""
    base = PurePosixPath(name).name
    for place in (f"images/{name}", f"images/{label}/{base}", f"{folder}/{label}/{base}", f"{label}/{base}"):
        if PurePosixPath(place) in pictures:
            return pictures[PurePosixPath(place)]
    return None


def _rows(member: Member) -> Iterator[tuple[int, str, str]]:
    """Line number, file name and label of each row of a list. Raises UsageError."""
    try:
        text = member.content(LARGEST_LIST).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text), strict=True)
        columns = [column.strip() for column in next(reader, [])]
        rows = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    except (*DAMAGED, csv.Error) as error:
        raise UsageError(f"{member} cannot be read as a list ({error}); take the published one.") from error
    if columns != ["filename", "label"]:
        raise UsageError(
            f"{member}: its columns are {', '.join(columns) or 'none'} instead of filename, label; take the "
            "published list."
        )
    for line, row in rows:
        if len(row) != 2 or not all(row):
            raise UsageError(
                f"{member}, line {line}: wanted a file name and a label, found '{','.join(row)}'; take the "
                "published list."
            )
        yield line, row[0], row[1]


def _by_folder(copy: Copy, pictures: Files, splits: Mapping[str, str]) -> dict[str, list[Member]]:
    """The images of each class by the folders that they are in, in the order of their names."""
    split_of_folder = {folder: split for split, folder in FOLDERS.items()}
    found: dict[str, list[Member]] = defaultdict(list)
    for path in sorted(pictures):
        label = path.parent.name
        if label not in splits:
            raise UsageError(
                f"{copy.path}: {path} is in no folder of a class of Mini-ImageNet; remove it, or add "
                "the lists train.csv, val.csv and test.csv."
            )
        if split_of_folder.get(path.parent.parent.name, splits[label]) != splits[label]:
            raise UsageError(
                f"{copy.path}: {path.parent} is of the {splits[label]} split of Ravi and Larochelle; move it "
                f"to {FOLDERS[splits[label]]}/."
            )
        found[label].append(pictures[path])
    return found


def _pixels(member: Member) -> NDArray[np.uint8]:
    """An image as uint8 [3, 84, 84]. Raises UsageError where it cannot be read."""
    try:
        content = io.BytesIO(member.content(LARGEST_IMAGE))
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(content, formats=["JPEG", "PNG"])
        with picture:
            coloured = picture.convert("RGB")
    except UnidentifiedImageError as error:
        raise UsageError(f"{member} is neither a JPEG nor a PNG; replace it.") from error
    except (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{member} cannot be read as an image ({error}); replace it.") from error
    if coloured.size != (SIZE, SIZE):
        coloured = coloured.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return np.asarray(coloured).transpose(2, 0, 1)
