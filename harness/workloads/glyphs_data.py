"""Loads the packed `glyphs` images that ship in the package; `glyphs_drawing` made them."""

import io
from importlib import resources

import numpy as np

from harness.workloads.imageset import DRAWINGS, SIDE, ImageSet


def load_glyphs() -> ImageSet:
    """All classes of `glyphs`: uint8 [classes, 20, 28, 28], 0 or 255, names "Script/U+0416".

    The fingerprint is the stored one (a test compares it with the images): hashing would double the loading
    time of every cell.
    """
    packed = (resources.files("harness.workloads") / "glyphs.npz").read_bytes()
    with np.load(io.BytesIO(packed)) as file:
        names = tuple(str(file["names"]).split("\n"))
        images = np.unpackbits(file["bits"]).reshape(len(names), DRAWINGS, SIDE, SIDE)
        images *= np.uint8(255)
        images.flags.writeable = False
        return ImageSet(names, images, str(file["fingerprint"]))
