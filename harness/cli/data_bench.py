"""`innerloop data bench WORKLOAD`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import DataRoot

if TYPE_CHECKING:
    from harness.data.bench import Spread

ALL_OK = 0
THREADS = 1  # as in suites that say nothing else

SAID_OF_IT = (
    "learn2learn draws from the same images: from memory, converted beforehand, which is the least that it "
    "can cost; and from PNG files opened at every access, as its own data set of Omniglot does, which also "
    "resizes each one. Rotated: by quarter turns, there with RandomClassRotation; upright: none."
)


def bench(
    workload: Annotated[
        str, typer.Argument(help="A workload of images, with settings in brackets if you like.")
    ],
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="NAME", help="Whose meta-step to compare with.")
    ] = "maml",
    inner_steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of that meta-step; the fewer, the less it costs.")
    ] = 1,
    meta_batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Episodes of a meta-batch.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="In which all take turns.")] = 15,
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every timing as JSON.")] = False,
) -> int:
    """Time the sampling of a meta-batch, beside a meta-step on the CPU and beside learn2learn's loader."""
    import json

    from rich.console import Console

    from harness.data.bench import FEWEST, ratios, spread_of
    from harness.executors.local import LocalExecutor
    from harness.protocol import MethodSpec, Progress, Sampled, Sampling, WorkloadSpec
    from harness.settings import parse_spec

    asked = Sampling(
        WorkloadSpec(*parse_spec(workload, "data bench"), "data bench"),
        MethodSpec(*parse_spec(method, "--method"), {}, "--method"),
        inner_steps,
        meta_batch_size,
        rounds,
        THREADS,
        data_root,
    )
    with LocalExecutor() as executor, Console(stderr=True).status("warming up") as status:

        def hear(message: Any) -> None:
            if isinstance(message, Progress):
                status.update(message.note)

        sampled: Sampled = executor.ask(asked, hear=hear)
    found = ratios(sampled)
    if as_json:
        record: dict[str, Any] = {
            "workload": workload,
            "method": method,
            "inner_steps": inner_steps,
            "meta_batch_size": meta_batch_size,
            "threads": THREADS,
            "seconds": sampled.seconds,
            "missing": sampled.missing,
            "ratios": [{"of": r.of, "to": r.to, **vars(r.spread)} for r in found],
        }
        typer.echo(json.dumps(record, indent=2))
        return ALL_OK
    steps = f"{inner_steps} inner step{'s' if inner_steps > 1 else ''}"
    typer.echo(
        f"{workload}: {meta_batch_size} episodes, {rounds} rounds; CPU time of one thread, medians with "
        f"{'95% intervals' if rounds >= FEWEST else 'the least and the most'}\n"
    )
    for name, seconds in sampled.seconds.items():
        called = f"meta-step of {method}, {steps}" if name == "meta-step" else name
        typer.echo(f"  {called:<34} {_between(spread_of(seconds), 1e3, ' ms')}")
    typer.echo("")
    for ratio in found:
        if ratio.to == "meta-step":
            typer.echo(f"{ratio.of}: {_between(ratio.spread, 100, '%')} of that meta-step")
        else:
            typer.echo(f"{ratio.of}: {_between(ratio.spread, 1, ' times')} as long as the sampler")
    if sampled.missing:
        typer.echo(f"learn2learn: skipped: {sampled.missing}")
    else:
        typer.echo(f"\n{SAID_OF_IT}")
    return ALL_OK


def _between(spread: "Spread", scale: float, unit: str) -> str:
    """`2.1 ms (2 to 2.2)`"""
    median, low, high = (_figure(scale * value) for value in (spread.median, spread.low, spread.high))
    return f"{median}{unit} ({low} to {high})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
