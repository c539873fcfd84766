"""What is checked before a run folder exists: methods, settings, workloads, data, device. Needs torch."""

import inspect
import sys
from pathlib import Path

import numpy as np
import scipy
import torch

import harness
from harness import registry, workloads
from harness.adapter_files import hash_files
from harness.environment import cpu_model
from harness.errors import UsageError
from harness.measure.bench import Bench
from harness.measure_settings import MemorySettings
from harness.numerics import describe_numerics, fix_numerics
from harness.protocol import MethodSpec, Request, Resolved, ResolvedMethod, ResolvedWorkload, WorkloadSpec
from harness.settings import format_settings, settings_of
from harness.workloads.base import Tasks, Workload

TENSOR_CORES = (8, 0)  # the compute capability from which on they take TF32

NUMERIC_CODE = (
    "core",
    "data/archives.py",
    "measure",
    "workloads",
    "memory_limit.py",
    "numerics.py",
    "training",
    "worker.py",
)
"""What of this package can change a number or decide a status; hashed into every cell's id, with the
whole of `methods`."""


def preflight(request: Request) -> Resolved:
    """Everything asked for, found and checked, or UsageError with one sentence."""
    # As the cells will, so that this tells what they have.
    fix_numerics(request.threads, request.deterministic, request.tf32)
    device = choose_device(request.device)
    check_arithmetic(request, device)
    methods = tuple(registry.resolve_method(spec, request.inner_steps[0]) for spec in request.methods)
    check_any_runs(methods)
    check_names(methods)
    check_defaults(methods)
    opened, known = [], []
    for spec in request.workloads:
        workload = registry.make_workload(spec)
        tasks = workload.open(Path(request.data_root) if request.data_root else None)
        label = f"{spec.name}[{format_settings(settings_of(workload))}]"
        batching = workload.model().batching
        opened.append(ResolvedWorkload(spec, label, workload.score, tasks.fingerprint, batching))
        known.append((spec, workload, tasks))
    check_budget(request, methods, known)
    return Resolved(methods, tuple(opened), str(device), describe_torch(device))


def choose_device(wanted: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device 'cuda': torch sees no CUDA device; use --device cpu, or install a CUDA build of torch."
        )
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def check_arithmetic(request: Request, device: torch.device) -> None:
    """Refuse a precision that the device does not compute in."""
    if device.type == "cpu":
        if request.tf32:
            raise UsageError("tf32 = true: a CPU has no TF32; leave it out, or take --device cuda.")
        return
    name = torch.cuda.get_device_name(device)
    if request.tf32 and torch.cuda.get_device_capability(device) < TENSOR_CORES:
        raise UsageError(f"tf32 = true: {name} has no TF32; leave it out.")
    if "bfloat16" in request.precisions and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UsageError(f"precision = 'bfloat16': {name} does not compute in it; take float32.")


def check_any_runs(methods: tuple[ResolvedMethod, ...]) -> None:
    """Refuse what is broken where nothing else could run; beside others it is rows that say so."""
    broken = [m.broken for m in methods if m.broken]
    if broken and not any(m.runs for m in methods):
        raise UsageError(broken[0])


def check_names(methods: tuple[ResolvedMethod, ...]) -> None:
    """Refuse two methods of one name from different sources: rows could not tell them apart."""
    first: dict[str, ResolvedMethod] = {}
    for method in methods:
        other = first.setdefault(method.name, method)
        if other.source != method.source:
            raise UsageError(
                f"{method.spec.where}: '{method.spec.name}' would be '{method.name}' in rows and plots, "
                f"as is '{other.spec.name}'; rename its class."
            )


def check_defaults(methods: tuple[ResolvedMethod, ...]) -> None:
    """Refuse a suite's default that is a setting of none of its methods."""
    if not all(m.runs for m in methods):
        return
    for m in methods:
        unused = set(m.spec.defaults) - {key for other in methods for key in other.settings}
        if unused:
            raise UsageError(
                f"{m.spec.where}: the default '{min(unused)}' is a setting of none of the methods; remove it."
            )


def check_budget(
    request: Request,
    methods: tuple[ResolvedMethod, ...],
    opened: list[tuple[WorkloadSpec, Workload, Tasks]],
) -> None:
    """Refuse a memory budget below what every method holds on every workload before its step begins: nothing
    could fit. Where anything might, the others are cells that say so."""
    if request.memory_budget is None:
        return
    baselines = {}
    for step in request.meta_steps:
        method = next(m for m in methods if m.spec == step.method)
        if not method.runs:
            continue
        workload, tasks = next((w, tasks) for spec, w, tasks in opened if spec == step.workload)
        bench = Bench(
            method=registry.make_method(method, request.inner_steps[0]),
            workload=workload,
            tasks=tasks,
            model=workload.model(),
            settings=MemorySettings(meta_batch_size=step.meta_batch_size),
            seed=0,
            device=torch.device("cpu"),
            memory_budget=None,
        )
        try:
            baselines[bench.baseline()] = f"{method.name} on {step.workload.name}"
        except Exception:
            return  # an adapter that fails here fails in its cells, with rows that say so
    least = min(baselines, default=0)
    if least > request.memory_budget:
        raise UsageError(
            f"a memory budget of {request.memory_budget:,} bytes is below what the meta-parameters, outer "
            f"state and meta-batch take alone: {least:,} bytes ({baselines[least]}); give more than that."
        )


def describe_torch(device: torch.device) -> dict[str, str | int | bool]:
    """What of torch, the device and this code a number may depend on."""
    facts: dict[str, str | int | bool] = {
        "torch": str(torch.__version__),  # its own class would load torch where it is unpickled
        "numpy": np.__version__,
        "scipy": scipy.__version__,  # its solvers find the true meta-gradients
        "device": str(device),
        **describe_numerics(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "code": numeric_code(),
    }
    if device.type == "cuda":
        facts["device_name"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())
    else:
        facts["device_name"] = cpu_model()
    return facts


def numeric_code() -> str:
    """Hash of the sources that decide a number."""
    package = Path(harness.__file__).parent
    roots = [package / part for part in NUMERIC_CODE] + [Path(sys.modules["methods"].__path__[0])]
    return hash_files(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py")))


def list_methods() -> list[tuple[str, str, str]]:
    """Name, what it is, and settings with their defaults, of each known method."""
    entries = []
    for name in registry.method_names():
        method = registry.resolve_method(MethodSpec(name, {}, {}, "list"), 1)
        if not method.runs:
            entries.append((name, f"not available: {method.missing or method.broken}", ""))
            continue
        _, cls = registry.load_method(name, "list")
        what = f"{_summary(cls)} ({cls.kind}; {cls.memory_order} memory)"
        entries.append((name, what, format_settings(method.settings).replace(",", ", ")))
    return entries


def list_workloads() -> list[tuple[str, str, str]]:
    """Name, what it is, and settings with their defaults, of each workload."""
    entries = []
    for name in workloads.BUILT_IN:
        cls = registry.workload_class(name)
        entries.append((name, _summary(cls), format_settings(settings_of(cls())).replace(",", ", ")))
    return entries


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
