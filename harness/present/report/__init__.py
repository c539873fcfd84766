"""The report: one HTML file that needs nothing else, of one run or of several."""

from harness.present.report.document import render, write_report

__all__ = ["render", "write_report"]
