"""Archives that mean harm: one sentence, bounded memory, nothing written."""

import os
import random
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from archives import ink, png, write_archive

from harness.data import archives
from harness.data.archives import (
    LARGEST_MEMBER,
    LISTED,
    MOST_MEMBERS,
    BoundedZip,
    Member,
    Source,
    find_archive,
)
from harness.errors import UsageError

NAME = "images_background_small1"
GOOD = f"{NAME}/Greek/character01/0001_01.png"


def write(
    folder: Path, *members: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED
) -> Source:
    path = folder / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        for member, content in members:
            file.writestr(member, content)
    return Source(NAME, path)


def read(source: Source) -> None:
    for _, member in source.files():
        source.ink(member)


def refused(source: Source) -> str:
    """The one sentence with which the source is read or looked at, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as failure:
            read(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * MOST_MEMBERS * LISTED
    said = str(failure.value)
    assert said.startswith(str(source.path))
    assert said.endswith(".")
    assert "\n" not in said
    assert "innerloop data fetch" in said
    return said


def tampered(source: Source, change: dict[str, int]) -> Source:
    """The first entry of the zip's listing, and its local header, with other fields."""
    at = {"method": ("<H", 10, 8), "flags": ("<H", 8, 6), "size": ("<I", 24, 22)}
    content = bytearray(source.path.read_bytes())
    listing = content.index(b"PK\x01\x02")
    for field, value in change.items():
        form, central, local = at[field]
        struct.pack_into(form, content, listing + central, value)
        struct.pack_into(form, content, local, value)
    source.path.write_bytes(content)
    return source


def test_drawings_are_read_as_drawn(tmp_path: Path) -> None:
    source = write(
        tmp_path, *((f"{NAME}/Greek/character01/{n:04}.png", png(n)) for n in range(1000, 4000, 37))
    )
    for path, member in source.files():
        np.testing.assert_array_equal(source.ink(member), ink(int(path.stem)))


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/x", "../../x", f"{NAME}/../../x.png", f"../{GOOD}", f"/{GOOD}"]
)
def test_a_path_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    assert f"holds the path {name!r}, which leads outside" in refused(
        write(tmp_path, (GOOD, png(1)), (name, b""))
    )
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.zip"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(GOOD)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert f"holds the link {GOOD!r}" in refused(write(tmp_path, (link, b"/etc/passwd")))


def test_a_member_that_says_it_is_huge_is_refused_unread(tmp_path: Path) -> None:
    assert "it takes 67,108,864 bytes, above the 65,536 allowed" in refused(
        write(tmp_path, (GOOD, bytes(2**26)))
    )


def test_a_member_that_is_larger_than_it_says_is_cut_off(tmp_path: Path) -> None:
    bomb = tampered(write(tmp_path, (GOOD, bytes(2**26))), {"size": 300})
    assert "cannot be read (Bad CRC-32" in refused(bomb)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_decompressors_without_a_bound_are_not_used(tmp_path: Path, method: int) -> None:
    assert f"compressed by method {method}" in refused(write(tmp_path, (GOOD, bytes(60_000)), method=method))


def test_a_method_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    assert "compressed by method 99" in refused(tampered(write(tmp_path, (GOOD, png(1))), {"method": 99}))


@pytest.mark.parametrize(("flags", "why"), [(1, "it is encrypted"), (0x20, "patched"), (0x40, "encryption")])
def test_what_cannot_be_decoded_is_refused(tmp_path: Path, flags: int, why: str) -> None:
    assert why in refused(tampered(write(tmp_path, (GOOD, png(1))), {"flags": flags}))


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 50)
    source = write(tmp_path, *((f"{NAME}/Greek/character01/{n}.png", b"") for n in range(51)))
    assert "holds more than 50 files" in refused(source)


def test_a_listing_of_absurd_length_is_refused_unread(tmp_path: Path) -> None:
    """65,000 members of no content, with long paths and comments: a file of 20 MB that would take 100."""
    source = write(tmp_path, (GOOD, png(1)))
    entry = struct.pack(
        "<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 290, 0, 0, 0, 0, 0, 0
    )
    listing = (entry + b"x" * 290) * 65_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_000, 65_000, len(listing), 0, 0)
    source.path.write_bytes(listing + end)
    assert f"a listing of {len(listing):,} bytes" in refused(source)


def test_an_image_that_says_it_is_huge_is_refused_undecoded(tmp_path: Path) -> None:
    assert "100000x100000 pixels, not 105x105" in refused(write(tmp_path, (GOOD, png(1, side=100_000))))


