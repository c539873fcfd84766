"""A real HTTP server on the loopback that misbehaves as it is told."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from typing import Any


@dataclass
class Site:
    """One file under every path. Each request takes the next of `faults`, and none when they are used up."""

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    length: bool = True
    faults: list[Callable[["Handler"], None]] = field(default_factory=list)
    seen: list[tuple[str, Message]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    """Status codes, in order."""

    address: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.seen.append((self.path, self.headers))
        if site.faults:
            site.faults.pop(0)(self)
        else:
            self.answer()

    def answer(self, cut: int | None = None, pause_s: float = 0.0, step: int = 1) -> None:
        """As a server should; or only up to `cut` bytes, or `step` bytes every `pause_s`."""
        site = self.site
        start = self.start()
        self.status(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        if site.length:
            self.send_header("Content-Length", str(len(site.content) - start))
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.modified:
            self.send_header("Last-Modified", site.modified)
        self.end_headers()
        body = site.content[start:cut]
        if not pause_s:
            self.wfile.write(body)
        while pause_s and body:
            self.wfile.write(body[:step])
            self.wfile.flush()
            body = body[step:]
            time.sleep(pause_s)
        self.close_connection = True

    def start(self) -> int:
        """Where the range that is asked for begins; 0 for the whole."""
        site, asked = self.site, self.headers.get("Range")
        if asked is None or not site.ranges:
            return 0
        if self.headers.get("If-Range") not in (site.etag, site.modified):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def status(self, code: int) -> None:
        self.site.sent.append(code)
        self.send_response(code)

    def log_message(self, format: str, *arguments: Any) -> None: ...


def cut_after(count: int) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(cut=count)


def dripping(pause_s: float, step: int = 1) -> Callable[[Handler], None]:
    def drip(handler: Handler) -> None:
        with_patience(lambda: handler.answer(pause_s=pause_s, step=step))

    return drip


def dripping_headers(handler: Handler) -> None:
    """One of them, a byte every 20 ms, for 4 s."""

    def drip() -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    with_patience(drip)


def silent(seconds: float) -> Callable[[Handler], None]:
    def wait(handler: Handler) -> None:
        time.sleep(seconds)
        with_patience(handler.answer)

    return wait


def with_patience(answer: Callable[[], None]) -> None:
    """The client may well be gone by then."""
    with suppress(OSError):
        answer()


def failing(code: int) -> Callable[[Handler], None]:
    def fail(handler: Handler) -> None:
        handler.site.sent.append(code)
        handler.send_error(code)

    return fail


def redirecting(target: str, code: int = 302) -> Callable[[Handler], None]:
    def redirect(handler: Handler) -> None:
        handler.status(code)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return redirect


def hanging_up(handler: Handler) -> None:
    handler.close_connection = True


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    handler = type("Here", (Handler,), {"site": site})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}/omniglot/python"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
