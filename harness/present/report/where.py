"""Where a sentence holds, as far as the page leaves that open."""

from harness.analyze.loaded import LoadedRun
from harness.present.words import workload_in_words


def place(run: str, workload: str, runs: dict[str, LoadedRun]) -> list[str]:
    """The workload and the run, each where there are several."""
    workloads = {each for loaded in runs.values() for each in loaded.rows.workload.unique()}
    return [*([workload_in_words(workload)] if len(workloads) > 1 else []), *([run] if len(runs) > 1 else [])]
