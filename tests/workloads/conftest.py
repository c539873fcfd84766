"""Where the real data is, if it is here at all, and a cache that no test shares with its user."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_image_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test alone (not created)."""
    folder = tmp_path / "image-cache"
    monkeypatch.setenv("INNERLOOP_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_omniglot() -> Path:
    """The folder with Omniglot's published minimal archives; skips where there is none."""
    beside = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("INNERLOOP_SHARED", beside)) / "omniglot"
    if not folder.is_dir():
        pytest.skip("no real Omniglot: neither ../shared/omniglot beside the repository nor INNERLOOP_SHARED")
    return folder
