"""Archives into the data root: downloaded, or taken from a local copy. Nothing is there before it is checked.

A download goes into a hidden file beside its place. A cut one goes on from where it ended, in this call or a
later one; what is complete is renamed into place if its checksum is the published one, else thrown away.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.data.archives import Source, find_archive
from harness.data.catalogue import ADDRESS, Archive
from harness.data.download import Hear, Part, Patience, disk, download
from harness.data.verify import check_contents
from harness.errors import UsageError
from harness.files import sync_folder


def fetch(
    archive: Archive, root: Path, hear: Hear, base: str = ADDRESS, patience: Patience | None = None
) -> bool:
    """Download `archive` from below the address `base` into `root`; False where it was there already.

    Raises FetchFailed, or UsageError where `root` or `base` is at fault. What was received stays for a later
    call, unless it is wrong.
    """
    patience = patience or Patience()
    if not base.startswith(("http://", "https://")):
        raise UsageError(f"--from {base}: write an address such as {ADDRESS}, or the path of a local copy.")
    with _room_for(archive, root) as part:
        target = root / archive.file
        if target.is_file() and archive.is_published(target):
            return False
        if not archive.is_published(part.path):
            download(archive, f"{base.rstrip('/')}/{archive.path}", part, hear, patience)
        part.path.chmod(0o644)
        part.path.replace(target)
        part.forget()
        sync_folder(root)
        return True


def take_in(archive: Archive, root: Path, copy: Path) -> bool:
    """Copy `archive` from the local `copy`, a folder that holds it or itself its zip or folder, into `root`.

    False where it was there already. A zip must have the published checksum; of a folder, the drawings are
    decoded, counted, and copied, and nothing else. Raises UsageError.
    """
    if not copy.exists():
        raise UsageError(f"there is no {copy}; name an address or a local copy with --from.")
    source = find_archive(copy, archive.name)
    if source is None:
        raise UsageError(
            f"{copy} holds neither {archive.file} nor the folder {archive.name}; name a copy that does with "
            "--from, or let a run read this one where it lies: --data-root."
        )
    target = root / (archive.file if source.path.is_file() else archive.name)
    if target.exists() and target.resolve() == source.path.resolve():
        return False
    with _room_for(archive, root) as part:
        if source.path.is_dir():
            if target.exists():
                check_contents(archive, Source(archive.name, target))
                return False
            _copy_folder(archive, source, target)
            return True
        if target.is_file() and archive.is_published(target):
            return False
        if not archive.is_published(source.path):
            raise UsageError(
                f"{source.path} is not {archive.file} as published (its {archive.kind} differs); extract it "
                "and name the folder, or fetch it without --from."
            )
        with disk(root), source.path.open("rb") as whole, part.path.open("r+b") as file:
            shutil.copyfileobj(whole, file)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        part.path.replace(target)
        part.forget()
        sync_folder(root)
        return True


def _copy_folder(archive: Archive, source: Source, target: Path) -> None:
    files = check_contents(archive, source)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{archive.name}.") as scratch:
        whole = Path(scratch) / archive.name
        with disk(target.parent):
            for path, member in files:
                place = whole / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(member.content())
        whole.rename(target)


@contextlib.contextmanager
def _room_for(archive: Archive, root: Path) -> Iterator[Part]:
    """The part of `archive` in `root`, held for this process. Raises UsageError."""
    part = Part(root / f".{archive.file}.part", root / f".{archive.file}.part.json")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Not through a link: what is written stays in the data root.
        handle = os.open(part.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as failure:
        raise UsageError(
            f"{root} cannot be written ({failure.strerror}); name another folder with --data-root."
        ) from failure
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(
            f"{archive.file} is being fetched into {root} by another process; wait for it."
        ) from None
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            if not part.path.stat().st_size:
                part.forget()
        os.close(handle)
