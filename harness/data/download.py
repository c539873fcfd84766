"""One download: attempts, each of which goes on where the last one ended."""

import contextlib
import errno
import http.client
import json
import os
import queue
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.catalogue import ADDRESS, Archive
from harness.errors import UsageError
from harness.files import replace_file

CHUNK = 64 * 2**10
LARGEST = 64 * 2**20  # bytes; seven times the largest archive: a server that never ends fills no disk
SLOWEST = 1024  # bytes a second over `timeout_s`; below, a server counts as silent
HOPS = 4  # addresses to try and redirects to follow, each of which has its time, before a server has answered
AGAIN = (408, 429, 500, 502, 503, 504)  # what a server says that may be well a moment later


class FetchFailed(Exception):
    """An archive could not be had: one sentence. Exit code 1."""


class Cut(Exception):
    """An attempt ended early, for a reason that may pass."""


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server: silence, attempts, and the pause before the second, which doubles."""

    timeout_s: float = 30.0
    attempts: int = 5
    pause_s: float = 1.0


@dataclass(frozen=True)
class Progress:
    """How far an archive is: `total` is None where the server does not say; `note` is a turn of events."""

    archive: Archive
    received: int
    total: int | None
    note: str = ""


Hear = Callable[[Progress], None]


@dataclass(frozen=True)
class Part:
    """What has been received of an archive, and the validator of the file that it is a part of: an ETag, or
    the time of its last change, without which it cannot be told that the file is still the same."""

    path: Path
    notes: Path

    def validator(self, address: str) -> str | None:
        """That of what is here, if it came from `address`."""
        try:
            noted = json.loads(self.notes.read_bytes())
            return str(noted["validator"]) if noted["address"] == address else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, address: str, validator: str | None) -> None:
        if validator is None:
            self.notes.unlink(missing_ok=True)
        else:
            replace_file(self.notes, json.dumps({"address": address, "validator": validator}))

    def empty(self) -> None:
        """Keep nothing; the file itself stays, for it is what this process holds."""
        self.notes.unlink(missing_ok=True)
        os.truncate(self.path, 0)

    def forget(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def download(archive: Archive, address: str, part: Part, hear: Hear, patience: Patience) -> None:
    """Receive the whole file, in as many attempts as `patience` has; its checksum is right on return."""
    for attempt in range(1, patience.attempts + 1):
        try:
            resumed = _attempt(archive, address, part, hear, patience)
        except Cut as cut:
            if attempt == patience.attempts:
                got = part.path.stat().st_size if part.validator(address) else 0
                kept = f"{got:,} bytes are kept: the same command goes on from there" if got else ""
                remedy = kept or "try again later, or name another address or a local copy with --from"
                raise FetchFailed(f"{address}: {cut}, after {attempt} attempts; {remedy}.") from cut
            pause = patience.pause_s * 2 ** (attempt - 1)
            hear(Progress(archive, part.path.stat().st_size, None, f"{cut}; again in {pause:g} s"))
            time.sleep(pause)
            continue
        if archive.is_published(part.path):
            return
        part.empty()
        if not resumed:
            break
        # Pieced together from what did not belong together: once more, from the beginning.
        hear(Progress(archive, 0, None, "its parts do not fit together; from the beginning"))
    raise FetchFailed(
        f"{address} is not {archive.file} as published (its {archive.kind} differs), and was thrown away; "
        "fetch it from elsewhere with --from."
    )


def _attempt(archive: Archive, address: str, part: Part, hear: Hear, patience: Patience) -> bool:
    """Receive what is missing. Returns whether that was added to what was there before. Raises Cut, and
    FetchFailed where another attempt would fare no better."""
    validator = part.validator(address)
    have = part.path.stat().st_size if validator else 0
    request = urllib.request.Request(
        address, headers={"User-Agent": "innerloop", "Accept-Encoding": "identity"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", str(validator))
    with _network(address, part), _ask(request, patience.timeout_s) as answer:
        resumed = answer.status == http.client.PARTIAL_CONTENT and _begins_at(answer, have)
        if answer.status == http.client.PARTIAL_CONTENT and not resumed:
            part.note(address, None)
            raise Cut("the server sent another part than it was asked for")
        start = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        if total is not None and total > LARGEST:
            raise FetchFailed(f"{address} takes {total:,} bytes, as {archive.file} does not; try --from.")
        with disk(part.path.parent), part.path.open("r+b") as file:
            part.note(address, _validator(answer))
            file.truncate(start)
            file.seek(start)
            received = start
            for chunk in _stream(answer, None if total is None else total - start, patience.timeout_s):
                received += len(chunk)
                if received > LARGEST:
                    part.empty()
                    raise FetchFailed(f"{address} has no end, as {archive.file} does; try --from.")
                file.write(chunk)
                hear(Progress(archive, received, total))
            file.flush()
            os.fsync(file.fileno())
        if total is not None and received < total:
            raise Cut(f"the connection was cut at {received:,} of {total:,} bytes")
        return start > 0


def _ask(request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
    """The answer, its headers read. Raises as urlopen, and TimeoutError where that takes longer than HOPS
    times `timeout_s`: headers too can come byte by byte."""
    heard: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            heard.put(urllib.request.urlopen(request, timeout=timeout_s))
        except Exception as failure:
            heard.put(failure)

    # Nothing ends urlopen from outside; a thread that is left to itself ends with this process at the latest.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = heard.get(timeout=HOPS * timeout_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _stream(answer: http.client.HTTPResponse, length: int | None, timeout_s: float) -> Iterator[bytes]:
    """What comes, as it comes, `length` bytes at most. Raises Cut where that is next to nothing for
    `timeout_s`: a timeout of the socket alone would bear with one byte every now and then for ever."""
    since, got = time.monotonic(), 0
    left = LARGEST + 1 if length is None else length
    while left and (chunk := answer.read1(min(CHUNK, left))):
        yield chunk
        left -= len(chunk)
        got += len(chunk)
        spent = time.monotonic() - since
        if spent >= timeout_s:
            if got < SLOWEST * spent:
                raise Cut(f"the server sent {got:,} bytes in {spent:.0f} s")
            since, got = time.monotonic(), 0


def _begins_at(answer: http.client.HTTPResponse, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What If-Range may name (RFC 9110, 13.1.5): a strong ETag, or else the time of the last change."""
    etag = answer.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return answer.headers.get("Last-Modified")


