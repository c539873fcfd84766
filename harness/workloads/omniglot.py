"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015), whole or its two minimal background sets."""

from pathlib import Path
from typing import ClassVar

from harness.data.places import VARIABLE, find_data_root
from harness.errors import UsageError
from harness.workloads.images import FewShotImages
from harness.workloads.imageset import ImageSet
from harness.workloads.omniglot_data import load_omniglot, load_omniglot_minimal


class Omniglot(FewShotImages):
    """1,623 handwritten characters by 20 drawers; 1,100 train, 100 validation, 423 test characters."""

    name: ClassVar[str] = "omniglot"
    split_name: ClassVar[str] = "omniglot"

    def load(self, data_root: Path | None) -> ImageSet:
        return load_omniglot(required(self.name, data_root))


class OmniglotMinimal(FewShotImages):
    """The official minimal background sets: 242 characters of 8 alphabets, split by alphabet."""

    name: ClassVar[str] = "omniglot-minimal"
    split_name: ClassVar[str] = "omniglot-minimal"

    def load(self, data_root: Path | None) -> ImageSet:
        return load_omniglot_minimal(required(self.name, data_root))


def required(name: str, data_root: Path | None) -> Path:
    """The folder with the images, or a UsageError that says how to get them or name it."""
    root = find_data_root(data_root)
    if not root.exists():
        raise UsageError(
            f"workload '{name}' needs its images, and there is no folder {root}; get them with "
            f"`innerloop data fetch {name}`, or name the folder of a copy with --data-root DIR or {VARIABLE}."
        )
    return root
