"""`innerloop env`"""

from typing import Annotated

import typer


def env(
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Which device to describe.")] = "auto",
) -> int:
    """Print what a run with a thread for each core would record of this machine, as JSON."""
    import json

    from harness import environment
    from harness.executors.local import LocalExecutor
    from harness.overrides import check_device
    from harness.protocol import Request

    check_device(device)
    request = Request((), (), (1,), device, environment.usable_cores(), None)
    with LocalExecutor() as executor:
        facts = environment.describe_machine() | executor.ask(request).environment
    typer.echo(json.dumps(facts, indent=2))
    return 0
