"""Meta-training as its rows tell it: scores on validation tasks over meta-steps, where it ended, how fast."""

from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.points import POINT

VALIDATION = ("validation_accuracy", "validation_loss")
SELECTED, THROUGHPUT = "selected_meta_step", "meta_steps_per_second"
COLUMNS = [*POINT, "seed", "score", "meta_step", "value", "selected", "is_selected"]
SUMMARY = [
    *("score", "seeds", "ended_low", "ended_high", "selected_low", "selected_high"),
    *("at_the_end", "selected_score", "steps_per_second"),
]


def learning_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a validation: the mean score on validation tasks at a meta-step (0: the untrained start).

    `score` is `accuracy` or `loss`; `selected` the meta-step whose parameters were tested, NaN where the rows
    do not say; `is_selected`, whether it is this one.
    """
    some = rows[(rows.measure == "accuracy") & (rows.status == "ok")]
    curves = some[some.metric.isin(VALIDATION)]
    chosen = some.loc[some.metric == SELECTED, [*POINT, "seed", "value"]]
    found = curves[[*POINT, "seed"]].assign(
        score=curves.metric.str.removeprefix("validation_"), meta_step=curves.repeat, value=curves.value
    )
    # A run that was measured twice has each cell once: a point and a seed have one selected step.
    at = chosen.drop_duplicates([*POINT, "seed"]).rename(columns={"value": "selected"})
    found = found.merge(at, on=[*POINT, "seed"], how="left")
    found["is_selected"] = found.meta_step == found.selected
    return found.sort_values([*POINT, "seed", "meta_step"], ignore_index=True)[COLUMNS]


def chosen_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Of each workload and label those at the number of inner steps that has the best validation score.

    As `harness.analyze.accuracy.differences.chosen_points` does: by the mean over seeds of the best of each;
    of equals that of fewer steps, and only of those that the most seeds have.
    """
    label = ["workload", "method_label"]
    best = curves.value.where(curves.score == "accuracy", -curves.value)
    of_seed = best.groupby([curves[name] for name in (*POINT, "seed")]).max()
    points = of_seed.groupby(POINT).agg(["count", "mean"]).reset_index()
    ranked = points.sort_values(["count", "mean", "inner_steps"], ascending=[False, False, True])
    return curves.merge(ranked.drop_duplicates(label)[POINT], on=POINT)


def training_summary(curves: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """A line a point that has validation scores, over its seeds: of `learning_curves` and of what they were
    made of.

    ended: the last meta-step that was validated, which is where training ended; selected: the one that was
    tested; `at_the_end`: in how many seeds the two are one, so that longer training might still have helped.
    `selected_score`: the mean of the score on validation tasks there, which was chosen as the best and so
    flatters. `steps_per_second`: the median; NaN where the rows do not say.
    """
    speeds = rows[(rows.metric == THROUGHPUT) & (rows.status == "ok")].groupby(POINT).value.median()
    records: list[dict[str, Any]] = []
    for key, part in curves.groupby(POINT):
        ends = part.groupby("seed").meta_step.max()
        tested = part[part.is_selected].set_index("seed")
        records.append(
            dict(zip(POINT, key, strict=True))
            | {
                "score": part.score.iloc[0],
                "seeds": len(ends),
                "ended_low": ends.min(),
                "ended_high": ends.max(),
                "selected_low": tested.meta_step.min(),
                "selected_high": tested.meta_step.max(),
                "at_the_end": int((tested.meta_step == ends[tested.index]).sum()),
                "selected_score": tested.value.mean(),
                "steps_per_second": speeds.get(key, np.nan),
            }
        )
    return pd.DataFrame(records, columns=[*POINT, *SUMMARY])
