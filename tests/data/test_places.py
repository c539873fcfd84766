from pathlib import Path

import pytest

from harness.data.places import find_data_root
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has said nothing."""
    for name in ("INNERLOOP_DATA", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_data_root_is_the_option_else_the_variable_else_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_data_root() == tmp_path / ".local" / "share" / "innerloop"
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/share")
    assert find_data_root() == Path("/srv/share/innerloop")
    monkeypatch.setenv("INNERLOOP_DATA", "/srv/data")
    assert find_data_root() == Path("/srv/data")
    assert find_data_root("here") == Path("here")
    assert find_data_root("~/here") == tmp_path / "here"


def test_what_is_empty_or_relative_where_it_must_not_be_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("INNERLOOP_DATA", "")
    assert find_data_root("") == tmp_path / ".local" / "share" / "innerloop"


def test_a_home_that_nobody_knows_is_said() -> None:
    with pytest.raises(UsageError, match="name one with --data-root or INNERLOOP_DATA"):
        find_data_root("~nobody-of-this-name/data")
