"""What the driver holds for a process, through NVML (`pynvml`, from the package nvidia-ml-py)."""

import os


class Unreadable(Exception):
    """NVML is absent, forbidden or blind here: the reason in a sentence."""


def process_bytes(index: int) -> int:
    """Bytes that GPU `index` holds for this process, its CUDA context included. Raises Unreadable."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as failure:
        raise Unreadable(f"NVML cannot be used here: {failure}") from None
    try:
        handle = _handle(index)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError as failure:
        raise Unreadable(f"NVML does not tell the processes of GPU {index}: {failure}") from None
    finally:
        pynvml.nvmlShutdown()
    for process in processes:
        if process.pid == os.getpid():
            if process.usedGpuMemory is None:
                raise Unreadable("NVML hides the memory of processes here, as under MIG or WDDM")
            return int(process.usedGpuMemory)
    raise Unreadable("NVML does not see this process: in a container it knows it by another number")


def _handle(index: int) -> object:
    """NVML counts all GPUs, torch the visible ones: the GPU that torch means, by its unique id."""
    import pynvml
    import torch

    unique = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
    return pynvml.nvmlDeviceGetHandleByUUID(unique)
