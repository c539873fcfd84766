"""Workloads: distributions of tasks with the model that learns them. This package imports no torch."""

BUILT_IN = {
    "glyphs": "harness.workloads.glyphs:Glyphs",
    "omniglot": "harness.workloads.omniglot:Omniglot",
    "omniglot-minimal": "harness.workloads.omniglot:OmniglotMinimal",
    "omniglot-official-runs": "harness.workloads.official_runs:OfficialRuns",
    "sinusoid": "harness.workloads.sinusoid:Sinusoid",
    "linear-regression": "harness.workloads.linear_regression:LinearRegression",
}
"""Name -> `module:class`, in the order in which they are listed; loaded on first use."""