def test_a_huge_comment_within_an_image_is_refused(tmp_path: Path) -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(2**25), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    assert len(chunk) < LARGEST_MEMBER
    bomb = png(1)[:33] + chunk + png(1)[33:]  # after the header
    assert "cannot be read" in refused(write(tmp_path, (GOOD, bomb)))


def test_circles_of_links_in_a_folder_end(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    (folder / "Greek" / "character01").mkdir(parents=True)
    (folder / "Greek" / "character01" / "0001_01.png").write_bytes(png(1))
    for name in ("a", "b", "c"):
        (folder / "Greek" / name).symlink_to(folder)
    assert [str(path) for path, _ in Source(NAME, folder).files()] == ["Greek/character01/0001_01.png"]


def test_a_huge_file_in_a_folder_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / NAME / "Greek" / "character01" / "0001_01.png"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(2**33)
    assert " bytes, above the 65,536 allowed" in refused(Source(NAME, tmp_path / NAME))


def test_no_flipped_byte_of_a_zip_is_a_traceback(tmp_path: Path) -> None:
    source = Source(NAME, write_archive(tmp_path, NAME, ["Greek/character01"]))
    whole = source.path.read_bytes()
    draw = random.Random(6)
    refusals = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        source.path.write_bytes(damaged)
        try:
            read(source)
        except UsageError:
            refusals += 1
    assert refusals > 100


def test_no_flipped_byte_of_the_listing_is_a_traceback(tmp_path: Path) -> None:
    source = Source(NAME, write_archive(tmp_path, NAME, ["Greek/character01"]))
    whole = source.path.read_bytes()
    start = whole.index(b"PK\x01\x02")
    draw = random.Random(7)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(start, len(damaged))] = draw.randrange(256)
        source.path.write_bytes(damaged)
        with suppress(UsageError):
            read(source)


def test_a_zip_is_found_before_a_folder_and_the_bare_layout_before_others(tmp_path: Path) -> None:
    assert find_archive(tmp_path, NAME) is None
    (tmp_path / "omniglot" / "python" / NAME).mkdir(parents=True)
    assert find_archive(tmp_path, NAME) == Source(NAME, tmp_path / "omniglot" / "python" / NAME)
    (tmp_path / NAME).mkdir()
    assert find_archive(tmp_path, NAME) == Source(NAME, tmp_path / NAME)
    zipped = write(tmp_path, (GOOD, png(1)))
    assert find_archive(tmp_path, NAME) == zipped
    assert find_archive(zipped.path, NAME) == zipped


def test_runs_are_found_where_the_public_repository_has_them(tmp_path: Path) -> None:
    place = tmp_path / "python" / "one-shot-classification"
    place.mkdir(parents=True)
    (place / "all_runs.zip").write_bytes(b"")
    assert find_archive(tmp_path, "all_runs") == Source("all_runs", place / "all_runs.zip")


def test_what_macos_adds_is_passed_over(tmp_path: Path) -> None:
    extra = [f"__MACOSX/{NAME}/Greek/character01/._0001_01.png", f"{NAME}/Greek/character01/._0001_01.png"]
    source = write(tmp_path, (GOOD, png(1)), *((name, b"") for name in extra))
    assert [member.name for _, member in source.files()] == [GOOD]
    assert isinstance(next(source.files())[1], Member)


def test_a_reader_that_is_finalised_before_its_zip_warns_of_nothing(tmp_path: Path) -> None:
    """As garbage collection does with a cycle, in the order that it likes."""
    archive = BoundedZip(write(tmp_path, (GOOD, png(1))).path, 1000)
    reader, handle = archive.fp, archive._handle
    assert reader is not None
    assert handle is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.__del__()
    assert reader.closed
    archive.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_what_is_no_file_is_told_as_it_is_and_nothing_stays_open(tmp_path: Path) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(IsADirectoryError):
        BoundedZip(tmp_path, 1000)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_member_reads_nothing_once_its_zip_is_closed(tmp_path: Path) -> None:
    """Not the file, either, that has got the zip's number since."""
    archive = BoundedZip(write(tmp_path, (GOOD, png(1))).path, 1000)
    handle = archive._handle
    with archive.open(GOOD) as member:
        archive.close()
        with (tmp_path / "other").open("w+b") as other:
            assert other.fileno() == handle
            with pytest.raises(ValueError, match="closed file"):
                member.read()
