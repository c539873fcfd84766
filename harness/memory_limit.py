"""A limit on a process's memory, so that a step too large for the machine raises and nothing gets killed."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

NO_PRIMITIVE = "could not create a primitive"
SHORT_BYTES = 64 * 2**20
"""Of memory left, below which oneDNN's message is taken to mean memory. Of 28 steps on conv4 that were given
too little, a tenth of their peak to nearly all, torch's allocator ended 27; the other had 46 MiB left."""


@contextlib.contextmanager
def limited_to_available() -> Iterator[None]:
    """Within it this process may allocate what is available on the machine now, and no more.

    What it asks for beyond is refused by the kernel, and torch's allocator or Python says so. Sets the soft
    RLIMIT_DATA, which counts private writable memory whether touched or not (stacks of threads and untouched
    `torch.empty` too: it errs on the side of refusing); never RLIMIT_AS, which counts all that is mapped and
    then fails later allocations. A lower limit of the user's stays. What is started within inherits it. Does
    nothing where Linux' /proc is absent.

    Raises MemoryError where oneDNN, which has one message for all that can go wrong, had little left to work
    with. Native code that does not look at what it was given may still crash.
    """
    before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = None
    with contextlib.suppress(OSError, ValueError, KeyError):
        limits = [held_bytes() + available_bytes(), soft, hard]
        limit = min(each for each in limits if each != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    except RuntimeError as failure:
        # The frames of the failure still hold what they held.
        if limit is None or NO_PRIMITIVE not in str(failure) or limit - held_bytes() > SHORT_BYTES:
            raise
        said = f"oneDNN {failure}, {max(0, limit - held_bytes()):,} bytes were left"
        raise MemoryError(said).with_traceback(failure.__traceback__) from failure
    finally:
        # Whoever is to report a failure needs memory for it.
        resource.setrlimit(resource.RLIMIT_DATA, before)


def held_bytes() -> int:
    """What RLIMIT_DATA counts of this process. Raises OSError without /proc."""
    return _table(PROC / "self/status")["VmData:"] * 1024


def available_bytes() -> int:
    """What can be allocated without swapping, on this machine and in this control group. Raises OSError."""
    return min([_table(PROC / "meminfo")["MemAvailable:"] * 1024, *_rooms()])


def _rooms() -> Iterator[int]:
    """What is left within each control group that limits this process, its own or one above."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            root, limit, usage, cache = CGROUPS, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            root, limit, usage = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_"
        else:
            continue
        folder = root.joinpath(*(part for part in path.split("/") if part != ".."))
        for group in (folder, *folder.parents):
            # Absent at the root, and where a container does not see the path that it is told.
            with contextlib.suppress(OSError, ValueError, KeyError):  # ValueError: the limit is "max"
                most = int((group / limit).read_text())
                counts = _table(group / "memory.stat")
                # Pages of files are given back as soon as anything needs the room.
                files = counts.get(f"{cache}active_file", 0) + counts.get(f"{cache}inactive_file", 0)
                yield max(0, most - int((group / usage).read_text()) + files)
            if group == root:
                break


def _table(path: Path) -> dict[str, int]:
    """The lines `name number ...` of a file of the kernel."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {fields[0]: int(fields[1]) for fields in lines if len(fields) > 1 and fields[1].isdecimal()}
