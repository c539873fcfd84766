"""What the kit does not ask of an adapter over a library: that tasks take their turns in memory."""

import gc

from library_adapters import every_adapter, load
from problems import make, parameters, smooth_conv4

from harness.measure.tracker import LiveStorages


@every_adapter
def test_one_tasks_graph_is_gone_before_the_next_begins(name: str) -> None:
    """Without the garbage collector's help: the peak of four tasks is one's and three results."""
    peaks = []
    gc.disable()
    try:
        for count in (1, 4):
            tasks = smooth_conv4(count)
            theta = parameters(tasks.model, count)
            size = sum(p[0].nbytes for p in theta.values())
            method = make(load(name), inner_steps=8)
            method.meta_gradient(tasks, theta)
            with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
                before = alive.live
                method.meta_gradient(tasks, theta)
                peaks.append(alive.peak - before)
    finally:
        gc.enable()
    assert peaks[1] - peaks[0] <= 4 * size
