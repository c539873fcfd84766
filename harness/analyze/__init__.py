"""From rows to findings: summaries with their uncertainty, as tidy frames."""
