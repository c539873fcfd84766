import errno
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mini_imagenet_copies import (
    EXPECTED,
    LABELS,
    PIXELS,
    check,
    encoded,
    fails,
    fails_in_little_memory,
    load,
    understate,
    write_images,
    write_lists,
)
from PIL import Image

from harness.workloads import decoded, mini_imagenet_copy
from harness.workloads.imageset import load_split

PLACES = {
    "flat": "images/{name}",
    "by label": "images/{label}/{name}",
    "by split": "{split}/{label}/{name}",
    "labels at the top": "{label}/{name}",
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """As Ravi and Larochelle's lists and MAML's code have it."""
    return write_lists(write_images(tmp_path / "copy", "images/{name}"))


def zipped(folder: Path, around: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path(around, file.relative_to(folder)))
        archive.writestr("__MACOSX/images/._n0153282900000005.jpg", b"\0")
    return path


# --- the forms ---


def test_the_split_is_of_64_16_and_20_classes() -> None:
    split = load_split("mini-imagenet")
    assert {name: len(classes) for name, classes in split.items()} == {
        "train": 64,
        "validation": 16,
        "test": 20,
    }
    assert all(set(EXPECTED[name]) <= set(split[name]) for name in EXPECTED)


@pytest.mark.parametrize("where", [".", "split"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_images_are_found_where_people_have_them(tmp_path: Path, place: str, where: str) -> None:
    check(load(write_lists(write_images(tmp_path / "copy", place), where)))


@pytest.mark.parametrize("form", list(PLACES)[1:])
def test_folders_of_classes_need_no_lists(tmp_path: Path, form: str) -> None:
    check(load(write_images(tmp_path / "copy", PLACES[form])))


@pytest.mark.parametrize("around", ["", "mini-imagenet", "data/miniImagenet"])
@pytest.mark.parametrize("listed", [True, False], ids=["lists", "no lists"])
def test_a_zip_is_read_as_the_folder_is(tmp_path: Path, around: str, listed: bool) -> None:
    folder = write_images(tmp_path / "copy", "train/{label}/{name}" if listed else "{split}/{label}/{name}")
    if listed:
        shutil.rmtree(folder)
        write_lists(write_images(folder, "images/{name}"))
    check(load(zipped(folder, around)))


@pytest.mark.parametrize("name", ["mini-imagenet", "miniImagenet", "mini_imagenet"])
def test_a_copy_is_found_among_other_data(copy: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    (root / "omniglot").mkdir(parents=True)
    archive = shutil.copy(zipped(copy), root / f"{name}.zip")
    check(load(root))
    Path(archive).unlink()
    shutil.copytree(copy, root / name)
    check(load(root))


def test_lists_say_which_images_count(copy: Path) -> None:
    (copy / "images/n0153282900000999.jpg").write_bytes(encoded(np.zeros((84, 84, 3), np.uint8)))
    (copy / "images/readme.txt").write_text("x")
    check(load(copy))


def test_lists_may_name_folders_and_be_written_by_other_programs(copy: Path) -> None:
    path = copy / "train.csv"
    text = path.read_text().replace("filename,label", "\ufefffilename, label").replace("\n", "\r\n")
    path.write_bytes(text.replace("n01532829", "somewhere/n01532829", 1).encode() + b"\r\n")
    (copy / "images/somewhere").mkdir()
    (copy / "images/n0153282900000005.jpg").rename(copy / "images/somewhere/n0153282900000005.jpg")
    images = load(copy)
    # Its name now sorts last.
    np.testing.assert_array_equal(images.images[0].transpose(0, 2, 3, 1), PIXELS[LABELS[0]][[1, 2, 0]])


# --- pixels ---


def test_larger_images_are_squeezed_whole(copy: Path) -> None:
    wide = np.zeros((84, 168, 3), np.uint8)
    wide[:, :84, 0], wide[:, 84:, 2] = 200, 100
    (copy / "images/n0153282900000005.jpg").write_bytes(encoded(wide))
    red, green, blue = load(copy).images[0, 0]
    assert (red[:, :38] == 200).all()
    assert (blue[:, 46:] == 100).all()
    assert not red[:, 46:].any()
    assert not blue[:, :38].any()
    assert not green.any()


def test_jpegs_grey_images_and_palettes_become_colour(copy: Path) -> None:
    flat = np.full((100, 90), 77, np.uint8)
    for number, picture in enumerate(
        (Image.fromarray(flat), Image.fromarray(flat).convert("P"), Image.fromarray(flat).convert("CMYK"))
    ):
        form = ("JPEG", "PNG", "JPEG")[number]
        picture.save(copy / f"images/n0153282900{number + 5:06}.jpg", form)
    found = load(copy).images[0].astype(int)
    assert (abs(found - 77) <= 2).all()


def test_jpegs_are_decoded(copy: Path) -> None:
    ramp = np.zeros((84, 84, 3), np.uint8)
    ramp[..., 0] = np.arange(84) * 3
    ramp[..., 1] = 255 - np.arange(84)[:, None] * 2
    (copy / "images/n0153282900000005.jpg").write_bytes(encoded(ramp, "JPEG"))
    assert abs(load(copy).images[0, 0].transpose(1, 2, 0).astype(int) - ramp).max() <= 12


# --- damaged copies ---


def test_a_root_without_a_copy_says_what_is_wanted(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        message = fails(root)
        assert str(root) in message
        assert "train.csv, val.csv and test.csv" in message
        assert "--data-root" in message


def test_a_zip_of_something_else_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "other.zip holds no Mini-ImageNet" in fails(tmp_path / "other.zip")


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_zip_is_named(copy: Path, keep: float) -> None:
    path = zipped(copy)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    assert f"{path} is truncated or no zip archive" in fails(path)


@pytest.mark.parametrize(
    ("name", "mode", "says"),
    [
        ("../images/a.jpg", 0o100644, "holds the path '../images/a.jpg', which leads outside"),
        ("images/a.jpg", 0o120777, "holds the link 'images/a.jpg'"),
    ],
)
def test_what_leads_out_of_a_zip_is_refused(copy: Path, name: str, mode: int, says: str) -> None:
    path = zipped(copy)
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"/etc/passwd")
    assert f"{path} {says}; name a whole copy of Mini-ImageNet" in fails(path)


def test_too_many_files_are_refused_whatever_they_are(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_imagenet_copy, "MOST_FILES", 10)
    path = zipped(copy)
    assert f"{copy} holds more than 10 files" in fails(copy)
    assert f"{path} holds more than 10 files" in fails(path)
    monkeypatch.setattr(mini_imagenet_copy, "MOST_FILES", 1)
    assert f"{path} is truncated or no zip archive (a listing of" in fails(path)  # which is not read


def test_missing_images_are_counted_and_the_first_is_named(copy: Path) -> None:
    (copy / "images/n1313361300000006.jpg").unlink()
    (copy / "images/n0761348000000005.jpg").unlink()
    message = fails(copy)
    assert f"{copy}: 2 images of the lists are missing" in message
    assert "n1313361300000006.jpg of train.csv, line 6;" in message


def test_lists_without_images_say_so(tmp_path: Path) -> None:
    assert "15 images of the lists are missing" in fails(write_lists(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["train.csv", "val.csv", "test.csv"])
def test_a_missing_list_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    message = fails(copy)
    assert str(copy) in message
    assert f"but no {name};" in message


@pytest.mark.parametrize(
    "damage",
    [b"", b"no image", encoded(PIXELS[LABELS[0]][0])[:1000], encoded(PIXELS[LABELS[0]][0], "JPEG")[:900]],
    ids=["empty", "text", "png", "jpeg"],
)
@pytest.mark.parametrize("in_zip", [False, True], ids=["folder", "zip"])
def test_an_unreadable_image_is_named(copy: Path, own_image_cache: Path, damage: bytes, in_zip: bool) -> None:
    (copy / "images/n0153282900000006.jpg").write_bytes(damage)
    message = fails(zipped(copy) if in_zip else copy)
    assert str(copy) in message
    assert re.search(r"images/n0153282900000006.jpg (cannot be read as an image|is neither a JPEG)", message)
    assert not list(own_image_cache.glob("*.images"))
    assert not list(own_image_cache.glob("*.part"))


def test_damaged_bytes_in_a_zip_are_named(copy: Path) -> None:
    path = zipped(copy)
    content = bytearray(path.read_bytes())
    where = content.index(encoded(PIXELS[LABELS[0]][1])) + 5000
    content[where : where + 50] = bytes(50)
    path.write_bytes(content)
    assert f"{path}: images/n0153282900000006.jpg cannot be read" in fails(path)


def test_an_image_of_absurd_size_is_not_decoded(copy: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(copy / "images/n0153282900000006.jpg", "PNG")
    assert "n0153282900000006.jpg cannot be read as an image (Image size" in fails(copy)


def test_an_image_that_inflates_to_more_than_its_zip_says_is_cut_off(copy: Path) -> None:
    name = "images/n0153282900000006.jpg"
    (copy / name).write_bytes(bytes(2**26))
    path = zipped(copy, method=zipfile.ZIP_DEFLATED)
    understate(path, name)
    assert f"{path}: {name} cannot be read as an image (Bad CRC-32" in fails_in_little_memory(path)


def test_a_class_with_fewer_images_is_named(copy: Path) -> None:
    path = copy / "test.csv"
    path.write_text(path.read_text().replace("n0193011200000005.jpg,n01930112\n", ""))
    assert f"{copy}: class n01930112 has 2 images instead of 3" in fails(copy)


def test_a_folder_with_fewer_images_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "copy", "{split}/{label}/{name}")
    (folder / "val/n01855672/n0185567200000007.jpg").unlink()
    assert "class n01855672 has 2 images instead of 3" in fails(folder)
    shutil.rmtree(folder / "val/n01855672")
    assert "1 of 5 classes are missing, the first is n01855672" in fails(folder)


def test_a_folder_of_an_unknown_class_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "copy", "{split}/{label}/{name}")
    (folder / "val/n01855672").rename(folder / "val/geese")
    assert "val/geese/n0185567200000005.jpg is in no folder of a class" in fails(folder)


def test_a_folder_in_the_wrong_split_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "copy", "{split}/{label}/{name}")
    (folder / "test/n07613480").rename(folder / "train/n07613480")
    assert "train/n07613480 is of the test split of Ravi and Larochelle; move it to test/." in fails(folder)


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("filename,label", "label,filename", "its columns are label, filename instead of filename, label"),
        ("filename,label\n", "", "its columns are n0153282900000005.jpg, n01532829 instead of"),
        (
            "n0153282900000006.jpg,n01532829",
            "n0153282900000006.jpg",
            "line 3: wanted a file name and a label",
        ),
        ("n0153282900000006.jpg,n01532829", ",n01532829", "line 3: wanted a file name and a label"),
        ("n0153282900000006.jpg,n01532829", "a.jpg,n1", "line 3: n1 is no class of Mini-ImageNet"),
        (
            "n0153282900000006.jpg,n01532829",
            "n0153282900000005.jpg,n01532829",
            "line 3: n0153282900000005.jpg is listed a second time",
        ),
        (
            "n0153282900000006.jpg,n01532829",
            "n0761348000000005.jpg,n07613480",
            "line 3: class n07613480 is of the test split of Ravi and Larochelle, not of train",
        ),
        ("n0153282900000006.jpg", '"n0153282900000006.jpg', "cannot be read as a list"),
    ],
    ids=["columns", "no header", "one column", "no name", "unknown", "twice", "two splits", "quote"],
)
def test_a_wrong_list_is_named_with_its_line(copy: Path, before: str, after: str, wrong: str) -> None:
    path = copy / "train.csv"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    message = fails(copy)
    assert message.startswith(str(path))
    assert wrong in message


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"filename,label\n"], ids=["empty", "bytes", "header"]
)
def test_a_list_without_rows_or_text_is_named(copy: Path, content: bytes) -> None:
    (copy / "val.csv").write_bytes(content)
    message = fails(copy)
    assert str(copy) in message
    assert "val.csv" in message or "n01855672" in message


# --- the cache ---


def test_a_changed_image_is_decoded_again(copy: Path) -> None:
    before = load(copy)
    changed = PIXELS[LABELS[0]][0].copy()
    changed[0, 0, 0] ^= 1
    (copy / "images/n0153282900000005.jpg").write_bytes(encoded(changed))
    after = load(copy)
    assert after.fingerprint != before.fingerprint
    assert after.images[0, 0, 0, 0, 0] == changed[0, 0, 0]


def test_one_fingerprint_whatever_the_form(copy: Path, tmp_path: Path) -> None:
    by_split = write_images(tmp_path / "by-split", "{split}/{label}/{name}")
    assert len({load(form).fingerprint for form in (copy, zipped(copy), by_split)}) == 1


def test_a_disk_that_fills_up_while_decoding_is_told(
    copy: Path, own_image_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if os.fstat(handle).st_size > decoded.OFFSET + 2 * PIXELS[LABELS[0]].nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr("os.write", full)
    message = fails(copy)
    assert str(own_image_cache) in message
    assert "No space left on device" in message
    assert "INNERLOOP_CACHE" in message
    assert [path.suffix for path in own_image_cache.iterdir()] == [".lock"]
