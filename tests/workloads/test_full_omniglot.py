"""The whole of Omniglot, from archives built here with the published layout and counts."""

import dataclasses
import hashlib
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from archives import EVALUATION, ink, write_archive

from harness.data import catalogue
from harness.data.archives import Member, Source, find_archive
from harness.data.verify import verify
from harness.workloads.imageset import SPLITS, load_split
from harness.workloads.omniglot import Omniglot
from harness.workloads.omniglot_data import load_omniglot

BACKGROUND_DRAWINGS = 964 * 20


def names() -> list[str]:
    return sorted(name for part in load_split("omniglot").values() for name in part)


def is_evaluated(name: str) -> bool:
    return name.partition("/")[0] in EVALUATION


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_image_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for the tests of this file together: decoding takes seconds."""
    monkeypatch.setenv("INNERLOOP_CACHE", str(cache))
    return cache


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, 32,460 drawings of which no two are alike."""
    folder = tmp_path_factory.mktemp("omniglot")
    write_archive(folder, "images_background", [name for name in names() if not is_evaluated(name)])
    first = 1 + BACKGROUND_DRAWINGS
    write_archive(folder, "images_evaluation", filter(is_evaluated, names()), first)
    return folder


def shares_of_ink(drawing: np.ndarray) -> np.ndarray:
    """[28, 28] grey of a drawing [105, 105]: each published pixel drawn 4x4, each result's 15x15 averaged."""
    fine = np.kron(drawing, np.ones((4, 4)))
    return fine.reshape(28, 15, 28, 15).mean((1, 3)) * 255


def test_the_archives_have_the_published_counts(published: Path) -> None:
    counted = {}
    for archive in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(published / f"{archive}.zip") as file:
            drawings = [name.split("/")[1:3] for name in file.namelist() if name.endswith(".png")]
        counted[archive] = (len({a for a, _ in drawings}), len(set(map(tuple, drawings))), len(drawings))
    assert counted == {"images_background": (30, 964, 19_280), "images_evaluation": (20, 659, 13_180)}


def test_every_drawing_of_1623_characters_is_where_it_belongs(
    published: Path, own_image_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_omniglot(published)
    assert images.images.shape == (1623, 20, 28, 28)
    assert images.images.dtype == np.uint8
    assert images.names == tuple(names())
    alphabets = Counter(name.partition("/")[0] for name in images.names)
    assert (len(alphabets), alphabets["Korean"], alphabets["Tibetan"]) == (50, 40, 42)

    background = [name for name in images.names if not is_evaluated(name)]
    evaluation = [name for name in images.names if is_evaluated(name)]
    number = {name: 1 + 20 * i for i, name in enumerate(background + evaluation)}
    for row in range(0, 1623, 23):
        for drawer in range(20):
            wanted = shares_of_ink(ink(number[images.names[row]] + drawer))
            np.testing.assert_allclose(images.images[row, drawer], wanted, atol=0.5)
    # Of all others, the ink: a pixel of 105x105 is 255 * (28/105)^2 grey, and each of the touched is rounded.
    pixels = [
        sum(map(int, f"{1 + (number[n] + d) // (105 * 13) % 255:b}")) for n in images.names for d in range(20)
    ]
    grey = images.images.reshape(-1, 784).sum(1, dtype=np.int64)
    np.testing.assert_allclose(grey, 255 * (28 / 105) ** 2 * np.array(pixels), atol=6)

    # The next process reads the memory-mapped cache, and no image.
    monkeypatch.setattr(Member, "content", lambda member: pytest.fail("an image was read again"))
    (file,) = [path for path in own_image_cache.iterdir() if path.stat().st_size > images.images.nbytes]
    again = load_omniglot(published)
    assert again.fingerprint == images.fingerprint
    np.testing.assert_array_equal(again.images, images.images)
    mapped = again.images
    while mapped is not None and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    assert mapped is not None
    assert Path(mapped.filename) == file


def test_the_workload_deals_episodes_of_the_committed_split(published: Path) -> None:
    tasks = Omniglot(ways=20, shots=5, queries=15).open(published)
    for split, characters in (("train", 1100), ("validation", 100), ("test", 423)):
        assert len(load_split("omniglot")[split]) == characters
        batch = tasks.sample(split, 0, 0, 2)  # type: ignore[arg-type]
        assert batch.support.inputs.shape == (2, 100, 1, 28, 28)
        assert batch.query.inputs.shape == (2, 300, 1, 28, 28)
    assert set(SPLITS) == {"train", "validation", "test"}


def test_verify_counts_and_decodes_all_of_it(published: Path) -> None:
    for archive in (catalogue.BACKGROUND, catalogue.EVALUATION):
        source = find_archive(published, archive.name)
        assert source is not None
        md5 = hashlib.md5(source.path.read_bytes()).hexdigest()
        assert verify(dataclasses.replace(archive, checksum=f"md5:{md5}"), source).sound


def test_verify_tells_what_was_not_published(published: Path) -> None:
    source = Source("images_evaluation", published / "images_background.zip")
    assert "it holds 0 characters of 0 alphabets, not 659 of 20" in verify(catalogue.EVALUATION, source).fault
