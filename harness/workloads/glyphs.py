"""`glyphs`: the embedded workload. No download; the images ship in the package."""

from pathlib import Path
from typing import ClassVar

from harness.workloads.glyphs_data import load_glyphs
from harness.workloads.images import Characters
from harness.workloads.imageset import ImageSet


class Glyphs(Characters):
    """Letters of many scripts from free fonts, drawn 20 times with distortions; test scripts are unseen."""

    name: ClassVar[str] = "glyphs"
    split_name: ClassVar[str] = "glyphs"

    def load(self, data_root: Path | None) -> ImageSet:
        return load_glyphs()
