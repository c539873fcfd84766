"""What data the workloads learn from: the archives as published, and what else is read from a local copy."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import UsageError, nearest

ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
"""Where Omniglot's archives are published (Lake, Salakhutdinov and Tenenbaum 2015, MIT licence)."""

LAYOUTS = ("", "omniglot-py", "omniglot", "python", "omniglot/python")
"""Where a copy may lie below a folder: bare, as torchvision leaves it, as the public repository has it."""


@dataclass(frozen=True)
class Characters:
    """`<Alphabet>/characterNN/*.png`, the same number of drawings of each character."""

    alphabets: int
    characters: int
    drawings: int = 20

    def __str__(self) -> str:
        return f"{self.characters} characters of {self.alphabets} alphabets, {self.drawings} drawings each"


@dataclass(frozen=True)
class Runs:
    """`runNN/training/classNN.png`, `runNN/test/itemNN.png` and `runNN/class_labels.txt`."""

    runs: int
    characters: int = 20

    def __str__(self) -> str:
        return f"{self.runs} runs of {self.characters} training and {self.characters} test drawings"


@dataclass(frozen=True)
class Archive:
    """A zip as published.

    name: its file name without ".zip"; the folder extracted from it bears it too.
    path: where it lies below `ADDRESS`.
    checksum: "md5:..." or "sha256:...", as published or as taken from the published file.
    size: about how many bytes.
    """

    name: str
    path: str
    checksum: str
    size: int
    contents: Characters | Runs

    @property
    def file(self) -> str:
        return f"{self.name}.zip"

    @property
    def kind(self) -> str:
        """Of checksum: "md5" or "sha256"."""
        return self.checksum.partition(":")[0]

    def is_published(self, path: Path) -> bool:
        """Whether the file is the archive as published, by its checksum. Raises OSError."""
        with path.open("rb") as file:
            # Of public data; md5 is what there is of the two large archives, in torchvision.
            found = hashlib.file_digest(file, partial(hashlib.new, self.kind, usedforsecurity=False))
        return f"{self.kind}:{found.hexdigest()}" == self.checksum


@dataclass(frozen=True)
class Dataset:
    """What one workload reads, by the workload's name. Without archives it is read from a local copy alone,
    and `forms` says in what forms."""

    name: str
    what: str
    archives: tuple[Archive, ...] = ()
    forms: str = ""


BACKGROUND = Archive(
    "images_background",
    "images_background.zip",
    "md5:68d2efa1b9178cc56df9314c21c6e718",
    9_500_000,
    Characters(30, 964),
)
EVALUATION = Archive(
    "images_evaluation",
    "images_evaluation.zip",
    "md5:6b91aef0f799c5bb55b94e3f2daec811",
    6_500_000,
    Characters(20, 659),
)
SMALL_1 = Archive(
    "images_background_small1",
    "images_background_small1.zip",
    "sha256:f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
    1_319_022,
    Characters(5, 136),
)
SMALL_2 = Archive(
    "images_background_small2",
    "images_background_small2.zip",
    "sha256:3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
    1_580_917,
    Characters(5, 156),
)
ALL_RUNS = Archive(
    "all_runs",
    "one-shot-classification/all_runs.zip",
    "sha256:437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325",
    320_000,
    Runs(20),
)

MINI_IMAGENET = Dataset(
    "mini-imagenet",
    "100 classes of 600 photographs, 84x84, the split of Ravi and Larochelle 2017",
    forms="a local copy alone, for ImageNet is not ours to give: image folders with Ravi and "
    "Larochelle's train.csv, val.csv and test.csv, or the pickles mini-imagenet-cache-train.pkl, "
    "-val.pkl and -test.pkl",
)

DATASETS = (
    Dataset("omniglot", "1,623 handwritten characters by 20 drawers", (BACKGROUND, EVALUATION)),
    Dataset("omniglot-minimal", "the two minimal background sets, 242 characters", (SMALL_1, SMALL_2)),
    Dataset(
        "omniglot-official-runs",
        "the minimal background sets, and the 20 official within-alphabet one-shot runs",
        (SMALL_1, SMALL_2, ALL_RUNS),
    ),
    MINI_IMAGENET,
)

ARCHIVES = {archive.name: archive for dataset in DATASETS for archive in dataset.archives}


def choose(names: Sequence[str]) -> tuple[Archive, ...]:
    """The archives that the names of datasets and archives ask for, each once. Raises UsageError."""
    return tuple({archive.name: archive for name in names for archive in _named(name)}.values())


def _named(name: str) -> Iterator[Archive]:
    for dataset in DATASETS:
        if dataset.name == name:
            if not dataset.archives:
                raise UsageError(f"{name} is read from {dataset.forms}; name its folder with --data-root.")
            yield from dataset.archives
            return
    plain = name.removesuffix(".zip")
    if plain not in ARCHIVES:
        known = [*(dataset.name for dataset in DATASETS), *ARCHIVES]
        raise UsageError(f"the dataset '{name}' is unknown; {nearest(name, known)}")
    yield ARCHIVES[plain]
