"""Which run a text means."""

from pathlib import Path

from harness.errors import UsageError, nearest
from harness.store import RESULTS, RunFolder


def find_run(text: str) -> Path:
    """A path, the name (or its unique beginning) of a run in `results/`, or the name of a suite, for the run
    of it that was last at work. Raises UsageError for what is none."""
    path = Path(text)
    if path.is_dir() and RunFolder(path).is_run():
        return path
    runs = {p.name: p for p in sorted(RESULTS.glob("*")) if p.is_dir() and RunFolder(p).is_run()}
    if text in runs:
        return runs[text]
    matches = [name for name in runs if text and name.startswith(text)]
    if len(matches) == 1:
        return runs[matches[0]]
    if matches and all(name.rpartition("-")[0] == text for name in matches):
        return max((runs[name] for name in matches), key=lambda run: run.stat().st_mtime_ns)
    if matches:
        raise UsageError(
            f"run '{text}' is not unique: it may be {' or '.join(matches)}; give more of its name."
        )
    if path.exists() or path.name != text:
        RunFolder.open(path)  # which says what it is instead
    if not runs:
        raise UsageError(
            f"run '{text}' was not found: there is no run in {RESULTS}/; make one with `innerloop run`."
        )
    raise UsageError(f"run '{text}' was not found; {nearest(text, runs, 'runs in results/')}")
