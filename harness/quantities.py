"""Durations and sizes as people write them."""

import re

from harness.errors import UsageError

SECONDS = {"s": 1, "m": 60, "h": 3600}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def duration(option: str, text: str | None) -> float | None:
    """Seconds of `90s`, `10m` or `1.5h`."""
    return None if text is None else _quantity(option, text, SECONDS, "10m")


def size(option: str, text: str | None) -> int | None:
    """Bytes of `12GiB`; a fraction of a byte is cut off."""
    return None if text is None else int(_quantity(option, text, BYTES, "12GiB"))


def _quantity(option: str, text: str, units: dict[str, int], example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if match is None or match[2] not in units or float(match[1]) == 0:
        known = ", ".join(units)
        raise UsageError(
            f"{option} {text}: write a positive number with its unit, one of {known}, such as {example}."
        )
    return float(match[1]) * units[match[2]]
