"""Every method of the house passes the whole kit, also with the settings that make other code run."""

import os
from typing import Any

import pytest
from variants import every_method, load

from harness import registry
from harness.conformance import CHECKS, Check
from harness.errors import LibraryMissing
from methods import OVER_LIBRARIES

REQUIRED = os.environ.get("INNERLOOP_PEERS") == "required"  # tox's environment `peers`: nothing may skip

every_check = pytest.mark.parametrize("check", CHECKS, ids=str)


@every_check
@every_method
def test_a_built_in_method_conforms(name: str, settings: dict[str, Any], check: Check) -> None:
    if str(check) == "memory-order" and "segment" in settings:
        # Segments of a fixed length are no longer sqrt(inner_steps) long, and the kit sees it.
        with pytest.raises(AssertionError, match='declare memory_order = "linear"'):
            check(load(name), **settings)
        return
    check(load(name), **settings)


@every_check
@pytest.mark.parametrize("name", OVER_LIBRARIES)
@pytest.mark.filterwarnings(r"ignore:.*`functorch\.vjp` is deprecated:FutureWarning")  # TorchOpt 0.7.3
def test_an_adapter_over_a_library_conforms(name: str, check: Check) -> None:
    try:
        _, cls = registry.load_method(name, "tests")
    except LibraryMissing as missing:
        if REQUIRED:
            raise
        pytest.skip(str(missing))
    check(cls)
