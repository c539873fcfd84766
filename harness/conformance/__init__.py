"""What every adapter is held against: `innerloop check METHOD`, or as tests of pytest.

@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_mine_conforms(check):
    check(Mine)
"""

from harness.conformance.kit import CHECKS, Check

__all__ = ["CHECKS", "Check"]
