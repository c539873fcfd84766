"""Names and numbers as people say them."""

from harness.frame import split_workload

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
