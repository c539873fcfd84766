"""What `innerloop new` writes: an adapter that works, its three lines to change marked, and its test."""

ADAPTER = '''"""{name}: what it does, and the paper that it comes from."""

from harness import Method, Objective, Params, TaskObjectives, trees


class {cls}(Method):
    """What the method does, in one sentence.

    inner_lr: step size of the inner loop.
    """

    kind = "first-order"  # 1. what the meta-gradient is; `check` holds you to it
    memory_order = "constant"

    inner_lr: float = 0.1

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = trees.detach(meta)
        for _ in range(self.inner_steps):
            gradient = support.gradient(phi)
            phi = trees.axpy(-self.inner_lr, gradient, phi)  # 2. the inner step
        return phi

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        phi = self.adapt(tasks.support, meta)
        return tasks.query.gradient(phi)  # 3. what the outer rule subtracts
'''

TEST = '''"""{cls} against what is asked of every method: `python -m pytest {test}`"""

import pytest
from {module} import {cls}

from harness import conformance


@pytest.mark.parametrize("check", conformance.CHECKS, ids=str)
def test_{module}_conforms(check: conformance.Check) -> None:
    check({cls})
'''

NEXT = """{file} and {test} are written: first-order MAML, until you change its lines 1, 2 and 3. Then:

  innerloop check {file}:{cls}
  python -m pytest {test}
  innerloop run quick --method {file}:{cls} --out results/{name}
  innerloop plot results/reference/quick results/{name} --out plots"""
