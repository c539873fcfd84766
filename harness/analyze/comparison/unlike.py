"""In what runs are not alike before any figure is compared: machines, versions, protocols."""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.analyze.asked import asked
from harness.analyze.caveats import machine_in_words
from harness.analyze.comparison.sides import Side, sides_of
from harness.analyze.finding import Finding
from harness.analyze.loaded import LoadedRun

HARDWARE = {
    "device": "device",
    "device_name": "device name",
    "cpu": "processor",
    "cpu_capability": "vector instructions",
    "cores": "cores",
    "threads": "threads",
    "interop_threads": "inter-op threads",
}
"""What decides how long a step takes: a time is not held against one of another machine."""

NO_TIME = "No time difference is called: "
MACHINE = ("device_name", "cpu")  # one of them must be known of both, or nothing is known
TIMED_ON = ("cpu", "cores")  # what both a selfcheck and an environment say of a machine
FACTS = {
    "innerloop": "innerloop",
    "python": "Python",
    "platform": "system",
    "affinity": "CPUs",
    "cudnn_benchmark": "cudnn_benchmark",
    "cudnn_allow_tf32": "cudnn_allow_tf32",
    "cudnn_deterministic": "cudnn_deterministic",
    "matmul_allow_tf32": "matmul_allow_tf32",
}
"""What may move a number and forbids no comparison."""

NUMERIC_PACKAGES = ("torch", "numpy", "scipy")  # of those that every run names; an adapter's libraries follow
UNCONCERNED = ("pandas", "pyarrow", "matplotlib", "seaborn", "pydantic", "typer", "psutil", "memory-profiler")
BESIDE_THE_POINT = {"inner_steps", "metrics", "oracles", "rounds", "blocks", "untrained"}
"""Settings of a measure that say how much is measured, not what."""

SINCE = {"precision": "float32", "test": True}
"""Settings of measures that manifests once did not have, and what they then were."""

MEASURES = ("memory", "time", "gradient", "accuracy")
ABSENT = "not set"
GIB = 2**30


def unlike(runs: Sequence[LoadedRun], measures: Sequence[str] = MEASURES) -> list[Finding]:
    """What each run has in another way than the first, a sentence each, as far as it concerns these measures;
    empty where they are alike.

    They rest on the runs' manifests and environments, not on rows.
    """
    base, *others = sides_of(runs)
    found = [sentence for other in others for sentence in unlike_sides(base, other, measures)]
    return [Finding(sentence=sentence, evidence=()) for sentence in found]


def unlike_sides(base: Side, other: Side, measures: Sequence[str] = MEASURES) -> Iterator[str]:
    """The same of two runs of a comparison, in the words of their letters."""
    if base.is_same_run(other):
        return
    if refusal := hardware_refusal(base, other):
        timed = "time" in measures and all((side.run.rows.measure == "time").any() for side in (base, other))
        yield refusal if timed else refusal.removeprefix(NO_TIME)
    facts = [*_facts(base, other), *_packages(base, other)]
    if facts:
        yield f"{base.name} and {other.name} differ in {'; '.join(facts)}."
    for measure in measures:
        yield from _protocols_in_words(measure, protocol_differences(base, other, measure))
    budgets = [side.run.manifest.get("memory_budget") for side in (base, other)]
    if budgets[0] != budgets[1]:
        said = [f"{budget:,} bytes" if budget is not None else "none" for budget in budgets]
        yield f"The memory budget differs: {said[0]} in {base.letter}, {said[1]} in {other.letter}."


def hardware_refusal(base: Side, other: Side) -> str:
    """Why no time difference is called between two runs; empty where their machines are alike.

    What only one of them has recorded is taken as alike, as long as both name their machine. The environment
    is that of the call that measured last; where each time cell was measured, the selfchecks tell.
    """
    if base.is_same_run(other):
        return ""
    if unknown := machine_unknown(base, other):
        return f"{NO_TIME}{unknown}"
    facts = [side.run.environment for side in (base, other)]
    timed_on = [_machines_of_times(side.run) for side in (base, other)]
    for side, several in zip((base, other), timed_on, strict=True):
        if len(several) > 1:
            return f"{NO_TIME}{side.name} was timed on {len(several)} machines ({'; '.join(several)})."
    changed = list(_changes(base, other, HARDWARE))
    if not changed:
        first, second = (next(iter(m.values()), f) for m, f in zip(timed_on, facts, strict=True))
        if any(first.get(k) and second.get(k) and first[k] != second[k] for k in TIMED_ON):
            said = [machine_in_words({k: each.get(k) for k in TIMED_ON}) for each in (first, second)]
            return f"{NO_TIME}{base.name} was timed on {said[0]}, {other.name} on {said[1]}."
        return ""
    machines = [_where(side.run) for side in (base, other)]
    inside = f" ({'; '.join(changed)})" if machines[0] == machines[1] else ""
    return f"{NO_TIME}{base.name} ran on {machines[0]}, {other.name} on {machines[1]}{inside}."


def machine_unknown(base: Side, other: Side) -> str:
    """Why it cannot be told whether two runs ran on one machine; empty where it can."""
    for side in (base, other):
        if not any(side.run.environment.get(name) for name in MACHINE):
            return f"{side.name} does not say what machine it ran on."
    facts = [side.run.environment for side in (base, other)]
    if any(facts[0].get(name) and facts[1].get(name) for name in MACHINE):
        return ""
    told = [str(each.get("device_name") or each.get("cpu")) for each in facts]
    return f"{base.name} and {other.name} do not name their machines in the same way ({told[0]}; {told[1]})."


