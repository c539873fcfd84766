"""The adapters over other libraries, where those are installed."""

import os

import pytest

from harness.core.method import Method
from harness.errors import LibraryMissing
from harness.registry import load_method
from methods import OVER_LIBRARIES

UNROLLED = [name for name in OVER_LIBRARIES if name.startswith("maml@")]
REQUIRED = os.environ.get("INNERLOOP_PEERS") == "required"  # tox's environment `peers`: nothing may skip

every_adapter = pytest.mark.parametrize("name", OVER_LIBRARIES)


def load(name: str) -> type[Method]:
    """The adapter's class; skips with what to install where its library is missing."""
    try:
        return load_method(name, "tests")[1]
    except LibraryMissing as missing:
        if REQUIRED:
            raise
        pytest.skip(str(missing))
