"""Names and numbers as people say them."""

from collections.abc import Iterable
from typing import Any

from harness.frame import split_workload
from harness.settings import format_settings, telling_apart

NBSP = "\N{NO-BREAK SPACE}"  # keeps a number and its unit on one line
SINGULAR = {"shots": "{} shot", "queries": "{} query", "filters": "{} filter"}
PHRASES = {
    "shots": "{} shots",
    "queries": "{} queries",
    "filters": "{} filters",
    "condition": "condition number {}",
}


def workload_in_words(text: str) -> str:
    """`glyphs[filters=16,shots=1,ways=5]` -> `glyphs, 5-way 1-shot, 16 filters`; rows have every setting."""
    name, settings = split_workload(text)
    words = []
    if {"ways", "shots"} <= set(settings):
        words.append(f"{settings.pop('ways')}-way {settings.pop('shots')}-shot")
    for key, value in settings.items():
        if not isinstance(value, bool):
            phrase = SINGULAR.get(key) if value == 1 else None
            shown = f"{value:.12g}" if isinstance(value, float) else value
            words.append((phrase or PHRASES.get(key, f"{key} {{}}")).format(shown))
    return ", ".join([name, *words])


def names_apart(workloads: Iterable[str]) -> dict[str, str]:
    """Each by its bare name, or with the settings that tell it from others of that name.

    `omniglot[shots=1,ways=5]` beside another of 20 ways: `omniglot[ways=5]`.
    """
    split = {workload: split_workload(workload) for workload in workloads}
    alike: dict[str, list[dict[str, Any]]] = {}
    for name, settings in split.values():
        alike.setdefault(name, []).append(settings)
    apart = {name: telling_apart(variants) for name, variants in alike.items()}
    names = {}
    for workload, (name, settings) in split.items():
        shown = {key: settings[key] for key in apart[name] if key in settings}
        names[workload] = f"{name}[{format_settings(shown)}]" if shown else name
    return names
