import dataclasses
import fcntl
import hashlib
import io
import os
import random
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import png
from server import (
    Site,
    cut_after,
    dripping,
    dripping_headers,
    failing,
    hanging_up,
    redirecting,
    serving,
    silent,
)

from harness.data import download, fetch
from harness.data.archives import find_archive
from harness.data.catalogue import SMALL_1, Archive, Characters
from harness.data.download import FetchFailed, Patience, Progress
from harness.errors import UsageError

CONTENT = random.Random(6).randbytes(300_000)
ARCHIVE = dataclasses.replace(SMALL_1, checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
QUICK = Patience(timeout_s=5.0, attempts=4, pause_s=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site(CONTENT)) as site:
        yield site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def get(site: Site, root: Path, patience: Patience = QUICK, archive: Archive = ARCHIVE) -> list[Progress]:
    """Fetch; what was heard."""
    heard: list[Progress] = []
    assert fetch.fetch(archive, root, heard.append, site.address, patience)
    return heard


def fails(site: Site, root: Path, patience: Patience = QUICK) -> str:
    """The sentence of a fetch that fails, and leaves nothing in place."""
    with pytest.raises(FetchFailed) as failure:
        get(site, root, patience)
    assert not (root / ARCHIVE.file).exists()
    said = str(failure.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert site.address in said
    return said


def ranges(site: Site) -> list[str | None]:
    return [headers.get("Range") for _, headers in site.seen]


def is_whole(root: Path) -> bool:
    """Whether the archive, and nothing else, lies in the data root."""
    return [path.name for path in root.iterdir()] == [ARCHIVE.file] and (
        root / ARCHIVE.file
    ).read_bytes() == CONTENT


# --- what goes well ---


def test_a_file_arrives_whole_and_alone(site: Site, root: Path) -> None:
    heard = get(site, root)
    assert is_whole(root)
    assert site.seen[0][0] == "/omniglot/python/images_background_small1.zip"
    assert heard[-1].received == heard[-1].total == len(CONTENT)
    assert stat.S_IMODE((root / ARCHIVE.file).stat().st_mode) == 0o644


def test_what_is_there_as_published_is_not_asked_for(site: Site, root: Path) -> None:
    get(site, root)
    assert not fetch.fetch(ARCHIVE, root, lambda progress: None, site.address, QUICK)
    assert len(site.seen) == 1


def test_a_damaged_archive_is_replaced(site: Site, root: Path) -> None:
    root.mkdir()
    (root / ARCHIVE.file).write_bytes(CONTENT[:-1] + b"\0")
    get(site, root)
    assert is_whole(root)


def test_a_file_of_unknown_length_arrives_too(site: Site, root: Path) -> None:
    site.length = False
    assert get(site, root)[-1].total is None
    assert is_whole(root)


def test_redirects_are_followed(site: Site, root: Path) -> None:
    site.faults = [redirecting("/elsewhere.zip"), redirecting("/again.zip", 301)]
    get(site, root)
    assert is_whole(root)
    assert [path for path, _ in site.seen][1:] == ["/elsewhere.zip", "/again.zip"]


# --- cut connections ---


@pytest.mark.parametrize("modified", [None, "Tue, 20 Oct 2015 18:47:00 GMT"], ids=["etag", "last-modified"])
def test_a_cut_download_goes_on_where_it_ended(site: Site, root: Path, modified: str | None) -> None:
    site.etag, site.modified = ('"one"', None) if modified is None else (None, modified)
    site.faults = [cut_after(100_000), cut_after(200_000)]
    get(site, root)
    assert is_whole(root)
    assert ranges(site) == [None, "bytes=100000-", "bytes=200000-"]
    assert site.seen[1][1]["If-Range"] == (modified or '"one"')


def test_a_later_call_goes_on_too(site: Site, root: Path) -> None:
    site.faults = [cut_after(100_000)] * 1
    said = fails(site, root, dataclasses.replace(QUICK, attempts=1))
    assert "100,000 bytes are kept: the same command goes on from there" in said
    get(site, root)
    assert is_whole(root)
    assert ranges(site) == [None, "bytes=100000-"]


def test_a_killed_download_goes_on(site: Site, root: Path) -> None:
    site.faults = [dripping(0.05, 20_000)]
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.data import fetch\n"
        "from harness.data.catalogue import SMALL_1\n"
        "fetch.fetch(SMALL_1, Path(sys.argv[1]), lambda progress: print(progress.received, flush=True), "
        "sys.argv[2])"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(root), site.address], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    for _ in range(3):
        started.stdout.readline()
    started.kill()
    started.wait()
    started.stdout.close()
    kept = (root / f".{ARCHIVE.file}.part").stat().st_size
    get(site, root)
    assert is_whole(root)
    assert kept >= 40_000
    assert ranges(site) == [None, f"bytes={kept}-"]


def test_without_ranges_it_begins_anew(site: Site, root: Path) -> None:
    site.ranges = False
    site.faults = [cut_after(100_000)]
    get(site, root)
    assert is_whole(root)
    assert site.sent == [200, 200]


def test_what_names_no_version_is_not_pieced_together(site: Site, root: Path) -> None:
    site.etag = None
    site.faults = [cut_after(100_000)]
    get(site, root)
    assert is_whole(root)
    assert ranges(site) == [None, None]


def test_a_weak_etag_names_no_version(site: Site, root: Path) -> None:
    site.etag = 'W/"one"'
    site.faults = [cut_after(100_000)]
    get(site, root)
    assert ranges(site) == [None, None]


def test_a_file_that_changed_between_attempts_is_taken_from_the_beginning(site: Site, root: Path) -> None:
    other = random.Random(7).randbytes(300_000)

    def change(handler: object) -> None:
        site.content = other
        cut_after(100_000)(handler)  # type: ignore[arg-type]
        site.content, site.etag = CONTENT, '"two"'

    site.faults = [change]
    get(site, root)
    assert is_whole(root)
    assert site.sent == [200, 200]


def test_parts_that_do_not_fit_are_thrown_away_and_fetched_whole(site: Site, root: Path) -> None:
    """A server that keeps its ETag though the file has changed."""

    def change(handler: object) -> None:
        site.content = random.Random(7).randbytes(300_000)
        cut_after(100_000)(handler)  # type: ignore[arg-type]
        site.content = CONTENT

    site.faults = [change]
    heard = get(site, root)
    assert is_whole(root)
    assert site.sent == [200, 206, 200]
    assert [progress.note for progress in heard if "do not fit" in progress.note]


def test_a_part_that_is_longer_than_the_file_is_begun_anew(site: Site, root: Path) -> None:
    site.faults = [cut_after(100_000)]
    fails(site, root, dataclasses.replace(QUICK, attempts=1))
    site.faults = [failing(416)]
    get(site, root)
    assert is_whole(root)
    assert ranges(site) == [None, "bytes=100000-", None]


def test_another_part_than_was_asked_for_is_refused(site: Site, root: Path) -> None:
    def wrong(handler: object) -> None:
        handler.headers.replace_header("Range", "bytes=50-")  # type: ignore[attr-defined]
        handler.answer()  # type: ignore[attr-defined]

    site.faults = [cut_after(100_000), wrong]
    get(site, root)
    assert is_whole(root)


def test_another_address_does_not_go_on_from_this_ones_part(site: Site, root: Path) -> None:
    site.faults = [cut_after(100_000)]
    fails(site, root, dataclasses.replace(QUICK, attempts=1))
    site.address += "/mirror"
    get(site, root)
    assert ranges(site) == [None, None]


# --- servers that fail ---


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_a_server_in_trouble_is_asked_again(site: Site, root: Path, code: int) -> None:
    site.faults = [failing(code), hanging_up]
    heard = get(site, root)
    assert is_whole(root)
    assert f"the server said {code}" in heard[0].note
    assert "again in 0.01 s" in heard[0].note


@pytest.mark.parametrize("code", [404, 403, 410])
def test_a_server_that_says_no_is_believed(site: Site, root: Path, code: int) -> None:
    site.faults = [failing(code)]
    assert f"the server said {code}" in fails(site, root)
    assert len(site.seen) == 1
    assert list(root.iterdir()) == []


def test_a_redirect_loop_ends(site: Site, root: Path) -> None:
    site.faults = [redirecting("/round.zip")] * 50
    assert "infinite loop" in fails(site, root)
    assert len(site.seen) < 20


@pytest.mark.parametrize("target", ["file:///etc/hostname", "gopher://127.0.0.1/"])
def test_a_redirect_to_no_web_address_is_refused(site: Site, root: Path, target: str) -> None:
    site.faults = [redirecting(target)]
    assert "not allowed" in fails(site, root)


def test_attempts_are_counted(site: Site, root: Path) -> None:
    site.faults = [failing(503)] * 50
    assert "after 4 attempts" in fails(site, root)
    assert len(site.seen) == 4


def test_a_closed_port_is_said(root: Path, tmp_path: Path) -> None:
    with serving(Site(CONTENT)) as site:
        pass
    assert "no connection" in fails(site, root)


def test_wrong_bytes_are_thrown_away(site: Site, root: Path) -> None:
    site.content = CONTENT[:-1] + b"\0"
    assert "as published (its sha256 differs), and was thrown away" in fails(site, root)
    assert list(root.iterdir()) == []
    assert len(site.seen) == 1


def test_wrong_bytes_leave_what_was_there(site: Site, root: Path) -> None:
    root.mkdir()
    (root / ARCHIVE.file).write_bytes(b"older")
    site.content = b"wrong"
    with pytest.raises(FetchFailed):
        get(site, root)
    assert (root / ARCHIVE.file).read_bytes() == b"older"


def test_a_silent_server_is_given_up(site: Site, root: Path) -> None:
    site.faults = [silent(30)] * 9
    said = fails(site, root, Patience(timeout_s=0.2, attempts=2, pause_s=0.01))
    assert "the server was silent for too long, after 2 attempts" in said


def test_a_server_that_drips_is_given_up(site: Site, root: Path) -> None:
    """Each byte comes well within the socket's own timeout."""
    site.faults = [dripping(0.02)] * 9
    said = fails(site, root, Patience(timeout_s=0.3, attempts=2, pause_s=0.01))
    assert "the server sent" in said
    assert "after 2 attempts" in said


def test_a_server_whose_headers_drip_is_given_up(site: Site, root: Path) -> None:
    site.faults = [dripping_headers] * 9
    said = fails(site, root, Patience(timeout_s=0.1, attempts=2, pause_s=0.01))
    assert "the server was silent for too long, after 2 attempts" in said
    assert len(site.seen) == 2


def test_a_file_without_end_fills_no_disk(site: Site, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST", 200_000)
    assert "takes 300,000 bytes" in fails(site, root)
    site.length = False
    assert "has no end" in fails(site, root)
    assert list(root.iterdir()) == []


def test_a_full_disk_is_said_and_what_came_is_kept(
    site: Site, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("harness.data.download.os.fsync", full)
        with pytest.raises(FetchFailed, match=f"the disk that holds {root} is full; make room, or name"):
            get(site, root)
    assert not (root / ARCHIVE.file).exists()
    get(site, root)
    assert is_whole(root)


# --- places that cannot be ---


def test_a_data_root_that_is_a_file_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file cannot be written .*; name another folder with --data-root"):
        get(site, tmp_path / "file")


def test_nothing_is_written_through_a_link(site: Site, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "victim").write_text("mine")
    (root / f".{ARCHIVE.file}.part").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="cannot be written"):
        get(site, root)
    (root / f".{ARCHIVE.file}.part").unlink()
    (root / ARCHIVE.file).symlink_to(tmp_path / "victim")
    get(site, root)
    assert (tmp_path / "victim").read_text() == "mine"
    assert is_whole(root)
    assert not (root / ARCHIVE.file).is_symlink()


def test_two_at_once_do_not_meet(site: Site, root: Path) -> None:
    root.mkdir()
    handle = os.open(root / f".{ARCHIVE.file}.part", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match=r"is being fetched into .* by another process"):
        get(site, root)
    os.close(handle)
    get(site, root)
    assert is_whole(root)


@pytest.mark.parametrize("base", ["ftp://host/x", "file:///etc", "nonsense"])
def test_an_address_that_is_none_is_refused(root: Path, base: str) -> None:
    with pytest.raises(UsageError, match="write an address such as https://"):
        fetch.fetch(ARCHIVE, root, lambda progress: None, base, QUICK)
    assert not root.exists()


@pytest.mark.parametrize("base", ["http://ho st/x", "http://127.0.0.1:port/x"])
def test_an_address_that_cannot_be_is_refused(root: Path, base: str) -> None:
    with pytest.raises(UsageError, match="write an address such as https://"):
        fetch.fetch(ARCHIVE, root, lambda progress: None, base, QUICK)


# --- local copies ---


def zipped(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, name)
    return buffer.getvalue()


def test_a_local_zip_is_taken_in_by_its_checksum(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / ARCHIVE.file).write_bytes(CONTENT)
    assert fetch.take_in(ARCHIVE, root, copy)
    assert is_whole(root)
    assert not fetch.take_in(ARCHIVE, root, copy)
    (copy / ARCHIVE.file).write_bytes(b"PK")
    (root / ARCHIVE.file).unlink()
    with pytest.raises(
        UsageError, match=r"is not images_background_small1.zip as published \(its sha256 differs"
    ):
        fetch.take_in(ARCHIVE, root, copy / ARCHIVE.file)
    assert list(root.iterdir()) == []


def test_a_local_zip_has_no_name_before_it_is_on_the_disk(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / ARCHIVE.file).write_bytes(CONTENT)
    root.mkdir()
    (root / f".{ARCHIVE.file}.part").write_bytes(CONTENT * 2)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(FetchFailed, match=f"the disk that holds {root} is full"):
            fetch.take_in(ARCHIVE, root, tmp_path)
    assert not (root / ARCHIVE.file).exists()
    assert fetch.take_in(ARCHIVE, root, tmp_path)
    assert is_whole(root)


def test_a_copy_in_the_data_root_itself_is_there_already(root: Path) -> None:
    root.mkdir()
    (root / ARCHIVE.file).write_bytes(CONTENT)
    assert not fetch.take_in(ARCHIVE, root, root)


def test_a_copy_that_is_not_there_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*nowhere"):
        fetch.take_in(ARCHIVE, root, tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds neither images_background_small1\.zip nor the folder"):
        fetch.take_in(ARCHIVE, root, tmp_path)
    assert not root.exists()


def test_a_local_folder_is_taken_in_drawing_by_drawing(root: Path, tmp_path: Path) -> None:
    small = dataclasses.replace(ARCHIVE, contents=Characters(1, 2, drawings=3))
    copy = tmp_path / "copy" / ARCHIVE.name
    for character in ("character01", "character02"):
        (copy / "Greek" / character).mkdir(parents=True)
        for drawer in range(3):
            (copy / "Greek" / character / f"{drawer}.png").write_bytes(png(drawer))
    (copy / "Greek" / "notes.txt").write_text("not a drawing")
    (copy / "Greek" / "character01" / "0.png").rename(tmp_path / "moved.png")
    (copy / "Greek" / "character01" / "0.png").symlink_to(tmp_path / "moved.png")
    assert fetch.take_in(small, root, tmp_path / "copy")
    taken = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert taken == sorted(
        f"{ARCHIVE.name}/Greek/character0{c}/{drawer}.png" for c in (1, 2) for drawer in range(3)
    )
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert find_archive(root, ARCHIVE.name) is not None
    assert not fetch.take_in(small, root, tmp_path / "copy")
    (copy / "Greek" / "character02" / "2.png").unlink()
    with pytest.raises(UsageError, match="class Greek/character02 has 2 drawings instead of 3"):
        fetch.take_in(small, tmp_path / "other", tmp_path / "copy")
    assert list((tmp_path / "other").iterdir()) == []
