"""Files that a crash leaves whole, and what JSON makes of the values that runs hold."""

import errno
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import UsageError


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a crash leaves either the old one or the new one. Raises OSError."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        try:
            os.fchmod(handle, 0o644)
            write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write to an open file, in as many turns as it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(handle, view)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def sync_folder(path: Path) -> None:
    """Make durable which files a folder has."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:
    """The content of a file of a run folder. Raises UsageError."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    except ValueError as failure:
        raise UsageError(f"{path} is not JSON ({failure}); run into a new folder with --out.") from failure


def dumps(content: Any, *, sort_keys: bool = True, indent: int | None = None) -> str:
    """As JSON. See `_plain` for what that has no word for."""
    return json.dumps(_plain(content), sort_keys=sort_keys, indent=indent, allow_nan=False)


def _plain(content: Any) -> Any:
    """JSON has no infinity: it is kept as text. Numbers of other libraries become Python's."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, str | bool | int) or content is None:
        return content
    if isinstance(content, float):
        return float(content) if math.isfinite(content) else str(content)
    return _plain(content.item()) if hasattr(content, "item") else str(content)
