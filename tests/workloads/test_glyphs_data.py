import hashlib
import unicodedata
from collections import Counter
from importlib import resources

import numpy as np
import pytest
from scipy import ndimage

from harness.workloads import glyphs_drawing
from harness.workloads.glyphs_data import load_glyphs
from harness.workloads.imageset import DRAWINGS, SPLITS, ImageSet, fingerprint, load_split

PACKED_SHA256 = "92db936bfd544dc08e57e5ff85777ad676066b8080ef02430d7def888dff8909"
FINGERPRINT = "bb1b636130f061d2a9909e99d83ac3efa79ffeec6a0cf916ccaf663437203541"


@pytest.fixture(scope="module")
def glyphs() -> ImageSet:
    return load_glyphs()


@pytest.fixture(scope="module")
def split() -> dict[str, tuple[str, ...]]:
    return load_split("glyphs")


def drawing_hashes(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in images.reshape(-1, 28 * 28)]


def test_packed_file_is_the_one_that_results_were_made_with() -> None:
    packed = (resources.files("harness.workloads") / "glyphs.npz").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == PACKED_SHA256
    assert len(packed) < 4e6


def test_stored_fingerprint_is_that_of_the_images(glyphs: ImageSet) -> None:
    assert glyphs.fingerprint == fingerprint(glyphs.names, glyphs.images) == FINGERPRINT


def test_images_are_ink_on_empty_ground(glyphs: ImageSet) -> None:
    assert glyphs.images.dtype == np.uint8
    assert glyphs.images.shape == (len(glyphs.names), DRAWINGS, 28, 28)
    assert set(np.unique(glyphs.images)) == {0, 255}
    assert not glyphs.images.flags.writeable
    ink = (glyphs.images == 255).mean(axis=(2, 3))
    assert ink.min() > 0
    assert ink.max() < 0.5


def test_no_drawing_runs_off_the_page(glyphs: ImageSet) -> None:
    assert not glyphs.images[:, :, [0, -1], :].any()
    assert not glyphs.images[:, :, :, [0, -1]].any()


def test_no_drawing_occurs_twice(glyphs: ImageSet) -> None:
    hashes = drawing_hashes(glyphs.images)
    assert len(set(hashes)) == len(hashes)


def test_splits_share_no_drawing(glyphs: ImageSet, split: dict[str, tuple[str, ...]]) -> None:
    hashes = {part: set(drawing_hashes(glyphs.images[glyphs.rows(split[part])])) for part in SPLITS}
    assert not hashes["train"] & hashes["validation"]
    assert not hashes["train"] & hashes["test"]
    assert not hashes["validation"] & hashes["test"]


def test_split_covers_the_set(glyphs: ImageSet, split: dict[str, tuple[str, ...]]) -> None:
    assert tuple(sorted(name for part in SPLITS for name in split[part])) == glyphs.names


def test_scripts_of_validation_and_test_are_unseen(split: dict[str, tuple[str, ...]]) -> None:
    scripts = {part: Counter(name.split("/")[0] for name in split[part]) for part in SPLITS}
    assert sum(map(len, scripts.values())) == 15
    assert len(set().union(*scripts.values())) == 15
    for part in ("validation", "test"):
        assert len(scripts[part]) >= 3
        assert scripts[part].total() >= 100


def test_classes_are_letters_of_the_script_they_name(glyphs: ImageSet) -> None:
    prefixes = {script: prefix for part in glyphs_drawing.SCRIPTS.values() for prefix, script in part.items()}
    for name in glyphs.names:
        script, code = name.split("/U+")
        character = chr(int(code, 16))
        assert unicodedata.category(character) in ("Lu", "Ll", "Lo")
        assert unicodedata.name(character).startswith(prefixes[script])


def test_letters_drawn_alike_are_one_class(glyphs: ImageSet) -> None:
    # Latin A is Greek Alpha and Cyrillic A; capital and small o are one; so are Latin x and Greek chi.
    assert "Latin/U+0041" in glyphs.names
    for twin in ("Greek/U+0391", "Cyrillic/U+0410", "Latin/U+006F", "Armenian/U+0585"):
        assert twin not in glyphs.names


def test_a_hand_draws_the_same_letter_again_from_the_same_seed() -> None:
    first, second = (glyphs_drawing.draw("Ж", np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != glyphs_drawing.draw("Ж", np.random.default_rng(4))).any()


def test_faces_without_a_letter_never_draw_it() -> None:
    assert glyphs_drawing.faces_of("ⵥ") == ["DejaVuSans", "DejaVuSans-Bold"]
    assert glyphs_drawing.faces_of("一") == []


def test_thinning_keeps_a_ring_a_ring_and_a_bar_a_line() -> None:
    rows, columns = np.indices((40, 40)) - 20
    radius = np.hypot(rows, columns)
    ring = glyphs_drawing.thin((radius < 15) & (radius > 9))
    assert 60 < ring.sum() < 90  # about 2 pi 12 points
    assert not ring[20, 20]
    bar = glyphs_drawing.thin((abs(rows) < 4) & (abs(columns) < 15))
    assert bar.sum(axis=0).max() <= 2


@pytest.mark.parametrize("side", [1, 2, 5, 10])
def test_thinning_keeps_a_dot(side: int) -> None:
    ink = np.zeros((20, 20), bool)
    ink[4 : 4 + side, 4 : 4 + side] = True
    path = glyphs_drawing.thin(ink)
    assert 1 <= path.sum() <= 3
    assert (path <= ink).all()


def test_every_drawing_keeps_the_dots_of_its_letter() -> None:
    # Latin bilabial click, a ring around a dot: were the dot lost, the ring's middle would be empty.
    parts = [
        ndimage.label(glyphs_drawing.draw("ʘ", np.random.default_rng(seed)), structure=np.ones((3, 3)))[1]
        for seed in range(30)
    ]
    assert sum(count == 2 for count in parts) >= 27  # a wide pen may join ring and dot
