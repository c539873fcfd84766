"""`innerloop wall SUITE --memory-budget SIZE`"""

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DataRoot, SuiteName
from harness.errors import UsageError, nearest
from harness.quantities import duration, size

if TYPE_CHECKING:
    from harness.protocol import Profile
    from harness.wall import Found

PROFILES: tuple["Profile", ...] = ("tensors", "cuda", "cuda-hopper")
MIB = 2**20


def wall(
    suite: SuiteName,
    memory_budget: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Such as 12GiB; the suite's own memory_budget by default."),
    ] = None,
    device_profile: Annotated[
        str,
        typer.Option(
            metavar="|".join(PROFILES),
            help="What an allocator adds to the tensors: nothing, CUDA's blocks and workspaces.",
        ),
    ] = PROFILES[0],
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="As in `innerloop run`.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="As in `innerloop run`.")] = None,
    up_to: Annotated[int, typer.Option(min=1, help="Inner steps beyond which nobody looks.")] = 1000,
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="How long to follow a method while no wall is in sight.")
    ] = "2m",
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Also run the step at both neighbours, under the same virtual budget; by default on CUDA.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="Where to verify.")] = None,
    data_root: DataRoot = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Methods looked at at once.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Find the largest number of inner steps that fits a memory budget, without running the step."""
    import contextlib
    import json

    from harness.cli.progress import Preparation
    from harness.suite import Overrides
    from harness.wall import WallOptions, find_walls

    if device_profile not in PROFILES:
        raise UsageError(
            f"--device-profile {device_profile}: {nearest(device_profile, PROFILES, 'the profiles')}"
        )
    seconds = duration("--patience", patience)
    assert seconds is not None
    options = WallOptions(
        suite=suite,
        overrides=Overrides(tuple(method or ()), tuple(settings or ()), (), device, ("memory",)),
        memory_budget=size("--memory-budget", memory_budget),
        profile=device_profile,
        up_to=up_to,
        patience_s=seconds,
        verify=verify,
        data_root=data_root,
        jobs=jobs,
    )
    everything = []
    workload = ""
    try:
        preparing = Preparation(lambda text: typer.echo(text, err=True))
        # Closed, it ends its searches, whatever ends this.
        with contextlib.closing(find_walls(options, preparing)) as walls:
            for found in walls:
                everything.append(as_record(found))
                if as_json:
                    continue
                if found.cell.workload.label != workload:
                    workload = found.cell.workload.label
                    typer.echo(f"Under {found.budget:,} bytes ({device_profile}), {workload}:")
                typer.echo(f"  {sentence(found)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; of walls nothing is kept: the same command begins anew."
        ) from None
    if as_json:
        typer.echo(json.dumps(everything, indent=2))
    return 0


def sentence(found: "Found") -> str:
    """`maml fits at 446 inner steps (11,990.1 MiB), not at 447 (12,016.4 MiB)`"""
    w = found.wall

    def at(steps: int) -> str:
        return f"{steps:,} ({w.peaks[steps] / MIB:,.1f} MiB)"

    if w.fits is None and w.fails is None:
        said = f"cannot be told: {w.note}"
    elif w.fits is None:
        assert w.fails is not None
        said = f"does not fit at {at(w.fails)}"
    elif w.fails is None:
        said = f"fits at {at(w.fits)}: {w.note}"
    else:
        middle = "" if w.fails == w.fits + 1 else f" ({w.note})"
        said = f"fits at {at(w.fits)}, not at {at(w.fails)}{middle}"
    verified = f"; {w.verified}" if w.verified else ""
    return f"{found.label}: {said}{verified}"


def as_record(found: "Found") -> dict[str, object]:
    """The same for machines; bytes, and inner steps as numbers."""
    point, w = found.cell.points[0], found.wall
    return {
        "workload": found.cell.workload.label,
        "method": point.method.name,
        "settings": point.method.settings,
        "budget_bytes": found.budget,
        "fits": w.fits,
        "fails": w.fails,
        "predicted_peak_bytes": {str(steps): peak for steps, peak in sorted(w.peaks.items())},
        "note": w.note,
        "verified": w.verified,
    }
