"""How far a time curve can be trusted: what its blocks say of the noise.

The value of a block is the minimum over its rounds: on a shared machine noise only adds. A block may be slow
as a whole, which moves a curve and does not bend it: what is left, once each block's own factor is taken out,
is the noise that a shape has to stand out from.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from harness.analyze.summary import LEVEL, POINT


def block_minima(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a point and block that timed it: `POINT`, `cell_id` and `seconds`, from a run's rows."""
    timed = frame[(frame.measure == "time") & (frame.metric == "step_seconds") & (frame.status == "ok")]
    minima = timed.groupby([*POINT, "cell_id"], sort=True)["value"].min()
    return minima.rename("seconds").reset_index()


@dataclass(frozen=True)
class Curve:
    """One method's times over its blocks.

    seconds: of each point, the geometric mean over blocks, each block's own factor taken out.
    blocks: how many timed each point. spread: relative standard deviation of one block's value of a point.
    freedom: degrees of freedom of that; 0 where there is a single block, and no spread is known.
    common: 95% half-width, relative, of the factor that all points share; 0 where it is not known.
    """

    steps: np.ndarray
    seconds: np.ndarray
    blocks: np.ndarray
    spread: float
    freedom: int
    common: float


def curve_of(minima: pd.DataFrame) -> Curve:
    """From the lines of one method in `block_minima`: point and block effects on the logarithm, by least
    squares, for a block need not have every point."""
    steps, point = np.unique(minima.inner_steps.to_numpy(float), return_inverse=True)
    cells, block = np.unique(minima.cell_id.to_numpy(str), return_inverse=True)
    logs = np.log(minima.seconds.to_numpy(float))
    n, b = len(steps), len(cells)
    design = np.zeros((len(logs), n + b))
    design[np.arange(len(logs)), point] = 1
    design[np.arange(len(logs)), n + block] = 1
    effects, _, rank, _ = np.linalg.lstsq(design, logs, rcond=None)
    residuals = logs - design @ effects
    freedom = max(len(logs) - int(rank), 0)
    of_blocks = effects[n:]
    common = 0.0
    if b > 1:
        common = float(stdtrit(b - 1, (1 + LEVEL) / 2) * of_blocks.std(ddof=1) / np.sqrt(b))
    return Curve(
        steps=steps,
        seconds=np.exp(effects[:n] + of_blocks.mean()),
        blocks=np.bincount(point),
        spread=float(np.sqrt((residuals**2).sum() / freedom)) if freedom else float("nan"),
        freedom=freedom,
        common=common,
    )
