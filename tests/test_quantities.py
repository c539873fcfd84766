import pytest

from harness.errors import UsageError
from harness.quantities import duration, size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("0.5s", 0.5), (" 3 m ", 180)]
)
def test_durations_are_numbers_with_a_unit(text: str, seconds: float) -> None:
    assert duration("--timeout", text) == seconds


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1B", 1), ("2KiB", 2048), ("1.5MiB", 1572864), ("12GiB", 12 * 2**30), ("1TiB", 2**40), ("0.7B", 0)],
)
def test_sizes_are_binary(text: str, bytes_: int) -> None:
    assert size("--memory-budget", text) == bytes_


def test_what_was_not_given_stays_open() -> None:
    assert duration("--timeout", None) is size("--memory-budget", None) is None


@pytest.mark.parametrize(
    "text", ["10", "m", "", "-5m", "0s", "0.0h", "5min", "5M", "1e3s", "nan s", "1,5m", "1m30s"]
)
def test_a_bad_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        duration("--timeout", text)
    assert str(caught.value) == (
        f"--timeout {text}: write a positive number with its unit, one of s, m, h, such as 10m."
    )


@pytest.mark.parametrize("text", ["12GB", "12gib", "0B", "12", "-1GiB"])
def test_a_bad_size_is_refused_with_its_units(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^--memory-budget .* one of B, KiB, MiB, GiB, TiB, such as 12GiB\.$"
    ):
        size("--memory-budget", text)
