"""Memory over one meta-step, as the tracker saw it: what `memory` cells leave beside their rows."""

import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.analyze.summary import POINT
from harness.store import RunFolder

TRACE = "memory_trace.csv"
COLUMNS = [*POINT, "operator", "fraction", "live_bytes", "phase"]


def memory_traces(run: LoadedRun) -> pd.DataFrame:
    """Each method's trace at its largest number of inner steps that fits, one below the other.

    `fraction` is how far into the step's operators a line is, from 0 to 1. Empty where no cell left a trace.
    """
    folder, frame = RunFolder(run.path), run.rows
    peaks = frame[(frame.measure == "memory") & (frame.metric == "peak_bytes") & (frame.status == "ok")]
    parts = []
    for _, cells in peaks.groupby(POINT[:3]):
        # Of several seeds the first: the same operators run on other numbers.
        for cell in cells.sort_values(["inner_steps", "seed"], ascending=[False, True]).itertuples():
            path = folder.cells_path / str(cell.cell_id) / TRACE
            if not path.is_file():
                continue
            trace = pd.read_csv(path, usecols=["operator", "live_bytes", "phase"])
            if trace.empty:
                continue
            trace["fraction"] = trace.operator / trace.operator.max()
            parts.append(trace.merge(peaks.loc[[cell.Index], POINT], how="cross")[COLUMNS])
            break
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def peak_phases(traces: pd.DataFrame) -> dict[str, str]:
    """The phase that holds each method's peak, by label; of equal peaks the first."""
    return {
        str(label): str(trace.phase.iloc[int(trace.live_bytes.to_numpy().argmax())])
        for label, trace in traces.groupby("method_label", sort=False)
    }
