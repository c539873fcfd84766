"""Hessian products that bend a curve of time: a linear solver that stops early makes fewer at few steps."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.analyze.words import listed

POINTS = 3  # two always lie on a line


def products_of(rows: pd.DataFrame) -> dict[tuple[str, str], dict[int, float]]:
    """By workload and method label, of each number of inner steps: products a task in a timed meta-step, the
    median over blocks and seeds, as in `costs`."""
    counts = rows[(rows.measure == "time") & (rows.metric == "hessian_products") & rows.value.notna()]
    medians = counts.groupby(["workload", "method_label", "inner_steps"]).value.median().reset_index()
    found: dict[tuple[str, str], dict[int, float]] = {}
    for workload, label, steps, products in medians.itertuples(index=False, name=None):
        found.setdefault((workload, label), {})[int(steps)] = float(products)
    return found


def bent_products(products: Mapping[int, float], who: str = "it") -> str:
    """`it makes 2, 3, 4 and 4 Hessian products at 1, 2, 4 and 8 inner steps`; empty where they are on a line
    in the inner steps: a number that stays, or grows with every step alike, bends no curve."""
    if len(products) < POINTS or _on_a_line(np.array([*products], float), np.array([*products.values()])):
        return ""
    numbers = listed([f"{value:.3g}" for value in products.values()])
    return f"{who} makes {numbers} Hessian products at {listed([str(k) for k in products])} inner steps"


def _on_a_line(x: np.ndarray, y: np.ndarray) -> bool:
    line = y[0] + (y[-1] - y[0]) / (x[-1] - x[0]) * (x - x[0])
    return bool(np.allclose(y, line, rtol=1e-6, atol=1e-9))
