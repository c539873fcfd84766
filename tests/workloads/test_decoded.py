"""The cache of decoded images, on a set that is made rather than decoded."""

import errno
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.workloads import decoded
from harness.workloads.decoded import Decoding, heard_by, load_decoded
from harness.workloads.imageset import ImageSet

NAMES = ("a", "b", "c")
SHAPE = (4, 3, 6, 6)
PIXELS = np.random.default_rng(0).integers(0, 256, (len(NAMES), *SHAPE), dtype=np.uint8)
MADE = ImageSet.of(NAMES, PIXELS)
ORDER = (1, 0, 2)  # of decoding


class Decoder:
    """Gives MADE; counts how often. A subclass interrupts before the last class."""

    def __init__(self, log: Path | None = None) -> None:
        self.decodings = 0
        self.log = log

    def __call__(self) -> Decoding:
        self.decodings += 1
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{os.getpid()}\n")
        return Decoding(NAMES, SHAPE, self.classes())

    def classes(self) -> Iterator[tuple[str, np.ndarray]]:
        for index in ORDER:
            if index == ORDER[-1]:
                self.interrupt()
            yield NAMES[index], PIXELS[index]

    def interrupt(self) -> None:
        pass


def load(decode: Decoder, facts: object = "facts") -> ImageSet:
    return load_decoded("made", "place", facts, decode)


def images_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def check(found: ImageSet) -> None:
    assert (found.names, found.fingerprint) == (MADE.names, MADE.fingerprint)
    np.testing.assert_array_equal(found.images, PIXELS)
    assert not found.images.flags.writeable


def test_whoever_listens_is_told_how_far_a_decoding_is() -> None:
    told: list[tuple[int, int]] = []
    with heard_by(lambda done, of: told.append((done, of))):
        load(Decoder())
        assert told == [(1, 3), (2, 3), (3, 3)]
        load(Decoder())  # from the cache
        assert len(told) == 3
    load(Decoder(), "other facts")
    assert len(told) == 3