def _where(run: LoadedRun) -> str:
    """`AMD EPYC (AVX2, 2 cores, 1 thread)`"""
    facts = run.environment
    name = str(facts.get("device_name") or facts.get("cpu") or "an unknown machine")
    if facts.get("device") == "cuda" and facts.get("cpu"):
        name = f"{name} beside {facts['cpu']}"
    inside = [str(facts["cpu_capability"])] if facts.get("cpu_capability") else []
    for key, word in (("cores", "core"), ("threads", "thread")):
        if (count := facts.get(key)) is not None:
            inside.append(f"{count} {word}{'' if count == 1 else 's'}")
    return f"{name} ({', '.join(inside)})" if inside else name


def _machines_of_times(run: LoadedRun) -> dict[str, dict[str, Any]]:
    """Where its time cells were measured, in words: a run that was resumed elsewhere has several; empty where
    older versions did not keep it."""
    timed = set(run.rows.cell_id[run.rows.measure == "time"])
    measured_on: dict[str, dict[str, Any]] = {}
    for found in run.selfchecks:
        if "machine" in found:
            measured_on |= dict.fromkeys(timed.intersection(found.get("cells", [])), found["machine"])
    by_words = {machine_in_words(machine): machine for machine in measured_on.values()}
    return dict(sorted(by_words.items()))


def protocol_differences(base: Side, other: Side, measure: str) -> dict[str, list[str]]:
    """What the suites say of a measure in different ways, a clause each: such points are not one experiment.

    Of every workload that both runs have; of the measure at large, as of "", where they have none in common.
    Empty where one of the manifests does not tell, or one run has no such measure.
    """
    first, second = (set(s.run.rows.workload[s.run.rows.measure == measure]) for s in (base, other))
    return {place: _differences_on(base, other, measure, place) for place in sorted(first & second) or [""]}


def _differences_on(base: Side, other: Side, measure: str, workload: str) -> list[str]:
    first, second = (asked(side.run, measure, workload) for side in (base, other))
    if not first or not second:
        return []
    first, second = SINCE | first, SINCE | second
    if measure in ("time", "accuracy"):  # what its arithmetic hangs on costs time too
        contents = [side.run.manifest.get("content", {}) for side in (base, other)]
        first, second = (t | {name: c.get(name, False) for name in ("deterministic", "tf32")}
                         for t, c in zip((first, second), contents, strict=True))  # fmt: skip
    return [
        f"{name} {_said(first.get(name))} in {base.letter}, {_said(second.get(name))} in {other.letter}"
        for name in sorted({*first, *second} - BESIDE_THE_POINT)
        if first.get(name) != second.get(name)
    ]


def _protocols_in_words(measure: str, found: dict[str, list[str]]) -> Iterator[str]:
    """A sentence for all workloads where they say the same, otherwise one for each that differs."""
    of_each = {tuple(changed) for changed in found.values()}
    for workload, changed in found.items():
        if changed and len(of_each) > 1:
            words = "; ".join(changed)
            yield f"The {measure} measure differs on {workload}: {words}. Its points there are not called."
    if len(of_each) == 1 and (changed := next(iter(found.values()))):
        yield f"The {measure} measure differs: {'; '.join(changed)}. Its points are not called."


def _facts(base: Side, other: Side) -> list[str]:
    facts = list(_changes(base, other, FACTS))
    environments = [side.run.environment for side in (base, other)]
    if len({e["code"] for e in environments if e.get("code")}) > 1:
        facts.append("the harness's own code")
    sizes = [e["memory_bytes"] / GIB for e in environments if e.get("memory_bytes")]
    if len(sizes) == 2 and round(sizes[0]) != round(sizes[1]):
        facts.append(f"memory ({sizes[0]:.0f} GiB in {base.letter}, {sizes[1]:.0f} GiB in {other.letter})")
    gpus = [
        sorted({f"{gpu.get('name')}, driver {gpu.get('driver')}" for gpu in e.get("gpus") or []})
        if e.get("device") == "cuda"
        else []
        for e in environments
    ]
    if all(gpus) and gpus[0] != gpus[1]:
        facts.append(f"GPUs ({'; '.join(gpus[0])} in {base.letter}, {'; '.join(gpus[1])} in {other.letter})")
    return facts


def _packages(base: Side, other: Side) -> Iterator[str]:
    """Versions of what computes, the build of torch among them."""
    versions = []
    for side in (base, other):
        environment = side.run.environment
        packages = dict(environment.get("packages") or {})
        if environment.get("torch"):
            packages["torch"] = environment["torch"]  # with its build, `2.13.0+cpu`
        versions.append({k: v for k, v in packages.items() if k not in UNCONCERNED and v is not None})
    shared = versions[0].keys() & versions[1].keys()
    for name in sorted(shared, key=lambda n: (n not in NUMERIC_PACKAGES, n)):
        if versions[0][name] != versions[1][name]:
            yield f"{name} ({versions[0][name]} in {base.letter}, {versions[1][name]} in {other.letter})"


def _changes(base: Side, other: Side, names: dict[str, str]) -> Iterator[str]:
    for key, word in names.items():
        first, second = base.run.environment.get(key), other.run.environment.get(key)
        if first is not None and second is not None and first != second:
            yield f"{word} ({_said(first)} in {base.letter}, {_said(second)} in {other.letter})"


def _said(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, dict):  # by method
        return ", ".join(f"{name} {_said(own)}" for name, own in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