@contextlib.contextmanager
def _network(address: str, part: Part) -> Iterator[None]:
    """What fails inside becomes Cut where it may pass, FetchFailed with a sentence where it will not."""
    try:
        yield
    except urllib.error.HTTPError as failure:
        failure.close()
        if failure.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.note(address, None)  # what is here is longer than the file: it has changed
            raise Cut("the file has changed") from failure
        said = f"the server said {failure.code} {failure.reason}".partition("\n")[0].rstrip(". ")
        if failure.code in AGAIN:
            raise Cut(said) from failure
        raise FetchFailed(f"{address}: {said}; try another address with --from.") from failure
    except TimeoutError as failure:
        raise Cut("the server was silent for too long") from failure
    except urllib.error.URLError as failure:
        if isinstance(failure.reason, TimeoutError):
            raise Cut("the server was silent for too long") from failure
        if isinstance(failure.reason, ssl.SSLCertVerificationError):
            raise FetchFailed(f"{address}: {failure.reason}; try another address with --from.") from failure
        raise Cut(f"no connection ({failure.reason})") from failure
    except (http.client.InvalidURL, ValueError) as failure:
        raise UsageError(f"--from {address}: {failure}; write an address such as {ADDRESS}.") from failure
    except http.client.HTTPException as failure:
        raise Cut(f"the connection was cut ({type(failure).__name__})") from failure
    except (ConnectionError, ssl.SSLError) as failure:
        raise Cut(f"the connection was cut ({failure.strerror or failure})") from failure


@contextlib.contextmanager
def disk(root: Path) -> Iterator[None]:
    """A full disk in a sentence."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FetchFailed(
            f"the disk that holds {root} is full; make room, or name another folder with --data-root, and "
            "issue the same command again."
        ) from failure
