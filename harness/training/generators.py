"""The process's own random generators. The harness draws from none of them, but an adapter may."""

import random
from typing import Any

import numpy as np
import torch

from harness.core.seeds import derive

NUMPY_SEEDS = 2**32  # how many its old global generator takes


def seed_generators(seed: int) -> None:
    """Start them where every process of a cell of this seed does."""
    start = derive("global generators", seed)
    torch.manual_seed(start)
    np.random.seed(start % NUMPY_SEEDS)
    random.seed(start)


def generator_states(device: torch.device) -> dict[str, Any]:
    """Where they are, in tensors and plain values; on a GPU its own too."""
    algorithm, keys, position, has_gauss, gauss = np.random.get_state()
    states = {
        "torch": torch.get_rng_state(),
        # numpy's unsigned numbers as signed ones of twice the width, which every reader knows.
        "numpy": (algorithm, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: dict[str, Any], device: torch.device) -> None:
    """The inverse of `generator_states`."""
    algorithm, keys, position, has_gauss, gauss = states["numpy"]
    torch.set_rng_state(states["torch"])
    np.random.set_state((algorithm, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(states["python"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
