import dataclasses
import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
from archives import png, write_archive, write_runs

from harness.data.archives import Source
from harness.data.catalogue import ALL_RUNS, SMALL_1, Archive, Characters, Runs, choose
from harness.data.verify import verify
from harness.errors import UsageError

CLASSES = ["Greek/character01", "Greek/character02", "Latin/character01"]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(SMALL_1.name, write_archive(tmp_path, SMALL_1.name, CLASSES))


def expected(path: Path) -> Archive:
    """The archive, had it been published as the zip at `path`."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return dataclasses.replace(SMALL_1, checksum=f"sha256:{sha256}", contents=Characters(2, 3))


def extracted(source: Source, folder: Path) -> Source:
    with zipfile.ZipFile(source.path) as file:
        file.extractall(folder)
    return Source(source.archive, folder / source.archive)


def test_a_zip_as_published_is_sound_by_its_checksum_and_contents(source: Source) -> None:
    verdict = verify(expected(source.path), source)
    assert verdict.sound
    assert f"{source.path}: sha256 as published, 3 characters of 2 alphabets" in verdict.sentence


def test_a_folder_is_sound_by_its_contents_alone(source: Source, tmp_path: Path) -> None:
    verdict = verify(expected(source.path), extracted(source, tmp_path))
    assert verdict.sound
    assert "as published" not in verdict.sentence


def test_a_zip_that_only_its_checksum_tells_from_the_published_is_a_fault(source: Source) -> None:
    archive = expected(source.path)
    with zipfile.ZipFile(source.path, "a") as file:
        file.writestr("README", "more")
    verdict = verify(archive, source)
    assert "differs from what was published (its sha256); get it again" in verdict.fault


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("unreadable", "the image Greek/character02/0002_07.png cannot be read"),
        ("missing drawing", "class Greek/character02 has 19 drawings instead of 20"),
        ("missing class", "it holds 2 characters of 2 alphabets, not 3 of 2"),
        ("missing alphabet", "it holds 2 characters of 1 alphabets, not 3 of 2"),
        ("another size", "0002_07.png cannot be read (64x64 pixels, not 105x105)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(source: Source, tmp_path: Path, damage: str, said: str) -> None:
    archive, folder = expected(source.path), extracted(source, tmp_path)
    drawing = folder.path / "Greek" / "character02" / "0002_07.png"
    match damage:
        case "unreadable":
            drawing.write_bytes(png(7)[:50])
        case "missing drawing":
            drawing.unlink()
        case "missing class":
            shutil.rmtree(drawing.parent)
        case "missing alphabet":
            shutil.rmtree(folder.path / "Latin")
        case "another size":
            drawing.write_bytes(png(7, side=64))
    verdict = verify(archive, folder)
    assert said in verdict.fault
    assert str(folder.path) in verdict.fault


def test_runs_are_counted_and_read(tmp_path: Path) -> None:
    source = Source("all_runs", write_runs(tmp_path / "all_runs", 3))
    assert verify(dataclasses.replace(ALL_RUNS, contents=Runs(3)), source).sound
    assert "it holds 3 runs, not 20" in verify(ALL_RUNS, source).fault
    (source.path / "run02" / "training" / "class05.png").unlink()
    assert "run02 lacks 1 of its 41 files" in verify(ALL_RUNS, source).fault


def test_datasets_and_archives_are_chosen_by_name_each_archive_once() -> None:
    assert [a.name for a in choose(["images_background.zip", "omniglot"])] == [
        "images_background",
        "images_evaluation",
    ]
    with pytest.raises(UsageError, match="did you mean 'omniglot'"):
        choose(["omniglt"])
    with pytest.raises(UsageError, match=r"image folders with Ravi and Larochelle's train\.csv"):
        choose(["mini-imagenet"])
