"""What each method of a run ran with, by label: where a suite gives it other settings on other workloads,
apart."""

import pandas as pd

from harness.present.palette import label_order
from harness.present.words import names_apart


def methods_used(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Label, the workloads that it is about (empty: all), and the settings as the rows have them, in the
    order of all tables."""
    used = frame[["method", "method_label", "workload", "settings"]].drop_duplicates()
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for method, label, workload, settings in used.itertuples(index=False, name=None):
        found.setdefault((method, label), {}).setdefault(settings, []).append(workload)
    names = names_apart(dict.fromkeys(used.workload))
    lines = []
    for (_, label), variants in sorted(found.items(), key=lambda item: label_order(*item[0])):
        for settings, workloads in variants.items():
            where = ", ".join(dict.fromkeys(names[each] for each in workloads)) if len(variants) > 1 else ""
            lines.append((label, where, settings))
    return lines
