"""With what settings a suite measures: of one workload, for a suite may say other things of each."""

from typing import Any

from harness.analyze.loaded import LoadedRun


def asked(run: LoadedRun, measure: str, workload: str) -> dict[str, Any]:
    """The settings of a measure on a workload (its label), of the manifest; empty where that does not say.

    Runs from before workloads had settings of their own have one table for all of them.
    """
    of_workload = run.manifest.get("settings", {}).get(workload, run.manifest.get("content", {}))
    settings = of_workload.get(measure)
    return settings if isinstance(settings, dict) else {}
