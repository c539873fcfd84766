import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.archives import find_archive
from harness.errors import UsageError
from harness.workloads.official_runs_data import fingerprint, load_official_runs
from harness.workloads.omniglot_data import MINIMAL


def order(run: int) -> np.ndarray:
    """The class of each test item of a made-up run."""
    return np.random.default_rng(run).permutation(20)


def files(run: int) -> dict[str, bytes]:
    """A run as published; the drawing of class c is a bar in row c, of its test item one pixel longer."""

    def drawing(character: int, length: int) -> bytes:
        picture = Image.new("1", (105, 105), 1)
        picture.paste(0, (run, 5 * character, run + length, 5 * character + 3))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    made = {f"run{run:02d}/training/class{c + 1:02d}.png": drawing(c, 20) for c in range(20)}
    lines = []
    for item, character in enumerate(order(run)):
        made[f"run{run:02d}/test/item{item + 1:02d}.png"] = drawing(character, 21)
        lines.append(
            f"run{run:02d}/test/item{item + 1:02d}.png run{run:02d}/training/class{character + 1:02d}.png"
        )
    made[f"run{run:02d}/class_labels.txt"] = "\n".join(lines).encode()
    return made


def write_zip(path: Path, content: Mapping[str, bytes], prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(prefix + name, data)
    return path


def write_folder(path: Path, content: Mapping[str, bytes]) -> Path:
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def names(data_root: Path) -> list[str]:
    return [run.name for run in load_official_runs(data_root)]


def fails(data_root: Path) -> str:
    with pytest.raises(UsageError) as failure:
        load_official_runs(data_root)
    message = str(failure.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def picture(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return ~np.array(Image.open(io.BytesIO(archive.read(name))))


# --- the real data ---


def test_every_test_item_of_the_published_runs_stands_beside_the_class_that_its_label_names(
    real_omniglot: Path,
) -> None:
    path = real_omniglot / "one_shot_runs_01_to_10.zip"
    runs = load_official_runs(path)
    assert [run.name for run in runs] == [f"run{number:02d}" for number in range(1, 11)]
    pairs = 0
    with zipfile.ZipFile(path) as archive:
        for run in runs:
            drawings = run.drawings()
            for line in archive.read(f"{run.name}/class_labels.txt").decode().split("\n"):
                if not line:
                    continue
                item, character = line.split()
                (label,) = [c for c in range(20) if (drawings[c, 0] == picture(archive, character)).all()]
                assert (drawings[label, 1] == picture(archive, item)).all()
                assert character.endswith(f"class{label + 1:02d}.png")
                pairs += 1
    assert pairs == 200


def test_no_drawing_of_the_official_runs_is_one_of_the_background_sets(real_omniglot: Path) -> None:
    """Not turned either, as training turns them."""
    archives = [find_archive(real_omniglot, name) for name in MINIMAL]
    background = {found.ink(one).tobytes() for found in archives if found for _, one in found.files()}
    assert len(background) == 242 * 20
    for run in load_official_runs(real_omniglot):
        drawings = run.drawings().reshape(40, 105, 105)
        assert len({one.tobytes() for one in drawings}) == 40
        assert not background & {np.rot90(one, k).tobytes() for one in drawings for k in range(4)}


def test_no_drawing_is_in_two_official_runs(real_omniglot: Path) -> None:
    drawings = [
        one.tobytes()
        for run in load_official_runs(real_omniglot)
        for one in run.drawings().reshape(40, 105, 105)
    ]
    assert len(set(drawings)) == len(drawings) == 400


# --- where they may lie ---


@pytest.mark.parametrize("prefix", ["", "all_runs/", "a/b/"], ids=["bare", "as published", "deeper"])
def test_runs_are_found_at_any_depth_of_a_zip_of_any_name(tmp_path: Path, prefix: str) -> None:
    path = write_zip(tmp_path / "mine.zip", files(3) | files(12), prefix)
    (third, twelfth) = load_official_runs(tmp_path)
    assert (third.name, twelfth.name) == ("run03", "run12")
    assert third.labels.tolist() == order(3).tolist()
    assert third.training[5].nonzero()[0].tolist() == [25] * 20 + [26] * 20 + [27] * 20
    assert names(path) == ["run03", "run12"]


@pytest.mark.parametrize("place", ["", "omniglot-py", "omniglot/python/one-shot-classification"])
@pytest.mark.parametrize("folder", ["", "all_runs"])
def test_runs_are_found_in_folders_too_and_are_the_same(tmp_path: Path, place: str, folder: str) -> None:
    write_folder(tmp_path / "extracted" / place / folder, files(1) | files(2))
    write_zip(tmp_path / "zipped" / place / "runs.zip", files(2) | files(1))
    extracted, zipped = (load_official_runs(tmp_path / root) for root in ("extracted", "zipped"))
    assert [run.name for run in extracted] == ["run01", "run02"]
    assert fingerprint(extracted) == fingerprint(zipped)


def test_what_macos_and_others_leave_there_is_passed_over(tmp_path: Path) -> None:
    left = {
        "__MACOSX/run01/training/class01.png": b"\0",
        "run01/.DS_Store": b"\0",
        "run01/training/._class01.png": b"\0",
        "run01/notes.txt": b"",
        "rerun01/class_labels.txt": b"",
    }
    write_zip(tmp_path / "runs.zip", files(1) | left)
    write_folder(tmp_path / "runs", files(2) | left)
    (tmp_path / "runs" / "run01").rename(tmp_path / "elsewhere")
    assert names(tmp_path) == ["run01", "run02"]


def test_zips_with_the_images_are_not_searched(tmp_path: Path) -> None:
    write_zip(tmp_path / "runs.zip", files(1))
    (tmp_path / "images_background.zip").write_bytes(b"only half there")
    assert names(tmp_path) == names(tmp_path / "images_background.zip") == ["run01"]


def test_a_run_that_lies_there_twice_counts_once(tmp_path: Path) -> None:
    write_zip(tmp_path / "one_shot_runs_01_to_02.zip", files(1) | files(2))
    write_zip(tmp_path / "all_runs.zip", files(1) | files(2) | files(3), "all_runs/")
    write_folder(tmp_path / "all_runs", files(2))
    assert names(tmp_path) == ["run01", "run02", "run03"]


def test_two_runs_of_one_name_that_differ_are_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", files(1))
    write_zip(tmp_path / "b.zip", files(1) | {"run01/test/item07.png": files(2)["run02/test/item01.png"]})
    said = fails(tmp_path)
    assert f"{tmp_path / 'b.zip' / 'run01'} is not the same as {tmp_path / 'a.zip' / 'run01'}; remove" in said
    twice = tmp_path / "twice"
    copies = {f"{folder}/{name}": data for folder in "xy" for name, data in files(1).items()}
    copies["y/run01/test/item07.png"] = copies["y/run01/test/item08.png"]
    write_zip(twice / "a.zip", copies)
    assert f"{twice}/a.zip/y/run01 is not the same as {twice}/a.zip/x/run01" in fails(twice)


# --- damaged copies ---


def test_no_runs_say_where_to_get_them(tmp_path: Path) -> None:
    write_zip(tmp_path / "other.zip", {"read.me": b""})
    said = fails(tmp_path)
    assert str(tmp_path) in said
    assert "innerloop data fetch all_runs" in said
    assert "omniglot/master/python/one-shot-classification/all_runs.zip" in said


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("file", ["training/class20.png", "test/item01.png", "class_labels.txt"])
def test_an_incomplete_run_names_what_it_lacks(tmp_path: Path, file: str, zipped: bool) -> None:
    content = files(1) | files(2)
    del content[f"run02/{file}"]
    write = write_zip if zipped else write_folder
    source = write(tmp_path / ("runs.zip" if zipped else "runs"), content)
    assert f"{source}/run02 lacks 1 of its 41 files, the first is {file}; get it again" in fails(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no image", files(1)["run01/test/item01.png"][:70]])
def test_an_unreadable_drawing_is_named(tmp_path: Path, damage: bytes) -> None:
    source = write_zip(tmp_path / "runs.zip", files(1) | {"run01/test/item03.png": damage})
    assert f"{source}: the image run01/test/item03.png cannot be read" in fails(tmp_path)


def test_a_blank_drawing_is_named(tmp_path: Path) -> None:
    blank = io.BytesIO()
    Image.new("1", (105, 105), 1).save(blank, "PNG")
    source = write_zip(tmp_path / "runs.zip", files(1) | {"run01/training/class03.png": blank.getvalue()})
    assert f"{source}/run01/training/class03.png is blank; get it again" in fails(tmp_path)


GOOD = files(1)["run01/class_labels.txt"].decode()


@pytest.mark.parametrize(
    "labels",
    [
        "",
        GOOD[:-30],
        GOOD.replace("class07", "class08"),
        GOOD.replace("item07", "item08"),
        GOOD.replace("class07", "class21"),
        GOOD + "\nrun01/test/item21.png run01/training/class01.png",
        GOOD.replace(" ", ","),
        "\xff\xfe",
    ],
    ids=["empty", "cut", "class twice", "item twice", "no such class", "item too many", "commas", "no text"],
)
def test_labels_that_are_not_one_class_an_item_are_refused(tmp_path: Path, labels: str) -> None:
    source = write_zip(tmp_path / "runs.zip", files(1) | {"run01/class_labels.txt": labels.encode("latin-1")})
    said = fails(tmp_path)
    assert f"{source}/run01/class_labels.txt does not give each of the 20 test items a class" in said


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "all_runs.zip", files(1))
    shutil.copy(path, tmp_path / "whole.zip")
    path.write_bytes(path.read_bytes()[:-200])
    said = fails(tmp_path)
    assert f"{path} is truncated or no zip archive" in said
    assert "move it away" in said


def test_the_fingerprint_changes_with_a_pixel_a_label_and_a_run(tmp_path: Path) -> None:
    relabelled = GOOD.replace("class07", "class*").replace("class08", "class07").replace("class*", "class08")
    contents = [
        files(1),
        files(1) | files(2),
        files(1) | {"run01/class_labels.txt": relabelled.encode()},
        files(1) | {"run01/test/item07.png": files(1)["run01/test/item08.png"]},
    ]
    marks = {
        fingerprint(load_official_runs(write_zip(tmp_path / f"{i}.zip", content)))
        for i, content in enumerate(contents)
    }
    assert len(marks) == len(contents)