def refused(decode: Decoder) -> str:
    with pytest.raises(UsageError) as failure:
        load(decode)
    message = str(failure.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "INNERLOOP_CACHE" in message
    return message


def test_a_set_is_decoded_once_and_mapped_ever_after(own_image_cache: Path) -> None:
    decode = Decoder()
    check(load(decode))
    again = load(decode)
    check(again)
    assert decode.decodings == 1
    base = again.images
    while not isinstance(base, np.memmap):
        base = base.base
    assert Path(base.filename).parent == own_image_cache


def test_other_facts_are_another_set_in_the_place_of_the_old(own_image_cache: Path) -> None:
    decode = Decoder()
    old = load(decode, ["zip", 1])
    load(decode, ["zip", 2])
    assert decode.decodings == 2
    assert len(images_in(own_image_cache)) == 1
    check(old)  # whoever reads it goes on


def test_copies_in_two_places_are_two_files(own_image_cache: Path) -> None:
    for place in ("here", "there", "here"):
        check(load_decoded("made", place, "facts", Decoder()))
    assert len(images_in(own_image_cache)) == 2


@pytest.mark.parametrize("damage", ["empty", "magic", "short", "long", "one bit", "footer", "length"])
def test_a_damaged_file_is_written_anew(own_image_cache: Path, damage: str) -> None:
    decode = Decoder()
    load(decode)
    (file,) = images_in(own_image_cache)
    good = file.read_bytes()
    flipped, cut, huge = bytearray(good), bytearray(good), bytearray(good)
    flipped[decoded.OFFSET + 5] ^= 1
    cut[-20] = 0
    huge[-1] = 255
    bad = {
        "empty": b"",
        "magic": b"x" + good[1:],
        "short": good[:-1],
        "long": good + b"\0",
        "one bit": bytes(flipped),
        "footer": bytes(cut),
        "length": bytes(huge),
    }[damage]
    file.write_bytes(bad)
    check(load(decode))
    assert decode.decodings == 2
    (file,) = images_in(own_image_cache)
    assert file.read_bytes()[: decoded.OFFSET + PIXELS.nbytes] == good[: decoded.OFFSET + PIXELS.nbytes]
    load(decode)
    assert decode.decodings == 2


def test_a_copied_file_is_whole_and_believed(own_image_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Decoder()
    load(decode)
    (file,) = images_in(own_image_cache)
    file.write_bytes(file.read_bytes())
    check(load(decode))
    assert decode.decodings == 1
    # Its bytes were read once; from then on it is known by its time again.
    monkeypatch.setattr(decoded, "fingerprint", None)
    check(load(decode))


def test_a_file_that_nothing_wrote_to_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    load(Decoder())
    monkeypatch.setattr(decoded, "fingerprint", None)
    check(load(Decoder()))


def test_a_set_is_never_held_whole_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write_all = decoded.write_all

    def counted(handle: int, data: bytes | memoryview) -> None:
        written.append(len(data))
        write_all(handle, data)

    class Watching(Decoder):
        def interrupt(self) -> None:
            assert written == [decoded.OFFSET, PIXELS[1].nbytes, PIXELS[0].nbytes]

    monkeypatch.setattr(decoded, "write_all", counted)
    check(load(Watching()))


# --- where the cache cannot be written ---


def test_a_small_set_does_without_a_folder_that_cannot_be_written(own_image_cache: Path) -> None:
    own_image_cache.write_text("a file where the cache folder should be")
    decode = Decoder()
    for _ in range(2):
        check(load(decode))
    assert decode.decodings == 2


def test_a_large_set_needs_a_folder(own_image_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_image_cache.write_text("a file where the cache folder should be")
    monkeypatch.setattr(decoded, "IN_MEMORY", PIXELS.nbytes - 1)
    assert str(own_image_cache) in refused(Decoder())


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fills_up_is_told_and_nothing_is_left(
    own_image_cache: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    write_all = decoded.write_all
    calls: list[int] = []

    def filling(handle: int, data: bytes | memoryview) -> None:
        calls.append(len(data))
        if len(calls) == 3:
            raise OSError(reason, os.strerror(reason))
        write_all(handle, data)

    monkeypatch.setattr(decoded, "write_all", filling)
    message = refused(Decoder())
    assert str(own_image_cache) in message
    assert os.strerror(reason) in message
    assert images_in(own_image_cache) == []
    monkeypatch.undo()


def test_a_disk_that_is_full_from_the_start_is_told(
    own_image_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    assert "No space left on device" in refused(Decoder())


def test_a_limit_on_the_size_of_files_is_told(own_image_cache: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (decoded.OFFSET + PIXELS.nbytes // 2, limits[1]))
    try:
        message = refused(Decoder())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in message
    assert images_in(own_image_cache) == []


def test_an_image_that_cannot_be_read_leaves_nothing(own_image_cache: Path) -> None:
    class Unreadable(Decoder):
        def interrupt(self) -> None:
            raise UsageError("c.png cannot be read.")

    with pytest.raises(UsageError, match=r"^c\.png cannot be read\.$"):
        load(Unreadable())
    assert images_in(own_image_cache) == []


def test_an_error_of_decoding_is_not_laid_to_the_cache() -> None:
    class Broken(Decoder):
        def interrupt(self) -> None:
            raise OSError(errno.ENOSPC, "of another disk")

    with pytest.raises(OSError, match="of another disk"):
        load(Broken())


ZEROS = np.zeros(SHAPE, np.uint8)


@pytest.mark.parametrize(
    ("classes", "wrong"),
    [
        ([("a", ZEROS[:, 0]), ("b", ZEROS)], r"a is uint8 \(4, 6, 6\); wanted uint8 \(4, 3, 6, 6\)"),
        ([("a", ZEROS.astype(float)), ("b", ZEROS)], "a is float64"),
        ([("a", ZEROS)], "b is missing"),
        ([("a", ZEROS), ("b", ZEROS), ("a", ZEROS)], "a is unknown or comes twice"),
        ([("a", ZEROS), ("c", ZEROS)], "c is unknown or comes twice"),
    ],
    ids=["shape", "type", "missing", "twice", "unknown"],
)
def test_classes_that_are_not_as_announced_are_refused(
    own_image_cache: Path, classes: list[tuple[str, np.ndarray]], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        load_decoded("made", "place", "facts", lambda: Decoding(("a", "b"), SHAPE, classes))
    assert images_in(own_image_cache) == []


# --- several processes ---


class Slow(Decoder):
    def interrupt(self) -> None:
        time.sleep(0.3)


class Stuck(Decoder):
    def interrupt(self) -> None:
        assert self.log is not None
        self.log.with_suffix(".stuck").touch()
        time.sleep(60)


def load_and_check(decode: Decoder) -> None:
    check(load(decode))


def test_processes_that_want_the_same_set_decode_it_once(tmp_path: Path, own_image_cache: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=load_and_check, args=(Slow(log),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(log.read_text().split()) == 1
    assert len(images_in(own_image_cache)) == 1


def test_what_a_killed_process_leaves_is_not_taken_for_a_set(tmp_path: Path, own_image_cache: Path) -> None:
    log = tmp_path / "log"
    process = multiprocessing.get_context("fork").Process(target=load_and_check, args=(Stuck(log),))
    process.start()
    assert process.pid is not None
    while not log.with_suffix(".stuck").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (torn,) = images_in(own_image_cache)
    assert torn.stat().st_size > decoded.OFFSET
    decode = Decoder()
    check(load(decode))
    assert decode.decodings == 1
    assert images_in(own_image_cache) != [torn]
    assert len(images_in(own_image_cache)) == 1


def test_the_cache_is_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INNERLOOP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load(Decoder())
    assert len(images_in(tmp_path / "xdg" / "innerloop")) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    load(Decoder())
    assert len(images_in(tmp_path / ".cache" / "innerloop")) == 1
