"""Pictures of run folders, as the tests want them: from paths, and figures without their captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.analyze.loaded import load_run
from harness.present.plots import draw as pictures
from harness.present.plots import figures, trace


def draw(runs: Sequence[Path], out: Path, **options: Any) -> list[Path]:
    return pictures.draw([load_run(run) for run in runs], out, **options)


def summarise(runs: Sequence[Path], measure: str) -> pd.DataFrame:
    return pictures.summarise([load_run(run) for run in runs], measure)


def measure_figure(name: str, summary: pd.DataFrame, **options: Any) -> Figure:
    return figures.measure_figure(name, summary, **options)[0]


def overview_figure(summaries: dict[str, pd.DataFrame], **options: Any) -> Figure:
    return figures.overview_figure(summaries, **options)[0]


def summarise_traces(runs: Sequence[Path], names: Sequence[str]) -> pd.DataFrame:
    return trace.summarise_traces([load_run(run) for run in runs], names)


def trace_figure(traces: pd.DataFrame, **options: Any) -> Figure:
    return trace.trace_figure(traces, **options)[0]
