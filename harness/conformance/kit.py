"""The table of checks, and how each becomes a line of the command or a test of pytest."""

import traceback
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.adapter_files import blame, defining_files
from harness.conformance import behaviour, contract, promises
from harness.conformance.finding import Read, Unread
from harness.conformance.subject import NotFinite, Subject
from harness.core.method import Method
from harness.training.returned import WrongReturn
from harness.verdicts import Finding

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that is asked of every method.

    Called with a method class (and settings, if you like) it is an assertion, whose message is the remedy; it
    raises `unittest.SkipTest`, which pytest understands, where it does not apply.
    """

    name: str
    examine: Callable[[Subject], Read]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def __call__(self, method: type[Method], **settings: Any) -> None:
        finding = self.find(Subject(method, settings))
        if finding.status == "skipped":
            raise unittest.SkipTest(finding.note)
        assert finding.status == "ok", f"{method.__name__}: {finding.check}: {finding.note}"

    def find(self, subject: Subject) -> Finding:
        """What the check reads of a method, whatever the method does."""
        try:
            read = self.examine(subject)
        except Unread as reason:
            return self._unread(str(reason), "skipped")
        except (WrongReturn, NotFinite) as failure:
            first = RETURNS if isinstance(failure, WrongReturn) else FINITE
            if first.find(subject).status == "failed":
                return self._unread(f"see '{first.name}'", "skipped")
            return self._unread(str(failure), "failed")  # so here alone, in another dtype, say
        except Exception as failure:
            traceback.print_exc()
            return self._unread(f"{blame(failure, defining_files(subject.cls))}.", "failed")
        note = "" if read.fits else read.remedy
        status: Status = "ok" if read.fits else "failed"
        return Finding(self.name, read.what, read.figure, read.tolerance, read.unit, status, note)

    def _unread(self, why: str, status: Status) -> Finding:
        return Finding(self.name, "", None, None, "", status, why)


RETURNS = Check("returns what it must", contract.returns)
FINITE = Check("finite results", contract.is_finite)
"""The first to speak of a result that is not as it must be; others that meet one point here."""

CHECKS: tuple[Check, ...] = (
    Check("comes back from its settings", contract.comes_back),
    RETURNS,
    FINITE,
    Check("deterministic", contract.is_deterministic),
    Check("keeps no state", contract.keeps_no_state),
    Check("inputs untouched", contract.leaves_inputs),
    Check("zero inner steps", contract.zero_steps),
    Check("same inner map", promises.same_inner_map),
    Check("what its kind promises", promises.promise),
    Check("vectorised equals looped", contract.batches),
    Check("no neighbours", contract.ignores_neighbours),
    Check("nothing retained", contract.retains_nothing),
    Check("learns", behaviour.learns),
    Check("memory order", behaviour.memory_order),
)
"""In the order in which they are made: the first say why later ones could not be read."""


def findings(subject: Subject, begins: Callable[[Check], None] = lambda check: None) -> Iterator[Finding]:
    """What every check reads of a method; `begins` is told of each as it starts."""
    for check in CHECKS:
        begins(check)
        yield check.find(subject)
