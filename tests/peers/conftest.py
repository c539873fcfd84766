"""Warnings that libraries give of themselves are errors here too, but for those that are known."""

from pathlib import Path

import pytest

# TorchOpt 0.7.3 calls torch.func.vjp by its old name.
KNOWN = (r"ignore:.*`functorch\.vjp` is deprecated:FutureWarning",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for known in KNOWN:
                item.add_marker(pytest.mark.filterwarnings(known))
