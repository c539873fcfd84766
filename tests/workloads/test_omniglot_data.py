import io
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.archives import Source
from harness.data.catalogue import choose
from harness.data.verify import verify
from harness.errors import UsageError
from harness.workloads import omniglot_data
from harness.workloads.omniglot_data import load_omniglot, load_omniglot_minimal

BACKGROUND = ("Greek/character01", "Greek/character02", "N_Ko/character01")
EVALUATION = ("Angelic/character01", "Ge_ez/character07")
EXPECTED = BACKGROUND + EVALUATION


def drawing(name: str, drawer: int) -> bytes:
    """A PNG as published, 105x105 and one bit: a black bar whose place says whose it is."""
    picture = Image.new("1", (105, 105), 1)
    row = sum(name.encode()) % 19 * 5
    picture.paste(0, (4 * drawer, row, 4 * drawer + 20, row + 10))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def files(names: Iterable[str], drawings: int = 20) -> dict[str, bytes]:
    return {
        f"{name}/{index:04d}_{drawer:02d}.png": drawing(name, drawer)
        for index, name in enumerate(names)
        for drawer in range(1, drawings + 1)
    }


def write_zip(folder: Path, archive: str, content: dict[str, bytes]) -> Path:
    path = folder / f"{archive}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{archive}/", "")
        for name, data in content.items():
            file.writestr(f"{archive}/{name}", data)
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A small Omniglot with the published layout and what macOS leaves behind."""
    folder = tmp_path / "data"
    folder.mkdir()
    background = files(BACKGROUND) | {"Greek/.DS_Store": b"\0", "Greek/character01/._0000_01.png": b"\0"}
    write_zip(folder, "images_background", background)
    write_zip(folder, "images_evaluation", files(EVALUATION))
    with zipfile.ZipFile(folder / "images_background.zip", "a") as file:
        file.writestr("__MACOSX/images_background/Greek/character01/._0000_01.png", b"\0")
    return folder


def extract(published: Path, folder: Path) -> Path:
    for archive in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(published / f"{archive}.zip") as file:
            file.extractall(folder)
    return folder


def fails(data_root: Path) -> str:
    with pytest.raises(UsageError) as failure:
        load_omniglot(data_root, expected=EXPECTED)
    message = str(failure.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# --- the real data ---


def test_minimal_sets_hold_242_characters_of_8_alphabets(real_omniglot: Path) -> None:
    images = load_omniglot_minimal(real_omniglot)
    assert images.images.shape == (242, 20, 28, 28)
    assert Counter(name.split("/")[0] for name in images.names) == {
        "Balinese": 24,
        "Early_Aramaic": 22,
        "Greek": 24,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
        "Sanskrit": 42,
        "Tagalog": 17,
    }


def test_the_minimal_sets_are_as_published(real_omniglot: Path) -> None:
    for archive in choose(omniglot_data.MINIMAL):
        assert verify(archive, Source(archive.name, real_omniglot / archive.file)).sound


def test_minimal_sets_share_greek_and_latin(real_omniglot: Path) -> None:
    sources = [omniglot_data._find(real_omniglot, archive) for archive in omniglot_data.MINIMAL]
    members = [{path: source.ink(member).tobytes() for path, member in source.files()} for source in sources]
    shared = members[0].keys() & members[1].keys()
    assert {path.parts[0] for path in shared} == {"Greek", "Latin"}
    assert len(shared) == 1000
    assert all(members[0][path] == members[1][path] for path in shared)


def test_real_drawings_are_light_strokes_on_empty_ground(real_omniglot: Path) -> None:
    images = load_omniglot_minimal(real_omniglot).images
    assert 0.03 < images.mean() / 255 < 0.2
    assert (images.max(axis=(2, 3)) > 128).all()


# --- a small copy with the published layout ---


def test_ink_is_white_and_areas_are_averaged(published: Path) -> None:
    images = load_omniglot(published, expected=EXPECTED)
    assert images.names == tuple(sorted(EXPECTED))
    # A black bar of 20 x 10 in 105 x 105 keeps its ink: 200 / 105^2 of 28^2 pixels.
    ink = images.images.sum(axis=(2, 3), dtype=np.int64) / 255
    np.testing.assert_allclose(ink, 200 / 105**2 * 28**2, atol=0.02)  # 256 greys
    # Drawings are in the order of file names: the bar moves right with the drawer.
    where = (images.images.sum(axis=2) * np.arange(28)).sum(axis=-1) / images.images.sum(axis=(2, 3))
    assert (np.diff(where, axis=1) > 0).all()


@pytest.mark.parametrize("layout", ["", "omniglot-py", "omniglot/python"])
def test_zips_and_folders_give_the_same_set(published: Path, tmp_path: Path, layout: str) -> None:
    extract(published, tmp_path / "extracted" / layout)
    (tmp_path / "zipped" / layout).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(published, tmp_path / "zipped" / layout, dirs_exist_ok=True)
    from_folders = load_omniglot(tmp_path / "extracted", expected=EXPECTED)
    from_zips = load_omniglot(tmp_path / "zipped", expected=EXPECTED)
    assert from_folders.names == from_zips.names
    assert from_folders.fingerprint == from_zips.fingerprint
    np.testing.assert_array_equal(from_folders.images, from_zips.images)


def test_data_root_may_be_an_archive_itself(published: Path, tmp_path: Path) -> None:
    whole = load_omniglot(published, expected=EXPECTED).fingerprint
    assert load_omniglot(published / "images_evaluation.zip", expected=EXPECTED).fingerprint == whole
    extracted = extract(published, tmp_path / "extracted")
    assert load_omniglot(extracted / "images_background", expected=EXPECTED).fingerprint == whole
    both = shutil.make_archive(str(tmp_path / "both"), "zip", extracted)
    assert load_omniglot(Path(both), expected=EXPECTED).fingerprint == whole


# --- damaged copies ---


def test_missing_archive_says_what_where_and_how(published: Path) -> None:
    (published / "images_evaluation.zip").unlink()
    message = fails(published)
    assert str(published) in message
    assert "images_evaluation.zip" in message
    assert "--data-root" in message
    assert "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/" in message


def test_missing_data_root_is_a_missing_archive(tmp_path: Path) -> None:
    assert "images_background.zip" in fails(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_truncated_zip_is_named(published: Path, keep: float) -> None:
    path = published / "images_background.zip"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    message = fails(published)
    assert str(path) in message
    assert "again" in message


def test_flipped_bytes_in_a_zip_are_named(published: Path) -> None:
    path = published / "images_background.zip"
    content = bytearray(path.read_bytes())
    content[2000:2400] = bytes(400)
    path.write_bytes(content)
    assert str(path) in fails(published)


@pytest.mark.parametrize(
    "damage",
    [b"", b"no image", drawing("x", 1)[:60], drawing("x", 1)[:-30]],
    ids=["empty", "text", "header", "cut"],
)
def test_unreadable_png_is_named(published: Path, tmp_path: Path, damage: bytes) -> None:
    folder = extract(published, tmp_path / "extracted")
    (folder / "images_background/Greek/character02/0001_05.png").write_bytes(damage)
    message = fails(folder)
    assert str(folder / "images_background") in message
    assert "Greek/character02/0001_05.png" in message


def test_png_of_another_size_is_named(published: Path, tmp_path: Path) -> None:
    folder = extract(published, tmp_path / "extracted")
    Image.new("1", (28, 28)).save(folder / "images_background/Greek/character02/0001_05.png")
    assert "0001_05.png cannot be read (28x28 pixels, not 105x105)" in fails(folder)


def test_class_with_19_drawings_is_named(published: Path, tmp_path: Path) -> None:
    folder = extract(published, tmp_path / "extracted")
    (folder / "images_evaluation/Ge_ez/character07/0001_20.png").unlink()
    assert "class Ge_ez/character07 has 19 drawings instead of 20" in fails(folder)


def test_missing_classes_are_counted_and_the_first_is_named(published: Path) -> None:
    write_zip(published, "images_background", files(BACKGROUND[:1]))
    assert "2 of 5 classes are missing, the first is Greek/character02" in fails(published)


def test_a_class_that_differs_between_archives_is_named(published: Path) -> None:
    other = {f"Greek/character01/{drawer:02d}.png": drawing("other", drawer) for drawer in range(1, 21)}
    write_zip(published, "images_evaluation", files(EVALUATION) | other)
    assert "class Greek/character01 differs" in fails(published)


def test_classes_that_are_not_expected_are_left_out(published: Path) -> None:
    assert load_omniglot(published, expected=EXPECTED[1:]).names == tuple(sorted(EXPECTED[1:]))


# --- the cache ---


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one at every decoding."""
    calls: list[None] = []
    decode = omniglot_data._decode

    def counted(*arguments: object) -> object:
        calls.append(None)
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(omniglot_data, "_decode", counted)
    return calls


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "folder"])
def test_images_are_decoded_once(
    published: Path, tmp_path: Path, decodings: list[None], zipped: bool
) -> None:
    root = published if zipped else extract(published, tmp_path / "extracted")
    first = load_omniglot(root, expected=EXPECTED)
    second = load_omniglot(root, expected=EXPECTED)
    assert len(decodings) == 1
    assert (second.names, second.fingerprint) == (first.names, first.fingerprint)
    np.testing.assert_array_equal(second.images, first.images)
    assert not second.images.flags.writeable


def test_a_changed_archive_is_decoded_again(published: Path, decodings: list[None]) -> None:
    before = load_omniglot(published, expected=EXPECTED)
    changed = {name: drawing("changed", int(name[-6:-4])) for name in files(EVALUATION)}
    write_zip(published, "images_evaluation", changed)
    assert load_omniglot(published, expected=EXPECTED).fingerprint != before.fingerprint
    assert len(decodings) == 2


def test_a_changed_file_in_a_folder_is_decoded_again(
    published: Path, tmp_path: Path, decodings: list[None]
) -> None:
    folder = extract(published, tmp_path / "extracted")
    before = load_omniglot(folder, expected=EXPECTED)
    path = folder / "images_background/Greek/character02/0001_05.png"
    path.write_bytes(drawing("changed", 5))
    assert load_omniglot(folder, expected=EXPECTED).fingerprint != before.fingerprint
    assert len(decodings) == 2
