"""The peak of a meta-step that is not run: the same step on fake tensors, which have shapes and no values."""

from dataclasses import dataclass, replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.core.episodes import Shots
from harness.measure.bench import Bench
from harness.measure.tracker import LiveStorages, VirtualOutOfMemory
from harness.measure_settings import Profile

KIB, MIB = 2**10, 2**20
HOPPER = 9  # compute capability, major


class Unpredictable(Exception):
    """The method needs values, so its step cannot be run without them: the reason in a sentence."""


@dataclass(frozen=True)
class DeviceProfile:
    """What a device's allocator adds to the bytes of the tensors.

    block: the unit in which it hands memory out. workspace: what libraries keep of it between operators.
    """

    block: int
    workspace: int
    source: str


PROFILES: dict[Profile, DeviceProfile] = {
    "tensors": DeviceProfile(1, 0, "the bytes of the tensors themselves, as a virtual budget counts them"),
    # c10/cuda/CUDACachingAllocator: kMinBlockSize. aten/src/ATen/cuda/CublasHandlePool: :4096:2:16:8, or
    # 32 MiB on compute capability 9.0, for the handle of the forward and for that of the backward thread.
    "cuda": DeviceProfile(512, 2 * (2 * 4096 + 8 * 16) * KIB, "blocks of 512 bytes, two cuBLAS workspaces"),
    "cuda-hopper": DeviceProfile(512, 2 * 32 * MIB, "blocks of 512 bytes, two cuBLAS workspaces of 32 MiB"),
}
"""Stated, not measured: how far each is from a device's own peak is for the memory measure to tell there."""


def cuda_profile(device: torch.device) -> Profile:
    """The profile that fits this CUDA device."""
    major, _ = torch.cuda.get_device_capability(device)
    return "cuda-hopper" if major == HOPPER else "cuda"


def predicted_peak(
    bench: Bench, limit: int | None = None, profile: DeviceProfile = PROFILES["tensors"]
) -> LiveStorages:
    """The tracker after one meta-step of `bench` on fake tensors, with the outer rule's state present.

    Nothing of the step's size is allocated. The tensors are fake CPU tensors whatever the device: a build of
    torch without CUDA aborts the process on a fake CUDA leaf. With `limit` raises VirtualOutOfMemory as the
    tracker does; raises Unpredictable where the step needs a value.
    """
    if bench.precision != "float32":
        # Batch norm's statistics, for one, are float32 where its input is bfloat16, and fake ones are not.
        raise Unpredictable(f"torch's fake tensors do not have the types of real ones in {bench.precision}")
    on_cpu = replace(bench, device=torch.device("cpu"))
    batch = on_cpu.meta_batch()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:

        def fake(shots: Shots) -> Shots:
            return Shots(mode.from_tensor(shots.inputs), mode.from_tensor(shots.targets))

        batch = replace(batch, support=fake(batch.support), query=fake(batch.query))
        workspace = torch.empty(profile.workspace, dtype=torch.uint8)
        try:
            learner = on_cpu.learner(2)
            learner.prime()
            resident = [*bench.resident(learner, batch), workspace]
            with LiveStorages(resident, limit, block=profile.block) as tracker:
                learner.step(batch)
        except VirtualOutOfMemory:
            raise
        except Exception as failure:
            first = str(failure).strip().partition("\n")[0]
            raise Unpredictable(
                f"the step cannot be run without values: {type(failure).__name__}: {first}"
            ) from failure
    return tracker
